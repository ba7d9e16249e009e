"""Worlds in which the shop has a fleet: they are there, and their checks see what they are for."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import attrs
import pytest

from chaoying_async.testing.simulation import SimulatedWorld
from chaoying_async.testing.simulation import world as world_module
from chaoying_async.testing.simulation.changes import Changes
from chaoying_async.testing.simulation.checks import BothBooks
from chaoying_async.testing.simulation.fleet_checks import (
    FLEET_CHECKS,
    who_waits_again_is_told_again,
)
from chaoying_async.testing.simulation.fleet_weather import SHARE, with_fleet
from chaoying_async.testing.simulation.process import Blow
from chaoying_async.testing.simulation.surroundings import AGAIN, GivenOutcome, Told, Word
from chaoying_async.testing.simulation.timeline import Happening
from chaoying_async.testing.simulation.weather import PlannedBlow, Weather, drawn
from chaoying_async.workers.sending import Sending
from tests.sizes import FULL, sampled

BLOWS = (Blow.KILL, Blow.STOP)
MOMENTS = (Happening.SALE, Happening.SENT, Happening.REPLY, Happening.TOLD)


def fleet(**changes: Any) -> Weather:
    """A fleet of two processes, and nothing that goes wrong but what is named."""
    calm = attrs.evolve(
        drawn(random.Random(1)),
        wire={},
        mail={},
        disk={},
        blows=[],
        raises=0.0,
        slow=0.0,
        slow_disk=0.01,
        hangs_up=False,
        attempts=12,
        processes=2,
        sales=3,
        shuffled=0.0,
        ahead=0.0,
        polls=True,
        tracks_once=True,
        lease=15.0,
        storm=40.0,
        tills=0.5,
        shards=3,
        takes_back=0.0,
        changes=Changes(),
    )
    return attrs.evolve(calm, **changes)


def test_a_share_of_the_seeds_has_a_fleet_and_the_others_are_what_they_were() -> None:
    """The dice are its own."""
    weathers = [drawn(random.Random(seed)) for seed in range(400)]
    fleets = [with_fleet(random.Random(f"{n}/fleet"), each) for n, each in enumerate(weathers)]
    with_one = [each for each in fleets if each.shards]
    assert SHARE * 0.7 < len(with_one) / len(fleets) < SHARE * 1.3
    assert all(a == b for a, b in zip(weathers, fleets, strict=True) if not b.shards)


def test_what_was_rolled_back_is_told_of_to_nobody() -> None:
    """The order's row and its watch are one transaction."""
    world = SimulatedWorld(11, fleet(tills=0.0, takes_back=1.0))
    assert world.run().broken == ()
    assert world.shared.given == []


@pytest.mark.slow
@pytest.mark.parametrize(("blow", "after"), [*sampled(product(BLOWS, MOMENTS), every=3)])
def test_a_process_that_is_struck_leaves_no_order_behind(blow: Blow, after: Happening) -> None:
    """Another one takes its shards over, or itself when it is there again.

    One moment in three; ``FULL=1``: each.
    """
    struck = PlannedBlow(blow=blow, after=after, times=1, steps=3, lasts=100.0)
    assert SimulatedWorld(11, fleet(blows=[struck], tills=1.0)).run().broken == ()


def stopped_before_it_left() -> SimulatedWorld:
    """A till is stopped between the COMMIT of its intent and its payment, for minutes."""
    stop = PlannedBlow(blow=Blow.STOP, after=Happening.SALE, times=1, steps=22, lasts=400.0)
    return SimulatedWorld(11, fleet(blows=[stop], tills=1.0, storm=520.0))


@pytest.mark.slow
def test_a_till_that_was_stopped_sends_nothing_that_the_fleet_has_ended() -> None:
    """It reads that the payment is still its own; where it does not, the books show it.

    The second is for ``FULL=1``: each day takes five seconds.
    """
    assert stopped_before_it_left().run().broken == ()
    if not FULL:
        return

    async def unread(*_: object) -> None:
        """Let it leave, whoever has taken it up meanwhile."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sending, "_look", unread)
        (broken,) = stopped_before_it_left().run().broken
    assert broken.endswith("was told FAILED NOT_FOUND, and its money was kept")


def complaints(seen: BothBooks, given: Iterable[GivenOutcome]) -> list[str]:
    """What the checks say where the task had got something else."""
    evidence = attrs.evolve(seen, given=list(given))
    return [what for check in FLEET_CHECKS for what in check(evidence)]


@pytest.fixture(scope="module")
def seen() -> BothBooks:
    """What is held against each other at the end of a calm day."""
    found: list[BothBooks] = []

    def look(books: BothBooks) -> Iterator[str]:
        found.append(books)
        return iter(())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world_module, "FLEET_CHECKS", [look])
        assert SimulatedWorld(11, fleet()).run().broken == ()
    assert complaints(found[-1], found[-1].given) == []
    return found[-1]


def test_every_order_comes_to_its_task_on_a_calm_day(seen: BothBooks) -> None:
    """Those at a till and those by a code."""
    assert {each.told for each in seen.given} >= {Told.CHECKOUT, Told.ORDER}


def test_an_outcome_that_came_to_nobody_is_seen(seen: BothBooks) -> None:
    """Of what was committed, or charged."""
    number = seen.given[0].number
    rest = [each for each in seen.given if each.number != number]
    assert any(f"{number} was" in what for what in complaints(seen, rest))


def test_an_outcome_that_came_twice_is_seen(seen: BothBooks) -> None:
    """Nobody died, so nobody else may have it."""
    assert "came 2 times" in complaints(seen, [*seen.given, seen.given[0]])[0]


def test_an_outcome_with_two_contents_is_seen(seen: BothBooks) -> None:
    """Whatever befell the processes."""
    other = attrs.evolve(seen.given[0], content="{}")
    assert "2 contents" in complaints(seen, [*seen.given, other])[0]


def test_a_payment_with_two_outcomes_is_seen(seen: BothBooks) -> None:
    """It was handed over once."""
    other = attrs.evolve(seen.given[0], name="another")
    assert "2 outcomes" in complaints(seen, [*seen.given, other])[0]


def test_a_wait_that_was_begun_again_and_forgotten_is_seen(seen: BothBooks) -> None:
    """Neither was it asked about since, nor did its end come; what is paid need not be."""
    number, *paid = [each.number for each in seen.sales if not each.at_till]
    again = [Word(5000.0, "shop1", Told.ORDER, each, AGAIN) for each in (number, *paid)]
    told = [attrs.evolve(each, status="EXPIRED") for each in seen.words if each.number == number]
    rest = [each for each in seen.words if each.number != number]
    books = attrs.evolve(seen, words=[*rest, *told, *again])
    assert list(who_waits_again_is_told_again(books)) == [
        f"M-23: {number} was waited for once more, and not asked about since"
    ]
    asked = {**seen.sent_last, ("orderquery", number): 5001.0}
    assert list(who_waits_again_is_told_again(attrs.evolve(books, sent_last=asked))) == [
        f"M-23: {number} was waited for once more, and no task was told how it ended"
    ]


def test_an_order_that_is_waited_for_once_more_comes_to_its_task_again() -> None:
    """Unless it is known to be paid."""
    world = SimulatedWorld(3, fleet(tills=0.0, asks_again=1.0, sales=1))
    assert world.run().broken == ()
    assert any(word.status == AGAIN for word in world.shared.words)
