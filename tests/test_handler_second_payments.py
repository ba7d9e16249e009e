"""Which payment of an order it was, where queries and notifications tell of it (M-13, M-15)."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from chaoying_async import PaidOrder
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.decisions import Decision
from chaoying_async.sansio.inboxvalues import Aside, OrderKey
from chaoying_async.sansio.outcome import PaidSource
from tests.factories import MCH_ID, ORDER
from tests.handlers import FAIL, PRICE, SUCCESS, Shop, queried, said
from tests.pollers import Scripted, always

D = Decision
KEY = OrderKey(MCH_ID, ORDER)
FIRST: dict[str, Any] = {"transaction_id": "T1", "out_transaction_id": "W1"}
SECOND: dict[str, Any] = {"transaction_id": "T2", "out_transaction_id": "W2"}


@pytest.fixture
def shop() -> Shop:
    return Shop()


def asked(shop: Shop, **says: Any) -> Scripted:
    """A gateway that says "paid as ordered"."""
    paid = {"base_fee": str(PRICE), "total_fee": str(PRICE), "time_end": "20260101080000"}
    return Scripted(shop.clock, always(paid | says))


async def recorded(inbox: MemoryInbox) -> str:
    record = await inbox.look(KEY)
    assert record is not None
    return record.entry.source


# ------------------------------------------------------------------------ confirmed by a query


async def test_a_confirmed_order_says_so_and_its_record_says_who_told_of_it(shop: Shop) -> None:
    """M-13: on_paid gets CONFIRM; the record is held against notifications as one of them."""
    inbox = shop.inbox()
    await shop.handler(inbox, confirm=asked(shop, transaction_id="T1")).handle(shop.body(**FIRST))
    assert [order.source for order in shop.delivered] == [PaidSource.CONFIRM]
    assert await recorded(inbox) == PaidSource.NOTIFICATION


async def test_a_query_that_names_no_number_confirms_the_notifications_own(shop: Shop) -> None:
    """M-15: the record then has the message's numbers, so others are another payment."""
    inbox = shop.inbox()
    handler = shop.handler(inbox, confirm=asked(shop, transaction_id=None))
    assert said(await handler.handle(shop.body(**FIRST))) == (D.APPLY, SUCCESS)
    assert await recorded(inbox) == PaidSource.NOTIFICATION
    assert said(await handler.handle(shop.body(**FIRST))) == (D.DUPLICATE, SUCCESS)
    assert said(await handler.handle(shop.body(**SECOND))) == (D.CONFLICT, FAIL)


async def test_a_query_that_names_another_number_is_recorded_as_the_query(shop: Shop) -> None:
    """M-13: nothing of the message stands in that record: the redelivery is a duplicate."""
    inbox = shop.inbox()
    handler = shop.handler(inbox, confirm=asked(shop, transaction_id="Q9"))
    assert said(await handler.handle(shop.body(**FIRST))) == (D.APPLY, SUCCESS)
    assert await recorded(inbox) == PaidSource.CONFIRM
    assert said(await handler.handle(shop.body(**FIRST))) == (D.DUPLICATE, SUCCESS)
    assert said(await handler.handle(shop.body(**SECOND))) == (D.CONFLICT, FAIL)


async def test_the_record_says_so_too_when_the_effect_came_at_the_second_try(shop: Shop) -> None:
    """M-15, M-16: run_due takes up what is written down, and the record's source with it."""
    inbox = shop.inbox()
    outcomes = [RuntimeError("no stock"), None]

    async def before(_order: PaidOrder) -> None:
        error = outcomes.pop(0)
        if error is not None:
            raise error

    shop.before = before
    handler = shop.handler(inbox, confirm=asked(shop, transaction_id="T1"))
    assert said(await handler.handle(shop.body(**FIRST))) == (D.APPLY, FAIL)
    await shop.clock.advance(60)
    assert await handler.run_due() == 1
    assert [order.source for order in shop.delivered] == [PaidSource.CONFIRM]
    assert await recorded(inbox) == PaidSource.NOTIFICATION
    assert said(await handler.handle(shop.body(**SECOND))) == (D.CONFLICT, FAIL)


# ------------------------------------------------------------------------------ across the sources


async def test_the_first_of_the_other_way_is_a_warning_however_often_it_comes(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """M-15: a disjoint pair across the two sources; nobody has to do anything about it."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    assert await handler.settle(queried(transaction_id="Q1")) is D.APPLY
    for _ in range(3):
        assert said(await handler.handle(shop.body(**FIRST))) == (D.DUPLICATE, SUCCESS)
        assert await handler.settle(queried(transaction_id="Q1")) is D.DUPLICATE
    assert [line.levelno for line in caplog.records] == [logging.WARNING] * 3
    assert not shop.told
    assert not await inbox.listing(10)
    await shop.clock.advance(3600)
    assert not await inbox.unfinished(10)


async def test_a_second_query_of_the_other_way_is_a_conflict(shop: Shop) -> None:
    """M-15: two queries that name different transactions, after a notification took effect."""
    handler = shop.handler()
    assert said(await handler.handle(shop.body(**FIRST))) == (D.APPLY, SUCCESS)
    assert await handler.settle(queried(transaction_id="Q1")) is D.DUPLICATE
    assert await handler.settle(queried(transaction_id="Q2")) is D.CONFLICT
    assert await handler.settle(queried(transaction_id="Q1")) is D.DUPLICATE
    assert await handler.settle(queried(transaction_id="Q2")) is D.CONFLICT
    assert shop.reasons() == [D.CONFLICT]
    assert len(shop.delivered) == 1


async def test_messages_without_numbers_are_no_other_payment(shop: Shop) -> None:
    """M-15: a conflict needs two numbers that differ."""
    handler = shop.handler()
    nameless = {"transaction_id": None, "out_transaction_id": None}
    assert await handler.settle(queried(transaction_id="Q1")) is D.APPLY
    for fields in (nameless, FIRST, nameless):
        assert said(await handler.handle(shop.body(**fields))) == (D.DUPLICATE, SUCCESS)


class Broken(MemoryInbox):
    """Its process dies after the first of the other way was written down."""

    broken = True

    async def close(self, aside: Aside) -> None:
        if self.broken:
            raise ConnectionError
        await super().close(aside)


async def test_what_was_written_down_and_not_closed_is_closed_by_run_due(shop: Shop) -> None:
    """M-17: a process that died in between leaves nothing behind for a person."""
    inbox = Broken(clock=shop.clock)
    handler = shop.handler(inbox)
    await handler.settle(queried(transaction_id="Q1"))
    assert (await handler.handle(shop.body(**FIRST))).body == FAIL
    inbox.broken = False
    await shop.clock.advance(31)
    await handler.run_due()
    assert not await inbox.listing(10)
    assert said(await handler.handle(shop.body(**FIRST))) == (D.DUPLICATE, SUCCESS)
    assert said(await handler.handle(shop.body(**SECOND))) == (D.CONFLICT, FAIL)


async def test_when_its_body_was_pruned_the_next_of_its_way_is_a_warning_again(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """M-19: pruned bodies are forgotten, and nothing is made up in their place."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    await handler.settle(queried(transaction_id="Q1"))
    await handler.handle(shop.body(**FIRST))
    await shop.clock.advance(1)
    assert await inbox.prune(shop.clock.now()) == 1
    assert said(await handler.handle(shop.body(**SECOND))) == (D.DUPLICATE, SUCCESS)
    assert [line.levelno for line in caplog.records] == [logging.WARNING] * 2


async def test_a_confirmed_payment_whose_place_was_taken_stays_a_conflict(shop: Shop) -> None:
    """M-15: it was told by a notification, so run_due does not take it for one of a query."""
    inbox = shop.inbox()
    outcomes = [RuntimeError("no stock"), None]

    async def before(_order: PaidOrder) -> None:
        error = outcomes.pop(0)
        if error is not None:
            raise error

    shop.before = before
    handler = shop.handler(inbox, confirm=asked(shop, transaction_id=None))
    await handler.handle(shop.body(**FIRST))
    await shop.clock.advance(10)
    assert said(await handler.handle(shop.body(**SECOND))) == (D.APPLY, SUCCESS)
    assert shop.reasons() == [D.CONFLICT]
    for _ in range(3):
        await shop.clock.advance(4000)
        await handler.run_due()
    (waits,) = await inbox.listing(10)
    assert isinstance(waits, Aside)
    assert waits.decision == D.CONFLICT
    assert shop.reasons() == [D.CONFLICT]
