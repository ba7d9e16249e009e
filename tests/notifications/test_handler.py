"""NotificationHandler: one message at a time, and what the gateway hears (M-13 to M-18)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Any
from urllib.parse import urlencode

import pytest

from chaoying_async import Credentials, OrderQuery, PaidOrder, PaidSource, PayType, PollStatus
from chaoying_async.sansio.notifications.case import NO_AMOUNT_CHECK, ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import Aside, OrderKey, SeenState
from chaoying_async.sansio.notifications.reading import MAX_BODY
from chaoying_async.sansio.signing import texts
from tests.factories import CREDENTIALS, KEY, MCH_ID, OPENID, ORDER, TRANSACTION
from tests.pollers import PENDING, Scripted, always, poller_on
from tests.shop import FAIL, OUT_TRANSACTION, PRICE, SUCCESS, Shop, message, said

D = Decision
ORDER_KEY = OrderKey(MCH_ID, ORDER)


@pytest.fixture
def shop() -> Shop:
    return Shop()


# ------------------------------------------------------------------------------ one message


async def test_a_paid_order_takes_effect_and_is_acknowledged(shop: Shop) -> None:
    """M-14: seven bytes, status 200, once on_paid has ended."""
    answer = await shop.handler().handle(shop.body())
    assert (answer.status, answer.body, answer.decision) == (200, b"success", D.APPLY)
    (order,) = shop.delivered
    assert order.source is PaidSource.NOTIFICATION
    assert (order.mch_id, order.out_trade_no, order.payable) == (MCH_ID, ORDER, PRICE)
    assert {order.transaction_id, order.out_transaction_id} == {TRANSACTION, OUT_TRANSACTION}
    assert order.raw["sub_openid"] == OPENID


async def test_a_redelivery_is_a_duplicate(shop: Shop) -> None:
    """C 83, M-15: acknowledged again, and nothing happens; another nonce changes nothing."""
    handler = shop.handler()
    for body in (shop.body(), shop.body(), shop.body(nonce_str="2")):
        assert (await handler.handle(body)).body == SUCCESS
    assert len(shop.delivered) == 1
    assert handler.stats().decisions == {D.APPLY: 1, D.DUPLICATE: 2}


async def test_the_answer_carries_the_order_whose_effect_is_durable(shop: Shop) -> None:
    """M-13: what on_paid was given, again with a redelivery, and with nothing else."""
    handler = shop.handler()
    body = shop.body()
    for decision in (D.APPLY, D.DUPLICATE):
        answer = await handler.handle(body)
        assert (answer.decision, answer.paid) == (decision, shop.delivered[0])
    another = shop.body(transaction_id="T2", out_transaction_id="W2")
    for told in (another, shop.body(total_fee=1), shop.body(pay_result="1"), b"a=1"):
        assert (await handler.handle(told)).paid is None
    assert OPENID not in repr(answer)


async def test_an_answer_that_says_fail_carries_no_order(shop: Shop) -> None:
    """M-14: its effect is not durable yet, so the wait for it must not end."""

    async def fails(_order: PaidOrder) -> None:
        raise RuntimeError("no stock")

    shop.before = fails
    answer = await shop.handler().handle(shop.body())
    assert (answer.decision, answer.body, answer.paid) == (D.APPLY, FAIL, None)


async def test_what_an_answer_carries_ends_the_pollers_wait(shop: Shop) -> None:
    """M-13: a verified notification, and nobody asks about the order any more."""
    gateway = Scripted(shop.clock, always(PENDING))
    handler = shop.handler()
    async with poller_on(gateway) as poller:
        query = OrderQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_trade_no=ORDER)
        waiting = asyncio.create_task(poller.wait(query, expected=PRICE))
        await shop.clock.advance(1)
        answer = await handler.handle(shop.body())
        assert answer.paid is not None
        assert poller.settle(answer.paid)
        assert (await waiting).status is PollStatus.PAID


async def test_concurrent_deliveries_have_one_effect_and_both_are_acknowledged(shop: Shop) -> None:
    """M-15: the second waits inside its budget for the first."""

    async def slow(_order: PaidOrder) -> None:
        await shop.clock.sleep(1)

    shop.before = slow
    inbox = shop.inbox()
    handlers = [shop.handler(inbox), shop.handler(inbox)]
    answers = await shop.clock.run(
        asyncio.gather(*(h.handle(shop.body()) for h in [*handlers, *handlers]))
    )
    assert [answer.body for answer in answers] == [SUCCESS] * 4
    assert len(shop.delivered) == 1


@pytest.mark.parametrize(
    ("fields", "decision"),
    [
        ({"state": "FAIL", "result_code": None, "pay_result": None}, D.NOT_PAID),
        ({"pay_result": "1"}, D.NOT_PAID),
        ({"result_code": "WAT"}, D.UNREADABLE),
        ({"time_end": None}, D.UNREADABLE),
        ({"out_trade_no": "A999999"}, D.UNKNOWN_ORDER),
        ({"time_end": "20200101000000"}, D.STALE),
        ({"time_end": "20270101000000"}, D.STALE),
        ({"total_fee": 1}, D.CONFLICT),
        ({"mch_id": "00000002"}, D.CONFLICT),
        ({"fee_type": "USD"}, D.CONFLICT),
        ({"total_fee": 90, "coupon_fee": 10}, D.UNCONFIRMED),
    ],
)
async def test_what_does_not_take_effect(
    shop: Shop, fields: dict[str, Any], decision: Decision
) -> None:
    """M-15: `success` only for NOT_PAID; the rest is kept and reported, once."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    for _ in range(3):
        answer = await handler.handle(shop.body(**fields))
        assert said(answer) == (decision, SUCCESS if decision is D.NOT_PAID else FAIL)
        assert answer.status == 200
    assert not shop.delivered
    if decision is D.NOT_PAID:
        assert len(shop.unpaid) == 1
        assert not shop.told
    else:
        assert shop.reasons() == [decision]
        (kept,) = await inbox.listing(10)
        assert isinstance(kept, Aside)
        assert (kept.decision, bool(kept.reason)) == (decision, True)
        assert OPENID not in kept.payload


async def test_a_missing_currency_and_other_numbers_of_the_merchant_are_fine(shop: Shop) -> None:
    """M-13, M-18: fee_type counts when present; the record is under the shop's own number."""
    inbox = shop.inbox()
    shop.orders[ORDER] = ExpectedOrder(PRICE, MCH_ID, also=("f201705191359",))
    answer = await shop.handler(inbox).handle(shop.body(fee_type=None, mch_id="f201705191359"))
    assert said(answer) == (D.APPLY, SUCCESS)
    assert shop.delivered[0].mch_id == MCH_ID
    assert said(await shop.handler(inbox).handle(shop.body())) == (D.DUPLICATE, SUCCESS)


async def test_another_payment_of_a_delivered_order_is_a_conflict(shop: Shop) -> None:
    """M-15: DONE stays DONE; the second payment is for a person, once, and never acknowledged."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    await handler.handle(shop.body())
    for _ in range(2):
        second = shop.body(transaction_id="T2", out_transaction_id="W2")
        assert said(await handler.handle(second)) == (D.CONFLICT, FAIL)
    assert len(shop.delivered) == 1
    assert shop.reasons() == [D.CONFLICT]
    assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)


async def test_a_failure_never_blocks_a_payment_and_never_undoes_one(shop: Shop) -> None:
    """M-15: not paid, paid, not paid again ends delivered."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    failed = shop.body(pay_result="1")
    assert said(await handler.handle(failed)) == (D.NOT_PAID, SUCCESS)
    assert said(await handler.handle(shop.body())) == (D.APPLY, SUCCESS)
    assert said(await handler.handle(failed)) == (D.DUPLICATE, SUCCESS)  # by its numbers
    failed = shop.body(pay_result="1", transaction_id="T2", out_transaction_id="W2")
    assert said(await handler.handle(failed)) == (D.NOT_PAID, SUCCESS)
    record = await inbox.look(ORDER_KEY)
    assert record is not None
    assert record.state is SeenState.DONE
    assert (len(shop.delivered), len(shop.unpaid)) == (1, 1)


async def test_a_failing_on_not_paid_is_not_acknowledged(shop: Shop) -> None:
    """M-14: only what is durable is; the next delivery tells it again."""
    errors: list[Exception] = [RuntimeError("shop is down")]

    async def on_not_paid(notification: Any) -> None:
        if errors:
            raise errors.pop()
        shop.unpaid.append(notification)

    handler = shop.handler(on_not_paid=on_not_paid)
    assert (await handler.handle(shop.body(pay_result="1"))).body == FAIL
    assert (await handler.handle(shop.body(pay_result="1"))).body == SUCCESS
    assert len(shop.unpaid) == 1


async def test_a_payment_after_the_close_runs_its_own_hook_once(shop: Shop) -> None:
    """M-15: neither silently closed nor silently delivered."""
    shop.orders[ORDER] = ExpectedOrder(PRICE, MCH_ID, closed=True)
    handler = shop.handler(on_paid_after_close=shop.on_paid_after_close)
    assert said(await handler.handle(shop.body())) == (D.PAID_AFTER_CLOSE, SUCCESS)
    assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)
    assert (len(shop.after_close), len(shop.delivered)) == (1, 0)


async def test_a_payment_after_the_close_without_a_hook_is_a_conflict(shop: Shop) -> None:
    """M-15: told, kept, not acknowledged."""
    shop.orders[ORDER] = ExpectedOrder(PRICE, MCH_ID, closed=True)
    assert said(await shop.handler().handle(shop.body())) == (D.CONFLICT, FAIL)
    assert shop.reasons() == [D.CONFLICT]


async def test_a_coupon_is_trusted_when_the_user_says_so(shop: Shop) -> None:
    """M-13: then payable is the expected amount."""
    handler = shop.handler(trust_coupon_fee=True)
    answer = await handler.handle(shop.body(total_fee=90, coupon_fee=10))
    assert said(answer) == (D.APPLY, SUCCESS)
    assert (shop.delivered[0].payable, shop.delivered[0].paid) == (PRICE, 90)


async def test_no_amount_check_takes_anything(shop: Shop) -> None:
    """M-13: loudly named; what was paid for the order is not known then."""
    handler = shop.handler(expected=NO_AMOUNT_CHECK)
    answer = await handler.handle(shop.body(total_fee=1, out_trade_no="any", mch_id="x"))
    assert said(answer) == (D.APPLY, SUCCESS)
    assert (shop.delivered[0].payable, shop.delivered[0].mch_id) == (None, "x")


async def test_a_lookup_cannot_wave_the_amount_check_through(shop: Shop) -> None:
    """M-13: to go without it is said where the handler is made, not for one order."""

    async def expected(_mch_id: str, _number: str) -> Any:
        return NO_AMOUNT_CHECK

    handler = shop.handler(expected=expected)
    answer = await handler.handle(shop.body(total_fee=1))
    assert (answer.body, shop.delivered) == (FAIL, [])


# ------------------------------------------------------------------------------ any input


UNREADABLE_BODIES = {
    "nothing": b"",
    "XML": b"<xml><sign>1</sign></xml>",
    "JSON": b'{"sign": "a=b"}',
    "multipart": b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n=",
    "no UTF-8": b"a=\xff",
    "text": "success",
    "half a pair": "a=\ud800",
    "twice": b"a=1&a=2",
    "None": None,
    "a number": 5,
    "a list": [b"a=1"],
}


@pytest.mark.parametrize("body", UNREADABLE_BODIES.values(), ids=UNREADABLE_BODIES)
async def test_an_unreadable_body_is_400(shop: Shop, body: Any) -> None:
    """M-14: never an exception, and nothing of it is kept."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    answer = await handler.handle(body)
    assert (answer.status, answer.body, answer.decision) == (400, b"fail", None)
    assert handler.stats().malformed == 1
    assert not await inbox.listing(10)


async def test_an_oversized_body_is_413(shop: Shop) -> None:
    """M-14: as bytes, and as text whose bytes are too many."""
    for body in (b"a=" + b"x" * MAX_BODY, "a=" + "超" * (MAX_BODY // 3)):
        answer = await shop.handler().handle(body)
        assert (answer.status, answer.body) == (413, b"fail")


@pytest.mark.parametrize("how", ["unsigned", "wrong", "another key"])
async def test_nothing_unverified_is_kept(shop: Shop, how: str) -> None:
    """M-15: a counter, and nothing else; no lookup either."""

    async def never(_mch_id: str, _number: str) -> None:
        raise AssertionError("looked up for a forgery")

    bodies = {
        "unsigned": shop.body(sign=None),
        "wrong": shop.body(sign="0" * 32),
        "another key": shop.body().replace(b"total_fee=100", b"total_fee=101"),
    }
    inbox = shop.inbox()
    handler = shop.handler(inbox, expected=never)
    answer = await handler.handle(bodies[how])
    assert (answer.status, answer.body, answer.decision) == (200, b"fail", None)
    assert handler.stats().unverified == 1
    assert not handler.stats().decisions
    assert not await inbox.listing(10)
    assert not shop.told


async def test_a_wrong_key_is_told_in_one_line_a_minute(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """M-15: how many of which kind, whatever strangers post; nothing of what they say."""

    def lines() -> list[str]:
        told = [each for each in caplog.records if each.name == "chaoying_async.notifications"]
        caplog.clear()
        assert {each.levelno for each in told} <= {logging.WARNING}
        return [each.getMessage() for each in told]

    wrong = Credentials(
        agent_id=CREDENTIALS.agent_id, key="key-of-a-test-shop", pid=CREDENTIALS.pid
    )
    handler = shop.handler(credentials=lambda mch_id: wrong if mch_id == MCH_ID else None)
    await handler.handle(shop.body())
    (line,) = lines()
    assert "0 about a merchant whose key nobody has, 0 without a signature, 1 with a" in line
    for _ in range(2):
        await handler.handle(shop.body())
        await handler.handle(shop.body(sign=None))
    await handler.handle(shop.body(mch_id="7559999999"))
    assert not lines()
    await shop.clock.advance(60)
    await handler.handle(shop.body(sign=None))
    (line,) = lines()
    assert "1 about a merchant whose key nobody has, 3 without a signature, 2 with a" in line
    secrets = (MCH_ID, "7559999999", ORDER, OPENID, TRANSACTION, KEY, wrong.key)
    assert not [each for each in secrets if each in line]
    await handler.handle(b"no form")
    assert not lines()
    assert handler.stats().unverified == 7


async def test_an_ambiguous_message_is_set_aside(shop: Shop) -> None:
    """M-04, M-15: verified, but to be read in two ways; a buyer hidden in it is not kept."""
    inbox = shop.inbox()
    fields = texts(message(shop.clock.now(), time_end="20260101080000"))
    fields |= {"state": "SUCCESS", "result_code": "SUCCESS", "pay_result": "0"}
    fields["attach"] = f"uid=5&version=2&openid={OPENID}"
    canonical = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    digest = hashlib.md5(f"{canonical}&key={KEY}".encode()).hexdigest()
    body = urlencode(fields | {"sign": digest}).encode()
    for _ in range(2):
        assert said(await shop.handler(inbox).handle(body)) == (D.UNREADABLE, FAIL)
    assert shop.reasons() == [D.UNREADABLE]
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Aside)
    assert "version=2" in kept.payload
    assert OPENID not in kept.payload


@pytest.mark.parametrize("changes", [{"out_trade_no": None}, {"mch_id": None}])
async def test_a_signed_message_about_nothing_is_set_aside(
    shop: Shop, changes: dict[str, Any]
) -> None:
    """M-15: a decision field is missing; it is kept under a key of its own and told once."""
    inbox = shop.inbox()
    for _ in range(2):
        answer = await shop.handler(inbox).handle(shop.body(**changes))
        assert (answer.status, *said(answer)) == (200, D.UNREADABLE, FAIL)
    assert shop.reasons() == [D.UNREADABLE]


@pytest.mark.parametrize("number", ["4\x002", "4" * 129, "4\n", "4\x7f"])
@pytest.mark.parametrize("name", ["transaction_id", "out_transaction_id"])
async def test_the_gateways_number_that_no_database_could_keep_is_unreadable(
    shop: Shop, name: str, number: str
) -> None:
    """M-15: it is set aside and told; else PostgreSQL would refuse its row at every delivery."""
    answer = await shop.handler(shop.inbox()).handle(shop.body(**{name: number}))
    assert said(answer) == (D.UNREADABLE, FAIL)
    assert not shop.delivered
    assert shop.reasons() == [D.UNREADABLE]


@pytest.mark.parametrize("number", ["A\x00B", "A" * 129, "\n", "A\x7f"])
async def test_a_number_that_no_database_could_keep_is_unreadable(shop: Shop, number: str) -> None:
    """M-18: never handed to the shop's lookup, never a key; told once."""
    shop.orders[number] = ExpectedOrder(PRICE, MCH_ID)
    inbox = shop.inbox()
    for _ in range(2):
        answer = await shop.handler(inbox).handle(shop.body(out_trade_no=number))
        assert said(answer) == (D.UNREADABLE, FAIL)
    assert not shop.delivered
    assert shop.reasons() == [D.UNREADABLE]
