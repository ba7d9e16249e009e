"""Worlds in which some processes run another version: a deployment under way, or taken back."""

from __future__ import annotations

import gc
import logging
import random
from collections.abc import Iterator, Sequence

import attrs

from chaoying_async.clock import SystemClock
from chaoying_async.testing.simulation import SimulatedWorld, Story, Weather
from chaoying_async.testing.simulation.changes import Deploy, drawn_deploys
from chaoying_async.testing.simulation.computer import Launch, todays_program
from chaoying_async.testing.simulation.fleet_weather import with_fleet
from chaoying_async.testing.simulation.shop_program import ShopProgram
from chaoying_async.testing.simulation.surroundings import Told
from chaoying_async.testing.simulation.timeline import Happening
from chaoying_async.testing.simulation.weather import changed, drawn
from tests.hard.versions.loading import OTHERS, Version
from tests.hard.versions.program import program_of


@attrs.frozen(kw_only=True)
class Mix:
    """Which process runs which version."""

    called: str
    """``last`` or ``next``."""
    begins: Sequence[bool]
    """Whether each process begins with the other version; every deployment changes that."""

    @property
    def other(self) -> Version:
        return OTHERS[self.called]()

    def program(self, launch: Launch) -> ShopProgram:
        is_other = self.begins[launch.slot] ^ bool(launch.deploys % 2)
        name, timeline = launch.process.name, launch.world.timeline
        timeline.note(Happening.PROCESS, f"is {self.called if is_other else 'this'} version", name)
        return program_of(self.other, launch) if is_other else todays_program(launch)


def drawn_mix(seed: int, called: str) -> tuple[Weather, Mix]:
    """The weather of a seed, in which at least two processes are there, and who runs what.

    Mostly one version follows the other everywhere, as by a deployment; sometimes it is taken back,
    and sometimes both stay beside each other.
    """
    rng = random.Random(f"{seed}/versions")
    weather = drawn(random.Random(seed))
    weather = attrs.evolve(
        weather,
        processes=max(2, weather.processes),
        rivals=weather.rivals or rng.random() < 0.5,
    )
    if called == "next":  # the last version has no fleet
        weather = with_fleet(random.Random(f"{seed}/fleet"), weather)
    weather = changed(random.Random(f"{seed}/changes"), weather)
    slots, storm = weather.processes, weather.storm
    begins = [called == "last"] * slots
    deploys: list[Deploy] = []
    match rng.choice(("rolled out", "rolled out", "taken back", "beside")):
        case "rolled out":
            deploys += drawn_deploys(rng, slots, storm)
        case "taken back":
            deploys += drawn_deploys(rng, slots, storm)
            later = rng.uniform(1.0, storm)
            deploys += [attrs.evolve(each, at=each.at + later) for each in deploys]
        case _:
            begins = [rng.random() < 0.5 for _ in range(slots)]
            one, another = rng.sample(range(slots), 2)
            begins[one], begins[another] = True, False
    weather = attrs.evolve(weather, changes=attrs.evolve(weather.changes, deploys=deploys))
    return weather, Mix(called=called, begins=begins)


class TwoVersions(SimulatedWorld):
    """A world in which besides no record of either version may be unreadable to the other."""

    def __init__(self, seed: int, called: str = "") -> None:
        weather, self.mix = drawn_mix(seed, called or ("last", "next")[seed % 2])
        super().__init__(seed, weather, program=self.mix.program)

    def _log(self, record: logging.LogRecord) -> None:
        super()._log(record)
        said = record.getMessage()
        if "record" in said and "cannot be read" in said:
            self._break(f"M-23: one version of another's: {said}")

    def _judge(self) -> None:
        super()._judge()
        for word in self.words:
            if word.told is Told.CHECKOUT and "UNREADABLE" in word.status:
                self._break(f"M-23: the record of {word.number} is of no use to another version")


def stories(
    first: int, count: int | None = None, seconds: float | None = None, called: str = ""
) -> Iterator[Story]:
    """The stories of the seeds from ``first`` on."""
    clock = SystemClock()
    for other in (called,) if called else OTHERS:
        OTHERS[other]()
        TwoVersions(1, other).run()
    gc.collect()
    gc.freeze()
    until = None if seconds is None else clock.monotonic() + seconds
    seed = first
    try:
        while count is None or seed < first + count:
            if until is not None and clock.monotonic() >= until:
                return
            yield TwoVersions(seed, called).run()
            seed += 1
    finally:
        gc.unfreeze()
