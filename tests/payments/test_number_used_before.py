"""A number that was used before: whose payment it is, and that nobody else's sale is cancelled."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import httpx
import pytest

from chaoying_async import (
    ChaoyingError,
    Hosts,
    OrderNumbers,
    OutcomeUnknownError,
    Pay,
    PayType,
    Refund,
    TradePendingError,
    TransportError,
)
from chaoying_async.exceptions import AttemptInProgressError, GatewayError
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.resume import resume
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus
from tests.factories import CREDENTIALS, MCH_ID, answer_fields
from tests.fake_gateway import FakeGateway, session
from tests.payments.sold_before import AGES, ALIPAY_CODE, Off, losing_the_pay_reply, sold_before
from tests.sandbox_calls import session_with
from tests.tills import EXACT, ORDER, Counter, TillOnSandbox, a_till, facepay, pay


def failing(shop: TillOnSandbox, *names: str) -> None:
    """Such queries get no answer, from now on."""

    def fails(request: Any) -> None:
        if request.endpoint.name in names:
            raise TransportError("lost")

    shop.till.before = fails


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("face", [False, True])
async def test_a_number_that_was_paid_before_is_paid_earlier(age: float, face: bool) -> None:
    """M-24: answered 20004, and paid under another wallet; never delivered twice, nor cancelled."""
    async with a_till() as shop:
        await sold_before(shop, age)
        request = facepay(100) if face else pay(100)
        outcome = await shop.checkout(100, pay=request)
        assert outcome.status is CheckoutStatus.PAID_EARLIER
        assert outcome.paid is not None
        assert (outcome.paid.payable, outcome.paytype) == (100, PayType.ALIPAY)
        assert outcome.suggested_refund is None
        assert "your own record" in outcome.advice
        with pytest.raises(TradePendingError, match="PAID_EARLIER"):
            outcome.unwrap()
        assert shop.till.at("cancel") == []
        assert (shop.status(), shop.sandbox.books.kept) == ("PAID", 100)


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("found", [False, True])
async def test_after_20004_no_cancel_leaves_whatever_the_queries_say(
    age: float, found: bool
) -> None:
    """M-24: no answer, and nothing found, to the end: UNKNOWN, or never arrived."""
    async with a_till() as shop:
        await sold_before(shop, age)
        failing(shop, "orderquery")
        running = asyncio.ensure_future(shop.charging(100))
        await shop.clock.advance(200)
        if found:
            shop.till.before = None
        await shop.clock.advance(600)
        outcome = await running
        assert outcome.status == ("PAID_EARLIER" if found else "UNKNOWN")
        assert shop.till.at("cancel") == []
        assert shop.status() == "PAID"


@pytest.mark.parametrize(
    "said",
    [
        {"mch_id": "999"},
        {"out_trade_no": "B200022"},
        {"sign": "0" * 32},
        {"code": " 20004"},
        {"code": 20004},
        {"status": 400},
        {"msg": "x&code=1"},
    ],
    ids=str,
)
async def test_a_20004_that_cannot_be_believed_bars_every_cancel_too(said: dict[str, Any]) -> None:
    """M-24: about another merchant, forged, unreadable: it may be true, and a cancel may not."""
    said = dict(said)
    status = said.pop("status", 200)
    fields = {"state": "FAIL", "code": "20004", "msg": "used"} | said
    body = json.dumps(answer_fields("pay", **fields)).encode()
    async with a_till() as shop:
        sent = build_request(pay(100, mch_id=MCH_ID), CREDENTIALS)

        def answers(request: Any) -> None:
            if request.endpoint.name == "pay":
                read_reply(sent, status, body, CREDENTIALS, now=None)

        await sold_before(shop, 1, amount=405)
        shop.till.before = answers
        outcome = await shop.checkout(100)
        assert outcome.status is CheckoutStatus.UNKNOWN
        assert shop.till.at("cancel") == []


@pytest.mark.parametrize(
    ("amount", "status", "reason"),
    [
        (405, "UNKNOWN", CheckoutReason.STILL_OPEN),
        (406, "FAILED", CheckoutReason.FAILED),
        (417, "FAILED", CheckoutReason.CLOSED),
        (402, "PAID_EARLIER", CheckoutReason.NONE),
        (412, "UNKNOWN", CheckoutReason.MISMATCH),
    ],
)
async def test_after_20004_only_what_is_plainly_over_is_told_as_over(
    amount: int, status: str, reason: str
) -> None:
    """M-24: another till's order that is open is left open, and one that is over is over."""
    async with a_till() as shop:
        await sold_before(shop, 1, amount)
        outcome = await shop.checkout(amount)
        assert (outcome.status, outcome.reason) == (status, reason)
        assert shop.till.at("cancel") == []


async def test_after_20004_an_order_in_refund_is_for_a_person() -> None:
    """M-24: it was paid, perhaps by this sale's customer."""
    async with a_till() as shop:
        await sold_before(shop, 1)
        await _refunded(shop)
        outcome = await shop.checkout(100)
        assert (outcome.status, outcome.reason) == ("UNKNOWN", CheckoutReason.REFUNDED)
        assert shop.till.at("cancel") == []


async def test_a_refused_parameter_is_never_arrived_when_nobody_knows_it_under_any_wallet() -> None:
    """M-24: 20004 may mean just that; the number may be of any wallet, so all are asked."""
    async with a_till() as shop:

        def refuses(request: Any) -> None:
            if request.endpoint.name == "pay":
                refusal = GatewayError("refused", state="FAIL", code="20004")
                raise OutcomeUnknownError("refused", refusal=refusal)

        shop.till.before = refuses
        outcome = await shop.checkout(100, paytype=PayType.WECHAT)
        assert (outcome.status, outcome.reason) == ("FAILED", CheckoutReason.NOT_FOUND)
        assert shop.till.at("orderquery")[-5:] == [270.0] * 5
        assert shop.till.at("cancel") == []


@pytest.mark.parametrize(
    "said",
    [
        GatewayError("x", state="FAIL", code="20004"),
        GatewayError("x", state="VER", code="20004"),
        OutcomeUnknownError("x", refusal=GatewayError("x", state="FAIL", code="20004")),
    ],
)
async def test_20004_counts_however_it_is_told(said: Exception) -> None:
    """M-24: by a session or by any other gateway."""
    async with a_till() as shop:
        await sold_before(shop, 1, 405)

        def says(request: Any) -> None:
            if request.endpoint.name == "pay":
                raise said

        shop.till.before = says
        outcome = await shop.checkout(405)
        assert (outcome.status, outcome.reason) == ("UNKNOWN", CheckoutReason.STILL_OPEN)
        assert shop.till.at("cancel") == []


@pytest.mark.parametrize("signed", [True, False])
async def test_20004_on_a_connection_that_proves_nothing_still_forbids_the_cancel(
    signed: bool,
) -> None:
    """M-09, M-24: unsigned, on plain http to a stranger's host, it is no proof; nor is it safe."""
    address = "http://gateway.invalid"
    plain = Hosts(pay=address, api=address, qrpay=address, dangerous_allow_http=True)
    async with a_till(sign_failures=signed) as shop:
        await sold_before(shop, 1)
        async with session_with(shop.sandbox, hosts=plain, read_retries=0) as stranger:
            shop.till = Counter(stranger, shop.clock)
            failing(shop, "orderquery")
            outcome = await shop.checkout(100)
        assert outcome.status is CheckoutStatus.UNKNOWN
        assert shop.till.at("cancel") == []


@pytest.mark.parametrize("age", AGES)
async def test_a_lost_reply_and_a_payment_of_before_is_paid_earlier(age: float) -> None:
    """M-24: time_end lies before the pay call's start, on the gateway's clock."""
    async with a_till() as shop:
        await sold_before(shop, age, auth_code="130000000000000009")
        losing_the_pay_reply(shop)
        outcome = await shop.checkout(100)
        assert outcome.status is CheckoutStatus.PAID_EARLIER


@pytest.mark.parametrize("ours", [-86_400, -700, -1, 0, 1, 700, 86_400])
@pytest.mark.parametrize("earlier", [True, False])
async def test_time_end_is_compared_on_the_gateways_clock(ours: float, earlier: bool) -> None:
    """M-24, M-26: whatever our clock says, if a reply has a Date."""
    async with a_till() as shop:
        if earlier:
            await sold_before(shop, 1, auth_code="130000000000000009")
        losing = losing_the_pay_reply if earlier else _losing_only_the_reply
        losing(shop)
        outcome = await shop.clock.run(
            checkout(shop.till, pay(100), schedule=EXACT, clock=Off(shop.clock, ours))
        )
        assert outcome.status == ("PAID_EARLIER" if earlier else "PAID")


@pytest.mark.parametrize(
    ("ours", "status"), [(0, "PAID"), (899, "PAID"), (900, "PAID_EARLIER"), (-600, "PAID")]
)
async def test_without_a_date_a_quarter_of_an_hour_is_allowed(ours: float, status: str) -> None:
    """M-24: the gateway paid one second before; by our clock up to 15 minutes are no proof."""
    async with a_till() as shop:
        await sold_before(shop, 1, auth_code="130000000000000009")
        losing_the_pay_reply(shop)
        shop.till.after = lambda _, reply: attrs.evolve(reply, date=None)
        outcome = await shop.clock.run(
            checkout(shop.till, pay(100), schedule=EXACT, clock=Off(shop.clock, ours))
        )
        assert outcome.status == status


async def test_without_a_time_end_it_is_not_earlier() -> None:
    """M-24: money is never guessed, in either direction."""
    async with a_till() as shop:
        await sold_before(shop, 86_400, auth_code="130000000000000009")
        losing_the_pay_reply(shop)
        shop.till.after = _without_time_end
        assert (await shop.checkout(100)).status is CheckoutStatus.PAID


async def test_a_pay_call_that_answers_paid_with_an_old_time_is_paid_earlier() -> None:
    """M-24: a gateway that tells the old payment again instead of refusing the number."""
    async with a_till() as shop:

        def old(request: Any, reply: Any) -> Any:
            result = attrs.evolve(reply.result, time_end=shop.clock.now() - timedelta(seconds=1))
            return attrs.evolve(reply, result=result)

        shop.till.after = old
        outcome = await shop.checkout(100)
        assert outcome.status is CheckoutStatus.PAID_EARLIER
        assert outcome.paid is not None
        assert shop.till.at("orderquery") == []


async def test_several_servers_whose_clocks_differ_make_no_payment_earlier() -> None:
    """M-24: a payment of this call's own is PAID, whichever of them its time comes from."""
    for first, then in ((3600, 0), (0, 3600), (-3600, 0), (0, -3600)):
        async with a_till() as shop:
            dates = iter([first, *[then] * 99])

            def dated(_: Any, reply: Any, dates: Any = dates) -> Any:
                return attrs.evolve(reply, date=reply.date + timedelta(seconds=next(dates)))

            shop.till.after = dated
            assert (await shop.checkout(401)).status is CheckoutStatus.PAID


async def test_a_cancel_that_left_before_an_earlier_payment_was_seen_suggests_no_refund() -> None:
    """M-24: the reply to pay was lost, so it cancelled; the money it then finds is not its own."""
    async with a_till() as shop:
        await sold_before(shop, 1, auth_code="130000000000000009")
        losing_the_pay_reply(shop)
        lost = shop.till.before

        def loses_more(request: Any) -> None:
            lost(request)
            if request.endpoint.name == "cancel":
                raise OutcomeUnknownError("lost")
            if request.endpoint.name == "orderquery" and not shop.till.at("cancel"):
                raise TransportError("lost")

        shop.till.before = loses_more
        outcome = await shop.checkout(100)
        assert (outcome.status, outcome.reason) == ("PAID_EARLIER", CheckoutReason.AFTER_CANCEL)
        assert outcome.suggested_refund is None
        assert "books" in outcome.advice
        assert len(shop.till.at("orderquery")) > len(shop.till.at("cancel"))


async def test_an_order_paid_earlier_is_not_charged_again() -> None:
    """Neither under its number nor under the next one, in this process and after it."""
    async with a_till() as shop:
        store, numbers = MemoryPollStore(), OrderNumbers("A10001")
        first = numbers.next()
        await shop.till.send(pay(100, str(first), auth_code=ALIPAY_CODE))
        await shop.clock.advance(1)
        async with store:
            outcome = await shop.checkout(100, number=first, store=store)
            assert outcome.status is CheckoutStatus.PAID_EARLIER
            for number in (first, numbers.next()):
                with pytest.raises(AttemptInProgressError, match=r"own record|in the store"):
                    await shop.charging(100, number=number, store=store)
        async with store:
            again = [each async for each in resume(shop.till, store, clock=shop.clock)]
            assert [(each.status, each.paid) for each in again] == [
                ("PAID_EARLIER", attrs.evolve(outcome.paid, raw={}))  # type: ignore[misc]
            ]
            assert "own record" in again[0].advice


async def test_replies_and_refusals_bring_the_gateways_clock() -> None:
    """M-24: a reply, a refusal, and what is no answer at all, each with the Date that it had."""
    text = "Thu, 01 Jan 2026 00:00:05 GMT"
    moment = datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
    dated = {"Date": text}
    refusal = b'{"state":"FAIL","code":"20004","msg":"no"}'
    replies = [httpx.Response(502, headers=dated), httpx.Response(200, headers=dated, content=b"?")]
    replies.append(httpx.Response(200, headers=dated, content=refusal))
    fake = FakeGateway(*replies)
    async with session(fake) as gateway:
        for _ in replies:
            with pytest.raises(OutcomeUnknownError) as caught:
                await gateway.send(_payment())
            assert caught.value.date == moment
            cause = caught.value.refusal or caught.value.__cause__
            assert isinstance(cause, ChaoyingError)
            assert cause.date == moment
        assert (await gateway.send(_payment())).date is None


def _payment() -> Pay:
    return pay(100)


def _losing_only_the_reply(shop: TillOnSandbox) -> None:
    def loses(request: Any, reply: Any) -> Any:
        if request.endpoint.name == "pay":
            raise OutcomeUnknownError("lost")
        return reply

    shop.till.after = loses


def _without_time_end(_: Any, reply: Any) -> Any:
    return attrs.evolve(reply, result=attrs.evolve(reply.result, time_end=None))


async def _refunded(shop: TillOnSandbox) -> None:
    await shop.till.send(
        Refund(
            paytype=PayType.ALIPAY,
            out_trade_no=ORDER,
            out_refund_no="R-1",
            total_fee=100,
            refund_fee=40,
            op_user_id="op",
        )
    )
    await shop.clock.advance(5)
