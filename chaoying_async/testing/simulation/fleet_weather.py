"""Worlds in which the shop has a fleet: how it is cut, and what two of its bugs need to meet."""

from __future__ import annotations

import random

import attrs

from chaoying_async.testing.simulation.process import Blow
from chaoying_async.testing.simulation.timeline import Happening
from chaoying_async.testing.simulation.weather import PlannedBlow, Weather

#: In how many worlds the shop has a fleet.
SHARE = 0.25
#: One file has one writer at a time, and every process of a fleet writes all the time.
_SLOWEST_DISK = 0.2


def with_fleet(rng: random.Random, weather: Weather) -> Weather:
    """The same weather, in which the shop may have a fleet.

    Its dice are its own: where there is none a seed is the world that it always was.
    """
    if rng.random() >= SHARE:
        return weather
    weather = attrs.evolve(
        weather,
        shards=rng.randint(2, 4),
        processes=max(weather.processes, rng.choice((1, 2, 2, 3))),
        takes_back=rng.choice((0.0, 0.1, 0.4)),
        polls=True,
        tracks_once=True,
        slow_disk=min(weather.slow_disk, _SLOWEST_DISK),
    )
    return rng.choice((*(_as_it_is,) * 3, _struck, _before_it_left, _undisturbed))(rng, weather)


def _as_it_is(_: random.Random, weather: Weather) -> Weather:
    return weather


def _struck(rng: random.Random, weather: Weather) -> Weather:
    """A process is stopped for longer than its lease, or dies, while it has orders in hand."""
    blows = [
        PlannedBlow(
            blow=rng.choice((Blow.STOP, Blow.STOP, Blow.KILL)),
            after=rng.choice((Happening.SALE, Happening.SENT, Happening.REPLY, Happening.TOLD)),
            times=rng.choice((1, 1, 2, 3)),
            steps=rng.choice((0, 1, 2, 3, 5, 8, 13, 21, 40, 60)),
            lasts=rng.uniform(20.0, 380.0),
        )
        for _ in range(rng.randint(1, 3))
    ]
    return attrs.evolve(
        weather,
        processes=max(2, weather.processes),
        lease=15.0,
        blows=blows,
        storm=400.0,
        disk={},
        tills=rng.choice((0.5, 1.0)),
    )


def _before_it_left(rng: random.Random, weather: Weather) -> Weather:
    """A till is stopped before its payment left, or was answered, until the fleet has ended it."""
    blow = PlannedBlow(
        blow=Blow.STOP,
        after=Happening.SALE,
        times=1,
        steps=rng.randint(14, 40),  # from the COMMIT of what is intended on; it leaves at about 31
        lasts=rng.uniform(330.0, 450.0),
    )
    return attrs.evolve(
        weather,
        processes=max(2, weather.processes),
        lease=15.0,
        tills=1.0,
        blows=[blow],
        storm=470.0,
        disk={},
        slow_disk=0.01,
    )


def _undisturbed(_: random.Random, weather: Weather) -> Weather:
    """Only what comes from outside goes wrong: no process, no disk, no function of the shop."""
    return attrs.evolve(weather, processes=max(2, weather.processes), blows=[], disk={}, raises=0.0)
