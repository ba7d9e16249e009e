"""Spans of checkouts and refunds with their calls, and of notifications linked to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from chaoying_async import (
    AttemptInProgressError,
    ExpectedOrder,
    GatewaySession,
    PaidOrder,
    ParameterError,
    PayType,
    Refund,
    TradeType,
    WechatPreOrder,
    checkout,
    refund_and_track,
)
from chaoying_async.observing.otel.payment_spans import PaymentSpans
from chaoying_async.sandbox import Sandbox
from chaoying_async.sansio.observed import order_mark
from chaoying_async.testing import FakeClock, sign_notification
from chaoying_async.workers.shared_gateway import SharedGateway
from tests.factories import CREDENTIALS, MCH_ID, OPENID, ORDER
from tests.fake_gateway import FakeGateway, session
from tests.observing.recorder import Recorder, attributes, is_child
from tests.shop import Shop, queried
from tests.table import table
from tests.tills import EXACT, pay


@attrs.define
class Till:
    """A sandbox, a session with an observer, and the time."""

    sandbox: Sandbox
    gateway: GatewaySession
    clock: FakeClock

    async def checkout(self, amount: int, **options: Any) -> Any:
        charging = checkout(self.gateway, pay(amount), clock=self.clock, schedule=EXACT, **options)
        return await self.clock.run(charging)

    async def refund(self, amount: int, of: int) -> Any:
        request = Refund(
            paytype=PayType.WECHAT,
            out_trade_no=ORDER,
            out_refund_no=f"R-{ORDER}",
            total_fee=of,
            refund_fee=amount,
        )
        tracking = refund_and_track(self.gateway, request, clock=self.clock)
        return await self.clock.run(tracking, within=10**7)


@asynccontextmanager
async def a_till(recorder: Recorder) -> AsyncIterator[Till]:
    clock = FakeClock()
    async with (
        Sandbox(clock=clock) as sandbox,
        GatewaySession(
            sandbox.credentials,
            mch_id=sandbox.mch_id,
            op_user_id="op1",
            transport=sandbox.transport,
            clock=clock,
            observer=recorder.telemetry,
        ) as gateway,
    ):
        yield Till(sandbox, gateway, clock)


async def test_a_checkout_has_its_calls_under_it(recorder: Recorder) -> None:
    """The pay call, each query, the cancel: all of one payment is one tree."""
    async with a_till(recorder) as till:
        outcome = await till.checkout(405)
    assert outcome.status == "CANCELLED"
    span = recorder.one("checkout")
    assert (span.kind, span.parent) == (SpanKind.INTERNAL, None)
    assert attributes(span) == {
        "chaoying.payment": "checkout",
        "chaoying.status": "CANCELLED",
        "chaoying.ended": "done",
    }
    calls = [each for each in recorder.spans if each.kind is SpanKind.CLIENT]
    assert all(is_child(call, span) for call in calls)
    assert calls[0].name == "POST pay"
    assert {call.name for call in calls} == {"POST pay", "POST orderquery", "POST cancel"}
    assert len(calls) == len(outcome.replies)


@pytest.mark.parametrize(
    ("amount", "status", "reason", "ended"),
    [
        (100, "PAID", None, "done"),
        (406, "FAILED", "FAILED", "done"),
        (411, "PAID_AFTER_CANCEL", None, "done"),
        (412, "UNKNOWN", "MISMATCH", "unknown"),
        (416, "FAILED", "REFUSED", "done"),
        (418, "UNKNOWN", "NO_ANSWER", "unknown"),
    ],
)
async def test_a_checkout_says_how_it_ended(
    amount: int, status: str, reason: str | None, ended: str, recorder: Recorder
) -> None:
    """No end of a payment is an error; what is unknown says so."""
    async with a_till(recorder) as till:
        await till.checkout(amount)
    span = recorder.one("checkout")
    said = attributes(span)
    assert (said["chaoying.status"], said["chaoying.ended"]) == (status, ended)
    assert said.get("chaoying.reason") == reason
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()
    (point,) = recorder.points("chaoying.payment.duration")
    assert point[0]["chaoying.status"] == status


async def test_a_checkout_that_raises_is_an_error(recorder: Recorder) -> None:
    """The same order twice at once: the second is refused, by a class and no text."""
    async with a_till(recorder) as till:
        first = asyncio.create_task(
            checkout(till.gateway, pay(405), clock=till.clock, schedule=EXACT)
        )
        await asyncio.sleep(0)
        with pytest.raises(AttemptInProgressError):
            await checkout(till.gateway, pay(405), clock=till.clock)
        await till.clock.run(first)
    failed = [
        span for span in recorder.named("checkout") if span.status.status_code is StatusCode.ERROR
    ]
    (span,) = failed
    assert attributes(span)["error.type"] == "AttemptInProgressError"
    assert span.status.description == "AttemptInProgressError"


async def test_a_refund_has_its_calls_under_it_and_a_link_to_the_payment(
    recorder: Recorder,
) -> None:
    """It may come days later: a link, and a trace of its own."""
    async with a_till(recorder) as till:
        await till.checkout(100)
        outcome = await till.refund(40, of=100)
    assert outcome.status == "REFUNDED"
    span, paid = recorder.one("refund_and_track"), recorder.one("checkout")
    assert attributes(span)["chaoying.status"] == "REFUNDED"
    assert [link.context.span_id for link in span.links] == [paid.context.span_id]
    assert span.context.trace_id != paid.context.trace_id
    calls = [each for each in recorder.spans if each.name in ("POST refund", "POST refundquery")]
    assert calls
    assert all(is_child(call, span) for call in calls)


async def test_a_notification_is_linked_to_the_payment(recorder: Recorder) -> None:
    """A consumer's span, whose link leads to the checkout that this process made."""
    shop = Shop()
    async with session(FakeGateway(), observer=recorder.telemetry, clock=shop.clock) as gateway:
        await checkout(gateway, pay(100, ORDER), clock=shop.clock)
        async with shop.handler(observer=recorder.telemetry) as handler:
            answer = await handler.handle(shop.body())
    assert answer.decision == "APPLY"
    span, paid = recorder.one("notification"), recorder.one("checkout")
    assert (span.kind, span.parent) == (SpanKind.CONSUMER, None)
    assert attributes(span) == {"chaoying.decision": "APPLY", "chaoying.ended": "done"}
    assert [link.context.span_id for link in span.links] == [paid.context.span_id]
    assert paid.links == ()


async def test_a_notification_is_linked_to_the_pre_order_that_began_it(recorder: Recorder) -> None:
    """A QR shop makes no checkout: the call that made the order is the payment's beginning."""
    shop = Shop()
    order = WechatPreOrder(
        mch_id=MCH_ID,
        body="tea",
        out_trade_no=ORDER,
        total_fee=100,
        trade_type=TradeType.JSPAY,
        sub_appid="wx1",
        buyer_id=OPENID,
    )
    handler = shop.handler(observer=recorder.telemetry)
    async with session(FakeGateway(), observer=recorder.telemetry) as gateway:
        await gateway.send(order)
        await handler.handle(shop.body())
    (link,) = recorder.one("notification").links
    assert link.context.span_id == recorder.one("POST WECHAT_PreOrder").context.span_id


async def test_a_payment_of_another_process_has_no_link(recorder: Recorder) -> None:
    """Nothing is guessed, and nothing is stored for it."""
    shop = Shop()
    await shop.handler(observer=recorder.telemetry).handle(shop.body())
    assert recorder.one("notification").links == ()


async def test_what_on_paid_does_is_under_the_notification(recorder: Recorder) -> None:
    """The program's own spans of a database, say, although on_paid runs in a task of its own."""
    shop, tracer = Shop(), recorder.provider.get_tracer("shop")

    async def on_paid(_order: PaidOrder) -> None:
        with tracer.start_as_current_span("deliver"):
            await asyncio.sleep(0)

    async with shop.handler(observer=recorder.telemetry, on_paid=on_paid) as handler:
        await handler.handle(shop.body())
    assert is_child(recorder.one("deliver"), recorder.one("notification"))


def _bodies(shop: Shop) -> dict[str, tuple[Any, dict[str, Any], StatusCode]]:
    forged = shop.body().replace(b"total_fee=100", b"total_fee=1")
    stranger = sign_notification(
        attrs.evolve(CREDENTIALS, key="another"),
        mch_id=MCH_ID,
        out_trade_no=ORDER,
        total_fee=1,
        time_end=shop.clock.now(),
        sub_openid=OPENID,
    )
    return {
        "forged": (
            forged,
            {"error.type": "SignatureVerificationError", "chaoying.ended": "failed"},
            StatusCode.ERROR,
        ),
        "another's": (stranger, {"error.type": "SignatureVerificationError"}, StatusCode.ERROR),
        "no form": (
            f"openid={OPENID}".encode(),
            {"error.type": "MissingSignatureError"},
            StatusCode.ERROR,
        ),
        "another amount": (
            shop.body(total_fee=7),
            {"chaoying.decision": "CONFLICT", "chaoying.ended": "done"},
            StatusCode.UNSET,
        ),
        "another order": (
            shop.body(out_trade_no="B100011"),
            {"chaoying.decision": "UNKNOWN_ORDER", "chaoying.ended": "done"},
            StatusCode.UNSET,
        ),
    }


@pytest.mark.parametrize("body", _bodies(Shop()))
async def test_a_notification_says_how_it_ended(body: str, recorder: Recorder) -> None:
    """What proves nothing is an error; what was decided is a decision, whatever it is."""
    shop = Shop()
    sent, wanted, status = _bodies(shop)[body]
    await shop.handler(observer=recorder.telemetry).handle(sent)
    span = recorder.one("notification")
    assert wanted.items() <= attributes(span).items()
    assert span.status.status_code is status
    assert span.events == ()
    (point,) = recorder.points("chaoying.message.duration")
    assert wanted.items() <= point[0].items()


async def test_a_shop_that_fails_is_an_error_without_its_text(recorder: Recorder) -> None:
    """The gateway delivers again; the trace says that it failed, the log says why."""

    async def expected(_mch_id: str, number: str) -> ExpectedOrder:
        raise OSError(f"no row for {number}")

    shop = Shop()
    await shop.handler(observer=recorder.telemetry, expected=expected).handle(shop.body())
    span = recorder.one("notification")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span) == {"error.type": "other", "chaoying.ended": "failed"}


async def test_a_payment_learnt_by_a_query_has_a_span_of_its_own(recorder: Recorder) -> None:
    """``settle`` runs on_paid as a notification would; it is no message that was received."""
    shop = Shop()
    handler = shop.handler(observer=recorder.telemetry)
    assert await handler.settle(queried()) == "APPLY"
    assert await handler.settle(queried()) == "DUPLICATE"
    first, second = recorder.named("settle")
    assert first.kind is SpanKind.INTERNAL
    assert attributes(first) == {"chaoying.decision": "APPLY", "chaoying.ended": "done"}
    assert attributes(second)["chaoying.decision"] == "DUPLICATE"


@table("observer", [5, "otel", Recorder])
def test_a_handler_refuses_what_can_be_told_nothing(observer: Any) -> None:
    """When it is made, not at the first notification."""
    with pytest.raises(ParameterError, match="observer"):
        Shop().handler(observer=observer)


def test_a_fleets_gateway_has_its_sessions_observer(recorder: Recorder) -> None:
    """Payments that a fleet sends are told to the same observer."""
    gateway: Any = session(FakeGateway(), observer=recorder.telemetry)
    assert SharedGateway(gateway, 10).observer is recorder.telemetry
    assert SharedGateway(session(FakeGateway()), 10).observer is None


def test_the_payments_that_are_remembered_are_the_latest(recorder: Recorder) -> None:
    """The memory is bounded, and what is kept of an order is its span alone."""
    spans, tracer = PaymentSpans(most=3), recorder.provider.get_tracer("shop")
    begun = [tracer.start_span("checkout") for _ in range(5)]
    for number, span in enumerate(begun):
        spans.began(order_mark(MCH_ID, f"A{number}"), span, anew=True)
    assert len(spans) == 3
    assert spans.of(order_mark(MCH_ID, "A1")) is None
    assert spans.of(order_mark(MCH_ID, "A4")) == begun[4].get_span_context()
    spans.began(order_mark(MCH_ID, "A4"), begun[0], anew=False)
    assert spans.of(order_mark(MCH_ID, "A4")) == begun[4].get_span_context()
    spans.began(order_mark(MCH_ID, "A4"), begun[0], anew=True)
    assert spans.of(order_mark(MCH_ID, "A4")) == begun[0].get_span_context()
    spans.began(order_mark(MCH_ID, "A9"), trace.INVALID_SPAN, anew=True)
    assert (len(spans), spans.of(None)) == (3, None)
