"""NotificationHandler and its claims: leases, take-overs, ended transactions (M-16)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chaoying_async import PaidOrder
from chaoying_async.exceptions import ChaoyingError, HandlerMisuseError
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    Claim,
    ClaimLostError,
    Entry,
    Mark,
    OrderKey,
    SeenState,
)
from tests.factories import MCH_ID, ORDER
from tests.shop import FAIL, SUCCESS, Shop, failing, said, slow

D = Decision
ORDER_KEY = OrderKey(MCH_ID, ORDER)


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def state(inbox: MemoryInbox) -> SeenState | None:
    record = await inbox.look(ORDER_KEY)
    return record.state if record is not None else None


# ------------------------------------------------------------------------------------------ leases


class Watched(MemoryInbox):
    """An inbox whose renewals are counted and may fail."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(clock=shop.clock)
        self.shop = shop
        self.renewed: list[float] = []
        self.failing = False

    async def renew(self, claim: Claim, *, lease: float) -> bool:
        self.renewed.append(self.shop.clock.monotonic())
        if self.failing:
            raise ConnectionError
        return await super().renew(claim, lease=lease)


async def test_a_claim_is_renewed_every_10_s_while_on_paid_runs(shop: Shop) -> None:
    """M-16: a lease of 30 s carries work of any length, and nobody else gets in."""
    inbox = Watched(shop)
    shop.before = slow(shop, 100)
    async with shop.handler(inbox) as handler, shop.handler(inbox) as other:
        await shop.clock.run(handler.handle(shop.body()))
        await shop.clock.advance(50)
        assert said(await shop.clock.run(other.handle(shop.body()))) == (D.IN_PROGRESS, FAIL)
        await shop.clock.advance(60)
        assert len(shop.delivered) == 1
    assert inbox.renewed == [float(n) for n in range(10, 100, 10)]


async def test_a_few_failed_renewals_are_no_failure(shop: Shop) -> None:
    """M-16: one error is no failure; it is tried again until 5 s before the end."""
    inbox = Watched(shop)
    shop.before = slow(shop, 60)
    async with shop.handler(inbox) as handler:
        await shop.clock.run(handler.handle(shop.body()))
        inbox.failing = True
        await shop.clock.advance(20)
        inbox.failing = False
        await shop.clock.advance(60)
    assert len(shop.delivered) == 1


async def test_renewals_that_keep_failing_cancel_on_paid_before_the_lease_ends(shop: Shop) -> None:
    """M-16: none succeeded until 5 s before the end; it can never run twice at a time."""
    inbox = Watched(shop)
    inbox.failing = True
    ended: list[float] = []

    async def watched(_order: PaidOrder) -> None:
        try:
            await shop.clock.sleep(1000)
        finally:
            ended.append(shop.clock.monotonic())

    shop.before = watched
    handler = shop.handler(inbox)
    answer = await shop.clock.run(handler.handle(shop.body()))
    assert ended == [25.0]
    assert said(answer) == (D.APPLY, FAIL)
    shop.before = None
    inbox.failing = False
    await shop.clock.advance(10)
    assert await handler.run_due() == 1
    assert len(shop.delivered) == 1


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_claim_that_was_taken_over_cancels_on_paid(shop: Shop, swallows: bool) -> None:
    """M-16: the token is no longer ours; what swallows the cancellation is not recorded either."""
    inbox = Watched(shop)

    async def stubborn(_order: PaidOrder) -> None:
        try:
            await shop.clock.sleep(1000)
        except asyncio.CancelledError:
            if not swallows:
                raise

    shop.before = stubborn
    task = asyncio.create_task(shop.handler(inbox).handle(shop.body()))
    await shop.clock.advance(1)
    record = await inbox.look(ORDER_KEY)
    assert record is not None
    inbox._orders[ORDER_KEY].held_until = 0
    taken = await inbox.claim(ORDER_KEY, record.entry, lease=1000)
    assert isinstance(taken, Claim)
    await shop.clock.advance(10)
    assert said(task.result()) == (D.APPLY, FAIL)
    assert await inbox.renew(taken, lease=30)


async def test_a_dead_processs_order_is_taken_up_when_its_lease_ends(shop: Shop) -> None:
    """M-16, M-17: by a redelivery, or by run_due where there is none."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    entry = Entry(payload="", first_seen=shop.clock.now(), transaction_id="T0")
    await inbox.claim(ORDER_KEY, entry, lease=30)
    task = asyncio.create_task(handler.handle(shop.body()))
    await shop.clock.advance(2)
    assert said(task.result()) == (D.IN_PROGRESS, FAIL)
    await shop.clock.advance(29)
    assert said(await handler.handle(shop.body())) == (D.APPLY, SUCCESS)


async def test_another_payment_that_died_half_way_is_not_forgotten(shop: Shop) -> None:
    """M-15: the payment that comes first takes effect, the other one is for a person."""
    inbox = shop.inbox()
    shop.before = failing(1)
    handler = shop.handler(inbox)
    await handler.handle(shop.body(transaction_id="T1", out_transaction_id="W1"))
    second = shop.body(transaction_id="T2", out_transaction_id="W2")
    assert said(await handler.handle(second)) == (D.APPLY, SUCCESS)
    assert shop.reasons() == [D.CONFLICT]
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Aside)
    assert '"T1"' in kept.payload


# ------------------------------------------------------------------------------ ended transactions


def test_losing_a_claim_is_one_of_our_errors() -> None:
    """A caller's ``except ChaoyingError`` sees it."""
    assert issubclass(ClaimLostError, ChaoyingError)


class Lending(MemoryInbox):
    """An inbox that lends itself as the connection, and notices a commit by on_paid."""

    lends_connection = True
    committed = False

    @asynccontextmanager
    async def work(self, claim: Claim) -> AsyncGenerator[Any]:
        async with super().work(claim):
            yield self
            if self.committed:
                raise HandlerMisuseError("its transaction had ended")


async def test_an_order_whose_transaction_on_paid_ended_is_quarantined(shop: Shop) -> None:
    """M-16: nobody knows what of it is durable: told once, never run again by itself."""
    inbox = Lending(clock=shop.clock)
    runs: list[Any] = []

    async def on_paid(order: PaidOrder, connection: Any) -> None:
        assert connection is inbox
        connection.committed = True
        runs.append(order)

    handler = shop.handler(inbox, on_paid=on_paid)
    assert said(await handler.handle(shop.body())) == (D.APPLY, FAIL)
    assert await state(inbox) is SeenState.QUARANTINED
    assert shop.reasons() == [D.CONFLICT]
    assert said(await handler.handle(shop.body())) == (D.CONFLICT, FAIL)
    await shop.clock.advance(1000)
    await handler.run_due()
    assert len(runs) == 1

    inbox.committed = False
    await inbox.mark(ORDER_KEY, Mark.DISMISS)
    assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)


async def test_a_refused_commit_that_on_paid_lets_through_is_a_failure(shop: Shop) -> None:
    """M-16: it raised, so it is rolled back and tried again; only a *return* is misuse."""
    inbox = Lending(clock=shop.clock)

    async def on_paid(_order: PaidOrder, _connection: Any) -> None:
        raise HandlerMisuseError("commit() is the inbox's")

    assert said(await shop.handler(inbox, on_paid=on_paid).handle(shop.body())) == (D.APPLY, FAIL)
    assert await state(inbox) is SeenState.HELD


async def test_a_lost_answer_to_a_commit_is_found_done(shop: Shop) -> None:
    """M-16: committed, but the connection broke: the redelivery is a duplicate."""

    class Breaking(MemoryInbox):
        @asynccontextmanager
        async def work(self, claim: Claim) -> AsyncGenerator[Any]:
            async with super().work(claim):
                yield None
            raise ConnectionError("lost while committing")

    handler = shop.handler(Breaking(clock=shop.clock))
    assert (await handler.handle(shop.body())).body == FAIL
    assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)
    assert len(shop.delivered) == 1
