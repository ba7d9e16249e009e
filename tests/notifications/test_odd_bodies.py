"""NotificationHandler against hostile bodies, gateways and clocks (M-13 to M-27)."""

from __future__ import annotations

import asyncio
import logging
import tracemalloc
from datetime import timedelta
from typing import Any

import pytest

from chaoying_async import Notification, PaidOrder, parse_notification
from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import Aside, OrderKey
from tests.factories import CREDENTIALS, KEY, MCH_ID, OPENID, ORDER
from tests.pollers import Scripted, always
from tests.shop import FAIL, PRICE, SUCCESS, Shop, queried, said

D = Decision
ORDER_KEY = OrderKey(MCH_ID, ORDER)
SECOND: dict[str, Any] = {"transaction_id": "T2", "out_transaction_id": "W2"}


@pytest.fixture
def shop() -> Shop:
    return Shop()


def raising(error: BaseException) -> Any:
    async def fail(*_given: Any) -> Any:
        raise error

    return fail


def asked(shop: Shop, **says: Any) -> Scripted:
    """A gateway that says "paid as ordered", unless ``says`` changes it."""
    paid = {"base_fee": str(PRICE), "total_fee": str(PRICE), "time_end": "20260101080000"}
    return Scripted(shop.clock, always(paid | says))


async def test_a_failure_whose_record_was_broken_off_is_not_acknowledged(shop: Shop) -> None:
    """M-14: `success` only where "no effect" is durable; leaving the block cancelled the record."""
    inbox = shop.inbox()

    async def hangs(_notification: Notification) -> None:
        await asyncio.Event().wait()

    async with shop.handler(inbox, on_not_paid=hangs, grace=0.0) as handler:
        delivery = asyncio.create_task(handler.handle(shop.body(pay_result="1")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    answer = await delivery
    assert await inbox.look(ORDER_KEY) is None
    assert answer.body == FAIL


# --------------------------------------------------------------------------- which payment it is


async def test_with_confirm_a_second_payment_of_a_delivered_order_is_a_conflict(shop: Shop) -> None:
    """M-15: two notifications of two payments; the query vouched for the first."""
    first = {"transaction_id": "T1", "out_transaction_id": "W1"}
    handler = shop.handler(confirm=asked(shop, transaction_id="T1"))
    assert said(await handler.handle(shop.body(**first))) == (D.APPLY, SUCCESS)
    assert said(await handler.handle(shop.body(**first))) == (D.DUPLICATE, SUCCESS)
    assert said(await handler.handle(shop.body(**SECOND))) == (D.CONFLICT, FAIL)
    assert shop.reasons() == [D.CONFLICT]


async def test_after_a_query_two_notifications_of_two_payments_are_a_conflict(shop: Shop) -> None:
    """M-15: a disjoint pair across the sources is a warning, the next one another payment."""
    handler = shop.handler()
    assert await handler.settle(queried(transaction_id="Q1")) is D.APPLY
    assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)
    assert said(await handler.handle(shop.body(**SECOND))) == (D.CONFLICT, FAIL)


@pytest.mark.parametrize(
    "says",
    [
        {"base_fee": "1"},
        {"fee_type": "USD"},
        {"mch_id": "00000002"},
        {"out_trade_no": "B"},
        {"base_fee": "100.0"},
        {"base_fee": "1e2"},
        {"base_fee": "１００"},
        {"state": "FAIL", "code": "20004", "trade_state": None},
        {"trade_state": "NOTPAY"},
        {"trade_state": "SUCCESS", "code": "10001"},
    ],
)
async def test_a_gateway_that_lies_delivers_nothing(shop: Shop, says: dict[str, Any]) -> None:
    """M-06, M-13: of another order, merchant, amount or currency; contradicting; wrongly signed."""
    handler = shop.handler(confirm=asked(shop, **says))
    answer = await handler.handle(shop.body(total_fee=PRICE - 10, coupon_fee=10))
    assert answer.body == FAIL
    assert not shop.delivered
    assert len(shop.told) == 1


# --------------------------------------------------------------------------- memory that is bounded


async def test_an_order_that_took_effect_just_now_is_not_forgotten(shop: Shop) -> None:
    """M-19: nothing inside the window goes; its message first came long before its effect."""
    inbox = shop.inbox(max_items=2)
    price = shop.orders.pop(ORDER)
    handler = shop.handler(inbox)
    await handler.handle(shop.body())
    await shop.clock.advance(2 * 86_400)
    shop.orders[ORDER] = price
    assert await handler.order_known(MCH_ID, ORDER) == 1
    assert len(shop.delivered) == 1
    shop.orders["B"] = ExpectedOrder(PRICE, MCH_ID)
    await handler.handle(shop.body(out_trade_no="B", **SECOND))  # the inbox is full
    assert await handler.settle(queried()) is D.DUPLICATE
    assert len(shop.delivered) == 2  # ORDER and, where there was room for it, B


async def test_an_inbox_that_is_exactly_full_still_ends_what_it_holds(shop: Shop) -> None:
    """M-19: the last free place is used, a held order needs none, and a new one is `fail`."""
    inbox = shop.inbox(max_items=1)
    shop.before = lambda _order: shop.clock.sleep(5)
    shop.orders["B"] = ExpectedOrder(PRICE, MCH_ID)
    async with shop.handler(inbox) as handler:
        await shop.clock.run(handler.handle(shop.body()))
        assert said(await handler.handle(shop.body(out_trade_no="B"))) == (None, FAIL)
        assert await inbox.prune(shop.clock.now() + timedelta(days=9), keys=True) == 0
        await shop.clock.advance(10)
        assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)
        assert said(await handler.handle(shop.body(total_fee=1, **SECOND))) == (None, FAIL)
    assert len(shop.delivered) == 1


# --------------------------------------------------------------------------------- hostile bodies


FLOODS = {
    "ampersands": b"&" * 65_536,
    "equals": b"=" * 65_536,
    "percents": b"a=" + b"%" * 65_534,
    "half escapes": b"a=" + b"%a" * 32_767,
    "escaped NULs": b"a=" + b"%00" * 21_844,
    "pluses": b"a=" + b"+" * 65_534,
    "embedded names": b"a=" + b"%26key%3D" * 7_281,
    "200 fields": b"&".join(b"f%d=" % n + b"x" * 300 for n in range(200)),
    "201 fields": b"&".join(b"f%d=1" % n for n in range(201)),
    "line ends": b"a=" + b"%0D%0A" * 10_922,
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_any_bytes_stay_inside_their_memory(shop: Shop, flood: str) -> None:
    """64 KiB of anything take less than 16 MiB, whether it is signed or not."""
    handler = shop.handler()
    body = FLOODS[flood]
    await handler.handle(body)
    tracemalloc.start()
    try:
        answer = await handler.handle(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.body == FAIL
    assert peak < 16 * 1024 * 1024


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, "text"])
async def test_a_huge_body_is_refused_without_a_copy(shop: Shop, kind: Any) -> None:
    """413 by its length; 64 MiB are not copied to find that out."""
    huge = b"a" * (64 * 1024 * 1024)
    body = "a" * len(huge) if kind == "text" else kind(huge)
    handler = shop.handler()
    tracemalloc.start()
    try:
        answer = await handler.handle(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (answer.status, answer.body) == (413, FAIL)
    assert peak < 1024 * 1024


class Sub(bytes):
    """What a framework may hand over."""


async def test_the_same_bytes_in_any_type_are_the_same_notification(shop: Shop) -> None:
    """M-14: bytes, their subclasses, text, a buffer, also a released or a strided one."""
    handler = shop.handler()
    body = shop.body()
    strided = memoryview(bytes(byte for one in body for byte in (one, 0)))[::2]
    for form in (body, Sub(body), bytearray(body), memoryview(body), strided, body.decode()):
        answer = await handler.handle(form)  # type: ignore[arg-type]
        assert answer.body == SUCCESS
    released = memoryview(body)
    released.release()
    for nothing in (released, (byte for byte in body), 7, None, object(), [body], {"a": body}):
        assert (await handler.handle(nothing)).body == FAIL  # type: ignore[arg-type]
    assert len(shop.delivered) == 1


HOSTILE_JSON = (
    "[" * 30_000,
    "[" * 17 + "]" * 17,
    '[{"amount":1e999999999}]',
    '[{"amount":"1e999999999","fundChannel":"X"}]',
    '[{"amount":' + "9" * 30_000 + "}]",
    '[{"amount":NaN}]',
    '[{"amount":Infinity}]',
    '[{"amount":"\\ud800"}]',
    '[{"a":1,"a":2}]',
    '{"amount":1}',
    "[null]",
    "null",
    '["' + "\\u0000" * 5_000 + '"]',
    "[" + ",".join("{}" for _ in range(10_000)) + "]",
    "{" + ",".join(f'"k{n}":1' for n in range(3_000)) + "}",
)
HOSTILE_NUMBERS = ("9" * 20_000, "-1", "0x10", "1_000", "１００", "+1", "1.0", " 1", "1e3", "٣")


@pytest.mark.parametrize("text", [*HOSTILE_JSON, *HOSTILE_NUMBERS])
@pytest.mark.parametrize("trade_type", ["pay.weixin.jspay", "pay.alipay.jspay"])
async def test_every_attribute_of_a_signed_oddity_is_read_or_none(
    shop: Shop, text: str, trade_type: str
) -> None:
    """Nothing that a signed message holds raises when it is read, shown or decided about."""
    odd = dict.fromkeys(
        ("fund_bill_list", "promotion_detail", "coupon_fee", "invoice_amount", "device_info"), text
    )
    body = shop.body(
        trade_type=trade_type,
        gmt_create=text[:100],
        **{name: value[:4_000] for name, value in odd.items()},
    )
    notice = parse_notification(body, CREDENTIALS, now=shop.clock.now())
    for name in notice.field_names():
        value = getattr(notice, name)
        assert len(repr(value)) < 200_000
    assert OPENID not in repr(notice)
    assert notice.coupon_fee is None
    assert (await shop.handler().handle(body)).body == SUCCESS


@pytest.mark.parametrize("moment", ["00010101000000", "99991231235959", "20260230000000", "0"])
async def test_the_ends_of_time_are_stale_or_unreadable(shop: Shop, moment: str) -> None:
    """M-15: no overflow on the first and the last day there is."""
    handler = shop.handler()
    answer = await handler.handle(shop.body(time_end=moment))
    assert said(answer) in {(D.STALE, FAIL), (D.UNREADABLE, FAIL)}
    assert len(shop.told) == 1


@pytest.mark.parametrize("number", ["A\x85B", "A\x9bB", "A\x80"])
async def test_a_number_with_a_control_character_of_latin_1_is_unreadable(
    shop: Shop, number: str
) -> None:
    """M-18: an `OrderKey` holds no control character, those of U+0080 to U+009F included."""
    shop.orders[number] = ExpectedOrder(PRICE, MCH_ID)
    answer = await shop.handler().handle(shop.body(out_trade_no=number))
    assert said(answer) == (D.UNREADABLE, FAIL)


# -------------------------------------------------------------------------------- odd knobs, clocks


@pytest.mark.parametrize("knob", ["budget", "grace"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_span_that_is_none_is_refused_when_the_handler_is_made(
    shop: Shop, knob: str, value: float
) -> None:
    """A handler that could never answer anything but `fail` says so at once."""
    span: dict[str, Any] = {knob: value}
    with pytest.raises(ParameterError):
        shop.handler(**span)


async def test_a_wall_clock_that_jumps_changes_no_lease_and_loses_no_payment(shop: Shop) -> None:
    """M-26: an hour back during the work, then right again: one effect; what was STALE applies."""
    inbox = shop.inbox()
    right = shop.body()
    wall = shop.clock.now
    handler = shop.handler(inbox)
    shop.clock.now = lambda: wall() - timedelta(hours=1)  # type: ignore[method-assign]
    assert said(await handler.handle(right)) == (D.STALE, FAIL)
    shop.clock.now = wall  # type: ignore[method-assign]
    shop.before = lambda _order: shop.clock.sleep(50)
    async with shop.handler(inbox) as owner:
        await shop.clock.run(owner.handle(right))
        shop.clock.now = lambda: wall() + timedelta(days=3)  # type: ignore[method-assign]
        assert said(await shop.clock.run(owner.handle(right))) == (D.IN_PROGRESS, FAIL)
        shop.clock.now = lambda: wall() - timedelta(days=3)  # type: ignore[method-assign]
        await shop.clock.advance(60)
        assert said(await owner.handle(right)) == (D.DUPLICATE, SUCCESS)
    assert len(shop.delivered) == 1


# ---------------------------------------------------------------------------------- personal data


BUYERS = {
    "plain": {"sub_openid": OPENID},
    "in text": {"attach": f"uid=1&sub_openid={OPENID}".replace("&sub", ";sub")},
    "in JSON": {"attach": f'{{"sub_openid":"{OPENID}"}}'},
    "in a list of JSON": {"promotion_detail": f'[{{"openid":"{OPENID}","amount":1}}]'},
}


@pytest.mark.parametrize("how", BUYERS)
async def test_a_buyer_is_nowhere_but_in_what_on_paid_gets(
    shop: Shop, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-27: not in logs at DEBUG, reprs, reports, nor in anything that the inbox has written."""
    caplog.set_level(logging.DEBUG)
    inbox = shop.inbox()

    async def fail(order: PaidOrder) -> None:
        raise RuntimeError(repr(order))

    shop.before = fail
    async with shop.handler(inbox) as handler:
        await handler.handle(shop.body(**{"sub_openid": None} | BUYERS[how]))
        await handler.handle(shop.body(out_trade_no="B", **{"sub_openid": None} | BUYERS[how]))
        kept = await inbox.listing(10)
        shown = repr((handler, inbox, handler.stats(), shop.told, kept))
    written = [item.payload if isinstance(item, Aside) else item.entry.payload for item in kept]
    assert len(written) == 2
    for canary in (OPENID, KEY):
        assert canary not in caplog.text
        assert canary not in shown
        assert canary not in "".join(written)


async def test_a_buyer_inside_a_query_s_nested_answer_is_not_kept(shop: Shop) -> None:
    """M-27: `PaidOrder.raw` holds what the gateway said, lists and objects too."""
    inbox = shop.inbox()
    shop.before = raising(RuntimeError("no stock"))
    raw = {"openid": OPENID, "buyer": {"openid": OPENID}, "list": [{"buyer_user_id": OPENID}]}
    assert await shop.handler(inbox).settle(queried(raw=raw)) is D.IN_PROGRESS
    record = await inbox.look(ORDER_KEY)
    assert record is not None
    assert OPENID not in record.entry.payload
