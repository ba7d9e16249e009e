"""Time-outs around work, and what they leave alone."""

from __future__ import annotations

import asyncio

import pytest

from chaoying_async.clock import within
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.testing import FakeClock
from tests.shop import SUCCESS, Shop, cancelled, said


async def test_what_does_not_wait_ends_even_where_no_time_is_left() -> None:
    """A lookup in a dictionary is not cut off by a budget that others have used up."""
    clock = FakeClock()

    async def at_once() -> int:
        return 5

    assert await within(clock, -1, at_once()) == 5
    assert clock.waiting == 0


async def test_what_waits_has_so_long_and_no_longer() -> None:
    """TimeoutError at the moment, and the timer is gone when it ends in time."""
    clock = FakeClock()

    async def work(seconds: float) -> str:
        await clock.sleep(seconds / 2)
        await asyncio.sleep(0)  # a bare turn of the loop, which waits for nothing
        await clock.sleep(seconds / 2)
        return "done"

    assert await clock.run(within(clock, 2, work(1.9))) == "done"
    assert clock.waiting == 0
    with pytest.raises(TimeoutError):
        await clock.run(within(clock, 2, work(2.1)))
    assert clock.monotonic() == pytest.approx(3.9)
    with pytest.raises(TimeoutError):
        await clock.run(within(clock, -1, work(1)))
    assert clock.monotonic() == pytest.approx(3.9)


async def test_work_may_use_time_outs_and_groups_of_its_own() -> None:
    """It is one task from its first step to its last, so that its own cancellations find it."""
    clock = FakeClock()

    async def work() -> str:
        try:
            async with clock.timeout(1), asyncio.TaskGroup() as group:
                group.create_task(clock.sleep(5))
        except TimeoutError:
            return "its own"
        return ""

    assert await clock.run(within(clock, 10, work())) == "its own"


@pytest.mark.parametrize("then", ["raises", "returns", "waits"])
async def test_a_cancellation_is_the_works_to_answer(then: str) -> None:
    """It arrives inside, where it may be cleaned up after, or even swallowed."""
    clock = FakeClock()

    async def work() -> str:
        try:
            await clock.sleep(100)
        except asyncio.CancelledError:
            if then == "raises":
                raise
            if then == "waits":
                await clock.sleep(1)
        return "cleaned up"

    task = asyncio.create_task(within(clock, 1000, work()))
    await clock.advance(1)
    task.cancel()
    await clock.advance(2)
    assert task.cancelled() if then == "raises" else task.result() == "cleaned up"


async def test_a_timer_is_gone_whatever_the_work_raises() -> None:
    """What it raises comes out, and nothing is left behind."""
    clock = FakeClock()

    async def work(seconds: float) -> None:
        if seconds:
            await clock.sleep(seconds)
        raise KeyError

    for seconds in (0, 1):
        with pytest.raises(KeyError):
            await clock.run(within(clock, 10, work(seconds)))
        assert clock.waiting == 0


# ------------------------------------------------------------------------------------- the handler


async def test_an_order_without_a_wait_costs_no_timer_of_its_own() -> None:
    """One waiting task for run_due and one for all leases, however many orders."""
    shop = Shop()
    async with shop.handler(expected=lambda *_: shop.orders["any"]) as handler:
        shop.orders["any"] = next(iter(shop.orders.values()))
        for number in range(20):
            body = shop.body(out_trade_no=f"N{number}", transaction_id=f"T{number}")
            assert said(await handler.handle(body)) == (Decision.APPLY, SUCCESS)
        await asyncio.sleep(0)
        assert shop.clock.waiting <= 2
        assert handler.stats().working == 0
    assert shop.clock.waiting == 0


async def test_a_caller_cancelled_while_the_work_takes_its_first_step_leaves_it_alone() -> None:
    """M-17: the work has its own task from the start, even where it never waits."""
    shop = Shop()
    inbox = shop.inbox()
    async with shop.handler(inbox) as handler:
        for turns in range(4):
            number = f"N{turns}"
            shop.orders[number] = next(iter(shop.orders.values()))
            body = shop.body(out_trade_no=number, transaction_id=f"T{turns}")
            task = asyncio.create_task(handler.handle(body))
            for _ in range(turns):
                await asyncio.sleep(0)
            await cancelled(task)
        await shop.clock.advance(0)
        assert handler.stats().working == 0
        assert not await inbox.listing(10)
    # Before its first step nothing had begun; afterwards all of it happened.
    assert [order.out_trade_no for order in shop.delivered] == ["N1", "N2", "N3"]
