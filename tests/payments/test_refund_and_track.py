from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

import attrs
import pytest

from chaoying_async import (
    OutcomeUnknownError,
    ParameterError,
    PayType,
    PollSchedule,
    PollStatus,
    Refund,
    RequestNotSentError,
    StoreError,
    StoreInUseError,
    TradePendingError,
    VersionTooLowError,
)
from chaoying_async.exceptions import AttemptInProgressError, OrderNotFoundError
from chaoying_async.payments import refunds
from chaoying_async.payments.refunds import refund_and_track, resume_refunds
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.sandbox.serving.faults import Fault
from tests.pollers import number_of
from tests.tills import ORDER, Counter, TillOnSandbox, a_till

NUMBER = "R-1"
EXACT = PollSchedule(first=30, every=30, until=300, jitter=0)


@pytest.fixture
async def shop() -> AsyncGenerator[TillOnSandbox]:
    """A shop with one paid order of 100.00 yuan."""
    async with a_till() as opened:
        await opened.checkout(10_000)
        opened.till.sent.clear()
        yield opened


def refund(amount: int, number: str = NUMBER, **changes: Any) -> Refund:
    fields: dict[str, Any] = {
        "paytype": PayType.WECHAT,
        "out_trade_no": ORDER,
        "out_refund_no": number,
        "total_fee": 10_000,
        "refund_fee": amount,
    }
    return Refund(**fields | changes)


async def tracked(shop: TillOnSandbox, request: Refund, **options: Any) -> Any:
    options.setdefault("schedule", EXACT)
    running = refund_and_track(shop.till, request, clock=shop.clock, **options)
    return await shop.clock.run(running, within=10**6)


def refunds_sent(shop: TillOnSandbox) -> int:
    return shop.sandbox.requests.get("refund", 0)


@pytest.mark.parametrize(
    ("amount", "status"),
    [
        (1000, "REFUNDED"),
        (502, "REFUND_FAILED"),
        (503, "NOTSURE"),
        (504, "CHANGED"),
        (505, "EXPIRED"),
        (506, "REFUNDED"),
        (507, "NOT_FOUND"),
    ],
)
async def test_a_refund_ends_as_its_own_status_says(
    shop: TillOnSandbox, amount: int, status: str
) -> None:
    """M-25, C 40: sent once; final only by refund_status, whatever the call itself said."""
    outcome = await tracked(shop, refund(amount))
    assert outcome.status == status
    assert refunds_sent(shop) == 1
    assert shop.till.at("refundquery")[0] == 30


async def test_three_days_are_waited_for() -> None:
    """M-22: refunds are asked about ever more rarely, for fifteen days."""
    async with a_till() as shop:
        await shop.checkout(10_000)
        outcome = await tracked(shop, refund(501), schedule=PollSchedule.refunds())
        assert outcome.status is PollStatus.REFUNDED
        assert outcome.unwrap().base_refund_fee == 501
        assert 3 * 86400 <= outcome.elapsed <= 4 * 86400
        assert outcome.attempts < 60


async def test_a_lost_reply_is_asked_about_under_the_same_number(shop: TillOnSandbox) -> None:
    """M-25: carried out or not, it is not sent again."""
    for fault, status in ((Fault.RESET_AFTER, "REFUNDED"), (Fault.RESET_BEFORE, "NOT_FOUND")):
        shop.sandbox.faults.add(fault, endpoints={"refund"})
        outcome = await tracked(shop, refund(100, f"R-{fault.name}".replace("_", "-")))
        shop.sandbox.faults.clear()
        assert outcome.status == status
    assert refunds_sent(shop) == 2
    assert shop.sandbox.books.refunded == 100


async def test_notsure_is_sent_again_by_the_caller_under_its_number(shop: TillOnSandbox) -> None:
    """M-25: NOTSURE ends the poll; the same request, sent again, is the same refund."""
    async with MemoryPollStore() as store:
        outcome = await tracked(shop, refund(503), store=store)
        assert outcome.status is PollStatus.NOTSURE
        with pytest.raises(TradePendingError, match="same number"):
            outcome.unwrap()
        again = await tracked(shop, refund(503), store=store)
        assert again.status is PollStatus.REFUNDED
    assert refunds_sent(shop) == 2
    assert shop.sandbox.books.refunded == 503


async def test_what_proves_that_nothing_moved_is_raised(shop: TillOnSandbox) -> None:
    """M-09, M-01: and a store keeps nothing of it."""
    async with MemoryPollStore() as store:
        with pytest.raises(OrderNotFoundError):
            await tracked(shop, refund(100, out_trade_no="NOSUCHORDER"), store=store)
        shop.sandbox.faults.add(Fault.REFUSED, endpoints={"refund"})
        with pytest.raises(RequestNotSentError):
            await tracked(shop, refund(100), store=store)
        shop.sandbox.faults.clear()
        assert (await tracked(shop, refund(100), store=store)).status is PollStatus.REFUNDED


async def test_another_amount_is_a_mismatch(shop: TillOnSandbox) -> None:
    """C 43: base_refund_fee is held against what was applied for."""
    outcome = await tracked(shop, refund(100))
    assert outcome.refund.base_refund_fee == 100

    def more(request: Any, reply: Any) -> Any:
        if request.endpoint.name != "refundquery":
            return reply
        (item,) = (each for each in reply.result.refund_list if each.out_refund_no == "R-2")
        wrong = attrs.evolve(item, base_refund_fee=101)
        return attrs.evolve(reply, result=attrs.evolve(reply.result, refund_list=(wrong,)))

    shop.till.after = more
    outcome = await tracked(shop, refund(100, "R-2"))
    assert outcome.status is PollStatus.MISMATCH


async def test_two_at_once_under_one_number_are_refused(shop: TillOnSandbox) -> None:
    """One refund, one number, one call."""
    running = asyncio.ensure_future(tracked_quietly(shop, refund(100)))
    await shop.clock.advance(1)
    with pytest.raises(AttemptInProgressError):
        await refund_and_track(shop.till, refund(100), clock=shop.clock)
    await shop.clock.advance(60)
    assert (await running).status is PollStatus.REFUNDED


async def tracked_quietly(shop: TillOnSandbox, request: Refund, **options: Any) -> Any:
    return await refund_and_track(shop.till, request, schedule=EXACT, clock=shop.clock, **options)


async def test_killed_and_started_again_it_asks_and_never_sends_twice(shop: TillOnSandbox) -> None:
    """M-25: called again it asks first; another refund under the number is refused."""
    async with MemoryPollStore() as died:
        running = asyncio.ensure_future(tracked_quietly(shop, refund(100), store=died))
        await shop.clock.advance(10)
        running.cancel()
        await asyncio.wait([running])
    shop.till = Counter(shop.till.session, shop.clock)
    store = MemoryPollStore()
    store._texts = died._texts  # nothing else of the process that died
    async with store:
        outcome = await tracked(shop, refund(100), store=store)
        assert outcome.status is PollStatus.REFUNDED
        assert [name for name, _ in shop.till.sent] == ["refundquery"]
        for other in (
            refund(101),
            refund(100, total_fee=9_999),
            refund(100, paytype=PayType.ALIPAY),
            refund(100, out_trade_no="A100012"),
            refund(100, transaction_id="T1"),
        ):
            with pytest.raises(AttemptInProgressError, match="another refund"):
                await tracked(shop, other, store=store)
        again = await tracked(shop, refund(100), store=store)  # not done(): asked about again
        assert again.status is PollStatus.REFUNDED
        again.done()
        await shop.clock.advance(0)
        left = resume_refunds(shop.till, store, clock=shop.clock)
        assert [each async for each in left] == []
    assert refunds_sent(shop) == 1


async def test_resume_refunds_takes_up_what_a_dead_process_left(shop: TillOnSandbox) -> None:
    """M-23, M-26: asked about at once, forgotten when taken; a bad record stops nobody."""
    store = MemoryPollStore()
    async with store:
        for number, amount in (("R-1", 100), ("R-2", 502), ("R-3", 505)):
            running = asyncio.ensure_future(
                tracked_quietly(shop, refund(amount, number), store=store)
            )
            await shop.clock.advance(1)
            running.cancel()
            await asyncio.wait([running])
        await store.put("refund", {"x": "{}"})
        await shop.clock.advance(400)
        found = resume_refunds(shop.till, store, schedule=EXACT, clock=shop.clock)
        ends = {number_of(outcome.query): outcome.status async for outcome in found}
        assert ends == {"R-1": "REFUNDED", "R-2": "REFUND_FAILED", "R-3": "EXPIRED"}
        again = await tracked(shop, refund(100, "R-1"), store=store)  # in this process: not sent
        assert again.status is PollStatus.REFUNDED
        again.done()
        await shop.clock.advance(0)
        left = resume_refunds(shop.till, store, schedule=EXACT, clock=shop.clock)
        assert [each async for each in left] == []
    assert refunds_sent(shop) == 3


async def test_called_again_it_asks_first_without_a_store_too(shop: TillOnSandbox) -> None:
    """For this gateway, in this process; a refund that ended NOTSURE is sent again."""
    assert (await tracked(shop, refund(100))).status is PollStatus.REFUNDED
    assert (await tracked(shop, refund(100))).status is PollStatus.REFUNDED
    assert refunds_sent(shop) == 1
    assert (await tracked(shop, refund(503, "R-2"))).status is PollStatus.NOTSURE
    assert (await tracked(shop, refund(503, "R-2"))).status is PollStatus.REFUNDED
    assert refunds_sent(shop) == 3


async def test_cancelled_without_a_store_it_says_so(
    shop: TillOnSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """The number is in a line at ERROR: somebody has to ask about it."""
    running = asyncio.ensure_future(tracked_quietly(shop, refund(100)))
    await shop.clock.advance(10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (line,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert NUMBER in line.getMessage()


async def test_an_unclear_refusal_is_followed_up(shop: TillOnSandbox) -> None:
    """M-09: 20008 on refund proves nothing, and so does a refusal of a gateway of the user's."""

    def refuses(request: Any) -> None:
        if request.endpoint.name == "refund":
            raise OutcomeUnknownError("lost")

    shop.till.before = refuses
    outcome = await tracked(shop, refund(100))
    assert outcome.status is PollStatus.NOT_FOUND


async def test_a_store_that_fails_lets_no_refund_leave(
    shop: TillOnSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M-23: durable and ours before it leaves; and one record's defect stops no other."""
    async with MemoryPollStore() as store:

        async def lost() -> None:
            raise StoreInUseError("taken over")

        with monkeypatch.context() as failing:
            failing.setattr(store, "hold", lost)
            with pytest.raises(StoreInUseError):
                await tracked(shop, refund(100), store=store)
        assert refunds_sent(shop) == 0
        running = asyncio.ensure_future(tracked_quietly(shop, refund(100), store=store))
        await shop.clock.advance(1)
        running.cancel()
        await asyncio.wait([running])
        await shop.clock.advance(60)
        with monkeypatch.context() as failing:
            failing.setattr(refunds, "PolledOrder", lambda *_args: 1 / 0)
            left = resume_refunds(shop.till, store, clock=shop.clock)
            assert [each async for each in left] == []
        left = resume_refunds(shop.till, store, clock=shop.clock)
        assert [each.status async for each in left] == ["REFUNDED"]


async def test_a_refusal_of_the_right_column_is_followed_up_whoever_raises_it(
    shop: TillOnSandbox,
) -> None:
    """M-09: VER proves nothing, although a gateway of the user's raises it as a refusal."""

    def refuses(request: Any) -> None:
        if request.endpoint.name == "refund":
            raise VersionTooLowError("VER", state="VER")

    shop.till.before = refuses
    assert (await tracked(shop, refund(100))).status is PollStatus.NOT_FOUND
    with pytest.raises(ParameterError, match="mch_id"):
        await refund_and_track(Nobody(), refund(1))


class Nobody:
    """A gateway that knows no merchant."""

    mch_id = None

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        raise AssertionError("nothing may be sent")


class Slow(MemoryPollStore):
    """A store that takes a turn of the loop to write and to read."""

    async def put(self, kind: str, items: Any) -> None:
        await asyncio.sleep(0)
        await super().put(kind, items)

    async def get(self, kind: str, key: str) -> str | None:
        await asyncio.sleep(0)
        return await super().get(kind, key)


async def kept(store: Any) -> list[str]:
    return [key async for key, _ in store.load("refund")]


@pytest.mark.parametrize("first", ["resume_refunds", "done"])
async def test_what_is_sent_again_is_not_forgotten_with_what_was_before(
    shop: TillOnSandbox, first: str
) -> None:
    """M-23, M-25: NOTSURE, sent again; the old outcome's end drops nothing of the new sending."""
    async with Slow() as store:
        before = await tracked(shop, refund(503), store=store)
        assert before.status is PollStatus.NOTSURE
        left = resume_refunds(shop.till, store, schedule=EXACT, clock=shop.clock)
        if first == "resume_refunds":
            assert (await shop.clock.run(anext(left))).status is PollStatus.NOTSURE
        else:
            before.done()  # and at once:
        running = asyncio.ensure_future(tracked_quietly(shop, refund(503), store=store))
        await shop.clock.advance(1)
        if first == "resume_refunds":
            with pytest.raises(StopAsyncIteration):
                await anext(left)
        await shop.clock.advance(1)
        assert len(await kept(store)) == 1
        await shop.clock.advance(60)
        assert (await running).status is PollStatus.REFUNDED
        before.done()
        await shop.clock.advance(1)
        assert len(await kept(store)) == 1


async def test_a_refund_that_was_stopped_before_it_left_is_sent_the_next_time(
    shop: TillOnSandbox,
) -> None:
    """M-25: nothing moved, so there is nothing to ask about for days."""
    async with Slow() as store:
        running = asyncio.ensure_future(tracked_quietly(shop, refund(100), store=store))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert refunds_sent(shop) == 0
        assert (await tracked(shop, refund(100), store=store)).status is PollStatus.REFUNDED
        assert refunds_sent(shop) == 1


async def test_the_refund_of_another_order_is_not_taken_for_this_one(shop: TillOnSandbox) -> None:
    """M-06: a number that another order's refund has; this customer got nothing back."""
    await shop.checkout(10_000, number="B100011")
    assert (await tracked(shop, refund(100))).status is PollStatus.REFUNDED
    shop.till = Counter(shop.till.session, shop.clock)
    outcome = await tracked(shop, refund(100, out_trade_no="B100011"))
    assert outcome.status is PollStatus.MISMATCH
    assert shop.sandbox.books.refunded == 100


async def test_refunds_that_ended_meanwhile_are_not_resumed(shop: TillOnSandbox) -> None:
    """M-23: the record was read, and its outcome done() before its turn came."""
    async with Slow() as store:
        outcomes = [await tracked(shop, refund(100, f"R-{n}"), store=store) for n in (1, 2)]
        left = resume_refunds(shop.till, store, schedule=EXACT, clock=shop.clock, at_once=1)
        assert number_of((await shop.clock.run(anext(left))).query) == "R-1"
        outcomes[1].done()
        await shop.clock.advance(1)
        asked = len(shop.till.at("refundquery"))
        with pytest.raises(StopAsyncIteration):
            await anext(left)
        assert len(shop.till.at("refundquery")) == asked
        assert await kept(store) == []


async def test_a_record_that_cannot_be_read_lets_no_refund_leave(shop: TillOnSandbox) -> None:
    """M-25: the number may have been sent; a person asks."""
    async with MemoryPollStore() as store:
        await store.put("refund", {f'["{shop.sandbox.mch_id}", "{NUMBER}"]': "{}"})
        with pytest.raises(AttemptInProgressError, match="cannot be read"):
            await tracked(shop, refund(100), store=store)
    assert refunds_sent(shop) == 0


class Failing(MemoryPollStore):
    """A store that keeps the first refund, says that it failed, and is away from then on."""

    away = kept_one = False

    async def put(self, kind: str, items: Any) -> None:
        self.check()
        await super().put(kind, items)
        if not self.kept_one:
            self.kept_one = self.away = True
            self.check()

    async def get(self, kind: str, key: str) -> str | None:
        self.check()
        return await super().get(kind, key)

    async def forget(self, kind: str, keys: Any) -> None:
        self.check()
        await super().forget(kind, keys)

    def check(self) -> None:
        if self.away:
            raise ConnectionResetError


async def test_a_refund_whose_record_could_not_be_taken_back_is_sent_the_next_time(
    shop: TillOnSandbox,
) -> None:
    """M-25: "nothing was sent: call again" stays true while the store is away, and after that."""
    async with Failing() as store:
        for _ in range(2):
            with pytest.raises(StoreError) as raised:
                await tracked(shop, refund(100), store=store)
            assert raised.value.sent is False
        store.away = False
        assert (await tracked(shop, refund(100), store=store)).status is PollStatus.REFUNDED
        assert refunds_sent(shop) == 1


async def test_what_could_not_be_taken_back_is_gone_when_the_store_is_back(
    shop: TillOnSandbox,
) -> None:
    """M-25: so the next process does not ask for days about a refund that never left."""
    async with Failing() as store:
        with pytest.raises(StoreError):
            await tracked(shop, refund(100), store=store)
        store.away = False
        left = [each async for each in resume_refunds(shop.till, store, clock=shop.clock)]
        await shop.clock.advance(5)
        assert (left, await kept(store)) == ([], [])


async def test_what_was_sent_before_is_never_said_to_have_stayed(shop: TillOnSandbox) -> None:
    """M-25: after NOTSURE the store fails as it is sent again; the first sending may have left."""
    async with Failing() as store:
        store.kept_one = True
        assert (await tracked(shop, refund(503), store=store)).status is PollStatus.NOTSURE
        store.kept_one = False
        with pytest.raises(StoreError) as raised:
            await tracked(shop, refund(503), store=store)
        assert raised.value.sent is True
        store.away = False
        assert (await tracked(shop, refund(503), store=store)).status is PollStatus.REFUNDED
        assert refunds_sent(shop) == 2
