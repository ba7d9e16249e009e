"""NotificationHandler where work is broken off: lost claims, dead processes, ended transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from chaoying_async import PaidOrder
from chaoying_async.exceptions import HandlerMisuseError
from chaoying_async.inbox.leases import Claim
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    Entry,
    Mark,
    OrderKey,
    SeenState,
    TransactionEndedError,
)
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID, ORDER
from tests.shop import BEGAN, FAIL, SUCCESS, Shop, failing, queried, said, slow

D = Decision
ORDER_KEY = OrderKey(MCH_ID, ORDER)


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def state(inbox: MemoryInbox) -> SeenState | None:
    record = await inbox.look(ORDER_KEY)
    return record.state if record is not None else None


# ------------------------------------------------------------------------------------------ claims


class Stolen(MemoryInbox):
    """An inbox from which somebody takes the first claim away while its work goes on."""

    stolen = False

    async def _renew(self, claim: Claim) -> bool:
        if not self.stolen:
            self.stolen = True
            return False
        return await super()._renew(claim)


async def test_work_of_any_length_keeps_others_out(shop: Shop) -> None:
    """M-16: its claim is renewed as long as ``on_paid`` runs."""
    inbox = shop.inbox()
    shop.before = slow(shop, 100)
    async with shop.handler(inbox) as handler, shop.handler(inbox) as other:
        await shop.clock.run(handler.handle(shop.body()))
        await shop.clock.advance(50)
        assert said(await shop.clock.run(other.handle(shop.body()))) == (D.IN_PROGRESS, FAIL)
        await shop.clock.advance(60)
        assert len(shop.delivered) == 1


class Unnoticed(MemoryInbox):
    """An order becomes free, as where a server ends a transaction, and its holder hears nothing."""

    async def _renew(self, _claim: Claim) -> bool:
        return True


async def test_work_that_takes_long_keeps_its_order_from_nobody_here(shop: Shop) -> None:
    """M-16: the inbox knows better whether the order is free than the process that hangs on it."""
    inbox = Unnoticed(clock=shop.clock)
    async with shop.handler(inbox, grace=0) as handler:
        shop.before = slow(shop, 1000)
        await shop.clock.run(handler.handle(shop.body()))
        shop.before = None
        await shop.clock.advance(20)
        assert said(await shop.clock.run(handler.handle(shop.body()))) == (D.IN_PROGRESS, FAIL)
        await shop.clock.advance(10)
        assert said(await shop.clock.run(handler.handle(shop.body()))) == (D.APPLY, SUCCESS)
    assert len(shop.delivered) == 1


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_lost_claim_ends_on_paid_and_is_no_failure(shop: Shop, *, swallows: bool) -> None:
    """M-16: nothing is recorded, even where it ignores its end; the gateway comes again."""
    inbox = Stolen(clock=shop.clock)
    ended: list[float] = []

    async def waits(_order: PaidOrder) -> None:
        try:
            await shop.clock.sleep(1000)
        except asyncio.CancelledError:
            ended.append(shop.clock.monotonic())
            if not swallows:
                raise

    shop.before = waits
    async with shop.handler(inbox) as handler:
        await shop.clock.run(handler.handle(shop.body()))
        await shop.clock.advance(11)
        assert ended == [BEGAN + 10]
        assert await state(inbox) is None
        shop.before = None
        shop.delivered.clear()
        assert said(await shop.clock.run(handler.handle(shop.body()))) == (D.APPLY, SUCCESS)
    assert len(shop.delivered) == 1
    assert not shop.told


class AnsweredLate(MemoryInbox):
    """An inbox whose caller stands still between its first claim and the claim's answer."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        super().__init__(clock=self.clock)
        #: What others do meanwhile.
        self.others: Callable[[], Awaitable[object]] | None = None

    async def _claim(self, key: OrderKey, entry: Entry) -> Claim | None:
        taken = await super()._claim(key, entry)
        if self.others is not None:
            others, self.others = self.others, None
            await self.clock.advance(60)
            await others()
        return taken


@pytest.mark.parametrize("delivered", [True, False])
async def test_on_paid_is_not_begun_under_a_claim_that_has_run_out(
    shop: Shop, *, delivered: bool
) -> None:
    """M-16: a process that stood still begins nothing beside the next one, and has not failed.

    No time is left to look again by then: the order is kept, and looked at later.
    """
    inbox = AnsweredLate()
    handler, other = shop.handler(inbox), shop.handler(inbox)

    async def delivers() -> None:
        await shop.clock.advance(1.95)
        if delivered:
            assert said(await other.handle(shop.body())) == (D.APPLY, SUCCESS)

    inbox.others = delivers
    assert said(await handler.handle(shop.body())) == (D.IN_PROGRESS, FAIL)
    assert len(shop.delivered) == int(delivered)
    assert handler.stats().failed == 0
    await inbox.clock.advance(31)
    assert await handler.run_due() == 1
    assert len(shop.delivered) == 1
    assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)
    assert not shop.told


async def test_a_dead_processs_order_is_taken_up_when_its_lease_ends(shop: Shop) -> None:
    """M-16, M-17: until then it is in progress."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    assert await inbox._claim(ORDER_KEY, Entry(payload="", first_seen=shop.clock.now()))
    task = asyncio.create_task(handler.handle(shop.body()))
    await shop.clock.advance(3)
    assert said(task.result()) == (D.IN_PROGRESS, FAIL)
    await shop.clock.advance(29)
    assert said(await handler.handle(shop.body())) == (D.APPLY, SUCCESS)


async def test_another_payment_that_failed_before_is_not_forgotten(shop: Shop) -> None:
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


class LentClaim(Claim):
    """An order whose function is lent its inbox, and may commit with that."""

    inbox: Lending

    @asynccontextmanager
    async def lend(self) -> AsyncGenerator[Any]:
        yield self.inbox
        if self.inbox.committed:
            raise TransactionEndedError("its transaction had ended")


class Lending(MemoryInbox):
    """An inbox that lends itself as the connection, and notices a commit by on_paid."""

    lends_connection = True
    committed = False

    async def _claim(self, key: OrderKey, entry: Entry) -> Claim | None:
        claim = await super()._claim(key, entry)
        if claim is None:
            return None
        lent = LentClaim(claim.key, claim.before, claim.token)
        lent.inbox = self
        return lent


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
        broken = False

        @asynccontextmanager
        async def lock(self, key: OrderKey, entry: Entry) -> AsyncGenerator[Claim | None]:
            async with super().lock(key, entry) as order:
                yield order
            if not self.broken:
                self.broken = True
                raise ConnectionError("lost while committing")

    inbox = Breaking(clock=shop.clock)
    handler = shop.handler(inbox)
    assert (await handler.handle(shop.body())).body == FAIL
    assert await state(inbox) is SeenState.DONE
    assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)
    assert len(shop.delivered) == 1


# ------------------------------------------------------------------------- recording that hangs


class Hanging(MemoryInbox):
    """An inbox whose first commit has no end."""

    hung = False

    @asynccontextmanager
    async def lock(self, key: OrderKey, entry: Entry) -> AsyncGenerator[Claim | None]:
        async with super().lock(key, entry) as order:
            yield order
            if not self.hung:
                self.hung = True
                await self._clock.sleep(1_000_000)


async def test_a_commit_without_end_is_given_up_and_its_order_tried_again(shop: Shop) -> None:
    """M-16, M-17: answered in time; some seconds later its failure is recorded, as any other."""
    inbox = Hanging(clock=shop.clock)
    async with shop.handler(inbox) as handler:
        answering = asyncio.create_task(handler.handle(shop.body()))
        await shop.clock.advance(2.3)
        assert said(answering.result()) == (D.IN_PROGRESS, FAIL)
        await shop.clock.advance(12)
        assert await state(inbox) is SeenState.HELD
        assert handler.stats().failed == 1
        await shop.clock.advance(60)
        assert await state(inbox) is SeenState.DONE
    assert handler.stats().working == 0


async def test_nobody_owns_a_commit_without_end_where_no_block_is_open(shop: Shop) -> None:
    """M-17: the answer is out in time, and nothing is left that waits."""
    inbox = Hanging(clock=shop.clock)
    handler = shop.handler(inbox)
    answering = asyncio.create_task(handler.handle(shop.body()))
    await shop.clock.advance(2.3)
    assert answering.result().body == FAIL
    assert shop.clock.waiting == 0
    assert await state(inbox) is None
    assert said(await handler.handle(shop.body())) == (D.APPLY, SUCCESS)


@pytest.mark.parametrize("opened", [True, False])
async def test_settle_returns_from_a_commit_without_end(shop: Shop, opened: bool) -> None:
    """M-16: as IN_PROGRESS, and what failed is kept, whether or not anybody owns the work."""
    inbox = Hanging(clock=shop.clock)
    handler = shop.handler(inbox)
    async with AsyncExitStack() as stack:
        if opened:
            await stack.enter_async_context(handler)
        settling = asyncio.create_task(handler.settle(queried()))
        await shop.clock.advance(12)
        assert settling.result() is D.IN_PROGRESS
        assert await state(inbox) is SeenState.HELD


async def test_leaving_the_block_ends_a_commit_without_end(shop: Shop) -> None:
    """M-17: cancelled with its owner, it is no failure, and the order is free again."""
    inbox = Hanging(clock=shop.clock)
    async with shop.handler(inbox, grace=1.0) as handler:
        answering = asyncio.create_task(handler.handle(shop.body()))
        await shop.clock.advance(2.3)
        leaving = asyncio.create_task(handler.__aexit__(None, None, None))
        await shop.clock.advance(2)
        await leaving
    assert answering.result().body == FAIL
    assert await state(inbox) is None
    assert handler.stats().failed == 0
