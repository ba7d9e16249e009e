"""A number that was used before, and a process that died: nothing is cancelled or charged again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import attrs
import pytest

from chaoying_async import TransportError
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.resume import resume
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.sandbox.serving.faults import Fault
from chaoying_async.sansio.payments.intent import CHECKOUT, intent_in
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus
from tests.payments.sold_before import AGES, Off, losing_the_pay_reply, sold_before
from tests.tills import EXACT, Counter, TillOnSandbox, a_till, pay


async def resumed(shop: TillOnSandbox, store: MemoryPollStore) -> Any:
    async def collect() -> list[Any]:
        found = resume(shop.till, store, schedule=EXACT, clock=shop.clock)
        return [outcome async for outcome in found]

    async with store:
        (outcome,) = await shop.clock.run(collect())
    return outcome


async def killed_at(
    shop: TillOnSandbox, seconds: float, store: MemoryPollStore, **options: Any
) -> None:
    """Begin a checkout whose process ends after so long; another one takes its place."""
    async with store:
        running = asyncio.ensure_future(shop.charging(store=store, **options))
        await shop.clock.advance(seconds)
        running.cancel()
        await asyncio.wait([running])
    shop.till = Counter(shop.till.session, shop.clock)


@pytest.mark.parametrize("seconds", [1, 6, 170, 200])
async def test_after_a_restart_nothing_is_cancelled_either(seconds: float) -> None:
    """M-24: that it was answered 20004 is stored; an order that another till has open stays."""
    async with a_till() as shop:
        store = MemoryPollStore()
        await sold_before(shop, 1, 405)
        await killed_at(shop, seconds, store, amount=405)
        async with store:
            ((_, text),) = [each async for each in store.load(CHECKOUT)]
        assert json.loads(text)["used"] is True
        outcome = await resumed(shop, store)
        assert (outcome.status, outcome.reason) == ("UNKNOWN", CheckoutReason.STILL_OPEN)
        assert shop.till.at("cancel") == []
        assert shop.status() == "OPEN"


class FailsOnce(MemoryPollStore):
    """A store that cannot write what the pay call was answered."""

    puts = 0

    async def put(self, kind: str, items: Any) -> None:
        self.puts += kind == CHECKOUT
        if (kind, self.puts) == (CHECKOUT, 2):
            raise ConnectionResetError
        await super().put(kind, items)


async def test_what_the_store_would_not_take_is_written_with_what_is_heard_next() -> None:
    """M-24: that it was answered 20004, although no query is answered at all."""

    def lost(request: Any) -> None:
        if request.endpoint.name == "orderquery":
            raise TransportError("lost")

    async with a_till() as shop, FailsOnce() as store:
        await sold_before(shop, 1, 405)
        shop.till.before = lost
        running = asyncio.ensure_future(shop.charging(store=store, amount=405))
        await shop.clock.advance(30)
        ((_, text),) = [each async for each in store.load(CHECKOUT)]
        assert json.loads(text)["used"] is True
        running.cancel()
        await asyncio.wait([running])


async def test_a_process_that_died_before_it_heard_the_answer_cancels_nothing() -> None:
    """M-24: that an intent exists proves nothing: the answer may have been 20004."""
    async with a_till() as shop:
        store = MemoryPollStore()
        await sold_before(shop, 1, 405)
        shop.sandbox.faults.add(Fault.SLOW, endpoints={"pay"}, seconds=20)
        await killed_at(shop, 10, store, amount=405)
        shop.sandbox.faults.clear()
        outcome = await resumed(shop, store)
        assert outcome.status is CheckoutStatus.UNKNOWN
        assert shop.till.at("cancel") == []
        assert shop.status() == "OPEN"


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("dated", [True, False])
async def test_resume_compares_with_the_stored_start(age: float, dated: bool) -> None:
    """M-24: by the offset that the dead process learnt; without a Date, 15 minutes are allowed."""
    async with a_till() as shop:
        store = MemoryPollStore()
        await sold_before(shop, age, auth_code="130000000000000009")
        losing_the_pay_reply(shop)
        await killed_at(shop, 2, store, amount=100)
        if not dated:
            shop.till.after = lambda _, reply: attrs.evolve(reply, date=None)
        outcome = await resumed(shop, store)
        assert outcome.status == ("PAID_EARLIER" if dated or age > 900 else "PAID")
        assert outcome.paid is not None


async def test_a_clock_that_was_put_right_after_a_crash_does_not_matter() -> None:
    """M-24: the stored start is read with the offset that belonged to it."""
    async with a_till() as shop:
        store = MemoryPollStore()
        fast = Off(shop.clock, 7200)
        async with store:
            paying = checkout(shop.till, pay(402), schedule=EXACT, clock=fast, store=store)
            running = asyncio.ensure_future(paying)
            await shop.clock.advance(7)
            running.cancel()
            await asyncio.wait([running])
        shop.till = Counter(shop.till.session, shop.clock)
        await shop.clock.advance(60)
        assert (await resumed(shop, store)).status is CheckoutStatus.PAID


async def test_an_intent_of_the_version_before_is_read_and_never_cancelled() -> None:
    """M-23, M-24: it does not say how the pay call was answered, which may have been by 20004."""
    old = (
        '{"mch_id":"%s","out_trade_no":"A100011","order_no":"A100011","total_fee":405,'
        '"op_user_id":"op","paytype":"WECHAT","certain":true,"seen":true,"suspect":false,'
        '"interrupted":false,"started":"2026-01-01T00:00:00+00:00","cancels":{"tries":0,"left":0,'
        '"refused":0,"absent":0,"carried_out":false}}'
    )
    async with a_till() as shop:
        text = old % shop.sandbox.mch_id
        intent = intent_in(text)
        assert (intent.answered, intent.used, intent.ahead) == (False, False, None)
        await shop.till.send(pay(405))
        store = MemoryPollStore()
        async with store:
            await store.put(CHECKOUT, {intent.key: text})
        outcome = await resumed(shop, store)
        assert (outcome.status, outcome.reason) == ("UNKNOWN", CheckoutReason.STILL_OPEN)
        assert shop.till.at("cancel") == []
