"""Kill the handler at every await, deliver again, and the effect is there exactly once (M-16)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaoying_async import PaidOrder
from chaoying_async.notifications import NotificationHandler
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.inbox_values import Aside, Mark
from tests.factories import MCH_ID, ORDER
from tests.notifications.crashes import Points, World, durable_world, killed_everywhere
from tests.shop import PRICE, SUCCESS, Shop, queried

#: Made before any clock has moved: every delivery has the same bytes.
BODY = Shop().body()
#: The gateway's next deliveries, in seconds from the first (C 84).
LATER = (15, 15, 15, 30, 180)


async def redelivered(world: World) -> None:
    """The gateway tries again until it hears `success`; nobody else does anything."""
    for pause in LATER:
        await world.pass_time(pause)
        answer = await world.wait(world.process(Points()).handle(BODY))
        if answer.body == SUCCESS:
            break
    assert answer.body == SUCCESS
    assert await world.books() == [ORDER]
    again = await world.process(Points()).handle(BODY)
    assert again.body == SUCCESS
    assert await world.books() == [ORDER]


async def taken_up(world: World) -> None:
    """The gateway never tries again: only run_due is left."""
    for pause in LATER:
        await world.pass_time(pause)
        await world.wait(world.process(Points()).run_due())
    assert await world.books() == [ORDER]


async def test_a_kill_at_any_point_of_a_delivery_is_made_good_by_the_next_one() -> None:
    """M-16: whatever was half done is rolled back, whatever was committed is not repeated."""
    points = await killed_everywhere(lambda handler: handler.handle(BODY), redelivered)
    assert points >= 9


async def _failing_once(world: World) -> None:
    left = [1]

    async def fail(_order: PaidOrder) -> None:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("no stock")

    world.shop.before = fail


async def test_a_kill_after_a_failure_was_recorded_is_made_good_by_run_due() -> None:
    """M-17: from that record on, no other delivery is needed; before it, nothing was promised."""
    by_itself = []

    async def then(world: World) -> None:
        if await world.inbox.listing(1) or await world.books():
            by_itself.append(world)
            await taken_up(world)
        else:
            await redelivered(world)

    points = await killed_everywhere(
        lambda handler: handler.handle(BODY), then, prepare=_failing_once
    )
    assert points >= 10
    assert len(by_itself) >= 2


async def test_a_kill_while_a_failure_is_dealt_with_loses_nothing() -> None:
    """M-16: on_paid raised; the record of that may or may not have been durable."""
    points = await killed_everywhere(
        lambda handler: handler.handle(BODY), redelivered, prepare=_failing_once
    )
    assert points >= 10


async def test_a_kill_while_an_unknown_order_becomes_known_loses_nothing() -> None:
    """Set aside, known, killed while it is applied; run_due goes on."""

    async def prepare(world: World) -> None:
        world.shop.orders.clear()
        await world.process(Points()).handle(BODY)
        world.shop.orders[ORDER] = ExpectedOrder(PRICE, MCH_ID)

    count = await killed_everywhere(
        lambda handler: handler.order_known(MCH_ID, ORDER), taken_up, prepare=prepare
    )
    assert count >= 9


async def test_a_kill_while_a_mark_is_acted_upon_loses_nothing_and_doubles_nothing() -> None:
    """The mark and the order are two records: whichever is left, it ends once."""
    wrong = Shop().body(total_fee=1)

    async def prepare(world: World) -> None:
        await world.process(Points()).handle(wrong)
        (kept,) = await world.inbox.listing(1)
        assert isinstance(kept, Aside)
        await world.inbox.mark(kept.key, Mark.APPLY, kept.fingerprint)

    count = await killed_everywhere(lambda handler: handler.run_due(), taken_up, prepare=prepare)
    assert count >= 9


async def test_a_kill_of_a_poller_is_made_good_by_a_notification() -> None:
    """M-13: the same record, whichever way it was learnt first."""
    count = await killed_everywhere(lambda handler: handler.settle(queried()), redelivered)
    assert count >= 9


async def test_a_kill_while_a_failed_payment_is_noted_never_blocks_the_paid_one() -> None:
    """M-15: NOT_PAID half-way, then paid."""
    failed = Shop().body(pay_result="1")
    count = await killed_everywhere(lambda handler: handler.handle(failed), redelivered)
    assert count >= 4


@pytest.mark.parametrize("opened", [False, True])
async def test_a_cancellation_at_any_turn_of_the_loop_is_made_good(opened: bool) -> None:
    """Not killed but cancelled, so that clean-up code runs: the order is free again at once."""

    async def served(handler: NotificationHandler) -> Any:
        if not opened:
            return await handler.handle(BODY)
        async with handler:
            return await handler.handle(BODY)

    for turns in range(TURNS):
        async with durable_world() as world:
            task = asyncio.ensure_future(served(world.process(Points())))
            for _ in range(turns):
                await asyncio.sleep(0)
            finished = task.done()
            task.cancel()
            await world.pass_time(0)
            await asyncio.wait([task])
            await world.pass_time(1)
            answer = await world.wait(world.process(Points()).handle(BODY))
            assert answer.body == SUCCESS, turns
            assert await world.books() == [ORDER], turns
            if finished:
                return
    raise AssertionError("it takes more turns than that")


#: More turns of the loop than one delivery takes.
TURNS = 100
