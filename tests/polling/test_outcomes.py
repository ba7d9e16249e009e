"""Who collects tracked orders: a service's consumer waits for more, a script drains and is done."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from chaoying_async import (
    Poller,
    PollOutcome,
    PollStatus,
    SessionClosedError,
    StoreInUseError,
    UsageError,
    WrongEventLoopError,
)
from chaoying_async.testing import FakeClock
from tests.pollers import (
    PAID,
    PENDING,
    Scripted,
    always,
    collected,
    number_of,
    order,
    orders,
    poller_on,
)
from tests.polling.store_world import World, troubled


def plain(script: Any = None) -> tuple[FakeClock, Poller]:
    clock = FakeClock()
    return clock, poller_on(Scripted(clock, script or always(PAID)))


class Consumer:
    """Takes what comes, in a task of its own."""

    def __init__(self, outcomes: AsyncGenerator[PollOutcome[Any]]) -> None:
        self.seen: list[str] = []
        self.task = asyncio.create_task(self._take(outcomes))

    async def _take(self, outcomes: AsyncGenerator[PollOutcome[Any]]) -> None:
        async for outcome in outcomes:
            self.seen.append(number_of(outcome.query))


# ------------------------------------------------------------------------- a service's consumer


async def test_a_consumer_that_begins_before_the_first_order_gets_all_that_are_tracked_later() -> (
    None
):
    """M-23: it waits through times in which nothing is tracked, and ends with the block."""
    clock, poller = plain()
    async with poller:
        consumer = Consumer(poller.outcomes())
        await clock.advance(3600)
        poller.track(order("A000001"))
        await clock.advance(6)
        assert consumer.seen == ["A000001"]
        await clock.advance(3600)
        poller.track(order("A000002"))
        await clock.advance(6)
        assert not consumer.task.done()
    await consumer.task
    assert consumer.seen == ["A000001", "A000002"]


async def test_leaving_the_block_ends_a_consumer_that_waits_for_a_pending_order() -> None:
    """No error and no hang: `pending()` says what is left, and a store keeps it."""
    clock, poller = plain(always(PENDING))
    async with poller:
        consumer = Consumer(poller.outcomes())
        poller.track(order())
        await clock.advance(10)
    await consumer.task
    assert len(poller.pending()) == 1
    assert len(asyncio.all_tasks()) == 1


async def test_what_had_ended_when_the_block_was_left_is_still_read_without_a_store(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody else has it; and the log says how many were not read by then."""
    clock, poller = plain()
    async with poller:
        outcomes = poller.outcomes()
        for query in orders(3):
            poller.track(query)
        await clock.advance(6)
        await anext(outcomes)
    (left,) = caplog.messages
    assert left.startswith("the poller was left with 2 outcomes that nobody has read")
    assert len(await collected(outcomes)) == 2


async def test_with_a_store_the_next_poller_has_what_had_ended_when_the_block_was_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """M-23: it cannot be marked as taken any more, so nobody is to act on it now."""
    world = World(always(PAID))
    async with world.store, world.poller() as poller:
        tracked, drained = poller.outcomes(), poller.drain()
        for query in orders(3):
            poller.track(query, 100)
        await world.clock.advance(6)
        (await anext(tracked)).done()
        (await anext(drained)).done()
    assert await collected(tracked) == []
    with pytest.raises(SessionClosedError):
        await anext(drained)
    assert caplog.messages == []
    world.later()
    async with world.store, world.poller() as poller:
        assert [number_of(one.query) for one in await collected(poller.drain())] == ["A000002"]


async def test_undelivered_outcomes_come_first_to_a_consumer_that_begins_at_the_start() -> None:
    """M-23: after a restart, before anything is tracked."""
    world = World(always(PAID))
    async with world.store, world.poller() as poller:
        for query in orders(2):
            poller.track(query, 100)
        await world.clock.advance(6)
    world.later()
    async with world.store, world.poller() as poller:
        assert poller.stats().unread == 2
        consumer = Consumer(poller.outcomes())
        poller.track(order("B000001"), 100)
        await world.clock.advance(6)
    await consumer.task
    assert consumer.seen == ["A000000", "A000001", "B000001"]


@pytest.mark.parametrize("kept", [False, True])
async def test_several_consumers_share_what_comes(kept: bool) -> None:
    """Each outcome goes to one of them."""
    world = World(always(PAID))
    poller = world.poller() if kept else poller_on(world.gateway)
    async with world.store, poller:
        consumers = [Consumer(poller.outcomes()) for _ in range(3)]
        for query in orders(30):
            poller.track(query, 100)
            await world.clock.advance(1)
        await world.clock.advance(6)
        assert poller.stats().unread == 0
    await asyncio.gather(*(consumer.task for consumer in consumers))
    seen = [number for consumer in consumers for number in consumer.seen]
    assert sorted(seen) == [str(query.out_trade_no) for query in orders(30)]


# ------------------------------------------------------------------------------ a script's drain


async def test_draining_ends_when_all_that_was_tracked_has_ended() -> None:
    """Also what is tracked meanwhile; and at once where nothing is tracked."""
    clock, poller = plain()
    async with poller:
        assert await collected(poller.drain()) == []
        poller.track(order("A000001"))

        async def drained() -> list[str]:
            seen = []
            async for outcome in poller.drain():
                seen.append(number_of(outcome.query))
                if len(seen) < 3:
                    poller.track(order(f"B00000{len(seen)}"))
            return seen

        assert await clock.run(drained()) == ["A000001", "B000001", "B000002"]


async def test_draining_says_so_when_the_block_is_left_before_the_end() -> None:
    """Else it would look as though all had ended."""
    clock, poller = plain(always(PENDING))
    async with poller:
        poller.track(order())
        draining = asyncio.create_task(collected(poller.drain()))
        await clock.advance(10)
    with pytest.raises(SessionClosedError, match="closed before"):
        await draining


async def test_a_consumer_and_a_drain_share_what_comes() -> None:
    """The drain ends with the last order, whoever of the two had it; the consumer waits on."""
    clock, poller = plain()
    async with poller:
        consumer, draining = Consumer(poller.outcomes()), Consumer(poller.drain())
        for query in orders(3):
            poller.track(query)
        await clock.advance(6)
        assert draining.task.done()
        assert not consumer.task.done()
    assert sorted(consumer.seen + draining.seen) == [f"A{n:06d}" for n in range(3)]


# ------------------------------------------------------------- a consumer that does not come back


async def cancelled(outcomes: AsyncGenerator[PollOutcome[Any]]) -> None:
    async def work() -> None:
        async for _ in outcomes:
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def failing(outcomes: AsyncGenerator[PollOutcome[Any]]) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async for _ in outcomes:
            raise ZeroDivisionError


async def breaking(outcomes: AsyncGenerator[PollOutcome[Any]]) -> None:
    async for _ in outcomes:
        break


async def closing(outcomes: AsyncGenerator[PollOutcome[Any]]) -> None:
    async with aclosing(outcomes):
        await anext(outcomes)


async def throwing(outcomes: AsyncGenerator[PollOutcome[Any]]) -> None:
    await anext(outcomes)
    with pytest.raises(ZeroDivisionError, match="mine"):
        await outcomes.athrow(ZeroDivisionError("mine"))


@pytest.mark.parametrize("leaving", [cancelled, failing, breaking, closing, throwing])
async def test_an_outcome_that_its_consumer_did_not_finish_goes_to_the_next_one(
    leaving: Callable[[AsyncGenerator[PollOutcome[Any]]], Any],
) -> None:
    """M-23: of this poller, after the others, or of the next one on the store."""
    world = World(always(PAID))
    async with world.store, world.poller() as poller:
        for query in orders(3):
            poller.track(query, 100)
        await world.clock.advance(6)
        await leaving(poller.outcomes())
        assert poller.stats().unread == 3
        again = poller.outcomes()
        assert [number_of((await anext(again)).query) for _ in range(3)] == [
            "A000001",
            "A000002",
            "A000000",
        ]
        await again.aclose()
        await poller.kept()
        assert len(world.texts()) == 1
    world.later()
    async with world.store, world.poller() as poller:
        assert [number_of(one.query) for one in await collected(poller.drain())] == ["A000000"]


async def test_what_was_done_does_not_come_again_after_a_break() -> None:
    """Whether it was said before the consumer left or after it."""
    world = World(always(PAID))
    async with world.store, world.poller() as poller:
        for query in orders(2):
            poller.track(query, 100)
        await world.clock.advance(6)
        async for outcome in poller.outcomes():
            outcome.done()
            break
        outcomes = poller.outcomes()
        outcome = await anext(outcomes)
        await outcomes.aclose()
        assert outcome.comes_again
        outcome.done()
        assert not outcome.comes_again
        assert poller.stats().unread == 0
        assert await collected(poller.drain()) == []
    assert world.texts() == []


async def test_without_a_store_what_was_given_out_does_not_come_again() -> None:
    """Nothing says whether it took effect, so a second time might deliver twice."""
    clock, poller = plain()
    async with poller:
        for query in orders(2):
            poller.track(query)
        await clock.advance(6)
        await breaking(poller.outcomes())
        assert [number_of(one.query) for one in await collected(poller.drain())] == ["A000001"]


async def test_waiting_with_a_time_out_does_not_end_the_consumer() -> None:
    """As a worker does that looks at something else now and then."""
    clock, poller = plain()
    async with poller:
        outcomes = poller.outcomes()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await anext(outcomes)
        poller.track(order())
        await clock.advance(6)
        assert (await anext(outcomes)).status is PollStatus.PAID


async def test_a_consumer_that_is_garbage_gives_back_what_it_held() -> None:
    """Also where the garbage collector runs in another thread."""
    world = World(always(PAID))
    async with world.store, world.poller() as poller:
        poller.track(order(), 100)
        await world.clock.advance(6)
        outcomes = poller.outcomes()
        await anext(outcomes)
        held: list[Any] = [outcomes]
        held.append(held)  # a cycle: only the garbage collector finds it
        del outcomes, held
        await asyncio.to_thread(gc.collect)
        assert (await anext(poller.outcomes())).status is PollStatus.PAID


async def test_closing_a_consumer_ends_whoever_waits_in_it() -> None:
    """From another task, as a shutdown does."""
    clock, poller = plain()
    async with poller:
        outcomes = poller.outcomes()
        consumer = Consumer(outcomes)
        await clock.advance(1)
        await outcomes.aclose()
        await consumer.task
        assert await collected(outcomes) == []


# ------------------------------------------------------------------------------------- misuse


async def test_two_tasks_cannot_share_one_consumer() -> None:
    """M-23: one would say for the other that its outcome took effect."""
    clock, poller = plain()
    async with poller:
        outcomes = poller.outcomes()
        consumer = Consumer(outcomes)
        await clock.advance(1)
        with pytest.raises(UsageError, match="once for each"):
            await anext(outcomes)
        assert not consumer.task.done()


@pytest.mark.parametrize("name", ["outcomes", "drain"])
async def test_reading_outside_the_block_is_an_error(name: str) -> None:
    """Before it and after it; what was made before it and is read inside is fine."""
    clock, poller = plain()
    early = getattr(poller, name)()
    with pytest.raises(SessionClosedError):
        await anext(getattr(poller, name)())
    async with poller:
        poller.track(order())
        await clock.advance(6)
        assert (await anext(early)).status is PollStatus.PAID
    with pytest.raises(SessionClosedError):
        await anext(getattr(poller, name)())


async def test_another_loop_is_refused() -> None:
    """It could not be woken, and would wait for ever without a word."""
    _, poller = plain()
    async with poller:
        for call in (
            lambda: anext(poller.outcomes()),
            lambda: anext(poller.drain()),
            lambda: poller.wait(order()),
        ):

            async def elsewhere(call: Any = call) -> None:
                await call()

            with pytest.raises(WrongEventLoopError):
                await asyncio.to_thread(asyncio.run, elsewhere())
        with pytest.raises(WrongEventLoopError):
            await asyncio.to_thread(poller.track, order())


async def test_a_lost_store_is_told_to_a_consumer_that_waits() -> None:
    """M-23: its new owner gives out what there is; also to one that begins afterwards."""
    world = troubled(lambda number, _: PAID if number == "A000000" else PENDING)
    async with world.store, world.poller() as poller:
        consumer = Consumer(poller.outcomes())
        poller.track(order("A000000"), 100)
        await poller.kept()
        world.store.trouble = StoreInUseError("taken over")
        await world.clock.advance(10)
        for outcomes in (poller.outcomes(), poller.drain()):
            with pytest.raises(StoreInUseError):
                await anext(outcomes)
    with pytest.raises(StoreInUseError):
        await consumer.task
    assert consumer.seen == []


async def test_the_stats_count_what_nobody_reads() -> None:
    """A number that only grows says that there is no consumer."""
    clock, poller = plain()
    assert poller.stats().unread == 0
    async with poller:
        for query in orders(3):
            poller.track(query)
        await clock.advance(6)
        assert (poller.stats().pending, poller.stats().unread) == (0, 3)
        await anext(poller.drain())
        assert poller.stats().unread == 2
