"""Worlds in which a process loses its network."""

from __future__ import annotations

import random
from itertools import product

import attrs
import pytest

from chaoying_async.testing.simulation import SimulatedWorld, Weather
from chaoying_async.testing.simulation.outages import SHARE, with_outages
from chaoying_async.testing.simulation.process import Blow
from chaoying_async.testing.simulation.timeline import Happening
from chaoying_async.testing.simulation.weather import PlannedBlow, drawn
from tests.sizes import sampled
from tests.testing.test_simulation_fleet import fleet

MOMENTS = product(
    (Happening.SALE, Happening.SENT, Happening.REPLY, Happening.TOLD), (4.0, 45.0), (0, 1, 4, 9, 17)
)


def cut_off(after: Happening, *, steps: int, lasts: float) -> Weather:
    """One process of a fleet is cut off while it has an order in hand; nothing else goes wrong."""
    cut = PlannedBlow(blow=Blow.CUT_OFF, after=after, times=1, steps=steps, lasts=lasts)
    return attrs.evolve(fleet(), blows=[cut], tills=1.0)


def test_a_share_of_the_seeds_has_outages_and_the_others_are_what_they_were() -> None:
    """The dice are its own."""
    weathers = [drawn(random.Random(seed)) for seed in range(400)]
    found = [with_outages(random.Random(f"{n}/"), each) for n, each in enumerate(weathers)]
    with_one = [each for each in found if any(_cuts(each))]
    assert SHARE * 0.6 < len(with_one) / len(found) < SHARE * 1.4
    assert all(a == b for a, b in zip(weathers, found, strict=True) if not any(_cuts(b)))
    assert {bool(each.wire) for each in with_one} == {False, True}


def _cuts(weather: Weather) -> list[bool]:
    return [blow.blow is Blow.CUT_OFF for blow in weather.blows]


def test_who_is_cut_off_reaches_neither_gateway_nor_database() -> None:
    """And everything adds up when the network is there again."""
    story = SimulatedWorld(11, cut_off(Happening.SENT, steps=0, lasts=12.0)).run()
    assert story.broken == ()
    said = [line.what for line in story.timeline]
    during = said[said.index("is cut off") : said.index("is connected again")]
    assert any(what.endswith(": unable to open database file") for what in during)
    assert any(what.startswith("pay") and what.endswith("reset by peer") for what in during)


@pytest.mark.slow
@pytest.mark.parametrize(("after", "lasts", "steps"), [*sampled(MOMENTS, every=13)])
def test_an_outage_at_any_moment_of_a_payment_loses_nothing(
    after: Happening, lasts: float, steps: int
) -> None:
    """A COMMIT whose answer is lost may have been made. One moment in 13; ``FULL=1``: all."""
    assert SimulatedWorld(11, cut_off(after, steps=steps, lasts=lasts)).run().broken == ()
