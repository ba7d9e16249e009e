"""What becomes of an order whose retry came to nothing: somebody always works on it (M-17)."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import PaidOrder
from chaoying_async.abc import InboxForPeople
from chaoying_async.exceptions import TransportError
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.notifications import NotificationHandler
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision, SetAside
from chaoying_async.sansio.notifications.inbox_values import (
    MOST_MESSAGES,
    Mark,
    OrderKey,
    Record,
    SeenState,
)
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID, ORDER
from tests.pollers import Scripted, always
from tests.shop import FAIL, PRICE, SUCCESS, Shop, queried, said
from tests.sizes import sampled

D = Decision
KEY = OrderKey(MCH_ID, ORDER)
AS_IT_WAS = ExpectedOrder(PRICE, MCH_ID)
ANOTHER_PRICE = ExpectedOrder(PRICE + 1, MCH_ID)
CLOSED = attrs.evolve(AS_IT_WAS, closed=True)
FIRST: dict[str, Any] = {"transaction_id": "T1", "out_transaction_id": "W1"}
SECOND: dict[str, Any] = {"transaction_id": "T2", "out_transaction_id": "W2"}
PAID = {"base_fee": str(PRICE), "total_fee": str(PRICE), "time_end": "20260101080000"}
AWAY = TransportError("away")


@attrs.define(kw_only=True)
class FailingShop(Shop):
    """Its on_paid fails until it has stock again."""

    has_stock: bool = False

    async def deliver(self, order: PaidOrder, *_lent: Any) -> None:
        if not self.has_stock:
            raise RuntimeError("no stock")
        self.delivered.append(order)

    async def on_paid(self, order: PaidOrder) -> None:
        await self.deliver(order)

    async def on_paid_lent(self, order: PaidOrder, connection: Any) -> None:
        await self.deliver(order, connection)

    def at(self, inbox: InboxForPeople, **options: Any) -> NotificationHandler:
        on_paid = self.on_paid_lent if inbox.lends_connection else self.on_paid
        return self.handler(inbox, on_paid=on_paid, **options)

    def expects(self, order: ExpectedOrder | None) -> None:
        if order is None:
            self.orders.pop(ORDER, None)
        else:
            self.orders[ORDER] = order


@pytest.fixture
def shop() -> FailingShop:
    return FailingShop(clock=FakeClock(databases=True))


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def inbox(
    request: pytest.FixtureRequest, shop: FailingShop, tmp_path: Path
) -> AsyncGenerator[InboxForPeople]:
    if request.param == "memory":
        yield shop.inbox()
        return
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/inbox.db")
    made = SqlInbox(engine, clock=shop.clock)
    await made.create_tables()
    yield made
    await engine.dispose()


async def rounds(shop: Shop, handler: NotificationHandler, count: int = 3) -> None:
    """Time enough for any retry, and a round of them, so many times.

    One message may have to wait for the work on another one of its order, on the shop's clock.
    """
    for _ in range(count):
        await shop.clock.advance(4000)
        await shop.clock.run(handler.run_due())


async def kept(inbox: InboxForPeople) -> Record:
    record = await inbox.look(KEY)
    assert record is not None
    return record


async def came_too_early(shop: FailingShop, handler: NotificationHandler, way: str) -> None:
    """It is paid before the shop knows it; then it is known, and on_paid fails."""
    shop.expects(None)
    if way == "handle":
        large = shop.body(attach="x" * 20_000)  # of which not all is kept
        assert said(await handler.handle(large)) == (D.UNKNOWN_ORDER, FAIL)
    else:
        early = queried(raw={"fee_type": "CNY"})
        assert await handler.settle(early) is D.UNKNOWN_ORDER
    shop.expects(AS_IT_WAS)
    assert await handler.order_known(MCH_ID, ORDER) == 1


CHANGES: dict[str, tuple[ExpectedOrder | None, list[Decision]]] = {
    "another price": (ANOTHER_PRICE, [D.CONFLICT]),
    "another currency": (attrs.evolve(AS_IT_WAS, fee_type="USD"), [D.CONFLICT]),
    "another merchant's": (attrs.evolve(AS_IT_WAS, mch_id="00000002"), [D.CONFLICT]),
    "gone": (None, []),  # of that it was told when it came
}


@pytest.mark.parametrize(
    ("change", "way", "together"),
    [*sampled(product(CHANGES, ["handle", "settle"], [True, False]), every=5)],
)
async def test_an_order_that_was_set_aside_before_waits_as_a_message_again(
    shop: FailingShop, inbox: InboxForPeople, change: str, way: str, *, together: bool
) -> None:
    """M-17: told once, whether its message is due beside it; and applied when it fits again.

    One row in five of its product; ``FULL=1``: all.
    """
    handler = shop.at(inbox)
    await came_too_early(shop, handler, way)
    order, told = CHANGES[change]
    shop.expects(order)
    await shop.clock.advance(4000 if together else 70)
    await handler.run_due()
    assert shop.reasons() == [D.UNKNOWN_ORDER, *told]
    assert len(await inbox.asides(KEY)) == 1
    await rounds(shop, handler)
    assert shop.reasons() == [D.UNKNOWN_ORDER, *told]
    shop.expects(AS_IT_WAS)
    shop.has_stock = True
    await rounds(shop, handler)
    assert len(shop.delivered) == 1
    assert not await inbox.listing(10)


@pytest.mark.parametrize("way", ["handle", "settle"])
async def test_an_order_that_was_set_aside_and_is_closed_is_told_of(
    shop: FailingShop, inbox: InboxForPeople, way: str
) -> None:
    """M-15, M-17: nobody delivers what is quarantined, so a person has to know of it."""
    handler = shop.at(inbox)
    await came_too_early(shop, handler, way)
    shop.expects(CLOSED)
    await rounds(shop, handler)
    assert (await kept(inbox)).state is SeenState.QUARANTINED
    assert shop.reasons() == [D.UNKNOWN_ORDER, D.CONFLICT]


async def test_what_was_a_conflict_and_is_closed_now_is_told_of_again(
    shop: FailingShop, inbox: InboxForPeople
) -> None:
    """M-15: the first report said something else, and was answered."""
    handler = shop.at(inbox)
    shop.expects(ANOTHER_PRICE)
    await handler.handle(shop.body())
    shop.expects(AS_IT_WAS)
    await rounds(shop, handler, 1)
    assert (await kept(inbox)).state is SeenState.HELD
    shop.expects(CLOSED)
    await rounds(shop, handler)
    assert (await kept(inbox)).state is SeenState.QUARANTINED
    assert shop.reasons() == [D.CONFLICT] * 2


async def test_an_effect_that_comes_at_the_second_try_leaves_no_message(
    shop: FailingShop, inbox: InboxForPeople
) -> None:
    """M-17: the message is over when its order is; on_paid ran for one of them only."""
    handler = shop.at(inbox)
    await came_too_early(shop, handler, "handle")
    shop.has_stock = True
    await rounds(shop, handler, 2)
    assert len(shop.delivered) == 1
    assert not await inbox.listing(10)
    assert shop.reasons() == [D.UNKNOWN_ORDER]


async def test_an_order_whose_message_is_closed_is_quarantined_and_told_of(
    shop: FailingShop, inbox: InboxForPeople
) -> None:
    """M-17: as the last version left them: nobody would take that message up."""
    handler = shop.at(inbox)
    await came_too_early(shop, handler, "handle")
    (message,) = await inbox.asides(KEY)
    await inbox.close(message)
    shop.expects(ANOTHER_PRICE)
    await rounds(shop, handler)
    (listed,) = await inbox.listing(10)
    assert isinstance(listed, Record)
    assert listed.state is SeenState.QUARANTINED
    assert shop.reasons() == [D.UNKNOWN_ORDER, D.CONFLICT]


@pytest.mark.parametrize("closed", [False, True])
async def test_an_order_waits_until_the_gateway_answers_again(
    shop: FailingShop, inbox: InboxForPeople, *, closed: bool
) -> None:
    """M-15, M-17: UNCONFIRMED is asked again, also where its message was closed meanwhile."""
    gateway = Scripted(shop.clock, always(AWAY))
    handler = shop.at(inbox, confirm=gateway)
    coupon = shop.body(total_fee=PRICE - 10, coupon_fee=10)
    assert said(await handler.handle(coupon)) == (D.UNCONFIRMED, FAIL)
    for _ in range(2):
        gateway.script = always(PAID)
        await rounds(shop, handler, 1)
        if closed:
            for message in await inbox.asides(KEY):
                await inbox.close(message)
        gateway.script = always(AWAY)
        await rounds(shop, handler, 1)
        assert (await kept(inbox)).state is SeenState.HELD
        assert not any(isinstance(item, Record) for item in await inbox.unfinished(10))
    gateway.script = always(PAID)
    shop.has_stock = True
    await rounds(shop, handler, 2)
    assert len(shop.delivered) == 1
    assert shop.reasons() == [D.UNCONFIRMED]
    assert not await inbox.listing(10)


@pytest.mark.parametrize("meanwhile", [ANOTHER_PRICE, CLOSED], ids=["another price", "closed"])
@pytest.mark.parametrize("when", ["its page is read", "it is told of"])
async def test_another_payments_retry_is_not_given_up_with_the_first_ones(
    shop: FailingShop, inbox: InboxForPeople, meanwhile: ExpectedOrder, when: str
) -> None:
    """M-16, M-17: it came while the first one was taken up, and its own on_paid failed."""
    other = shop.at(inbox)
    answers: list[tuple[str | None, bytes]] = []

    async def second_comes() -> None:
        if not answers:
            shop.expects(AS_IT_WAS)
            answers.append(said(await other.handle(shop.body(**SECOND))))
            shop.expects(meanwhile)

    async def on_conflict(_aside: SetAside) -> None:
        await second_comes()

    async def expected(_mch_id: str, _number: str) -> ExpectedOrder | None:
        await second_comes()
        return meanwhile

    handler = shop.at(inbox)
    await handler.handle(shop.body(**FIRST))
    shop.expects(meanwhile)
    if when == "it is told of":
        handler = shop.at(inbox, on_conflict=on_conflict)
    else:
        handler = shop.at(inbox, expected=expected)
    await rounds(shop, handler, 1)
    assert answers == [(D.APPLY, FAIL)]
    record = await kept(inbox)
    assert (record.state, record.entry.transaction_id) == (SeenState.HELD, "T2")
    (waits,) = await inbox.asides(KEY)
    assert '"T1"' in waits.payload
    await shop.clock.advance(4000)
    assert KEY in [item.key for item in await inbox.unfinished(10) if isinstance(item, Record)]


async def test_a_failure_after_a_give_up_is_the_first_one_that_is_heard(
    shop: FailingShop, inbox: InboxForPeople
) -> None:
    """M-15: on_not_paid is told, once; and the payment that waits still counts."""
    handler = shop.at(inbox)
    await handler.handle(shop.body())
    shop.expects(ANOTHER_PRICE)
    await rounds(shop, handler, 1)
    for number in ("T7", "T7", "T8"):
        failed = shop.body(pay_result="1", transaction_id=number, out_transaction_id=None)
        assert said(await handler.handle(failed)) == (D.NOT_PAID, SUCCESS)
    assert [heard.transaction_id for heard in shop.unpaid] == ["T7"]
    shop.expects(AS_IT_WAS)
    shop.has_stock = True
    await rounds(shop, handler)
    assert len(shop.delivered) == 1
    assert not await inbox.listing(10)


async def test_what_cannot_be_remembered_is_not_acknowledged(
    shop: FailingShop, inbox: InboxForPeople, caplog: pytest.LogCaptureFixture
) -> None:
    """M-15: no room for the first numbers of the other way, unless they are known already."""
    shop.has_stock = True
    handler = shop.at(inbox)
    for number in range(MOST_MESSAGES):
        await handler.handle(shop.body(transaction_id=f"X{number}", total_fee=1))
    assert await handler.settle(queried(transaction_id="Q1")) is D.APPLY
    for fields in (FIRST, SECOND, FIRST):
        assert (await handler.handle(shop.body(**fields))).body == FAIL
    assert handler.stats().not_kept == 3
    (line,) = [
        line for line in caplog.records if line.getMessage().startswith("a notification was not")
    ]
    assert line.levelno == logging.ERROR
    known = shop.body(transaction_id="Q1", out_transaction_id=None)
    assert said(await handler.handle(known)) == (D.DUPLICATE, SUCCESS)
    for message in await inbox.asides(KEY):
        await inbox.close(message)
    assert said(await handler.handle(shop.body(**FIRST))) == (D.DUPLICATE, SUCCESS)
    assert said(await handler.handle(shop.body(**SECOND))) == (D.CONFLICT, FAIL)
    assert len(shop.delivered) == 1


async def test_what_a_person_applied_is_not_taken_over_by_another_payment(
    shop: FailingShop, inbox: InboxForPeople
) -> None:
    """M-17: the second payment waits as a CONFLICT, and the first is delivered in the end."""
    handler = shop.at(inbox)
    await handler.handle(shop.body(**FIRST, total_fee=1))
    (message,) = await inbox.asides(KEY)
    await inbox.mark(KEY, Mark.APPLY, message.fingerprint)
    await handler.run_due()
    shop.has_stock = True
    assert said(await handler.handle(shop.body(**SECOND))) == (D.CONFLICT, FAIL)
    await rounds(shop, handler)
    assert [order.transaction_id for order in shop.delivered] == ["T1"]
    (waiting,) = await inbox.asides(KEY)
    assert "another payment" in waiting.reason
    assert shop.reasons() == [D.CONFLICT, D.CONFLICT]
