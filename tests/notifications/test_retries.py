"""A retry of a failed on_paid is judged by what the shop expects now (M-17)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from chaoying_async import Credentials
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    Entry,
    Mark,
    OrderKey,
    SeenState,
)
from tests.factories import CREDENTIALS, MCH_ID, ORDER
from tests.pollers import CLOSED, PENDING, Scripted, always
from tests.pure.stored_values import order_text
from tests.shop import FAIL, PRICE, SUCCESS, Shop, failing, queried, said

D = Decision
ORDER_KEY = OrderKey(MCH_ID, ORDER)
OTHER_MCH = "00000002"
AS_IT_WAS = ExpectedOrder(PRICE, MCH_ID)


@pytest.fixture
def shop() -> Shop:
    return Shop(before=failing(1))


async def rounds(shop: Shop, handler: Any, count: int = 3) -> None:
    """Time enough for any retry, and a round of them, so many times."""
    for _ in range(count):
        await shop.clock.advance(4000)
        await handler.run_due()


def changed(shop: Shop, order: ExpectedOrder | None) -> None:
    """From now on the shop expects this; None: it knows no such order any more."""
    if order is None:
        del shop.orders[ORDER]
    else:
        shop.orders[ORDER] = order


CHANGES: dict[str, tuple[ExpectedOrder | None, Decision]] = {
    "another price": (ExpectedOrder(PRICE + 1, MCH_ID), D.CONFLICT),
    "another currency": (ExpectedOrder(PRICE, MCH_ID, "USD"), D.CONFLICT),
    "another merchant's": (ExpectedOrder(PRICE, OTHER_MCH), D.CONFLICT),
    "gone": (None, D.UNKNOWN_ORDER),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", ["handle", "settle"])
async def test_a_retry_is_judged_by_what_the_shop_expects_now(
    shop: Shop, change: str, way: str
) -> None:
    """M-17: nothing is run with what was expected then; told once; applied when it fits again."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    if way == "handle":
        assert said(await handler.handle(shop.body())) == (D.APPLY, FAIL)
    else:
        assert await handler.settle(queried(raw={"fee_type": "CNY"})) is D.IN_PROGRESS
    order, decision = CHANGES[change]
    changed(shop, order)
    await rounds(shop, handler)
    assert not shop.delivered
    assert shop.reasons() == [decision]
    (waits,) = await inbox.listing(10)
    assert isinstance(waits, Aside)
    assert (waits.key, waits.decision) == (ORDER_KEY, decision)
    changed(shop, AS_IT_WAS)
    await rounds(shop, handler)
    assert len(shop.delivered) == 1
    assert not await inbox.listing(10)


@pytest.mark.parametrize("change", CHANGES)
async def test_a_redelivery_before_the_retry_is_the_same_message(shop: Shop, change: str) -> None:
    """M-15, M-17: reported once, whether the redelivery or the retry finds out first."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    body = shop.body()
    await handler.handle(body)
    order, decision = CHANGES[change]
    changed(shop, order)
    for _ in range(2):
        assert said(await handler.handle(body)) == (decision, FAIL)
        await rounds(shop, handler, 1)
    assert shop.reasons() == [decision]
    changed(shop, AS_IT_WAS)
    assert said(await handler.handle(body)) == (D.APPLY, SUCCESS)
    await rounds(shop, handler)
    assert len(shop.delivered) == 1
    assert not await inbox.listing(10)


async def test_what_a_person_dismissed_is_not_applied_by_a_retry(shop: Shop) -> None:
    """M-17: the message waits in the order's place, so one decision is enough."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    await handler.handle(shop.body())
    changed(shop, ExpectedOrder(PRICE + 1, MCH_ID))
    await rounds(shop, handler, 1)
    (waits,) = await inbox.listing(10)
    assert isinstance(waits, Aside)
    await inbox.mark(waits.key, Mark.DISMISS, waits.fingerprint)
    changed(shop, AS_IT_WAS)
    await rounds(shop, handler)
    assert not shop.delivered


async def test_an_order_that_has_another_number_now_is_delivered_under_it(shop: Shop) -> None:
    """M-18: the merchant's other number is still the merchant; nothing is left behind."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    await handler.handle(shop.body())
    changed(shop, ExpectedOrder(PRICE, OTHER_MCH, also=(MCH_ID,)))
    await rounds(shop, handler)
    assert [order.mch_id for order in shop.delivered] == [OTHER_MCH]
    assert not await inbox.listing(10)
    assert not shop.told


async def test_trust_in_coupons_that_was_taken_back_holds_for_a_retry(shop: Shop) -> None:
    """M-13, M-17: only the total and the coupon together make up the amount."""
    inbox = shop.inbox()
    body = shop.body(total_fee=PRICE - 10, coupon_fee=10)
    await shop.handler(inbox, trust_coupon_fee=True).handle(body)
    await rounds(shop, shop.handler(inbox))
    assert not shop.delivered
    assert shop.reasons() == [D.UNCONFIRMED]
    await rounds(shop, shop.handler(inbox, trust_coupon_fee=True))
    (order,) = shop.delivered
    assert (order.payable, order.paid) == (PRICE, PRICE - 10)


@pytest.mark.parametrize(
    ("says", "decision"),
    [(CLOSED, D.CONFLICT), (PENDING, D.UNCONFIRMED), ({"base_fee": "1"}, D.CONFLICT)],
)
async def test_the_gateway_is_asked_again_before_a_retry(
    shop: Shop, says: dict[str, Any], decision: Decision
) -> None:
    """M-17: what it confirmed an hour ago may be refunded by now."""
    paid = {"base_fee": str(PRICE), "total_fee": str(PRICE), "time_end": "20260101080000"}
    gateway = Scripted(shop.clock, always(paid))
    handler = shop.handler(confirm=gateway)
    assert said(await handler.handle(shop.body())) == (D.APPLY, FAIL)
    gateway.script = always(paid | says)
    await rounds(shop, handler)
    assert not shop.delivered
    assert shop.reasons() == [decision]
    gateway.script = always(paid)
    await rounds(shop, handler)
    assert len(shop.delivered) == 1


async def test_a_retry_needs_no_key_any_more(shop: Shop) -> None:
    """M-17: it was verified when it came; the merchant's key may be gone since."""
    keys: dict[str, Credentials] = {MCH_ID: CREDENTIALS}
    handler = shop.handler(credentials=keys.get)
    assert said(await handler.handle(shop.body())) == (D.APPLY, FAIL)
    keys.clear()
    await rounds(shop, handler)
    assert len(shop.delivered) == 1


@pytest.mark.parametrize("redelivered", [False, True])
async def test_what_a_person_decided_stays_decided(shop: Shop, *, redelivered: bool) -> None:
    """M-17: applied whatever the amounts say, at the second try too, and whatever comes between."""
    shop.before = failing(2)
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    body = shop.body(total_fee=1)
    await handler.handle(body)
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Aside)
    await inbox.mark(ORDER_KEY, Mark.APPLY, kept.fingerprint)
    await handler.run_due()
    changed(shop, ExpectedOrder(PRICE + 1, OTHER_MCH))
    if redelivered:
        await handler.handle(body)
    await rounds(shop, handler)
    assert [(order.mch_id, order.payable) for order in shop.delivered] == [(MCH_ID, 1)]


async def quarantined(inbox: MemoryInbox) -> None:
    """By what ended the transaction that it was lent."""
    record = await inbox.look(ORDER_KEY)
    assert record is not None
    async with inbox.lock(ORDER_KEY, record.entry) as order:
        assert order is not None
        await order.save(SeenState.QUARANTINED, record.entry, reason="why")


@pytest.mark.parametrize("mark", [Mark.APPLY, Mark.RETRY])
async def test_a_quarantined_order_is_applied_or_judged_as_the_person_said(
    shop: Shop, mark: Mark
) -> None:
    """APPLY runs on_paid whatever the amounts say; RETRY decides again."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    await handler.handle(shop.body())
    await quarantined(inbox)
    changed(shop, ExpectedOrder(PRICE + 1, MCH_ID))
    shop.before = failing(1)
    assert await inbox.mark(ORDER_KEY, mark)
    await rounds(shop, handler)
    assert len(shop.delivered) == (mark is Mark.APPLY)
    assert shop.reasons() == [D.CONFLICT] * (mark is Mark.RETRY)


async def test_what_the_last_version_wrote_down_is_judged_again_too(shop: Shop) -> None:
    """M-17: its records hold the paid order in place of the message."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    order = queried(source="NOTIFICATION", time_end=shop.clock.now())
    first_seen, number = shop.clock.now(), order.transaction_id
    entry = Entry(order_text(order), first_seen, PRICE, number, None, order.source, "APPLY")
    async with inbox.lock(ORDER_KEY, entry) as locked:
        assert locked is not None
        await locked.save(SeenState.HELD, entry, failures=1, retry_in=30.0)
    changed(shop, ExpectedOrder(PRICE + 1, MCH_ID))
    await rounds(shop, handler)
    assert shop.reasons() == [D.CONFLICT]
    changed(shop, AS_IT_WAS)
    await rounds(shop, handler)
    assert [(order.payable, order.source) for order in shop.delivered] == [(PRICE, "NOTIFICATION")]


async def test_an_order_that_closes_before_its_retry_runs_the_hook_or_nothing(shop: Shop) -> None:
    """M-15: PAID_AFTER_CLOSE, judged as of now; without the hook it is quarantined."""
    for hook in (shop.on_paid_after_close, None):
        shop.before = failing(1)
        changed(shop, AS_IT_WAS)
        inbox = shop.inbox()
        handler = shop.handler(inbox, on_paid_after_close=hook)
        await handler.handle(shop.body())
        changed(shop, attrs.evolve(AS_IT_WAS, closed=True))
        await rounds(shop, handler)
        record = await inbox.look(ORDER_KEY)
        assert record is not None
        assert record.state is (SeenState.QUARANTINED if hook is None else SeenState.DONE)
    assert (len(shop.after_close), len(shop.delivered)) == (1, 0)
    assert shop.reasons() == [D.CONFLICT]
