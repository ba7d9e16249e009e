from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from chaoying_async import OrderQuery, ParameterError, PayType, StoreError, StoreInUseError
from chaoying_async.exceptions import AttemptInProgressError
from chaoying_async.payments import resume as resuming
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.orders import attempts_so_far, prune_orders, release_order
from chaoying_async.payments.resume import resume
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.sansio.payments.intent import OrderRecord
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus
from chaoying_async.sansio.payments.order_numbers import OrderNumbers
from tests.factories import OPENID
from tests.tills import EXACT, ORDER, WECHAT_CODE, Counter, TillOnSandbox, a_till, facepay, pay


class Disk(MemoryPollStore):
    """A store that is opened by one process after another, and can fail when told to.

    ``left`` is the store of an earlier process: what it wrote is there, and nothing else of it.
    """

    def __init__(self, left: Disk | None = None) -> None:
        super().__init__()
        if left is not None:
            self._texts = left._texts
        self.fails: dict[str, Exception] = {}
        self.written: list[str] = []

    async def put(self, kind: str, items: Any) -> None:
        if "put" in self.fails:
            raise self.fails["put"]
        self.written += items.values()
        await super().put(kind, items)

    async def hold(self) -> None:
        if "hold" in self.fails:
            raise self.fails["hold"]
        await super().hold()


async def killed_at(shop: TillOnSandbox, seconds: float, store: Any, **options: Any) -> None:
    """Begin a checkout and let its process die: nobody hears of it again."""
    async with store:
        running = asyncio.ensure_future(shop.charging(store=store, **options))
        await shop.clock.advance(seconds)
        # What a dying process cannot do: write.
        store.fails["put"] = OSError("no process")
        running.cancel()
        await asyncio.wait([running])
        store.fails.clear()


def new_process(shop: TillOnSandbox) -> None:
    """Another gateway object, as another process has."""
    shop.till = Counter(shop.till.session, shop.clock)


async def resumed(shop: TillOnSandbox, store: Any) -> list[Any]:
    async def collect() -> list[Any]:
        outcomes = resume(shop.till, store, schedule=EXACT, clock=shop.clock)
        return [outcome async for outcome in outcomes]

    async with store:
        return await shop.clock.run(collect())


async def test_what_a_dead_process_left_is_asked_about_and_never_paid_again() -> None:
    """M-24: the reply was lost, the process died, the truth is found by one query."""
    async with a_till() as shop:
        store = Disk()
        await killed_at(shop, 30, store, amount=402)
        new_process(shop)
        await shop.clock.advance(3600)
        (outcome,) = await resumed(shop, store)
        assert (outcome.status, outcome.paid.payable) == (CheckoutStatus.PAID, 402)
        assert shop.sandbox.requests["pay"] == 1
        assert [name for name, _ in shop.till.sent] == ["orderquery"]
        assert await resumed(shop, store) == []  # taken: forgotten


async def test_a_young_one_is_cancelled_by_the_stored_wall_time() -> None:
    """M-24, M-26: after a restart between 30 and 240 s, here at 180 s."""
    async with a_till() as shop:
        store = Disk()
        await killed_at(shop, 12, store, amount=405)
        new_process(shop)
        await shop.clock.advance(100)
        (outcome,) = await resumed(shop, store)
        assert outcome.status is CheckoutStatus.CANCELLED
        assert shop.till.at("cancel") == [180]
        assert shop.till.at("orderquery")[0] == 112  # asked at once, then on schedule


async def test_an_old_one_is_not_cancelled_any_more() -> None:
    """M-24: 241 s after the pay call started it is too late, and it is handed to a person."""
    async with a_till() as shop:
        store = Disk()
        await killed_at(shop, 12, store, amount=405)
        new_process(shop)
        await shop.clock.advance(229)
        (outcome,) = await resumed(shop, store)
        assert (outcome.status, outcome.reason) == ("UNKNOWN", CheckoutReason.STILL_OPEN)
        assert shop.till.at("cancel") == []
        assert shop.till.at("orderquery")[-1] >= 300


async def test_a_cancel_that_died_under_way_is_remembered() -> None:
    """M-24: it may have been carried out, so a paid answer is not simply PAID."""
    async with a_till() as shop:
        store = Disk()

        def pays_and_dies(request: Any) -> None:
            if request.endpoint.name == "cancel":
                shop.sandbox.customer_pays(ORDER)
                store.fails["put"] = OSError("no process")
                raise asyncio.CancelledError

        shop.till.before = pays_and_dies
        async with store:
            with pytest.raises(asyncio.CancelledError):
                await shop.checkout(405, store=store)
        store.fails.clear()
        new_process(shop)
        await shop.clock.advance(1000)
        (outcome,) = await resumed(shop, store)
        assert outcome.status is CheckoutStatus.PAID_AFTER_CANCEL
        assert outcome.suggested_refund.refund_fee == 405


async def test_a_clock_that_went_back_cancels_nothing() -> None:
    """M-26: nobody knows how old the order is."""
    async with a_till() as shop:
        store = Disk()
        await killed_at(shop, 12, store, amount=405)
        new_process(shop)
        shop.clock._start -= timedelta(hours=1)
        (outcome,) = await resumed(shop, store)
        assert outcome.status is CheckoutStatus.UNKNOWN
        assert shop.till.at("cancel") == []


async def test_an_outcome_stays_until_it_is_taken() -> None:
    """M-23: it comes again, first, until its consumer took the next or called done()."""
    async with a_till() as shop:
        store = Disk()
        async with store:
            outcome = await shop.checkout(100, store=store)
            assert outcome.status is CheckoutStatus.PAID
            again = resume(shop.till, store, clock=shop.clock)
            first = await anext(again)
            assert (first.status, first.unwrap().payable) == (CheckoutStatus.PAID, 100)
            assert first.replies == ()
            await again.aclose()
            second = [each async for each in resume(shop.till, store, clock=shop.clock)]
            assert [each.out_trade_no for each in second] == [ORDER]
            assert [each async for each in resume(shop.till, store, clock=shop.clock)] == []
            other = await shop.checkout(100, store=store, number="B100011")
            other.done()
            await shop.clock.advance(0)
            assert [each async for each in resume(shop.till, store, clock=shop.clock)] == []
        assert shop.sandbox.requests == {"pay": 2}


async def test_nothing_personal_is_ever_stored() -> None:
    """M-23: no payment code, no openid, in none of the records on the way."""
    async with a_till() as shop:
        store = Disk()
        async with store:
            await shop.checkout(401, store=store)
            await shop.checkout(401, store=store, pay=facepay(401, "F100011"))
            await shop.checkout(411, store=store, number="G100011")
        assert len(store.written) > 6
        for text in store.written:
            assert WECHAT_CODE not in text
            assert OPENID not in text
            assert "face-code" not in text


async def test_cancelling_the_task_records_unknown_and_raises_again() -> None:
    """M-24: shielded; and resume asks on."""
    async with a_till() as shop:
        store = Disk()
        async with store:
            running = asyncio.ensure_future(shop.charging(401, store=store))
            await shop.clock.advance(3)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            text = await store.get("checkout", f'["{shop.sandbox.mch_id}", "{ORDER}"]')
            assert text is not None
            assert '"status":"UNKNOWN"' in text
            with pytest.raises(AttemptInProgressError):
                await shop.charging(401, store=store)
        await shop.clock.advance(60)
        (outcome,) = await resumed(shop, store)
        assert outcome.status is CheckoutStatus.PAID


async def test_cancelling_the_task_without_a_store_is_a_line_at_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """M-24, M-27: with the number, and nothing personal."""
    async with a_till() as shop:
        running = asyncio.ensure_future(shop.charging(401))
        await shop.clock.advance(3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with pytest.raises(AttemptInProgressError):
            await shop.charging(401)
    (line,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert ORDER in line.getMessage()
    assert "UNKNOWN" in line.getMessage()
    assert WECHAT_CODE not in line.getMessage()


async def test_a_store_that_fails_or_is_lost_lets_nothing_leave() -> None:
    """M-23, M-02: durable and ours before the pay call; else nothing was sent."""
    for name, error in (("put", OSError("disk full")), ("hold", StoreInUseError("taken over"))):
        async with a_till() as shop:
            store = Disk()
            async with store:
                store.fails[name] = error
                with pytest.raises(
                    (StoreError, StoreInUseError), match="nothing was sent"
                ) as caught:
                    await shop.charging(100, store=store)
                assert caught.value.sent is False
                assert shop.till.sent == []
                store.fails.clear()
                assert (await shop.checkout(100, store=store)).status is CheckoutStatus.PAID


class Waiting(Disk):
    """A store that is slow to write, or in a process that is stopped meanwhile."""

    def __init__(self, shop: TillOnSandbox, seconds: float) -> None:
        super().__init__()
        self._shop = shop
        self._seconds = seconds

    async def hold(self) -> None:
        await super().hold()
        seconds, self._seconds = self._seconds, 0.0
        await self._shop.clock.sleep(seconds)


@pytest.mark.parametrize(("seconds", "sent"), [(9.5, True), (10.5, False), (219.0, False)])
async def test_a_payment_leaves_soon_after_the_start_that_is_stored(
    *, seconds: float, sent: bool
) -> None:
    """M-24: whoever resumes it counts from there, and would cancel what has just left."""
    async with a_till() as shop:
        store = Waiting(shop, seconds)
        async with store:
            if sent:
                outcome = await shop.checkout(100, store=store)
                assert outcome.status is CheckoutStatus.PAID
                return
            with pytest.raises(StoreError, match=f"took {seconds:.0f} s to write") as caught:
                await shop.checkout(100, store=store)
            assert caught.value.sent is False
            assert shop.till.sent == []
            assert [key async for key, _ in store.load("checkout-order")] == []


async def test_a_store_that_fails_before_a_cancel_lets_no_cancel_leave() -> None:
    """M-23: it is tried again when the store is back; the outcome is never lost."""
    async with a_till() as shop:
        store = Disk()
        async with store:
            running = asyncio.ensure_future(shop.charging(405, store=store))
            await shop.clock.advance(170)
            store.fails["put"] = OSError("disk full")
            await shop.clock.advance(20)
            assert shop.till.at("cancel") == []
            store.fails.clear()
            await shop.clock.advance(100)
            assert shop.till.at("cancel") == [195]
            assert (await running).status is CheckoutStatus.CANCELLED


async def test_a_lost_store_ends_the_checkout_without_another_money_call() -> None:
    """M-23: somebody else owns the store now, and resumes the order."""
    async with a_till() as shop:
        store = Disk()
        async with store:
            running = asyncio.ensure_future(shop.charging(405, store=store))
            await shop.clock.advance(170)
            store.fails["hold"] = StoreInUseError("taken over")
            await shop.clock.advance(20)
            with pytest.raises(StoreInUseError):
                await running
            assert shop.till.at("cancel") == []


async def test_one_bad_record_does_not_stop_the_others() -> None:
    """M-24: it comes as UNKNOWN, stays in the store, and the rest is asked about."""
    async with a_till() as shop:
        store = Disk()
        await killed_at(shop, 2, store, amount=401)
        async with store:
            await store.put("checkout", {"x": "{", '["00000001", "B100011"]': '{"v": 1}'})
        await shop.clock.advance(60)
        outcomes = await resumed(shop, store)
        assert [outcome.reason for outcome in outcomes] == ["UNREADABLE", "UNREADABLE", ""]
        assert outcomes[1].out_trade_no == "B100011"
        assert outcomes[2].status is CheckoutStatus.PAID
        assert len(await resumed(shop, store)) == 2


async def test_running_checkouts_are_left_alone_by_resume() -> None:
    """M-24: resume beside new checkouts takes up only what is dead."""
    async with a_till() as shop:
        store = Disk()
        async with store:
            running = asyncio.ensure_future(shop.charging(401, store=store))
            await shop.clock.advance(1)
            assert [each async for each in resume(shop.till, store, clock=shop.clock)] == []
            await shop.clock.advance(60)
            assert (await running).status is CheckoutStatus.PAID


async def test_the_guard_on_an_order_survives_a_restart() -> None:
    """By the store; until the first attempt is known not to be paid, or a person says so."""
    async with a_till() as shop:
        store = Disk()
        numbers = OrderNumbers("A10001")
        await killed_at(shop, 12, store, amount=405, number=numbers.next())
        new_process(shop)
        async with (store := Disk(store)):
            last = await attempts_so_far(store, "A10001", mch_id=shop.sandbox.mch_id)
            assert last == 1
            numbers = OrderNumbers("A10001", last=last)
            with pytest.raises(AttemptInProgressError, match="not charge again before"):
                await shop.charging(100, store=store, number=numbers.next())
            with pytest.raises(AttemptInProgressError):
                await release_order(shop.till, "A10001", store=store)
        await shop.clock.advance(500)
        (outcome,) = await resumed(shop, store)
        assert outcome.status is CheckoutStatus.UNKNOWN
        new_process(shop)
        async with (store := Disk(store)):
            with pytest.raises(
                AttemptInProgressError, match=r"UNKNOWN: .* before release_order\(\)"
            ):
                await shop.charging(100, store=store, number=numbers.next())
            await release_order(shop.till, "A10001", store=store)
            ended = await shop.checkout(100, store=store, number=numbers.next())
            assert ended.status is CheckoutStatus.PAID
            await resumed_all(shop, store)
        new_process(shop)
        async with (store := Disk(store)):
            with pytest.raises(AttemptInProgressError, match="PAID: deliver it, once; do not"):
                await shop.charging(100, store=store, number=numbers.next())
            soon = shop.clock.now() + timedelta(days=1)
            assert [await prune_orders(store, before=soon) for _ in range(2)] == [1, 0]
            assert await attempts_so_far(store, "A10001", mch_id=shop.sandbox.mch_id) == 0


async def resumed_all(shop: TillOnSandbox, store: Any) -> None:
    async for _ in resume(shop.till, store, clock=shop.clock):
        pass


async def test_a_number_is_used_once_whatever_became_of_it() -> None:
    """C 51: another attempt needs another number, after a restart too."""
    async with a_till() as shop:
        async with Disk() as store:
            outcome = await shop.checkout(406, store=store)
            assert outcome.status is CheckoutStatus.FAILED
            outcome.done()
            await shop.clock.advance(0)
        new_process(shop)
        async with Disk(store) as again:
            with pytest.raises(AttemptInProgressError, match="used before: take the next one"):
                await checkout(shop.till, pay(406), store=again, clock=shop.clock)


async def test_what_the_session_refuses_leaves_no_trace() -> None:
    """A ParameterError of send: nothing left, and the same number may be used again."""
    async with a_till() as shop:
        store = Disk()

        def refuses(request: Any) -> None:
            raise ParameterError({"body": "is odd"})

        async with store:
            shop.till.before = refuses
            with pytest.raises(ParameterError):
                await shop.charging(100, store=store)
            shop.till.before = None
            assert (await shop.checkout(100, store=store)).status is CheckoutStatus.PAID
        assert shop.sandbox.requests["pay"] == 1


async def test_dying_between_the_two_records_bars_nobody() -> None:
    """An order whose attempt has no intent was never sent, so the next one may be."""
    async with a_till() as shop:
        store = Disk()
        numbers = OrderNumbers("A10001")
        async with store:
            for text, refused in (('{"status": 1}', True), (None, False)):
                key = f'["{shop.sandbox.mch_id}", "A10001"]'
                record = OrderRecord(
                    out_trade_no="A1000199", attempt=99, started=shop.clock.now()
                ).text()
                await store.put("checkout-order", {key: text or record})
                if refused:
                    with pytest.raises(AttemptInProgressError, match="cannot be read"):
                        await shop.charging(100, store=store, number=numbers.next())
                    assert await prune_orders(store, before=shop.clock.now()) == 0
                    await release_order(shop.till, "A10001", store=store)
            outcome = await shop.checkout(100, store=store, number=numbers.next())
            assert outcome.status is CheckoutStatus.PAID


async def test_a_defect_in_one_order_leaves_it_in_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """M-24: it comes as UNKNOWN, and the next resume asks again."""
    async with a_till() as shop:
        store = Disk()
        await killed_at(shop, 2, store, amount=401)
        new_process(shop)
        await shop.clock.advance(60)
        with monkeypatch.context() as broken:
            broken.setattr(resuming, "reopened", lambda *_args, **_more: 1 / 0)
            (outcome,) = await resumed(shop, store)
        assert outcome.status is CheckoutStatus.UNKNOWN
        assert isinstance(outcome.replies[0], ZeroDivisionError)
        (outcome,) = await resumed(shop, store)
        assert outcome.status is CheckoutStatus.PAID


async def test_a_consumer_that_stops_early_leaves_nothing_running() -> None:
    """Many are taken up at once; what was not taken comes again."""
    async with a_till() as shop:
        store = Disk()
        for number in ("A100011", "B100011", "C100011"):
            await killed_at(shop, 2, store, amount=401, number=number)
        new_process(shop)
        await shop.clock.advance(60)
        async with store:
            found = resume(shop.till, store, schedule=EXACT, clock=shop.clock, at_once=2)
            first = await shop.clock.run(anext(found))
            await found.aclose()
            assert len(asyncio.all_tasks()) == 1
        again = [outcome.out_trade_no for outcome in await resumed(shop, store)]
        assert first.out_trade_no in again
        assert sorted(again) == ["A100011", "B100011", "C100011"]
        assert shop.sandbox.requests["pay"] == 3


async def test_only_payments_at_a_till_are_checked_out() -> None:
    """A pre-order is paid by the customer, later: a Poller waits for it."""
    async with a_till() as shop:
        order: Any = OrderQuery(paytype=PayType.WECHAT, out_trade_no=ORDER)
        with pytest.raises(TypeError, match="Pay and FacePay"):
            await checkout(shop.till, order)
        with pytest.raises(ParameterError, match="mch_id"):
            await checkout(Nobody(), pay(1))
        with pytest.raises(ParameterError, match="mch_id"):
            await release_order(Nobody(), "A10001")


class Nobody:
    """A gateway that knows no merchant."""

    mch_id = None

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        raise AssertionError("nothing may be sent")
