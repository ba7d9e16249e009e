"""One order, or a few: exact moments, true ends, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from chaoying_async import (
    AmbiguousSignatureError,
    ChaoyingError,
    Fen,
    MerchantError,
    OrderNotFoundError,
    PaidOrder,
    PaidSource,
    ParameterError,
    Pay,
    PayType,
    PollOutcome,
    PollSchedule,
    PollStatus,
    PollTimeoutError,
    RefundQuery,
    RefundRefusedError,
    ReplyMismatchError,
    SessionClosedError,
    TradeFailedError,
    TradePendingError,
    TradeRefundedError,
    TransportError,
    UsageError,
)
from chaoying_async.polling import Poller
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID, OPENID, ORDER, REFUND
from tests.pollers import (
    ABSENT,
    CLOSED,
    PAID,
    PENDING,
    UNNAMED,
    Script,
    Scripted,
    after,
    always,
    collected,
    number_of,
    order,
    orders,
    poller_on,
)


async def ended(
    script: Script, query: Any = None, *, expected: int | None = None, **options: Any
) -> tuple[PollOutcome[Any], list[float]]:
    """One order to its end, and the moments at which it was asked about."""
    clock = FakeClock()
    gateway = Scripted(clock, script)
    async with poller_on(gateway, **options) as poller:
        outcome = await clock.run(poller.wait(query or order(), expected))
        assert poller.pending() == ()
    return outcome, [moment for moment, _ in gateway.asked]


async def test_a_payment_is_asked_about_at_exact_moments() -> None:
    """M-22: 5 s, every 5 s, and not once more after the end."""
    outcome, asked = await ended(after(3, PENDING, PAID), expected=100)
    assert asked == [5, 10, 15, 20]
    assert (outcome.status, outcome.attempts, outcome.elapsed) == (PollStatus.PAID, 4, 20.0)
    assert outcome.unwrap().payable == 100
    assert outcome.unwrap().mch_id == MCH_ID


async def test_another_amount_is_never_paid() -> None:
    """M-13: MISMATCH, with what was paid to look at."""
    outcome, _ = await ended(always(PAID), expected=99)
    assert outcome.status is PollStatus.MISMATCH
    assert outcome.paid is not None
    with pytest.raises(ReplyMismatchError):
        outcome.unwrap()


async def test_undecided_is_expired_after_a_query_at_the_deadline() -> None:
    """M-23: never failed, and the last query is at 180 s itself."""
    outcome, asked = await ended(always(PENDING))
    assert (outcome.status, asked[-1], len(asked)) == (PollStatus.EXPIRED, 180, 36)
    assert outcome.reply is not None
    with pytest.raises(PollTimeoutError) as caught:
        outcome.unwrap()
    assert caught.value.last is outcome.reply


async def test_a_late_success_at_the_deadline_counts() -> None:
    """The last query decides."""
    outcome, asked = await ended(after(35, PENDING, PAID))
    assert (outcome.status, asked[-1]) == (PollStatus.PAID, 180)


async def test_not_found_comes_at_the_end_and_says_why() -> None:
    """M-22, M-06: twice at the end, never before."""
    outcome, asked = await ended(always(ABSENT))
    assert (outcome.status, asked[-1]) == (PollStatus.NOT_FOUND, 180)
    with pytest.raises(PollTimeoutError) as caught:
        outcome.unwrap()
    assert isinstance(caught.value.last, OrderNotFoundError)
    outcome, asked = await ended(after(5, TransportError("x"), ABSENT))
    assert (outcome.status, asked[-2:]) == (PollStatus.NOT_FOUND, [180, 185])


async def test_an_end_without_a_name_is_asked_about_twice() -> None:
    """M-06: the second query says the same, or it does not count."""
    outcome, asked = await ended(always(UNNAMED))
    assert (outcome.status, asked) == (PollStatus.CLOSED, [5, 10])
    outcome, asked = await ended(after(1, UNNAMED, PAID))
    assert (outcome.status, asked) == (PollStatus.PAID, [5, 10])
    outcome, asked = await ended(always(CLOSED))
    assert (outcome.status, asked) == (PollStatus.CLOSED, [5])
    with pytest.raises(TradeFailedError):
        outcome.unwrap()


async def test_ambiguous_replies_expire_with_the_error() -> None:
    """M-04, M-23: nothing may be believed, and somebody has to look."""
    outcome, _ = await ended(always(AmbiguousSignatureError("x")))
    assert outcome.status is PollStatus.EXPIRED
    assert isinstance(outcome.error, AmbiguousSignatureError)


async def test_a_query_that_cannot_be_sent_ends_at_once() -> None:
    """REFUSED, with the error; it says nothing of the order."""
    outcome, asked = await ended(always(ParameterError({"x": "y"})))
    assert (outcome.status, asked) == (PollStatus.REFUSED, [5])
    with pytest.raises(ParameterError):
        outcome.unwrap()


async def test_trouble_is_asked_about_more_and_more_rarely() -> None:
    """10, 20, 40, 60 s, and at the deadline all the same."""
    outcome, asked = await ended(always(TransportError("down")))
    assert asked == [5, 15, 35, 75, 135, 180]
    assert outcome.status is PollStatus.EXPIRED
    assert isinstance(outcome.error, TransportError)


async def test_a_refund_ends_by_its_own_status() -> None:
    """M-25: REFUNDED for a refund is good, for an order it is not."""
    query = RefundQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_refund_no=REFUND)
    outcome, asked = await ended(always({}), query, schedule=PollSchedule.refunds())
    assert outcome.status is PollStatus.REFUNDED
    assert outcome.unwrap().out_refund_no == REFUND
    assert 30 <= asked[0] <= 33
    refunded, _ = await ended(always({"code": "10002", "trade_state": "REFUND"}))
    with pytest.raises(TradeRefundedError):
        refunded.unwrap()


async def test_a_poller_needs_a_merchant_an_open_block_and_a_true_store() -> None:
    """Said at once, before anything is asked."""
    clock = FakeClock()
    gateway = Scripted(clock, always(PAID))
    with pytest.raises(SessionClosedError):
        poller_on(gateway).track(order())
    with pytest.raises(UsageError, match="store"):
        Poller(gateway, store=object())  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="concurrency"):
        Poller(gateway, concurrency=0)
    async with poller_on(gateway) as poller:
        with pytest.raises(UsageError, match="open already"):
            await poller.__aenter__()
        with pytest.raises(ParameterError, match="mch_id"):
            poller.track(order(mch_id=None))
        with pytest.raises(ParameterError, match=r'expected: .*fen\("12.30"\)'):
            poller.track(order(), 12.3)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            poller.track(Pay(body="x", out_trade_no="A10001", total_fee=1, auth_code="1"))  # type: ignore[arg-type]
    assert gateway.asked == []


async def test_tracking_an_order_twice_joins_the_wait() -> None:
    """One query each time, one outcome for each who waits, and one for `outcomes`."""
    clock = FakeClock()
    gateway = Scripted(clock, after(1, PENDING, PAID))
    async with poller_on(gateway) as poller:
        poller.track(order())
        poller.track(order(), 100)
        with pytest.raises(ParameterError, match="another amount"):
            poller.track(order(), 99)
        waits = [asyncio.create_task(poller.wait(order())) for _ in range(3)]
        found = await clock.run(collected(poller.drain()))
        assert [outcome.status for outcome in found] == [PollStatus.PAID]
        assert {(await task).status for task in waits} == {PollStatus.PAID}
    assert gateway.times("A100011") == [5, 10]


def paid_order(payable: int | None, number: str = "A100011") -> PaidOrder:
    return PaidOrder(
        mch_id=MCH_ID,
        out_trade_no=number,
        payable=None if payable is None else Fen(payable),
        source=PaidSource.NOTIFICATION,
    )


@pytest.mark.parametrize(("payable", "status"), [(100, PollStatus.PAID), (1, PollStatus.MISMATCH)])
async def test_a_notification_settles_the_wait(payable: int, status: PollStatus) -> None:
    """At once, with the amount compared, and it is not asked about again."""
    clock = FakeClock()
    gateway = Scripted(clock, always(PENDING))
    async with poller_on(gateway) as poller:
        task = asyncio.create_task(poller.wait(order(), 100))
        await clock.advance(7)
        assert poller.settle(paid_order(payable))
        assert not poller.settle(paid_order(payable))
        outcome = await task
        await clock.advance(300)
    assert (outcome.status, outcome.elapsed, outcome.reply) == (status, 7.0, None)
    assert gateway.times("A100011") == [5]


async def test_a_settled_order_ignores_the_answer_under_way() -> None:
    """One outcome, whichever comes second."""
    clock = FakeClock()
    gateway = Scripted(clock, always(PENDING))

    async def slowly(_number: str) -> None:
        await clock.sleep(3)

    gateway.before = slowly
    async with poller_on(gateway) as poller:
        poller.track(order())
        await clock.advance(6)
        assert poller.settle(paid_order(100))
        assert len(await clock.run(collected(poller.drain()))) == 1
        await clock.advance(300)
    assert gateway.times("A100011") == [5]


async def test_a_notification_without_an_amount_makes_it_ask_now() -> None:
    """The expected amount cannot be compared, so the gateway is asked at once (M-13)."""
    clock = FakeClock()
    gateway = Scripted(clock, always(PAID))
    async with poller_on(gateway) as poller:
        task = asyncio.create_task(poller.wait(order(), 100))
        await clock.advance(1)
        assert not poller.settle(paid_order(None))
        assert (await clock.run(task)).status is PollStatus.PAID
        await clock.advance(100)
    assert gateway.times("A100011") == [1]


async def test_one_failing_query_takes_no_other_down() -> None:
    """Whatever it raises: an error of ours, a stranger's, a cancellation, or no reply at all."""
    clock = FakeClock()

    def script(number: str, _count: int) -> Any:
        return RuntimeError("a hook of the user's") if number == "A000001" else PAID

    gateway = Scripted(clock, script)

    async def cancelled(number: str) -> None:
        if number == "A000002":
            raise asyncio.CancelledError

    gateway.before = cancelled
    async with poller_on(gateway) as poller:
        found = await clock.run(collected(poller.run(orders(5))))
    statuses = {number_of(outcome.query): outcome.status for outcome in found}
    assert statuses.pop("A000001") is statuses.pop("A000002") is PollStatus.EXPIRED
    assert set(statuses.values()) == {PollStatus.PAID}


async def test_leaving_the_block_leaves_nothing_running() -> None:
    """What is under way is cancelled, what waits is told, what was pending is listed."""
    clock = FakeClock()
    gateway = Scripted(clock, always(PENDING))

    async def forever(_number: str) -> None:
        await clock.sleep(1e6)

    gateway.before = forever
    async with poller_on(gateway) as poller:
        waiting = asyncio.create_task(poller.wait(order()))
        running = asyncio.create_task(collected(poller.run(orders(3))))
        poller.track(order("T100011"))
        await clock.advance(10)
        assert poller.stats().in_flight == gateway.under_way == 5
    for task in (waiting, running):
        with pytest.raises(SessionClosedError):
            await task
    assert len(poller.pending()) == 5
    assert gateway.under_way == 0
    assert len(asyncio.all_tasks()) == 1
    assert clock.waiting == 0


async def test_cancelling_a_wait_stops_asking() -> None:
    """Unless somebody else waits for the same order."""
    clock = FakeClock()
    gateway = Scripted(clock, always(PENDING))
    async with poller_on(gateway) as poller:
        first = asyncio.create_task(poller.wait(order()))
        second = asyncio.create_task(poller.wait(order()))
        await clock.advance(7)
        first.cancel()
        await clock.advance(5)
        assert gateway.times("A100011") == [5, 10]
        second.cancel()
        await clock.advance(100)
        assert poller.pending() == ()
    assert gateway.times("A100011") == [5, 10]


async def test_an_error_in_the_block_comes_out_as_itself() -> None:
    """Not in a group, and with nothing left running."""
    clock = FakeClock()
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - it is about the block
        async with poller_on(Scripted(clock, always(PENDING))) as poller:
            poller.track(order())
            await clock.advance(6)
            raise ZeroDivisionError
    assert len(asyncio.all_tasks()) == 1


async def test_a_poller_can_be_opened_again() -> None:
    """With nothing of the last time in it."""
    clock = FakeClock()
    poller = poller_on(Scripted(clock, always(PAID)))
    async with poller:
        poller.track(order())
    async with poller:
        assert await collected(poller.drain()) == []
        assert (await clock.run(poller.wait(order()))).status is PollStatus.PAID
        (await clock.run(poller.wait(order()))).done()


REFUND_ERRORS: dict[str, tuple[PollStatus, type[ChaoyingError]]] = {
    "FAIL": (PollStatus.REFUND_FAILED, RefundRefusedError),
    "CHANGE": (PollStatus.CHANGED, TradePendingError),
    "NOTSURE": (PollStatus.NOTSURE, TradePendingError),
    "PROCESSING": (PollStatus.EXPIRED, PollTimeoutError),
}


@pytest.mark.parametrize("refund_status", REFUND_ERRORS)
async def test_a_refund_that_was_not_carried_out_says_what_to_do(refund_status: str) -> None:
    """M-25: a new number only after FAIL, the same one after NOTSURE, a person for CHANGE."""
    status, error = REFUND_ERRORS[refund_status]
    listed = json.dumps([{"out_refund_no": REFUND, "refund_status": refund_status}])
    query = RefundQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_refund_no=REFUND)
    outcome, _ = await ended(always({"refund_list": listed}), query)
    assert outcome.status is status
    with pytest.raises(error) as caught:
        outcome.unwrap()
    assert REFUND in str(caught.value)


@pytest.mark.parametrize("refund_status", REFUND_ERRORS)
async def test_the_answer_to_a_query_does_not_say_why_a_refund_failed(refund_status: str) -> None:
    """Its message is about the query: "SUCCESS the refund failed" would help nobody."""
    listed = json.dumps([{"out_refund_no": REFUND, "refund_status": refund_status}])
    query = RefundQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_refund_no=REFUND)
    for msg in ("SUCCESS", "查询成功"):
        outcome, _ = await ended(always({"refund_list": listed, "msg": msg}), query)
        assert outcome.msg is None
        with pytest.raises(REFUND_ERRORS[refund_status][1]) as caught:
            outcome.unwrap()
        assert msg not in str(caught.value)
        assert getattr(caught.value, "msg", None) is None


@pytest.mark.parametrize(
    ("said", "told"),
    [("余额不足", "余额不足"), ("SUCCESS", None), (" success ", None), ("  ", None), (None, None)],
)
async def test_why_an_order_failed_is_never_success(said: str | None, told: str | None) -> None:
    """The document prints that msg under nearly every reply, whatever became of the order."""
    failed = {"code": "10006", "trade_state": "FAIL", "msg": said}
    refused = {"state": "FAIL", "code": "20005", "trade_state": None, "msg": said}
    for fields, status in ((failed, PollStatus.FAILED), (refused, PollStatus.REFUSED)):
        outcome, _ = await ended(always(fields))
        assert (outcome.status, outcome.msg) == (status, told)
        why = f"{told}; {outcome.advice}" if told else outcome.advice
        assert str(outcome) == f"{ORDER} {status}: {why}"


async def test_an_outcome_in_a_log_is_a_line_without_the_buyer() -> None:
    """M-27: number, end and what to do next; nothing else of the answer."""
    outcome, _ = await ended(always({**PAID, "openid": OPENID}))
    assert str(outcome) == f"{ORDER} PAID: {outcome.advice}"
    assert OPENID not in f"{outcome}{outcome!r}"


async def test_a_refused_query_raises_what_the_gateway_said() -> None:
    """C 23: twice the same, since the refusal names no order (M-06)."""
    outcome, asked = await ended(always({"state": "FAIL", "code": "20005"}))
    assert (outcome.status, asked) == (PollStatus.REFUSED, [5, 10])
    with pytest.raises(MerchantError):
        outcome.unwrap()
