"""What a store that stumbles, a task that is cut off and a caller who is wrong must not do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

import attrs
import pytest

from chaoying_async import OutcomeUnknownError, PayType, RequestNotSentError
from chaoying_async.exceptions import AttemptInProgressError, StoreError
from chaoying_async.payments import claims as attempts
from chaoying_async.payments.orders import prune_orders, release_order
from chaoying_async.payments.outcome import CheckoutOutcome
from chaoying_async.payments.resume import resume
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.sansio.payments.intent import CHECKOUT, ORDER
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus
from chaoying_async.sansio.payments.order_numbers import OrderNumbers
from tests.tills import EXACT, Counter, TillOnSandbox, a_till, pay
from tests.tills import ORDER as NUMBER


class Slow(MemoryPollStore):
    """A store that takes a turn of the loop for everything, and stumbles when told to."""

    def __init__(self) -> None:
        super().__init__()
        #: Called with the operation, the kind and what is written or looked for.
        self.stumbles: Any = None

    async def _turn(self, *what: Any) -> None:
        await asyncio.sleep(0)
        if self.stumbles is not None:
            self.stumbles(*what)

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        await self._turn("put", kind, items)
        await super().put(kind, items)

    async def get(self, kind: str, key: str) -> str | None:
        await self._turn("get", kind, key)
        return await super().get(kind, key)

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        await self._turn("forget", kind, keys)
        await super().forget(kind, keys)


@pytest.fixture(autouse=True)
def _own_registries() -> None:
    """A test is a process of its own."""
    attempts._REGISTRIES.clear()


def another_process(shop: TillOnSandbox) -> None:
    """Nothing is remembered but what the store holds."""
    attempts._REGISTRIES.clear()
    shop.till = Counter(shop.till.session, shop.clock)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def cut_off(
    shop: TillOnSandbox, seconds: float, store: Any, amount: int, number: str
) -> None:
    """A checkout whose task is cancelled after so long, and its process after that."""
    async with store:
        running = asyncio.ensure_future(shop.charging(amount, store=store, number=number))
        await shop.clock.advance(seconds)
        running.cancel()
        await asyncio.wait([running])
    another_process(shop)


async def kept(store: Any, kind: str) -> list[Any]:
    return [json.loads(text) async for _, text in store.load(kind)]


async def all_resumed(shop: TillOnSandbox, store: Any) -> list[CheckoutOutcome]:
    async def collect() -> list[CheckoutOutcome]:
        found = resume(shop.till, store, schedule=EXACT, clock=shop.clock)
        return [outcome async for outcome in found]

    return await shop.clock.run(collect())


@pytest.mark.parametrize("how", ["the store fails", "the task is cancelled"])
async def test_a_new_attempt_that_stumbles_leaves_the_old_ones_record_alone(how: str) -> None:
    """M-23: else a paid order has no attempt any more, and is charged again."""
    async with a_till() as shop:
        store, numbers = Slow(), OrderNumbers("A10001")
        first = numbers.next()
        await cut_off(shop, 12, store, 402, first)  # paid; its reply was lost

        def stumbles(*what: Any) -> None:
            if what[0] == "get":
                raise OSError if how == "the store fails" else asyncio.CancelledError

        async with store:
            store.stumbles = stumbles
            with pytest.raises((StoreError, asyncio.CancelledError)):
                await shop.charging(402, store=store, number=first)
            store.stumbles = None
            with pytest.raises(AttemptInProgressError):
                await shop.charging(402, store=store, number=numbers.next())
            await shop.clock.advance(400)
            (outcome,) = await all_resumed(shop, store)
        assert outcome.status is CheckoutStatus.PAID
        assert shop.sandbox.requests["pay"] == 1


async def test_a_task_that_is_cancelled_while_it_cancels_records_the_cancel() -> None:
    """M-24: it may have been carried out, so a paid answer later is not simply PAID."""
    async with a_till() as shop:
        store = Slow()

        def cut(request: Any) -> None:
            if request.endpoint.name == "cancel":
                shop.sandbox.customer_pays(NUMBER)
                raise asyncio.CancelledError

        shop.till.before = cut
        async with store:
            with pytest.raises(asyncio.CancelledError):
                await shop.checkout(405, store=store)
            (record,) = await kept(store, CHECKOUT)
            assert (record["status"], record["cancels"]["left"]) == ("UNKNOWN", 1)
        another_process(shop)
        await shop.clock.advance(1000)
        async with store:
            (outcome,) = await all_resumed(shop, store)
        assert outcome.status is CheckoutStatus.PAID_AFTER_CANCEL


async def test_a_checkout_that_ended_meanwhile_is_not_resumed() -> None:
    """M-24: resume read the record while it was under way, and came to it when it was over."""
    async with a_till() as shop:
        store = Slow()
        async with store:
            left = await shop.checkout(100, store=store, number="B100011")
            assert left.status is CheckoutStatus.PAID
            running = asyncio.ensure_future(shop.charging(401, store=store))
            await shop.clock.advance(1)
            found = resume(shop.till, store, schedule=EXACT, clock=shop.clock)
            first = await anext(found)
            assert first.out_trade_no == "B100011"
            await shop.clock.advance(60)  # its consumer takes its time
            assert (await running).status is CheckoutStatus.PAID
            asked = len(shop.till.at("orderquery"))
            with pytest.raises(StopAsyncIteration):
                await shop.clock.run(anext(found))
            assert len(shop.till.at("orderquery")) == asked
            (again,) = await all_resumed(shop, store)  # not taken yet: it is kept
            assert again.out_trade_no == NUMBER


async def test_two_resumes_share_what_is_left() -> None:
    """M-23: each order is asked about, and comes, once."""
    async with a_till() as shop:
        store = Slow()
        numbers = ["A100011", "B100011", "C100011"]
        for number in numbers:
            await cut_off(shop, 2, store, 402, number)
        await shop.clock.advance(60)
        async with store:
            found: list[str] = []

            async def collect() -> None:
                outcomes = resume(shop.till, store, schedule=EXACT, clock=shop.clock, at_once=1)
                found.extend([outcome.out_trade_no async for outcome in outcomes])

            await shop.clock.run(asyncio.gather(collect(), collect()))
            assert await kept(store, CHECKOUT) == []
        assert sorted(found) == numbers


async def test_an_outcome_that_was_done_meanwhile_does_not_come() -> None:
    """M-23: it took effect already, while resume handed out another one."""
    async with a_till() as shop:
        store = Slow()
        async with store:
            await shop.checkout(100, store=store, number="B100011")
            other = await shop.checkout(100, store=store)
            found = resume(shop.till, store, clock=shop.clock)
            assert (await anext(found)).out_trade_no == "B100011"
            other.done()
            await turns()
            with pytest.raises(StopAsyncIteration):
                await anext(found)


async def test_an_end_that_cannot_be_written_down_is_not_told() -> None:
    """M-23: the record says "open", and whoever resumed it could cancel what was told as paid.

    A simulated world found it: told PAID, delivered, and cancelled a minute later by ``resume``.
    """
    async with a_till() as shop:
        store, numbers = Slow(), OrderNumbers("A10001")

        def stumbles(*what: Any) -> None:
            if what[:2] == ("put", ORDER) and "PAID" in str(what[2]):
                raise OSError("locked")

        async with store:
            store.stumbles = stumbles
            outcome = await shop.checkout(100, store=store, number=numbers.next())
            assert outcome.status is CheckoutStatus.UNKNOWN
            assert outcome.reason is CheckoutReason.STORE_FAILED
            store.stumbles = None
            another_process(shop)
            (again,) = await all_resumed(shop, store)
            assert again.status is CheckoutStatus.PAID
            assert await kept(store, CHECKOUT) == []
            with pytest.raises(AttemptInProgressError, match="PAID"):
                await shop.charging(100, store=store, number=numbers.next())
        assert shop.sandbox.requests["pay"] == 1
        assert "cancel" not in shop.sandbox.requests


async def test_a_record_that_nobody_can_read_bars_its_order_when_it_is_gone() -> None:
    """done() says that a person looked at the number, not that it is unpaid."""
    async with a_till() as shop:
        store, numbers = Slow(), OrderNumbers("A10001")
        await cut_off(shop, 12, store, 402, numbers.next())
        async with store:
            ((key, _),) = [each async for each in store.load(CHECKOUT)]
            await store.put(CHECKOUT, {key: "{}"})
            (outcome,) = await all_resumed(shop, store)
            assert outcome.reason is CheckoutReason.UNREADABLE
            outcome.done()
            await turns()
            assert await kept(store, CHECKOUT) == []
            with pytest.raises(AttemptInProgressError):
                await shop.charging(100, store=store, number=numbers.next())
            await release_order(shop.till, "A10001", store=store)
            ended = await shop.checkout(100, store=store, number=numbers.next())
            assert ended.status is CheckoutStatus.PAID


@pytest.mark.parametrize(
    "changes",
    [{"total_fee": None}, {"total_fee": "402"}, {"total_fee": 0}, {"seen": ...}, {"cancels": {}}],
)
async def test_a_record_without_its_amount_is_not_held_against_nothing(
    changes: dict[str, Any],
) -> None:
    """M-13, M-24: money is never guessed: what is missing is unreadable, not "any amount"."""
    async with a_till() as shop:
        store = Slow()
        await cut_off(shop, 12, store, 402, NUMBER)
        async with store:
            ((key, text),) = [each async for each in store.load(CHECKOUT)]
            members = json.loads(text) | changes
            members = {name: value for name, value in members.items() if value is not ...}
            await store.put(CHECKOUT, {key: json.dumps(members)})
            (outcome,) = await all_resumed(shop, store)
        assert (outcome.status, outcome.reason) == ("UNKNOWN", CheckoutReason.UNREADABLE)


@pytest.mark.parametrize("said", [PayType.WECHAT, PayType.UNIONPAY])
async def test_a_callers_wrong_wallet_does_not_make_a_paid_order_failed(said: PayType) -> None:
    """M-22, M-24: the code's prefix says Alipay, so 20007 under another wallet is no end."""
    async with a_till() as shop:

        def loses(request: Any, reply: Any) -> Any:
            if request.endpoint.name == "pay":
                raise OutcomeUnknownError("lost")
            return reply

        shop.till.after = loses
        request = pay(100, auth_code="280000000000000001")
        outcome = await shop.checkout(100, pay=request, paytype=said)
        assert shop.status() == "PAID"
        assert (outcome.status, outcome.paytype) == ("PAID", PayType.ALIPAY)


async def test_a_wallet_that_is_in_no_table_beats_no_guess() -> None:
    """M-24, C 29: under an odd name in a reply nobody could ask, nor cancel."""
    async with a_till() as shop:

        def odd(request: Any, reply: Any) -> Any:
            if request.endpoint.name != "pay":
                return reply
            return attrs.evolve(reply, raw={**reply.raw, "paytype": "W X"})

        shop.till.after = odd
        outcome = await shop.checkout(405)
        assert (outcome.status, outcome.paytype) == ("CANCELLED", PayType.WECHAT)
        unguessed = pay(401, "B100011", auth_code="no-prefix")
        outcome = await shop.checkout(401, pay=unguessed, allow_no_cancel=True)
        assert (outcome.status, outcome.paytype) == ("UNKNOWN", "W X")


async def test_done_lets_a_number_that_never_left_be_used_at_once() -> None:
    """M-01: and a late done() of the first outcome takes nothing of the second attempt away."""
    async with a_till() as shop:
        store = Slow()

        def refuses(request: Any) -> None:
            raise RequestNotSentError("no connection")

        async with store:
            shop.till.before = refuses
            first = await shop.checkout(401, store=store)
            assert (first.status, first.reason) == ("FAILED", "NOT_SENT")
            with pytest.raises(AttemptInProgressError, match=r"done\(\)"):
                await shop.charging(401, store=store)
            shop.till.before = None
            first.done()
            await shop.clock.advance(1)
            running = asyncio.ensure_future(shop.charging(401, store=store))
            await shop.clock.advance(1)
            first.done()
            await turns()
            assert len(await kept(store, CHECKOUT)) == 1
            await shop.clock.advance(60)
            assert (await running).status is CheckoutStatus.PAID
            first.done()
            await turns()
            assert len(await kept(store, CHECKOUT)) == 1


async def test_done_and_the_next_attempt_do_not_race() -> None:
    """M-23: what is written under the number after done() is not what done() drops."""
    async with a_till() as shop:
        store = Slow()

        def refuses(request: Any) -> None:
            raise RequestNotSentError("no connection")

        async with store:
            shop.till.before = refuses
            first = await shop.checkout(401, store=store)
            shop.till.before = None
            await shop.clock.advance(1)
            first.done()  # and at once:
            running = asyncio.ensure_future(shop.charging(401, store=store))
            await shop.clock.advance(2)
            (record,) = await kept(store, CHECKOUT)
            assert "status" not in record
            await shop.clock.advance(60)
            assert (await running).status is CheckoutStatus.PAID


async def test_pruning_spares_an_order_that_is_charged_again_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its record is the guard on the attempt that has just begun."""
    async with a_till() as shop:
        store, numbers = Slow(), OrderNumbers("A10001")
        async with store:
            (await shop.checkout(406, store=store, number=numbers.next())).done()
            await turns()
            read, begun = store.load, []

            async def slowly(kind: str) -> Any:
                async for each in read(kind):
                    yield each
                again = shop.charging(402, store=store, number=numbers.next())
                begun.append(asyncio.ensure_future(again))
                await turns()

            monkeypatch.setattr(store, "load", slowly)
            soon = shop.clock.now() + timedelta(days=1)
            assert await prune_orders(store, before=soon) == 0
            await shop.clock.advance(1)
            begun[0].cancel()
            await asyncio.wait(begun)
            another_process(shop)
            with pytest.raises(AttemptInProgressError):
                await shop.charging(402, store=store, number=numbers.next())
