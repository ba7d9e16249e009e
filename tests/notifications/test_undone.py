"""Work that is undone for others' sake is done again; where that never ends, somebody hears."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chaoying_async import NotificationHandler
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    Entry,
    LookAgainError,
    Mark,
    OrderKey,
    Record,
    SeenState,
)
from tests.factories import MCH_ID, ORDER
from tests.shop import FAIL, SUCCESS, Shop, failing, queried, said

D = Decision
KEY = OrderKey(MCH_ID, ORDER)
BUDGET = 2.0
#: Whether a handler is open.
OWNED = pytest.mark.parametrize("is_open", [True, False])


class Undoing(MemoryInbox):
    """Rolls back so many efforts to record an effect, as a database does for others' sake."""

    def __init__(self, shop: Shop, left: int) -> None:
        super().__init__(clock=shop.clock)
        self.left = left
        #: How often an order was to be locked; and what holds up the later ones.
        self.asked = 0
        self.stands_still = asyncio.Event()
        self.stands_still.set()
        self.is_taken = False

    @asynccontextmanager
    async def lock(self, key: OrderKey, entry: Entry) -> AsyncGenerator[Any]:
        self.asked += 1
        if self.asked > 1:
            await self.stands_still.wait()
            if self.is_taken:
                yield None
                return
        async with super().lock(key, entry) as order:
            yield order
            saved = None if order is None else order.saved
            if saved is not None and saved.state is SeenState.DONE and self.left:
                self.left -= 1
                raise LookAgainError("a deadlock")


async def played(shop: Shop, work: Any) -> Any:
    """What ``work`` returns, while time passes."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await shop.clock.advance(0.1)
    return await task


async def record_of(inbox: MemoryInbox) -> Record:
    record = await inbox.look(KEY)
    assert record is not None
    return record


def levels(caplog: pytest.LogCaptureFixture) -> list[int]:
    return [one.levelno for one in caplog.records if one.levelno >= logging.WARNING]


async def test_what_is_done_again_with_success_is_quiet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """M-16: a deadlock is nobody's failure: no count, no line, no record of it."""
    shop = Shop()
    inbox = Undoing(shop, 3)
    handler = shop.handler(inbox, budget=BUDGET)
    assert said(await played(shop, handler.handle(shop.body()))) == (D.APPLY, SUCCESS)
    assert (handler.stats().failed, levels(caplog)) == (0, [])
    assert (await record_of(inbox)).failures == 0


async def test_what_never_comes_to_anything_is_a_failure_that_somebody_hears_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """M-16: counted each time, one line at ERROR for the order, and retried ever more seldom."""
    shop = Shop()
    inbox = Undoing(shop, 10**6)
    handler = shop.handler(inbox, budget=BUDGET)
    for failures in (1, 2):
        assert said(await played(shop, handler.handle(shop.body()))) == (D.APPLY, FAIL)
        record = await record_of(inbox)
        assert (record.state, record.failures) == (SeenState.HELD, failures)
        assert handler.stats().failed == failures
    assert levels(caplog) == [logging.ERROR]
    await shop.clock.advance(59)
    assert await played(shop, handler.run_due()) == 0  # 30 s after the first, 60 s after the second
    await shop.clock.advance(2)
    assert await played(shop, handler.run_due()) == 1
    assert (await record_of(inbox)).failures == 3
    inbox.left = 0
    await shop.clock.advance(121)
    assert await played(shop, handler.run_due()) == 1
    assert (await record_of(inbox)).state is SeenState.DONE
    assert not await inbox.listing(10)
    assert levels(caplog) == [logging.ERROR]


async def test_so_is_what_a_query_has_found(caplog: pytest.LogCaptureFixture) -> None:
    """M-16: settle says "not yet", and the order itself is kept."""
    shop = Shop()
    inbox = Undoing(shop, 10**6)
    handler = shop.handler(inbox, budget=BUDGET)
    assert await played(shop, handler.settle(queried())) is D.IN_PROGRESS
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Record)
    assert (kept.failures, handler.stats().failed, levels(caplog)) == (1, 1, [logging.ERROR])


async def _delivered(
    shop: Shop, handler: NotificationHandler, inbox: Undoing, *, is_open: bool
) -> None:
    """Deliver it; the next try stands still until the budget is long over."""
    delivering = asyncio.ensure_future(handler.handle(shop.body()))
    await shop.clock.advance(BUDGET + 1)
    assert inbox.asked == 2
    if is_open:
        assert said(await delivering) == (D.IN_PROGRESS, FAIL)
    inbox.stands_still.set()
    await played(shop, asyncio.wait([delivering]))


@OWNED
async def test_the_failure_is_recorded_where_the_next_try_stood_still_when_the_budget_ended(
    caplog: pytest.LogCaptureFixture, *, is_open: bool
) -> None:
    """M-17: what has run once is not given up without a word."""
    shop = Shop()
    inbox = Undoing(shop, 10**6)
    inbox.stands_still.clear()
    handler = shop.handler(inbox, budget=BUDGET)
    if is_open:
        async with handler:
            await _delivered(shop, handler, inbox, is_open=True)
    else:
        await _delivered(shop, handler, inbox, is_open=False)
    assert (await record_of(inbox)).failures == 1
    assert handler.stats().failed == 1
    assert levels(caplog) == [logging.ERROR]


async def test_where_somebody_else_is_at_work_then_it_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """M-16: whoever has the order speaks for it; the message is kept, for he may die."""
    shop = Shop()
    inbox = Undoing(shop, 1)
    inbox.is_taken = True
    handler = shop.handler(inbox, budget=BUDGET)
    assert said(await played(shop, handler.handle(shop.body()))) == (D.IN_PROGRESS, FAIL)
    assert (handler.stats().failed, levels(caplog)) == (0, [])
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Aside)
    assert kept.decision == D.IN_PROGRESS


@pytest.mark.parametrize("is_applied", [False, True])
async def test_a_failure_that_cannot_be_recorded_since_the_order_is_locked_is_tried_again(
    *, is_applied: bool
) -> None:
    """M-17: the lock may be the dead transaction's own, whose connection was thrown away."""
    shop = Shop(before=failing(2 if is_applied else 1))
    inbox = Undoing(shop, 0)
    handler = shop.handler(inbox)
    if is_applied:
        known = shop.orders.pop(ORDER)
        await handler.handle(shop.body())
        shop.orders[ORDER] = known
        (waits,) = await inbox.asides(KEY)
        assert await inbox.mark(KEY, Mark.APPLY, waits.fingerprint)
    inbox.asked, inbox.is_taken = 0, True
    if is_applied:
        assert await handler.run_due() == 1
    else:
        assert said(await handler.handle(shop.body())) == (D.APPLY, FAIL)
    assert (await inbox.look(KEY), len(await inbox.asides(KEY))) == (None, 1)
    inbox.is_taken = False
    for _ in range(2):
        await shop.clock.advance(31)
        await handler.run_due()
    assert len(shop.delivered) == 1
    assert not await inbox.listing(10)
