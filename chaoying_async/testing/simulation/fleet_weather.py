"""Worlds in which the shop has a fleet: how it is cut, and what each of its bugs needs to meet."""

from __future__ import annotations

import random

import attrs

from chaoying_async.testing.simulation.inline_sqlite import Trouble
from chaoying_async.testing.simulation.process import Blow
from chaoying_async.testing.simulation.timeline import Happening
from chaoying_async.testing.simulation.weather import PlannedBlow, Weather

#: In how many worlds the shop has a fleet.
SHARE = 0.25
#: In how many of these it waits for an order more than once.
_ASKED_AGAIN = 0.2
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
    return rng.choice(_MOSTLY)(rng, weather)


def asked_again(rng: random.Random, weather: Weather) -> Weather:
    """The same weather, in which a shop with a fleet may wait for an order more than once."""
    if not weather.shards or rng.random() >= _ASKED_AGAIN:
        return weather
    return attrs.evolve(weather, asks_again=0.7, tills=min(weather.tills, 0.5))


def _plain(rng: random.Random, weather: Weather) -> Weather:
    return rng.choice(_HARSHER)(rng, weather)


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


def _stopped_alone(rng: random.Random, weather: Weather) -> Weather:
    """The same till is the fleet's only process: nobody takes its payments over meanwhile."""
    blows = [
        PlannedBlow(
            blow=Blow.STOP,
            after=Happening.SALE,
            times=rng.randint(1, 4),
            steps=rng.randint(0, 40),
            lasts=rng.uniform(40.0, 230.0),  # within the time in which a restarted till cancels
        )
        for _ in range(3)
    ]
    return attrs.evolve(
        weather, processes=1, rivals=False, tills=1.0, blows=blows, storm=400.0, disk={}, wire={}
    )


def _unheard(rng: random.Random, weather: Weather) -> Weather:
    """Of a few payments: COMMITs fail, and are made all the same."""
    disk = {Trouble.COMMIT_UNKNOWN: rng.choice((0.05, 0.1, 0.2))}
    return attrs.evolve(weather, tills=1.0, disk=disk, blows=[], wire={})


def _undisturbed(_: random.Random, weather: Weather) -> Weather:
    """Only what comes from outside goes wrong: no process, no disk, no function of the shop."""
    return attrs.evolve(weather, processes=max(2, weather.processes), blows=[], disk={}, raises=0.0)


_MOSTLY = (*(_plain,) * 3, _struck, _before_it_left, _undisturbed)
#: Half of those that were left as they are. Their order lets each seed that broke a rule before
#: these were known keep its world.
_HARSHER = (_unheard, _as_it_is, _as_it_is, _unheard, _stopped_alone, _as_it_is)
