"""Spans of work that is taken up again: payments and refunds of a dead process, orders due."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from opentelemetry.trace import SpanKind, StatusCode

from chaoying_async import (
    GatewaySession,
    PaidOrder,
    PayType,
    Refund,
    checkout,
    refund_and_track,
    resume,
    resume_refunds,
)
from tests.factories import ORDER
from tests.observing.recorder import NEVER, Recorder, attributes, is_child
from tests.observing.test_otel_payments import Till, a_till
from tests.owners import OwnStore
from tests.shop import Shop
from tests.tills import EXACT, pay


async def left_by_a_dead_process(
    till: Till, store: OwnStore, work: Coroutine[Any, Any, object]
) -> OwnStore:
    """What its store held when it died."""
    dying = asyncio.ensure_future(work)
    await till.clock.advance(1)
    left = dict(store.texts)
    dying.cancel()
    await asyncio.wait([dying])
    return OwnStore(left)


def another_process(till: Till, recorder: Recorder) -> GatewaySession:
    return GatewaySession(
        till.sandbox.credentials,
        mch_id=till.sandbox.mch_id,
        transport=till.sandbox.transport,
        clock=till.clock,
        observer=recorder.telemetry,
    )


async def collected(outcomes: Any) -> list[Any]:
    return [outcome async for outcome in outcomes]


async def test_a_payment_that_is_resumed_has_its_calls_under_it(recorder: Recorder) -> None:
    """One span a payment, from the first query of this process to its end."""
    died = Recorder.made()
    async with a_till(died) as till:
        store = OwnStore({})
        work = checkout(till.gateway, pay(401), store=store, clock=till.clock, schedule=EXACT)
        left = await left_by_a_dead_process(till, store, work)
        async with another_process(till, recorder) as gateway:
            found = resume(gateway, left, clock=till.clock, schedule=EXACT)
            (outcome,) = await till.clock.run(collected(found), within=10**4)
    span = recorder.one("resume")
    assert (span.kind, span.parent) == (SpanKind.INTERNAL, None)
    assert attributes(span) == {
        "chaoying.payment": "resume",
        "chaoying.status": outcome.status,
        "chaoying.ended": "done",
    }
    calls = [each for each in recorder.spans if each.kind is SpanKind.CLIENT]
    assert calls
    assert all(is_child(call, span) for call in calls)
    assert [secret for secret in NEVER if secret in recorder.everything()] == []


async def test_a_refund_that_is_resumed_has_its_calls_under_it(recorder: Recorder) -> None:
    """The same of ``resume_refunds``: it is no refund that this process sent."""
    died = Recorder.made()
    async with a_till(died) as till:
        await till.checkout(1000)
        request = Refund(
            paytype=PayType.WECHAT,
            out_trade_no=ORDER,
            out_refund_no=f"R-{ORDER}",
            total_fee=1000,
            refund_fee=100,
        )
        store = OwnStore({})
        work = refund_and_track(till.gateway, request, store=store, clock=till.clock)
        left = await left_by_a_dead_process(till, store, work)
        async with another_process(till, recorder) as gateway:
            found = resume_refunds(gateway, left, clock=till.clock)
            (outcome,) = await till.clock.run(collected(found), within=10**7)
    assert outcome.status == "REFUNDED"
    span = recorder.one("resume_refunds")
    assert attributes(span)["chaoying.status"] == "REFUNDED"
    calls = recorder.named("POST refundquery")
    assert calls
    assert all(is_child(call, span) for call in calls)


async def test_what_is_due_has_a_span_for_each_order(recorder: Recorder) -> None:
    """An effect that failed and is tried again; a round that finds nothing makes none."""
    shop = Shop()

    async def fails(_order: PaidOrder) -> None:
        raise OSError("the database is away")

    shop.before = fails
    tracer = recorder.provider.get_tracer("shop")
    inbox = shop.inbox()
    async with shop.handler(inbox) as silent:
        await silent.handle(shop.body())
    handler = shop.handler(inbox, observer=recorder.telemetry)
    assert await handler.run_due() == 0
    assert recorder.spans == []

    async def works(_order: PaidOrder) -> None:
        with tracer.start_as_current_span("deliver"):
            await asyncio.sleep(0)

    shop.before = works
    await shop.clock.advance(60)
    assert await handler.run_due() == 1
    assert len(shop.delivered) == 1
    span = recorder.one("run_due")
    assert span.kind is SpanKind.INTERNAL
    assert attributes(span) == {"chaoying.decision": "APPLY", "chaoying.ended": "done"}
    assert is_child(recorder.one("deliver"), span)
    assert [secret for secret in NEVER if secret in recorder.everything()] == []


async def test_what_fails_again_says_that_it_has_not_ended(recorder: Recorder) -> None:
    """Decided, and without an effect: the next round takes it up."""
    shop = Shop()

    async def fails(_order: PaidOrder) -> None:
        raise OSError("the database is away")

    shop.before = fails
    handler = shop.handler(observer=recorder.telemetry)
    await handler.handle(shop.body())
    await shop.clock.advance(60)
    assert await handler.run_due() == 1
    span = recorder.one("run_due")
    assert attributes(span)["chaoying.ended"] == "unknown"
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()
