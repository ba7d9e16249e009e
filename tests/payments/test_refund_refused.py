"""A refund whose call was refused: followed for half an hour, not for days (M-25)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import attrs
import pytest

from chaoying_async import (
    OutcomeUnknownError,
    PayType,
    PollSchedule,
    PollStatus,
    PollTimeoutError,
    Refund,
    TransportError,
)
from chaoying_async.exceptions import GatewayError
from chaoying_async.payments import claims as attempts
from chaoying_async.payments.outcome import RefundOutcome
from chaoying_async.payments.refunds import refund_and_track, resume_refunds
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.sansio.payments.intent import REFUND
from chaoying_async.sansio.payments.refunds import RefundIntent, refund_intent_in
from tests.tills import ORDER, Counter, TillOnSandbox, a_till

NUMBER = "R-1"
HALF_AN_HOUR = 1800.0
EXACT = attrs.evolve(PollSchedule.refunds(), jitter=0)


@pytest.fixture
async def shop() -> AsyncGenerator[TillOnSandbox]:
    """A shop with one paid order of 100.00 yuan."""
    attempts._REGISTRIES.clear()
    async with a_till() as opened:
        await opened.checkout(10_000)
        opened.till.sent.clear()
        yield opened


def refund(amount: int = 507, number: str = NUMBER) -> Refund:
    return Refund(
        paytype=PayType.WECHAT,
        out_trade_no=ORDER,
        out_refund_no=number,
        total_fee=10_000,
        refund_fee=amount,
        op_user_id="op",
    )


def refusing(
    shop: TillOnSandbox, code: str | None = "20008", state: str = "FAIL", **raw: Any
) -> None:
    """Every refund is refused so, and none is made."""

    def refuses(request: Any) -> None:
        if request.endpoint.name == "refund":
            refusal = GatewayError(
                f"state {state}: too little money", state=state, code=code, msg="余额不足", raw=raw
            )
            raise OutcomeUnknownError("refused", refusal=refusal)

    shop.till.before = refuses


async def tracked(shop: TillOnSandbox, amount: int = 507, **options: Any) -> RefundOutcome:
    options.setdefault("schedule", EXACT)
    running = refund_and_track(shop.till, refund(amount), clock=shop.clock, **options)
    return await shop.clock.run(running, within=10**8)


async def test_it_ends_when_six_queries_over_half_an_hour_do_not_know_it(
    shop: TillOnSandbox,
) -> None:
    """M-25: NOT_FOUND then, with the refusal and its message, and what to do."""
    outcome = await tracked(shop)
    asked = shop.till.at("refundquery")
    assert outcome.status is PollStatus.NOT_FOUND
    assert HALF_AN_HOUR <= asked[-1] - asked[0] < 2 * HALF_AN_HOUR
    assert len(asked) == outcome.attempts >= 6
    assert asked[-2] - asked[0] < HALF_AN_HOUR  # not one query more than that
    assert outcome.never_made
    assert outcome.refusal is not None
    assert (outcome.refusal.code, outcome.error) == ("20008", outcome.refusal)
    assert "same number" in outcome.advice
    assert "charge" not in outcome.advice
    assert str(outcome) == f"{NUMBER} NOT_FOUND: {outcome.msg}; {outcome.advice}"
    with pytest.raises(PollTimeoutError, match=r"20008.*mend the cause.*same number"):
        outcome.unwrap()
    assert shop.sandbox.requests["refund"] == 1


@pytest.mark.parametrize(
    ("code", "state"), [("20004", "FAIL"), ("20010", "FAIL"), (None, "FAIL"), ("20013", "VER")]
)
async def test_whatever_it_was_refused_with(
    shop: TillOnSandbox, code: str | None, state: str
) -> None:
    """M-09: everything of the right column."""
    refusing(shop, code, state)
    outcome = await tracked(shop)
    assert (outcome.status, outcome.never_made) == (PollStatus.NOT_FOUND, True)
    assert outcome.elapsed < 2 * HALF_AN_HOUR
    assert outcome.refusal is not None
    assert outcome.refusal.msg == "余额不足"


async def test_fewer_than_six_queries_are_not_enough(shop: TillOnSandbox) -> None:
    """M-25: however long they took."""
    schedule = PollSchedule(first=30, every=1000, until=10_000, jitter=0, longest=1000)
    outcome = await tracked(shop, schedule=schedule)
    assert len(shop.till.at("refundquery")) == 6
    assert outcome.never_made


async def test_queries_that_were_not_answered_do_not_count(shop: TillOnSandbox) -> None:
    """M-25: only what says that there is no such refund does."""
    refusing(shop)
    refuses, lost = shop.till.before, list(range(10))

    def fails(request: Any) -> None:
        refuses(request)
        if request.endpoint.name == "refundquery" and lost:
            lost.pop()
            raise TransportError("lost")

    shop.till.before = fails
    schedule = PollSchedule(first=30, every=600, until=10**6, jitter=0, longest=600)
    outcome = await tracked(shop, schedule=schedule)
    assert outcome.never_made
    assert outcome.attempts == 16


async def test_what_was_lost_is_followed_to_the_end(shop: TillOnSandbox) -> None:
    """M-25: nobody refused it, so it may still appear; under its whole schedule."""

    def loses(request: Any) -> None:
        if request.endpoint.name == "refund":
            raise OutcomeUnknownError("lost")

    shop.till.before = loses
    outcome = await tracked(shop)
    assert (outcome.status, outcome.never_made) == (PollStatus.NOT_FOUND, False)
    assert outcome.elapsed == 15 * 86_400
    assert "charge" not in outcome.advice


async def test_what_a_query_has_known_is_never_called_never_made(shop: TillOnSandbox) -> None:
    """M-25: refused, and made all the same; then the gateway forgets it, over a restart too."""
    refusing(shop)
    store = MemoryPollStore()
    async with store:
        running = asyncio.ensure_future(
            refund_and_track(shop.till, refund(), schedule=EXACT, store=store, clock=shop.clock)
        )
        await shop.clock.advance(300)
        ((key, text),) = [each async for each in store.load(REFUND)]
        assert json.loads(text)["absent"] > 0
        shop.till.before = None
        await shop.till.send(refund(505))  # it was under way: from now on it is PROCESSING
        await shop.clock.advance(300)
        running.cancel()
        await asyncio.wait([running])
        text = await store.get(REFUND, key) or ""
        assert (json.loads(text)["accepted"], json.loads(text)["absent"]) == (True, 0)


async def test_the_count_goes_on_after_a_restart(shop: TillOnSandbox) -> None:
    """M-25: count, first time, refusal and message are stored; nothing is sent again."""
    store = MemoryPollStore()
    async with store:
        running = asyncio.ensure_future(
            refund_and_track(shop.till, refund(), schedule=EXACT, store=store, clock=shop.clock)
        )
        await shop.clock.advance(200)
        running.cancel()
        await asyncio.wait([running])
    before = len(shop.till.at("refundquery"))
    assert 0 < before < 6
    attempts._REGISTRIES.clear()
    shop.till = Counter(shop.till.session, shop.clock)
    await shop.clock.advance(HALF_AN_HOUR)

    async def collect() -> list[RefundOutcome]:
        found = resume_refunds(shop.till, store, schedule=EXACT, clock=shop.clock)
        return [outcome async for outcome in found]

    async with store:
        (outcome,) = await shop.clock.run(collect(), within=10**8)
    assert (outcome.status, outcome.never_made) == (PollStatus.NOT_FOUND, True)
    assert len(shop.till.at("refundquery")) == 6 - before
    assert outcome.refusal is not None
    assert (outcome.refusal.code, bool(outcome.refusal.msg)) == ("20008", True)
    assert shop.sandbox.requests["refund"] == 1


async def test_what_was_learnt_since_a_record_was_read_counts(shop: TillOnSandbox) -> None:
    """M-25: the gateway took the refund before its turn came, so it is not sent again."""
    intents = [
        RefundIntent(
            refund=refund(number=number),
            mch_id=shop.sandbox.mch_id,
            started=shop.clock.now(),
            refusal=GatewayError("state FAIL", state="FAIL", code="20008"),
        )
        for number in ("R-1", "R-2")
    ]
    async with MemoryPollStore() as store:
        await store.put(REFUND, {intent.key: intent.text() for intent in intents})
        left = resume_refunds(shop.till, store, schedule=EXACT, clock=shop.clock, at_once=1)
        first = await shop.clock.run(anext(left), within=10**8)
        learnt = attrs.evolve(intents[1], accepted=True)
        await store.put(REFUND, {learnt.key: learnt.text()})
        second = await shop.clock.run(anext(left), within=10**8)
        await left.aclose()
    assert (first.never_made, second.never_made) == (True, False)
    assert not second.may_be_sent_again


@pytest.mark.parametrize("stored", [True, False])
async def test_the_same_number_is_sent_again_when_the_cause_is_mended(
    shop: TillOnSandbox, stored: bool
) -> None:
    """M-25: by its caller, who calls again with the same request; it is one refund."""
    refusing(shop)
    async with MemoryPollStore() as store:
        options: dict[str, Any] = {"store": store} if stored else {}
        assert (await tracked(shop, 1000, **options)).never_made
        if stored:  # as in a process that was started since
            attempts._REGISTRIES.clear()
        shop.till.before = None
        again = await tracked(shop, 1000, **options)
        assert (again.status, again.never_made) == (PollStatus.REFUNDED, False)
        assert again.refusal is None
    assert len(shop.till.at("refund")) == 2
    assert shop.sandbox.books.refunded == 1000


async def test_a_refusal_that_names_another_wallet_ends_nothing_early(shop: TillOnSandbox) -> None:
    """M-25: "not found" counts under a paytype known to be right."""
    refusing(shop, paytype="ALIPAY")
    outcome = await tracked(shop)
    assert (outcome.status, outcome.never_made) == (PollStatus.NOT_FOUND, False)
    assert outcome.elapsed == 15 * 86_400


async def test_an_intent_of_the_version_before_is_read() -> None:
    """M-23: without a refusal and a count it is followed as before."""
    old = (
        '{"fields":{"paytype":"WECHAT","out_trade_no":"A100011","out_refund_no":"R-1",'
        '"total_fee":"100","refund_fee":"40"},"mch_id":"1",'
        '"started":"2026-01-01T00:00:00+00:00","accepted":false,"status":"NOT_FOUND"}'
    )
    intent = refund_intent_in(old)
    assert (intent.refusal, intent.absent, intent.never_made) == (None, 0, False)
    assert not intent.may_be_sent_again
    assert refund_intent_in(intent.text()) == intent
