"""A store under attack: poisoned orders, cancelled leaving, two waits over one record (M-23)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from chaoying_async import (
    ParameterError,
    PollSchedule,
    PollStatus,
    SessionClosedError,
    StoreInUseError,
)
from chaoying_async.pollstore import MemoryPollStore
from tests.pollers import CLOSED, PAID, PENDING, after, always, order, orders
from tests.polling.store_world import World, troubled
from tests.polling.test_poller import paid_order


async def left_by_run(world: World, poller: Any, expected: int, **options: Any) -> None:
    """A `run` of one order whose consumer stopped early: the record is all that is left."""
    running = poller.run(orders(1), expected=expected, **options)
    task = asyncio.create_task(anext(running))
    await world.clock.advance(1)
    task.cancel()
    await asyncio.wait([task])
    await running.aclose()
    assert poller.pending() == ()


async def test_an_order_that_cannot_be_written_is_refused_and_takes_nothing_along() -> None:
    """A deadline after the year 9999 is said at once; else its whole batch would be lost."""
    world = troubled(always(PENDING))
    async with world.store, world.poller() as poller:
        poller.track(order("GOOD"), 100)
        with pytest.raises(ParameterError, match="until"):
            poller.track(order("BAD"), 100, schedule=PollSchedule(until=1e12))
        with pytest.raises(ParameterError, match="until"):
            poller.track(order("WORSE"), 100, schedule=PollSchedule(until=1e300))
        with pytest.raises(ParameterError, match="expected"):
            poller.track(order("RICH"), 10**15)
        await world.clock.advance(1)
        assert len(world.texts()) == 1


async def test_a_write_that_fails_before_the_store_is_asked_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever goes wrong in writing down a batch, all of it is tried again."""
    world = troubled(always(PENDING))
    async with world.store, world.poller() as poller:
        with monkeypatch.context() as patch:
            patch.setattr("chaoying_async.polling.records.PendingOrder.text", lambda *_: 1 / 0)
            poller.track(order(), 100)
            await world.clock.advance(0.5)
            assert poller.stats().unwritten == 1
        await world.clock.advance(1)
        assert len(world.texts()) == 1


async def test_what_was_learnt_before_does_not_undo_a_new_wait() -> None:
    """The amount that was named last stays in the store, whatever was still to be written."""
    world = World(always(PENDING))
    async with world.store, world.poller() as poller:
        running = poller.run(orders(1))
        task = asyncio.create_task(anext(running))
        await world.clock.advance(5.2)
        task.cancel()
        await asyncio.wait([task])
        await running.aclose()
        poller.track(orders(1)[0], 100)
        await world.clock.advance(2)
        assert [kept["expected"] for kept in world.texts()] == [100]


async def test_a_kept_amount_counts_for_whoever_waits_next() -> None:
    """M-13: a `wait` without an amount does not make PAID of what `run` would call MISMATCH."""
    world = World(always(PAID))
    async with world.store, world.poller() as poller:
        await left_by_run(world, poller, 99)
        with pytest.raises(ParameterError, match="another amount"):
            await poller.wait(orders(1)[0], 100)
        outcome = await world.clock.run(poller.wait(orders(1)[0]))
        assert outcome.status is PollStatus.MISMATCH


async def test_a_kept_deadline_and_what_was_heard_outlive_a_wait_in_between() -> None:
    """M-22, M-23: `wait` joins what is kept; it does not shorten five days to three minutes."""
    world = World(always(PENDING))
    async with world.store, world.poller() as poller:
        await left_by_run(world, poller, 100, schedule=PollSchedule.refunds())
        before = world.texts()
        waiting = asyncio.create_task(poller.wait(orders(1)[0]))
        await world.clock.advance(300)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        await poller.kept()
        (kept,) = world.texts()
        deadlines = [datetime.fromisoformat(one["deadline"]) for one in (kept, before[0])]
        assert abs(deadlines[0] - deadlines[1]) < timedelta(seconds=1)
        assert kept["attempts"] > 0


BROKEN: dict[str, tuple[str, Any]] = {
    "no time zone": ("started", "2026-01-01T00:00:00"),
    "not a number": ("sent", float("nan")),
    "endless": ("sent", float("inf")),
    "before the start": ("sent", -5.0),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_moment_that_makes_no_sense_stops_nobody_else(case: str) -> None:
    """The record stays and is reported; the poller opens, and asks about the others."""
    world = World(always(PENDING))
    await world.killed_after(7, *orders(2))
    name, value = BROKEN[case]
    texts = world.store._texts["poll"]
    key = next(iter(texts))
    members = json.loads(texts[key]) | {name: value}
    if name == "started":
        members["deadline"] = "2026-01-01T00:03:00"
    texts[key] = json.dumps(members)
    async with world.store, world.poller() as poller:
        assert len(poller.pending()) == 1
        assert poller.stats().unreadable == 1


class Stuck(MemoryPollStore):
    """A store whose writes hang, once it is told to."""

    stuck = False

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        if self.stuck:
            await asyncio.get_running_loop().create_future()
        await super().put(kind, items)


async def test_leaving_that_is_cancelled_leaves_nobody_waiting() -> None:
    """Who waits for an outcome, or for the store, is told all the same."""
    world = World(always(PAID))
    world.store = Stuck()
    opened, leave = asyncio.Event(), asyncio.Event()
    pollers = []

    async def living() -> None:
        async with world.store, world.poller() as poller:
            pollers.append(poller)
            opened.set()
            await leave.wait()

    life = asyncio.create_task(living())
    await opened.wait()
    (poller,) = pollers
    poller.track(order(), 100)
    await poller.kept()
    world.store.stuck = True
    waits = [asyncio.create_task(poller.wait(order())), asyncio.create_task(poller.kept())]
    await world.clock.advance(6)
    waits.append(asyncio.create_task(poller.kept()))
    leave.set()
    await world.clock.advance(1)
    life.cancel()
    await asyncio.wait([life])
    assert life.cancelled()
    await world.clock.advance(1)
    assert [wait.done() for wait in waits] == [True, True, True]
    for wait in (waits[0], waits[2]):
        with pytest.raises(SessionClosedError):
            await wait
    assert len(asyncio.all_tasks()) == 1


async def test_a_store_has_one_poller_at_a_time() -> None:
    """Two would ask twice, and write again what the other one has forgotten."""
    world = World(always(PENDING))
    async with world.store, world.poller() as first:
        first.track(order())
        with pytest.raises(StoreInUseError, match="poller"):
            await world.poller().__aenter__()
        assert len(first.pending()) == 1
        await first.kept()
    async with world.store:
        for _ in range(2):
            async with world.poller() as poller:
                assert len(poller.pending()) == 1


async def test_an_order_that_comes_again_is_left_like_any_other() -> None:
    """`run` over a source that repeats itself leaves nothing running when it is stopped."""
    world = World(after(1, CLOSED, PENDING))

    async def again() -> Any:
        yield order()
        await world.clock.sleep(6)
        yield order()
        await world.clock.sleep(1e6)

    async with world.store, world.poller() as poller:
        running = poller.run(again())
        task = asyncio.create_task(anext(running))
        await world.clock.advance(5)
        await task
        await world.clock.advance(2)
        assert len(poller.pending()) == 1
        await running.aclose()
        assert poller.pending() == ()


async def test_nothing_is_settled_where_nobody_waits_any_more() -> None:
    """After leaving, or once the store was lost, the answer is False: the store has it still."""
    world = troubled(always(PENDING))
    async with world.store:
        async with world.poller() as poller:
            poller.track(order(), 100)
            await poller.kept()
        assert not poller.settle(paid_order(100))
        assert len(poller.pending()) == 1
        async with world.poller() as poller:
            world.store.trouble = StoreInUseError("taken over")
            await world.clock.advance(10)
            assert not poller.settle(paid_order(100))


async def test_a_store_that_was_lost_gives_out_nothing_that_was_ready() -> None:
    """Its new owner gives that out: two consumers would act on the same outcomes at once."""
    world = troubled(lambda number, _: PENDING if number == "LAST" else PAID)
    async with world.store, world.poller() as poller:
        for query in [*orders(3), order("LAST")]:
            poller.track(query, 100)
        await world.clock.advance(6)
        tracked, running = poller.outcomes(), poller.run([order("R1"), order("R2")])
        await anext(tracked)
        ready = asyncio.create_task(anext(running))
        await world.clock.advance(6)
        await ready
        world.store.trouble = StoreInUseError("taken over")
        await world.clock.advance(10)
        for outcomes in (tracked, running):
            with pytest.raises(StoreInUseError):
                await anext(outcomes)
    assert len(world.texts()) == 6
