"""Which payment of an order it was, where queries and notifications tell of it (M-13, M-15)."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import attrs
import pytest

from chaoying_async import PaidOrder
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.notifications import NotificationHandler
from chaoying_async.sansio.notifications import inbox_values
from chaoying_async.sansio.notifications.decide import PERHAPS_ANOTHER, Decision
from chaoying_async.sansio.notifications.inbox_values import Aside, OrderKey
from chaoying_async.sansio.paid import PaidSource
from tests.factories import MCH_ID, ORDER
from tests.pollers import Scripted, always
from tests.shop import FAIL, PRICE, SUCCESS, Shop, queried, said
from tests.sizes import sampled

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


def failing_once() -> Callable[[PaidOrder], Any]:
    """What raises the first time, and then never again."""
    outcomes = [RuntimeError("no stock")]

    async def before(_order: PaidOrder) -> None:
        if outcomes:
            raise outcomes.pop()

    return before


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
    shop.before = failing_once()
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


async def test_a_second_payment_is_one_after_pruning_too(shop: Shop) -> None:
    """M-15, M-19: what the first message of the other way named is kept as long as its order."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    assert await handler.settle(queried(transaction_id="Q1")) is D.APPLY
    assert said(await handler.handle(shop.body(**FIRST))) == (D.DUPLICATE, SUCCESS)
    await inbox.prune(shop.clock.now() + timedelta(days=1))
    assert said(await handler.handle(shop.body(**SECOND))) == (D.CONFLICT, FAIL)
    assert said(await handler.handle(shop.body(**FIRST))) == (D.DUPLICATE, SUCCESS)
    assert shop.reasons() == [D.CONFLICT]


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


NAMELESS: dict[str, Any] = {"transaction_id": None, "out_transaction_id": None}
BLANK: dict[str, Any] = {"transaction_id": "", "out_transaction_id": ""}


@pytest.mark.parametrize("second", [{}, {"total_fee": 99900}, {"fee_type": "USD"}])
@pytest.mark.parametrize("fields", [NAMELESS, BLANK])
async def test_of_two_messages_without_numbers_nobody_can_tell_whether_it_is_one_payment(
    shop: Shop, fields: dict[str, Any], second: dict[str, Any]
) -> None:
    """M-13, M-15: a customer may have paid twice, so the gateway does not hear success."""
    handler = shop.handler()
    assert said(await handler.handle(shop.body(**fields))) == (D.APPLY, SUCCESS)
    for _ in range(2):
        assert said(await handler.handle(shop.body(**fields, **second))) == (D.CONFLICT, FAIL)
    assert [aside.reason for aside in shop.told] == [PERHAPS_ANOTHER]


@pytest.mark.parametrize("first", [NAMELESS, FIRST])
async def test_where_one_message_alone_names_its_payment_a_person_has_to_look(
    shop: Shop, first: dict[str, Any]
) -> None:
    """M-13, M-15: it may be another payment or the same one, and that is what the reason says."""
    handler = shop.handler()
    second = FIRST if first is NAMELESS else NAMELESS
    assert said(await handler.handle(shop.body(**first))) == (D.APPLY, SUCCESS)
    assert said(await handler.handle(shop.body(**second))) == (D.CONFLICT, FAIL)
    await shop.clock.advance(4000)
    await handler.run_due()
    assert [aside.reason for aside in shop.told] == [PERHAPS_ANOTHER]


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


async def test_where_an_earlier_version_pruned_it_the_next_of_its_way_is_a_warning_again(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """M-19: what was forgotten, and nothing is made up in its place."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    await handler.settle(queried(transaction_id="Q1"))
    await handler.handle(shop.body(**FIRST))
    kept = inbox._asides[KEY, inbox_values.FIRST]
    kept.aside = attrs.evolve(kept.aside, payload="")
    assert said(await handler.handle(shop.body(**SECOND))) == (D.DUPLICATE, SUCCESS)
    assert [line.levelno for line in caplog.records] == [logging.WARNING] * 2


async def test_a_confirmed_payment_whose_place_was_taken_stays_a_conflict(shop: Shop) -> None:
    """M-15: it was told by a notification, so run_due does not take it for one of a query."""
    inbox = shop.inbox()
    shop.before = failing_once()
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


# ------------------------------------------------------------ two payments, in whatever order

#: Two payments of one order, each as a notification and as a query names it.
TOLD: dict[str, Any] = {"n1": FIRST, "n2": SECOND, "q1": "T1", "q2": "T2"}
ARRIVALS = [
    arrivals
    for count in range(1, len(TOLD) + 1)
    for arrivals in itertools.permutations(TOLD, count)
]
#: Which payment the query that confirms a notification names; None: nobody asks.
CONFIRMS = [None, "T1", "T2", "another name"]


async def arrive(shop: Shop, handler: NotificationHandler, name: str) -> None:
    if name.startswith("n"):
        await handler.handle(shop.body(**TOLD[name]))
    else:
        await handler.settle(queried(transaction_id=TOLD[name]))


def are_two(arrivals: Iterable[str], confirms: str | None) -> bool:
    """Two of one way with different numbers; the query that confirms is one, too."""
    queries = {TOLD[name] for name in arrivals if name.startswith("q")}
    if confirms is not None and next(iter(arrivals)).startswith("n"):
        queries.add(confirms)
    return len(queries) > 1 or {"n1", "n2"} <= set(arrivals)


@pytest.mark.parametrize("confirms", CONFIRMS)
@pytest.mark.parametrize("fails", [False, True])
async def test_a_second_payment_is_reported_whichever_way_each_was_learnt(
    shop: Shop, confirms: str | None, *, fails: bool
) -> None:
    """M-13, M-15: in one order of three, also where the first on_paid failed and is retried.

    ``FULL=1``: each.
    """
    for arrivals in sampled(ARRIVALS, every=3):
        shop.told.clear()
        shop.delivered.clear()
        shop.before = failing_once() if fails else None
        confirm = None if confirms is None else asked(shop, transaction_id=confirms)
        handler = shop.handler(confirm=confirm)
        await arrive(shop, handler, arrivals[0])
        await shop.clock.advance(61)
        await handler.run_due()
        for name in arrivals[1:]:
            await arrive(shop, handler, name)
        for name in arrivals:  # redeliveries change nothing
            await arrive(shop, handler, name)
        await shop.clock.advance(4000)
        await handler.run_due()
        assert len(shop.delivered) == 1, arrivals
        assert set(shop.reasons()) == ({D.CONFLICT} if are_two(arrivals, confirms) else set()), (
            arrivals
        )


@pytest.mark.parametrize("confirms", CONFIRMS)
async def test_a_second_payment_that_comes_before_the_retry_is_reported(
    shop: Shop, confirms: str | None
) -> None:
    """M-15, M-16: the first one's on_paid failed, and its place is taken before it is retried.

    One order of arrival in three; ``FULL=1``: each.
    """
    for arrivals in sampled(ARRIVALS, every=3):
        shop.told.clear()
        shop.delivered.clear()
        shop.before = failing_once()
        confirm = None if confirms is None else asked(shop, transaction_id=confirms)
        handler = shop.handler(confirm=confirm)
        for name in arrivals:
            await arrive(shop, handler, name)
        for _ in range(3):
            await shop.clock.advance(4000)
            await handler.run_due()
        assert len(shop.delivered) == 1, arrivals
        if are_two(arrivals, confirms):
            assert set(shop.reasons()) == {D.CONFLICT}, arrivals


@pytest.mark.parametrize("crosswise", [False, True])
async def test_a_second_payment_is_not_applied_when_the_first_is_forgotten(
    shop: Shop, *, crosswise: bool
) -> None:
    """M-15, M-19: it waits for a person, however long, and whatever was pruned meanwhile."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    if crosswise:
        await handler.settle(queried(transaction_id="Q1"))
    await handler.handle(shop.body(**FIRST))
    assert said(await handler.handle(shop.body(**SECOND))) == (D.CONFLICT, FAIL)
    await shop.clock.advance(60)
    await handler.run_due()
    await shop.clock.advance(3 * 86_400)
    await inbox.prune(shop.clock.now(), keys=True)
    assert await inbox.look(KEY) is None
    for _ in range(3):
        await shop.clock.advance(4000)
        await handler.run_due()
    assert len(shop.delivered) == 1
    assert len(await inbox.listing(10)) == 1
