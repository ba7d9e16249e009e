"""Worlds in which some processes run another version: a deployment under way, or taken back."""

from __future__ import annotations

import gc
import logging
import random
import re
from collections.abc import Callable, Iterator, Sequence

import attrs

from chaoying_async.clock import SystemClock
from chaoying_async.testing.simulation import SimulatedWorld, Story, Weather
from chaoying_async.testing.simulation.changes import Deploy, drawn_deploys
from chaoying_async.testing.simulation.computer import Launch, todays_program
from chaoying_async.testing.simulation.fleet_weather import with_fleet
from chaoying_async.testing.simulation.process import Blow
from chaoying_async.testing.simulation.shop_program import ShopProgram
from chaoying_async.testing.simulation.surroundings import Told
from chaoying_async.testing.simulation.timeline import Happening
from chaoying_async.testing.simulation.weather import PlannedBlow, changed, drawn
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


def _retried(weather: Weather) -> Weather:
    """What failed once is due in the inbox, and nothing else ever tells of it."""
    return attrs.evolve(
        weather, raises=0.7, attempts=1, tills=0.0, polls=False, mail={}, storm=100.0
    )


def _given_back(weather: Weather) -> Weather:
    """Payments succeed, and whoever gives back dies over it: another process takes it over."""
    deaths = [
        PlannedBlow(blow=Blow.KILL, after=Happening.SENT, times=times, steps=0, lasts=40.0)
        for times in (4, 8, 12)
    ]
    weather = attrs.evolve(weather, wire={}, mail={}, disk={}, slow_disk=0.01, blows=deaths)
    return attrs.evolve(weather, tills=1.0, sales=5, rivals=True, lease=15.0, storm=100.0)


#: What records wait for another version in.
_THEMES: Sequence[Callable[[Weather], Weather]] = (
    *(lambda weather: weather,) * 6,
    _retried,
    _given_back,
)


def drawn_mix(seed: int, called: str) -> tuple[Weather, Mix]:
    """The weather of a seed, in which at least two processes are there, and who runs what.

    Mostly one version follows the other everywhere, as by a deployment; sometimes it is taken back,
    and sometimes both stay beside each other.
    """
    rng = random.Random(f"{seed}/versions")
    weather = drawn(random.Random(seed))
    weather = attrs.evolve(weather, rivals=weather.rivals or rng.random() < 0.5)
    if called == "next":  # the last version has no fleet
        weather = with_fleet(random.Random(f"{seed}/fleet"), weather)
    weather = attrs.evolve(weather, processes=max(2, weather.processes))
    weather = changed(random.Random(f"{seed}/changes"), weather)
    weather = random.Random(f"{seed}/waiting").choice(_THEMES)(weather)
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


#: How a handler says that it could not do what is due, and because of what.
_NOT_TAKEN_UP = re.compile(r"could not be taken up \((\w+)\)")
#: What may pass by itself: a database's and a resolver's.
_PASSING = frozenset({"OperationalError", "TimeoutError", "ResolverFailedError"})


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
        failed = _NOT_TAKEN_UP.search(said)
        if failed is not None and failed[1] not in _PASSING:
            self._break(f"M-17: one version of another's: {said}")

    def _judge(self) -> None:
        super()._judge()
        found = self._evidence()
        for call, number in found.sent:
            if call in ("refund", "refundquery") and number not in found.returns:
                self._break(f"M-25: {call} of {number}, a number that the shop never gave")
        for word in self.shared.words:
            if word.told is Told.CHECKOUT and "UNREADABLE" in word.status:
                self._break(f"M-23: the record of {word.number} is of no use to another version")


def stories(
    first: int, count: int | None = None, seconds: float | None = None, called: str = ""
) -> Iterator[Story]:
    """The stories of the seeds from ``first`` on."""
    clock = SystemClock()
    if seconds is not None:  # loading another version takes none of them
        for other in (called,) if called else OTHERS:
            OTHERS[other]()
            TwoVersions(1, other).run()
    gc.collect()
    was_frozen = gc.get_freeze_count() > 0
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
        if not was_frozen:
            gc.unfreeze()
