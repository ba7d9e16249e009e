"""The poller on a clock moved by hand: exact moments, many orders, and nothing left behind."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chaoying_async import (
    AmbiguousSignatureError,
    Fen,
    GatewaySession,
    OrderNotFoundError,
    OrderQuery,
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
    ReplyMismatchError,
    SessionClosedError,
    TradeFailedError,
    TradeRefundedError,
    TransportError,
    UsageError,
)
from chaoying_async.poller import Poller
from chaoying_async.sandbox import Sandbox
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID, REFUND
from tests.pollers import (
    ABSENT,
    CLOSED,
    PAID,
    PENDING,
    UNNAMED,
    Script,
    Scripted,
    always,
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


def after(count: int, first: Any, then: Any) -> Script:
    return lambda _number, asked: first if asked <= count else then


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


async def test_a_poller_needs_a_merchant_an_open_block_and_no_store() -> None:
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
        with pytest.raises(ParameterError, match="expected"):
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
        found = await clock.run(collected(poller.outcomes()))
        assert [outcome.status for outcome in found] == [PollStatus.PAID]
        assert {(await task).status for task in waits} == {PollStatus.PAID}
    assert gateway.times("A100011") == [5, 10]


async def collected(outcomes: Any) -> list[PollOutcome[Any]]:
    return [outcome async for outcome in outcomes]


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
        assert len(await clock.run(collected(poller.outcomes()))) == 1
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


async def test_thousands_of_orders_end_right_and_concurrency_is_kept() -> None:
    """3,000 orders, each its own way, and never more than 50 queries at once."""
    clock = FakeClock()
    ends = [PAID, CLOSED, PENDING, ABSENT]

    def script(number: str, count: int) -> Any:
        kind = int(number[1:]) % 4
        return ends[kind] if count > int(number[1:]) % 7 else (PENDING if kind < 3 else ABSENT)

    gateway = Scripted(clock, script)
    rng = random.Random(7)

    async def slowly(_number: str) -> None:
        await clock.sleep(0.02)

    gateway.before = slowly
    schedule = PollSchedule(until=60)
    async with poller_on(gateway, schedule=schedule, concurrency=50, rng=rng) as poller:
        found = await clock.run(collected(poller.run(orders(3000))))
        stats = poller.stats()
    wanted = [PollStatus.PAID, PollStatus.CLOSED, PollStatus.EXPIRED, PollStatus.NOT_FOUND]
    assert len(found) == 3000
    for outcome in found:
        number = number_of(outcome.query)
        assert outcome.status is wanted[int(number[1:]) % 4]
    assert gateway.most_under_way == 50
    assert (stats.pending, stats.in_flight, stats.due, stats.lag) == (0, 0, 0, 0.0)
    assert stats.polls == len(gateway.asked)


def most_in_a_second(moments: list[float]) -> int:
    first, most = 0, 0
    for index, moment in enumerate(moments):
        while moments[first] <= moment - 1 + 1e-6:
            first += 1
        most = max(most, index - first + 1)
    return most


@pytest.mark.parametrize("rate", [7, 120])
async def test_a_rate_is_never_exceeded_and_everybody_is_asked(rate: int) -> None:
    """In no second; and those who wait are asked in turn."""
    clock = FakeClock()
    gateway = Scripted(clock, always(PAID))
    async with poller_on(gateway, rate=rate) as poller:
        task = asyncio.create_task(collected(poller.run(orders(rate * 20))))
        await clock.advance(10)
        stats = poller.stats()
        assert stats.due > rate * 10
        assert stats.lag == pytest.approx(5.0)
        found = await clock.run(task)
    assert {outcome.status for outcome in found} == {PollStatus.PAID}
    assert most_in_a_second([moment for moment, _ in gateway.asked]) <= rate
    assert gateway.asked[-1][0] == pytest.approx(25, rel=0.05)


async def test_each_merchant_has_its_own_rate() -> None:
    """A large merchant does not slow down a small one."""
    clock = FakeClock()
    gateway = Scripted(clock, always(PAID))
    large = [order(f"L{n:05d}", mch_id="00000002") for n in range(40)]
    small = [order(f"S{n:05d}", mch_id="00000003") for n in range(4)]
    gateway.script = lambda number, _: {"mch_id": "00000002" if number[0] == "L" else "00000003"}
    async with poller_on(gateway, merchant_rate=2) as poller:
        found = await clock.run(collected(poller.run([*large, *small])))
    assert {outcome.status for outcome in found} == {PollStatus.PAID}
    for first, last in (("L", 24.5), ("S", 6.5)):
        moments = [moment for moment, number in gateway.asked if number[0] == first]
        assert most_in_a_second(moments) <= 2
        assert moments[-1] == pytest.approx(last)


async def test_the_nearest_deadline_goes_first() -> None:
    """When more is due than may be asked."""
    clock = FakeClock()
    gateway = Scripted(clock, always(PAID))
    async with poller_on(gateway, rate=1) as poller:
        for number, until in (("FAR01", 600), ("NEAR1", 40), ("MID01", 180), ("NEAR2", 40)):
            poller.track(order(number), schedule=PollSchedule(until=until, jitter=0))
        await clock.run(collected(poller.outcomes()))
    assert [number for _, number in gateway.asked] == ["NEAR1", "NEAR2", "MID01", "FAR01"]


async def test_everybody_is_asked_where_demand_is_above_capacity() -> None:
    """Those that came a moment earlier are not asked twice before the others were asked once."""
    clock = FakeClock()
    gateway = Scripted(clock, always(PENDING))
    async with poller_on(gateway, rate=10) as poller:
        for query in orders(200):
            poller.track(query)
            await clock.advance(0.01)
        await clock.advance(24)
        asked = Counter(number for _, number in gateway.asked)
        assert len(asked) == 200
        assert max(asked.values()) <= 2
        found = await clock.run(collected(poller.outcomes()))
    assert {outcome.status for outcome in found} == {PollStatus.EXPIRED}
    last = {number: moment for moment, number in gateway.asked}
    starts = {query.out_trade_no: n * 0.01 for n, query in enumerate(orders(200))}
    assert all(last[str(number)] >= start + 180 - 1e-6 for number, start in starts.items())


async def test_the_breaker_slows_to_probes_and_recovers() -> None:
    """100 orders against a gateway that is down for a minute: few queries, and all end right."""
    clock = FakeClock()

    def script(number: str, _count: int) -> Any:
        return TransportError("down") if clock.monotonic() < 60 else PAID

    gateway = Scripted(clock, script)
    async with poller_on(gateway, concurrency=10) as poller:
        task = asyncio.create_task(collected(poller.run(orders(100))))
        await clock.advance(59)
        assert poller.stats().breaker_open
        assert len(gateway.asked) < 30
        found = await clock.run(task)
        assert not poller.stats().breaker_open
    assert {outcome.status for outcome in found} == {PollStatus.PAID}
    assert gateway.asked[-1][0] < 140


async def test_deadlines_are_honoured_under_an_open_breaker() -> None:
    """M-23: each is asked at its own deadline, as a probe, and expires with the error."""
    clock = FakeClock()
    gateway = Scripted(clock, always(TransportError("down")))
    async with poller_on(gateway, rng=random.Random(1)) as poller:
        for n in range(60):
            poller.track(order(f"B{n:05d}"), schedule=PollSchedule(until=60 + n, jitter=0))
        found = await clock.run(collected(poller.outcomes()))
    assert {outcome.status for outcome in found} == {PollStatus.EXPIRED}
    for outcome in found:
        assert isinstance(outcome.error, TransportError)
        number = number_of(outcome.query)
        assert gateway.times(number)[-1] == pytest.approx(60 + int(number[1:]))


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


async def test_an_endless_source_is_pulled_lazily() -> None:
    """As many as may be waited for at once, and more only as outcomes are taken."""
    pulled = itertools.count()
    for source in (endless(pulled), endless_async(pulled)):
        clock = FakeClock()
        gateway = Scripted(clock, always(PAID))
        before = next(pulled)
        async with poller_on(gateway) as poller:
            taken = 0

            async def some(poller: Poller = poller, source: Any = source) -> int:
                count = 0
                async for _ in poller.run(source, at_once=20):
                    count += 1
                    if count == 50:
                        break
                return count

            taken = await clock.run(some())
            await clock.advance(0)
            assert poller.pending() == ()
        assert taken == 50
        assert next(pulled) - before < 50 + 20 + 3
    assert len(asyncio.all_tasks()) == 1


def endless(pulled: Iterator[int]) -> Iterator[OrderQuery]:
    while True:
        yield order(f"E{next(pulled):06d}")


async def endless_async(pulled: Iterator[int]) -> AsyncIterator[OrderQuery]:
    while True:
        yield order(f"E{next(pulled):06d}")


async def test_what_the_source_raises_comes_out_after_the_outcomes() -> None:
    """And the poller goes on."""

    def broken() -> Iterator[OrderQuery]:
        yield order()
        raise LookupError("the shop's database")

    clock = FakeClock()
    async with poller_on(Scripted(clock, always(PAID))) as poller:
        with pytest.raises(LookupError):
            await clock.run(collected(poller.run(broken())))
        assert (await clock.run(poller.wait(order()))).status is PollStatus.PAID
        with pytest.raises(ParameterError, match="at_once"):
            await collected(poller.run([], at_once=0))


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
        assert await collected(poller.outcomes()) == []
        assert (await clock.run(poller.wait(order()))).status is PollStatus.PAID
        (await clock.run(poller.wait(order()))).done()


#: Amounts that choose a course in the sandbox, and how each ends for a poll.
COURSES = {
    400: PollStatus.PAID,
    401: PollStatus.PAID,
    402: PollStatus.PAID,
    404: PollStatus.PAID,
    405: PollStatus.EXPIRED,
    406: PollStatus.FAILED,
    408: PollStatus.FAILED,
    409: PollStatus.PAID,
    412: PollStatus.MISMATCH,
    413: PollStatus.PAID,
    414: PollStatus.NOT_FOUND,
    415: PollStatus.PAID,
}


async def test_hundreds_of_orders_of_the_sandbox_end_as_its_books_say() -> None:
    """Over the whole of the library: signed, verified, typed, and compared with the amount."""
    clock = FakeClock()
    async with (
        Sandbox(clock=clock) as sandbox,
        GatewaySession(
            sandbox.credentials,
            mch_id=sandbox.mch_id,
            op_user_id="op1",
            transport=sandbox.transport,
            clock=clock,
        ) as gateway,
        Poller(gateway, clock=clock, rng=random.Random(3)) as poller,
    ):
        amounts = dict(zip((f"A{n:06d}" for n in range(480)), itertools.cycle(COURSES)))
        for number, amount in amounts.items():
            payment = Pay(
                body="tea", out_trade_no=number, total_fee=amount, auth_code="130000000000000001"
            )
            await asyncio.gather(gateway.send(payment), return_exceptions=True)
        wanted = [
            (OrderQuery(paytype=PayType.WECHAT, out_trade_no=number), amount)
            for number, amount in amounts.items()
        ]
        found = await clock.run(collected(poller.run(wanted)))
        queries = sandbox.requests["orderquery"]
        assert poller.stats().polls == queries  # one poll, one request
    assert len(found) == 480
    for outcome in found:
        amount = amounts[number_of(outcome.query)]
        assert outcome.status is COURSES[amount], amount
