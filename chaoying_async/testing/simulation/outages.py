"""Worlds in which a process loses its network for a while, and with it database and gateway."""

from __future__ import annotations

import random

import attrs

from chaoying_async.testing.simulation.process import Blow
from chaoying_async.testing.simulation.timeline import Happening
from chaoying_async.testing.simulation.weather import PlannedBlow, Weather

#: In how many worlds there are outages.
SHARE = 0.1
_AFTER = (
    *(Happening.SALE, Happening.SENT, Happening.REPLY, Happening.TOLD),
    *(Happening.COMMIT, Happening.NOTIFIED, Happening.EFFECT),
)


def with_outages(rng: random.Random, weather: Weather) -> Weather:
    """The same weather, in which there may be outages besides, or in the place of all else.

    Its dice are its own: where there is none a seed is the world that it always was.
    """
    if rng.random() >= SHARE:
        return weather
    outages = [_outage(rng) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.5:  # noqa: PLR2004 - nobody tunes this
        return attrs.evolve(weather, blows=[*weather.blows, *outages])
    return attrs.evolve(
        weather,
        blows=outages,
        wire={},
        mail={},
        disk={},
        raises=0.0,
        storm=max(100.0, weather.storm),
    )


def _outage(rng: random.Random) -> PlannedBlow:
    return PlannedBlow(
        blow=Blow.CUT_OFF,
        after=rng.choice(_AFTER),
        times=rng.choice((1, 1, 1, 2, 3, 5)),
        steps=rng.choice((0, 1, 2, 3, 5, 8, 13, 21, 40)),
        lasts=rng.choice((0.5, 4.0, 12.0, 20.0, 45.0, 150.0)),
    )
