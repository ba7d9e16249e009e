"""NotificationHandler against hostile hooks and inboxes (M-14 to M-17)."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chaoying_async import PaidOrder
from chaoying_async.exceptions import ParameterError
from chaoying_async.inbox.leases import Claim
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision, SetAside
from chaoying_async.sansio.notifications.inbox_values import Aside, Mark, OrderKey, SeenState
from tests.factories import MCH_ID, ORDER, TRANSACTION
from tests.shop import BEGAN, FAIL, PRICE, SUCCESS, Shop, queried, said

D = Decision
ORDER_KEY = OrderKey(MCH_ID, ORDER)
SECOND: dict[str, Any] = {"transaction_id": "T2", "out_transaction_id": "W2"}


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def state(inbox: MemoryInbox, number: str = ORDER) -> SeenState | None:
    record = await inbox.look(OrderKey(MCH_ID, number))
    return record.state if record is not None else None


class Odd(BaseException):
    """What some libraries end their tasks with: no Exception, no cancellation of asyncio's."""


def raising(error: BaseException) -> Any:
    async def fail(*_given: Any) -> Any:
        raise error

    return fail


# --------------------------------------------------------------------------- what must be reported


class Cut(MemoryInbox):
    """An inbox whose connection breaks after the message was written, once."""

    cut = False

    async def set_aside(self, aside: Aside, *, retry_in: float | None) -> bool:
        news = await super().set_aside(aside, retry_in=retry_in)
        if not self.cut:
            self.cut = True
            raise ConnectionError("written, but nobody heard it")
        return news


async def test_a_conflict_whose_writing_was_cut_off_is_reported_all_the_same(shop: Shop) -> None:
    """M-15: on_conflict is told of *everything*; a redelivery makes it good."""
    async with shop.handler(Cut(clock=shop.clock)) as handler:
        for _ in range(3):
            answer = await handler.handle(shop.body(total_fee=1))
            assert answer.body == FAIL
        await shop.clock.advance(4000)
    assert shop.reasons() == [D.CONFLICT]


async def test_a_report_that_was_broken_off_leaves_at_least_its_line(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """M-15: told once, by the hook or by a line at ERROR; leaving the block cancelled the hook."""

    async def hangs(_aside: SetAside) -> None:
        await asyncio.Event().wait()

    inbox, body = shop.inbox(), shop.body(total_fee=1)
    async with shop.handler(inbox, on_conflict=hangs, grace=0.0) as handler:
        await shop.clock.run(handler.handle(body))
    async with shop.handler(inbox) as handler:
        await handler.handle(body)
    assert shop.told or "CONFLICT" in caplog.text


class Forgetting(MemoryInbox):
    """An inbox that fails to set anything aside while it is down."""

    down = False

    async def set_aside(self, aside: Aside, *, retry_in: float | None) -> bool:
        if self.down:
            raise ConnectionError
        return await super().set_aside(aside, retry_in=retry_in)


async def test_a_payment_whose_place_was_taken_is_not_lost_with_a_broken_inbox(shop: Shop) -> None:
    """M-15: T1 died half-way, T2 came; the inbox was down when T1 was set aside: both are kept."""
    inbox = Forgetting(clock=shop.clock)
    await shop.handler(inbox, on_paid=raising(RuntimeError("no stock"))).handle(shop.body())
    await shop.clock.advance(31)
    inbox.down = True
    handler = shop.handler(inbox)
    assert (await handler.handle(shop.body(**SECOND))).body == FAIL
    inbox.down = False
    await shop.clock.advance(60)
    await handler.run_due()
    assert [order.transaction_id for order in shop.delivered] == [TRANSACTION]
    assert (await handler.handle(shop.body(**SECOND))).body == FAIL
    assert set(shop.reasons()) == {D.CONFLICT}


# ------------------------------------------------------------------- what hooks may raise or return


@pytest.mark.parametrize("opened", [False, True])
async def test_whatever_on_paid_raises_there_is_an_answer_and_the_claim_is_free(
    shop: Shop, opened: bool
) -> None:
    """M-16: on_paid raised: `fail`, released, tried again; handle never raises."""
    inbox = shop.inbox()
    handler = shop.handler(inbox, on_paid=raising(Odd()))
    if opened:
        async with handler:
            answer = await shop.clock.run(handler.handle(shop.body()))
    else:
        answer = await shop.clock.run(handler.handle(shop.body()))
    assert answer.body == FAIL
    record = await inbox.look(ORDER_KEY)
    assert record is not None
    assert record.lease == 0.0


async def test_one_odd_order_does_not_end_the_rounds_of_run_due(shop: Shop) -> None:
    """M-17: the task of `async with` goes on every 30 s, whatever one on_paid raised."""
    inbox = shop.inbox()
    first = [RuntimeError("no stock"), Odd()]

    async def odd(order: PaidOrder) -> None:
        if order.out_trade_no == ORDER and first:
            raise first.pop(0)
        shop.delivered.append(order)

    async with shop.handler(inbox, on_paid=odd) as handler:
        await handler.handle(shop.body())
        await shop.clock.advance(61)
        await handler.handle(shop.body(out_trade_no="B"))  # unknown as yet
        shop.orders["B"] = ExpectedOrder(PRICE, MCH_ID)
        await shop.clock.advance(200)
    assert "B" in [order.out_trade_no for order in shop.delivered]


@pytest.mark.parametrize(
    ("hook", "opened"),
    [
        (hook, opened)
        for hook in ("expected", "on_conflict", "on_not_paid", "confirm", "resolver")
        for opened in (False, True)
    ],
)
async def test_a_cancellation_that_nobody_asked_for_is_a_failure_of_the_hook(
    shop: Shop, hook: str, opened: bool
) -> None:
    """A closed pool gives CancelledErrors of its own: `handle` has an answer, the caller lives."""

    class Cancelling:
        mch_id = None

        async def send(self, request: Any, *, timeout: Any = None) -> Any:
            raise asyncio.CancelledError

    odd: dict[str, dict[str, Any]] = {
        "on_conflict": {"total_fee": 1},
        "on_not_paid": {"pay_result": "1"},
    }
    fields = odd.get(hook, {})
    cancelling = raising(asyncio.CancelledError())
    options: dict[str, Any] = {hook: cancelling}
    if hook == "confirm":
        options = {"confirm": Cancelling()}
    if hook == "resolver":
        options = {"credentials": cancelling}
    handler = shop.handler(**options)

    async def deliver() -> Any:
        if opened:
            async with handler:
                return await handler.handle(shop.body(**fields))
        return await handler.handle(shop.body(**fields))

    task = asyncio.create_task(deliver())
    await asyncio.wait([task])
    assert not task.cancelled()
    assert task.result().body == FAIL


async def test_a_cancelled_report_is_a_line_at_error(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """M-15: where the hook fails in whatever way, the log has it."""
    async with shop.handler(on_conflict=raising(asyncio.CancelledError())) as handler:
        await handler.handle(shop.body(total_fee=1))
    assert [line for line in caplog.records if line.levelno >= logging.ERROR]


async def _async_generator(order: PaidOrder) -> AsyncIterator[None]:
    raise AssertionError(order)
    yield


def _generator(order: PaidOrder) -> Iterator[None]:
    raise AssertionError(order)
    yield


@pytest.mark.parametrize("function", [_async_generator, _generator])
@pytest.mark.parametrize("name", ["on_paid", "on_paid_after_close"])
def test_a_function_that_would_never_run_is_refused(shop: Shop, function: Any, name: str) -> None:
    """M-14: calling a generator function runs nothing, and `success` would be a lie."""
    with pytest.raises(ParameterError):
        shop.handler(**{name: function})


@pytest.mark.parametrize("way", ["handle", "settle"])
async def test_on_paid_that_asks_about_its_own_order_is_told_not_yet(shop: Shop, way: str) -> None:
    """M-15: no deadlock: the claim is held, so IN_PROGRESS inside the budget, and one effect."""
    inner: list[Any] = []

    async def recursive(_order: PaidOrder) -> None:
        if way == "handle":
            inner.append((await handler.handle(shop.body())).decision)
        else:
            inner.append(await handler.settle(queried()))

    shop.before = recursive
    async with shop.handler(budget=1.0) as handler:
        await shop.clock.run(handler.handle(shop.body()))
        await shop.clock.advance(10)
        assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)
    assert inner == [D.IN_PROGRESS]
    assert len(shop.delivered) == 1


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="none")


@pytest.mark.parametrize("opened", [False, True])
async def test_time_outs_groups_and_context_of_on_paids_own_span_its_first_wait(
    shop: Shop, opened: bool
) -> None:
    """M-16: whatever is entered before the first await is left after it, as in any coroutine."""
    seen: list[Any] = []

    async def work(_order: PaidOrder) -> None:
        token = VARIABLE.set("mine")
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(shop.clock.sleep(12))
            await shop.clock.sleep(11)
        try:
            async with shop.clock.timeout(1):
                await shop.clock.sleep(100)
        except TimeoutError:
            seen.append(VARIABLE.get())
        VARIABLE.reset(token)
        task = asyncio.current_task()
        assert task is not None
        seen.append(task.cancelling())

    shop.before = work
    handler = shop.handler()
    if opened:
        async with handler:
            await shop.clock.run(handler.handle(shop.body()))
            await shop.clock.advance(20)
    else:
        assert (await shop.clock.run(handler.handle(shop.body()))).body == SUCCESS
    assert seen == ["mine", 0]
    assert len(shop.delivered) == 1


async def test_a_lookup_that_timed_out_is_trouble_and_not_work_in_progress(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """M-15: IN_PROGRESS means that somebody holds the claim; a database that is down is logged."""
    async with shop.handler(expected=raising(TimeoutError("the database"))) as handler:
        answer = await handler.handle(shop.body())
        stats = handler.stats()
    assert said(answer) == (None, FAIL)
    assert (stats.troubled, stats.late) == (1, 0)
    assert [line for line in caplog.records if line.levelno >= logging.ERROR]


# ----------------------------------------------------------------------------- rounds of run_due


async def test_one_order_that_hangs_keeps_no_other_waiting(shop: Shop) -> None:
    """M-17: run_due takes up what is due every 30 s, while a retried on_paid hangs for an hour."""
    tries: list[str] = []

    async def hangs(order: PaidOrder) -> None:
        tries.append(order.out_trade_no)
        if order.out_trade_no == ORDER:
            if tries.count(ORDER) == 1:
                raise RuntimeError("no stock")
            await shop.clock.sleep(3600)

    async with shop.handler(on_paid=hangs, grace=0.0) as handler:
        await handler.handle(shop.body())
        await shop.clock.advance(35)  # ORDER is tried again, and hangs
        await handler.handle(shop.body(out_trade_no="B"))  # not known yet
        shop.orders["B"] = ExpectedOrder(PRICE, MCH_ID)
        await shop.clock.advance(300)
    assert tries.count(ORDER) == 2
    assert "B" in tries


async def test_a_hundred_orders_that_fail_to_be_looked_up_starve_nobody(shop: Shop) -> None:
    """M-17: what cannot be taken up is left to the next round, however much of it there is."""
    inbox = shop.inbox()
    broken = [f"X{number}" for number in range(100)]
    for number in [*broken, ORDER]:
        shop.orders[number] = ExpectedOrder(PRICE, MCH_ID)
        fields = {"transaction_id": f"T{number}", "out_transaction_id": f"W{number}"}
        dying = shop.handler(inbox, on_paid=raising(RuntimeError("no stock")))
        await dying.handle(shop.body(out_trade_no=number, **fields))
        await shop.clock.advance(1)
    await shop.clock.advance(60)

    async def expected(_mch_id: str, number: str) -> ExpectedOrder:
        if number in broken:
            raise LookupError(number)
        return shop.orders[number]

    handler = shop.handler(inbox, expected=expected)
    for _ in range(3):
        await handler.run_due()
        await shop.clock.advance(3600)
    assert [order.out_trade_no for order in shop.delivered] == [ORDER]


async def test_rounds_and_deliveries_at_the_same_time_have_one_effect(shop: Shop) -> None:
    """M-16: eight rounds, a mark, a poller and eight deliveries race for one order that was due."""
    inbox = shop.inbox()
    handler, other = shop.handler(inbox), shop.handler(inbox)
    price = shop.orders.pop(ORDER)
    await handler.handle(shop.body())
    (aside,) = await inbox.listing(10)
    assert isinstance(aside, Aside)
    await inbox.mark(aside.key, Mark.APPLY, aside.fingerprint)
    shop.orders[ORDER] = price
    shop.before = lambda _order: shop.clock.sleep(0.5)
    await shop.clock.run(
        asyncio.gather(
            *(each.run_due() for each in (handler, other) * 4),
            handler.order_known(MCH_ID, ORDER),
            other.settle(queried()),
            *(each.handle(shop.body()) for each in (handler, other) * 4),
        )
    )
    assert len(shop.delivered) == 1
    assert await state(inbox) is SeenState.DONE
    await shop.clock.advance(100)
    await handler.run_due()
    assert not await inbox.listing(10)


async def test_a_mark_that_is_made_during_the_work_waits_for_it(shop: Shop) -> None:
    """A person applies a doubtful message while the order is being delivered: never twice."""
    inbox = shop.inbox()
    async with shop.handler(inbox) as handler:
        await handler.handle(shop.body(total_fee=1, **SECOND))  # a conflict
        shop.before = lambda _order: shop.clock.sleep(100)
        await shop.clock.run(handler.handle(shop.body()))
        (aside,) = [item for item in await inbox.listing(10) if isinstance(item, Aside)]
        assert await inbox.mark(aside.key, Mark.APPLY, aside.fingerprint)
        await shop.clock.advance(300)
    assert len(shop.delivered) == 1
    assert not await inbox.listing(10)


# ------------------------------------------------------------------------------- leaving the block


async def test_no_work_begins_after_the_block_was_left(shop: Shop) -> None:
    """M-17: `async with` owns all work; what it did not begin by its end is the next one's."""
    known = asyncio.Event()

    async def slow_lookup(mch_id: str, number: str) -> ExpectedOrder | None:
        await known.wait()
        return shop.orders.get(number)

    async with shop.handler(expected=slow_lookup, grace=0.0) as handler:
        delivery = asyncio.create_task(handler.handle(shop.body()))
        await asyncio.sleep(0)
    known.set()  # the caller may have closed its engine by now
    answer = await shop.clock.run(delivery)
    assert not shop.delivered
    assert answer.body == FAIL


@pytest.mark.slow
async def test_leaving_with_hundreds_at_work_frees_every_order(shop: Shop) -> None:
    """M-17: grace over, all are cancelled and let go, none counts as failed or as done."""
    inbox = shop.inbox()
    shop.before = lambda _order: shop.clock.sleep(10_000)
    numbers = [f"N{number}" for number in range(300)]
    shop.orders |= {number: ExpectedOrder(PRICE, MCH_ID) for number in numbers}
    async with shop.handler(inbox, grace=0.0) as handler:
        deliveries = [
            asyncio.create_task(
                handler.handle(
                    shop.body(out_trade_no=n, transaction_id=f"T{n}", out_transaction_id=f"W{n}")
                )
            )
            for n in numbers
        ]
        await shop.clock.advance(1)
        assert handler.stats().working == 300
    answers = await asyncio.gather(*deliveries)
    assert {answer.body for answer in answers} == {FAIL}
    records = [await inbox.look(OrderKey(MCH_ID, number)) for number in numbers]
    assert set(records) == {None}
    assert len(asyncio.all_tasks()) == 1


# ------------------------------------------------------------------------------------ lost claims


class Stolen(MemoryInbox):
    """An inbox from which somebody takes an order's claim away at the first renewal."""

    async def _renew(self, claim: Claim) -> bool:
        return claim.key != ORDER_KEY

    def _is_ours(self, claim: Claim) -> bool:
        return claim.key != ORDER_KEY


async def test_stubborn_work_that_lost_its_claim_never_records_and_never_ends_the_handler(
    shop: Shop,
) -> None:
    """M-16: it ignores its cancellation: its order is not DONE, others go on."""
    inbox = Stolen(clock=shop.clock)
    ignored: list[float] = []

    async def stubborn(order: PaidOrder) -> None:
        until = shop.clock.monotonic() + 60
        while (
            order.out_trade_no == ORDER and until <= BEGAN + 60 and shop.clock.monotonic() < until
        ):
            try:
                await shop.clock.sleep(until - shop.clock.monotonic())
            except asyncio.CancelledError:
                ignored.append(shop.clock.monotonic())

    shop.before = stubborn
    shop.orders["B"] = ExpectedOrder(PRICE, MCH_ID)
    async with shop.handler(inbox) as handler:
        await shop.clock.run(handler.handle(shop.body()))
        await shop.clock.advance(30)
        answer = await handler.handle(shop.body(out_trade_no="B", **SECOND))
        await shop.clock.advance(25)
        await shop.clock.advance(2000)
    assert said(answer) == (D.APPLY, SUCCESS)
    assert await inbox.look(ORDER_KEY) is None
    assert ignored[0] == BEGAN + 10
