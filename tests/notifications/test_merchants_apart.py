"""A key for each merchant: what one of them can do about the orders of the others (M-15, M-20)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import Credentials
from chaoying_async.abc import InboxForPeople
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.inbox.sql import inbox as sql_inbox
from chaoying_async.notifications import NotificationHandler
from chaoying_async.sansio.notifications import inbox_values
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.facts import MOST_KEPT, facts_from_text
from chaoying_async.sansio.notifications.inbox_values import (
    MOST_MESSAGES,
    Aside,
    OrderKey,
)
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.testing import sign_notification
from tests.factories import CREDENTIALS, MCH_ID, ORDER
from tests.shop import FAIL, PRICE, SUCCESS, Shop, message, queried, said
from tests.sizes import FULL, cases

D = Decision
#: The merchant whose orders the shop knows is MCH_ID; this one has a right key of its own.
STRANGER = "00000002"
KEYS = {MCH_ID: CREDENTIALS, STRANGER: Credentials(agent_id="2", key="second-key", pid="yunpos")}


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def inbox(
    request: pytest.FixtureRequest, shop: Shop, tmp_path: Path
) -> AsyncGenerator[InboxForPeople]:
    if request.param == "memory":
        yield shop.inbox(max_items=10_000)
        return
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/inbox.db")
    made = SqlInbox(engine, clock=shop.clock)
    await made.create_tables()
    yield made
    await engine.dispose()


def handler_on(shop: Shop, inbox: InboxForPeople) -> NotificationHandler:
    return shop.handler(inbox, credentials=KEYS.get)


def strange(shop: Shop, **fields: Any) -> bytes:
    """Signed by the stranger's key, under its own number."""
    told = message(shop.clock.now(), **{"mch_id": STRANGER} | fields)
    return sign_notification(KEYS[told["mch_id"]], **told)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the handler says at ERROR."""
    return [
        line.getMessage()
        for line in caplog.records
        if line.name == "chaoying_async.notifications" and line.levelno == logging.ERROR
    ]


UNREADABLE = {"result_code": "WAT"}
FAILED: dict[str, Any] = {"pay_result": "1", "transaction_id": None, "out_transaction_id": None}


async def test_a_failure_of_anothers_order_leaves_nothing(
    shop: Shop, inbox: InboxForPeople
) -> None:
    """M-15: not told, not kept; the order's own failure, and its payment, are told as ever."""
    handler = handler_on(shop, inbox)
    assert said(await handler.handle(strange(shop, **FAILED))) == (D.CONFLICT, FAIL)
    unknown = strange(shop, out_trade_no="nobody's", **FAILED)
    assert said(await handler.handle(unknown)) == (D.UNKNOWN_ORDER, FAIL)
    assert not shop.unpaid
    assert not shop.told
    assert not await inbox.listing(10)
    for mch_id in (MCH_ID, STRANGER):
        for number in (ORDER, "nobody's"):
            assert await inbox.look(OrderKey(mch_id, number)) is None
    assert said(await handler.handle(shop.body(**FAILED))) == (D.NOT_PAID, SUCCESS)
    assert len(shop.unpaid) == 1
    assert said(await handler.handle(shop.body())) == (D.APPLY, SUCCESS)


async def test_failures_of_others_orders_do_not_fill_an_inbox(shop: Shop) -> None:
    """M-15: a thousand of them, and there is room for the first payment."""
    inbox = MemoryInbox(clock=shop.clock, max_items=1000)
    handler = handler_on(shop, inbox)
    for number in range(1000):
        shop.orders[f"B{number}"] = ExpectedOrder(PRICE, MCH_ID)
        await handler.handle(strange(shop, out_trade_no=f"B{number}", **FAILED))
    assert said(await handler.handle(shop.body())) == (D.APPLY, SUCCESS)
    assert repr(inbox) == "<MemoryInbox 1 orders, 0 asides>"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inbox", "known", "fields"),
    cases(
        [("memory", True, {}), ("sqlite", False, UNREADABLE)],
        more=[
            *[("memory", False, {}), ("memory", False, UNREADABLE), ("memory", True, UNREADABLE)],
            *[("sqlite", False, {}), ("sqlite", True, {}), ("sqlite", True, UNREADABLE)],
        ],
    ),
    indirect=["inbox"],
)
async def test_what_a_stranger_says_about_many_orders_is_bounded(
    shop: Shop,
    inbox: InboxForPeople,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    known: bool,
    fields: Any,
) -> None:
    """M-15: others' orders and unknown ones, readable or not; then counted, one line a minute.

    At most 30 here, and with ``FULL=1`` as many as in production.
    """
    for module in () if FULL else (inbox_values, sql_inbox):
        monkeypatch.setattr(module, "MOST_FOREIGN", 30)
    most = inbox_values.MOST_FOREIGN
    handler = handler_on(shop, inbox)
    sent = most + 10
    for number in range(sent):
        if known:
            shop.orders[f"B{number}"] = ExpectedOrder(PRICE, MCH_ID)
        body = strange(shop, out_trade_no=f"B{number}", attach="x" * (MOST_KEPT + 1000), **fields)
        assert (await handler.handle(body)).body == FAIL
    kept = await inbox.listing(sent)
    assert len(kept) == len(shop.told) == most
    for aside in kept:
        assert isinstance(aside, Aside)
        assert aside.key.mch_id == STRANGER
        assert len(aside.payload) <= MOST_KEPT
    assert handler.stats().not_kept == sent - most
    assert len(lines(caplog)) == 1
    await shop.clock.advance(60)
    await handler.handle(strange(shop, out_trade_no="one more"))
    assert len(lines(caplog)) == 2
    assert said(await handler.handle(shop.body())) == (D.APPLY, SUCCESS)


async def test_what_is_said_about_one_order_is_bounded(shop: Shop, inbox: InboxForPeople) -> None:
    """M-15: a known order, and messages without a number that could be kept, of each merchant."""
    handler = handler_on(shop, inbox)
    for number in range(MOST_MESSAGES + 5):
        told = {"attach": str(number), "total_fee": 1}
        await handler.handle(shop.body(**told))
        for body in (shop.body, lambda **fields: strange(shop, **fields)):
            await handler.handle(body(out_trade_no="9" * 200, **told))
    assert len(await inbox.listing(1000)) == 3 * MOST_MESSAGES
    assert handler.stats().not_kept == 3 * 5


@pytest.mark.parametrize("redelivered", [False, True])
async def test_only_raw_is_cut_so_an_unknown_order_is_applied_all_the_same(
    shop: Shop, inbox: InboxForPeople, *, redelivered: bool
) -> None:
    """M-15, M-17: numbers and amounts stay, and a redelivery is the same message."""
    handler = handler_on(shop, inbox)
    known = shop.orders.pop(ORDER)
    body = shop.body(attach="x" * 50_000, fee_type="CNY")
    await handler.handle(body)
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Aside)
    facts = facts_from_text(kept.payload)
    assert (facts.total_fee, facts.fee_type, len(facts.numbers)) == (PRICE, "CNY", 2)
    assert "attach" not in facts.raw
    assert facts.raw["trade_type"] == "pay.weixin.jspay"
    await shop.clock.advance(40)
    await handler.run_due()
    await handler.handle(body)
    assert shop.reasons() == [D.UNKNOWN_ORDER]
    shop.orders[ORDER] = known
    if redelivered:
        assert said(await handler.handle(body)) == (D.APPLY, SUCCESS)
    await shop.clock.advance(4000)
    await handler.run_due()
    assert [order.payable for order in shop.delivered] == [PRICE]
    assert not await inbox.listing(10)


async def test_an_order_whose_on_paid_fails_keeps_little_too(
    shop: Shop, inbox: InboxForPeople
) -> None:
    """M-15: the message that a retry decides about again is one that is kept."""

    async def fails(_order: Any) -> None:
        raise RuntimeError("no stock")

    shop.before = fails
    await handler_on(shop, inbox).handle(shop.body(attach="x" * 50_000))
    record = await inbox.look(OrderKey(MCH_ID, ORDER))
    assert record is not None
    assert len(record.entry.payload) <= MOST_KEPT
    assert facts_from_text(record.entry.payload).total_fee == PRICE


async def test_numbers_that_are_too_long_to_be_kept_are_none(
    shop: Shop, inbox: InboxForPeople
) -> None:
    """M-15: such a message is unreadable, and what is kept of it is bounded."""
    handler = handler_on(shop, inbox)
    for fields in (
        {"transaction_id": "T" * 50_000},
        {"out_transaction_id": "W" * 50_000},
        {"out_trade_no": "9" * 50_000},
    ):
        assert said(await handler.handle(shop.body(**fields))) == (D.UNREADABLE, FAIL)
    kept = await inbox.listing(10)
    assert len(kept) == 3
    assert all(isinstance(each, Aside) and len(each.payload) <= MOST_KEPT for each in kept)
    assert not shop.delivered


async def test_a_strangers_payment_changes_nothing_for_the_order(
    shop: Shop, inbox: InboxForPeople
) -> None:
    """M-15: whatever state it is in, and whichever numbers the stranger names."""
    handler = handler_on(shop, inbox)
    other: dict[str, Any] = {"transaction_id": "T9", "out_transaction_id": "W9"}
    assert said(await handler.handle(strange(shop, **other))) == (D.CONFLICT, FAIL)
    assert await handler.settle(queried()) is D.APPLY
    # Not taken for the payment that the query told of, which has other numbers (M-13).
    assert said(await handler.handle(strange(shop, **other))) == (D.CONFLICT, FAIL)
    assert (await handler.handle(strange(shop))).paid is None
    assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)
    assert len(shop.delivered) == 1
    assert shop.reasons() == [D.CONFLICT]
    waits = await inbox.listing(10)
    assert {each.key.mch_id for each in waits} == {STRANGER}


async def test_a_strangers_message_waits_for_nobody_who_works_on_the_order(shop: Shop) -> None:
    """M-15: it is set aside and told of at once; the order of that number is another's."""
    handler = handler_on(shop, shop.inbox())
    heard = []

    async def meanwhile(_order: PaidOrder) -> None:
        stranger = asyncio.create_task(handler.handle(strange(shop)))
        await shop.clock.advance(5)
        heard.append(said(await stranger))

    shop.before = meanwhile
    assert said(await handler.handle(shop.body())) == (D.APPLY, SUCCESS)
    assert heard == [(D.CONFLICT, FAIL)]
    assert shop.reasons() == [D.CONFLICT]


async def test_another_number_of_the_merchant_is_no_stranger(
    shop: Shop, inbox: InboxForPeople
) -> None:
    """M-18: ``also`` is counted, for payments and for failures."""
    shop.orders[ORDER] = ExpectedOrder(PRICE, MCH_ID, also=(STRANGER,))
    handler = handler_on(shop, inbox)
    assert said(await handler.handle(strange(shop, **FAILED))) == (D.NOT_PAID, SUCCESS)
    answer = await handler.handle(strange(shop))
    assert said(answer) == (D.APPLY, SUCCESS)
    assert answer.paid is not None
    assert answer.paid.mch_id == MCH_ID


async def test_the_gateway_is_not_asked_about_a_strangers_message(shop: Shop) -> None:
    """M-15: what a query says of the order is about somebody else's payment."""

    class Asked:
        mch_id = None
        count = 0

        async def send(self, request: Any, *, timeout: Any = None) -> Any:
            self.count += 1
            raise ConnectionError

    gateway = Asked()
    handler = shop.handler(credentials=KEYS.get, confirm=gateway)
    for fields in ({}, {"result_code": "WAT"}, {"total_fee": 1}, FAILED):
        await handler.handle(strange(shop, **fields))
    assert gateway.count == 0
