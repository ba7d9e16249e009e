"""Thousands of orders: rates, fairness, the breaker, endless sources, and the sandbox."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chaoying_async import (
    GatewaySession,
    OrderQuery,
    ParameterError,
    Pay,
    PayType,
    PollSchedule,
    PollStatus,
    TransportError,
)
from chaoying_async.polling import Poller
from chaoying_async.sandbox import Sandbox
from chaoying_async.testing import FakeClock
from tests.pollers import (
    ABSENT,
    CLOSED,
    PAID,
    PENDING,
    Scripted,
    always,
    collected,
    number_of,
    order,
    orders,
    poller_on,
)
from tests.sizes import FULL, cases


@pytest.mark.timeout(240)  # with FULL=1 twenty seconds of work, on a machine that may be busy
async def test_many_orders_end_right_and_concurrency_is_kept() -> None:
    """Each its own way, and never more than 50 queries at once; 3,000 with FULL=1."""
    many = 3000 if FULL else 120
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
        found = await clock.run(collected(poller.run(orders(many))))
        stats = poller.stats()
    wanted = [PollStatus.PAID, PollStatus.CLOSED, PollStatus.EXPIRED, PollStatus.NOT_FOUND]
    assert len(found) == many
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


@pytest.mark.parametrize("rate", cases([7], more=[120]))
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
        await clock.run(collected(poller.drain()))
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
        found = await clock.run(collected(poller.drain()))
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
        found = await clock.run(collected(poller.drain()))
    assert {outcome.status for outcome in found} == {PollStatus.EXPIRED}
    for outcome in found:
        assert isinstance(outcome.error, TransportError)
        number = number_of(outcome.query)
        assert gateway.times(number)[-1] == pytest.approx(60 + int(number[1:]))


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


@pytest.mark.parametrize("how", ["a refused order", "a consumer that stops"])
async def test_a_source_that_is_a_generator_is_closed_with_the_run(how: str) -> None:
    """What it has opened it gives back, and not when it is found to be garbage."""
    left = asyncio.Event()

    async def source() -> AsyncIterator[Any]:
        try:
            yield order()
            yield (order("A2"), -1) if how == "a refused order" else order("A2")
        finally:
            left.set()

    clock, queries = FakeClock(), source()
    async with poller_on(Scripted(clock, always(PAID))) as poller:
        outcomes = poller.run(queries, at_once=1)
        if how == "a refused order":
            with pytest.raises(ParameterError, match="expected"):
                await clock.run(collected(outcomes))
        else:
            assert (await clock.run(anext(outcomes))).status is PollStatus.PAID
            await outcomes.aclose()
    assert left.is_set()


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


async def test_orders_of_the_sandbox_end_as_its_books_say() -> None:
    """Over the whole of the library: signed, verified, typed, and compared with the amount."""
    many = 480 if FULL else 3 * len(COURSES)
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
        amounts = dict(zip((f"A{n:06d}" for n in range(many)), itertools.cycle(COURSES)))
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
    assert len(found) == many
    for outcome in found:
        amount = amounts[number_of(outcome.query)]
        assert outcome.status is COURSES[amount], amount
