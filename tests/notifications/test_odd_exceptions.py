"""What hooks, pools and drivers raise that is no failure by its name (M-14 to M-17)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from chaoying_async import PaidOrder
from chaoying_async.exceptions import ChaoyingError, ParameterError, UsageError
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.notifications.tasks import must_propagate, only_exceptions
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision, SetAside
from chaoying_async.sansio.notifications.inbox_values import Aside, Entry, Mark, OrderKey, SeenState
from tests.factories import MCH_ID, ORDER
from tests.shop import BEGAN, FAIL, PRICE, SUCCESS, Shop, cancelled, queried, said

D = Decision
ORDER_KEY = OrderKey(MCH_ID, ORDER)


@pytest.fixture
def shop() -> Shop:
    return Shop()


class Odd(BaseException):
    """No Exception, and no cancellation of asyncio's."""


ODDITIES = (
    asyncio.CancelledError(),
    GeneratorExit(),
    Odd(),
    BaseExceptionGroup("a group", [Odd(), asyncio.CancelledError()]),
)


def raising(error: BaseException) -> Any:
    async def fail(*_given: Any) -> Any:
        raise error

    return fail


def name_of(error: BaseException) -> str:
    return type(error).__name__


# ------------------------------------------------------------------------------ which is which


@pytest.mark.parametrize("error", ODDITIES, ids=name_of)
async def test_what_nobody_asked_for_is_a_failure_of_what_raised_it(error: BaseException) -> None:
    """A stray end comes as an ordinary exception that names it, and goes no further."""
    assert not must_propagate(error)
    with pytest.raises(ChaoyingError, match=name_of(error)) as caught:
        await only_exceptions(raising(error)())
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(), BaseExceptionGroup("a group", [Odd(), SystemExit()])],
    ids=name_of,
)
def test_the_end_of_the_process_is_nobody_s_to_stop(error: BaseException) -> None:
    """Ctrl-C and sys.exit() go on up, in a group too."""
    assert must_propagate(error)


async def test_a_real_cancellation_goes_on_up() -> None:
    """Whoever cancelled the task gets what was asked for."""
    task = asyncio.create_task(only_exceptions(asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_a_coroutine_that_is_thrown_away_ends_quietly() -> None:
    """Without a running loop a GeneratorExit is the end of the coroutine itself."""

    async def waiting() -> None:
        await asyncio.Future(loop=loop)

    loop = asyncio.new_event_loop()
    work = only_exceptions(waiting())
    work.send(None)
    work.close()
    loop.close()
    with pytest.raises(RuntimeError, match="already"):
        work.send(None)


# --------------------------------------------------------------------------------------- hooks


@pytest.mark.parametrize("error", ODDITIES, ids=name_of)
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("hook", ["on_paid", "expected", "credentials", "on_not_paid"])
async def test_whatever_a_hook_raises_there_is_an_answer_and_a_line(
    shop: Shop, hook: str, opened: bool, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """M-14: `fail`, a line at ERROR, and the next delivery finds everything free."""
    inbox = shop.inbox()
    body = shop.body(**({"pay_result": "1"} if hook == "on_not_paid" else {}))
    odd: dict[str, Any] = {hook: raising(error)}
    handler = shop.handler(inbox, **odd)
    if opened:
        async with handler:
            answer = await handler.handle(body)
    else:
        answer = await handler.handle(body)
    assert answer.body == FAIL
    assert [line for line in caplog.records if line.levelno == logging.ERROR]
    assert (await shop.handler(inbox).handle(body)).body == SUCCESS


@pytest.mark.parametrize("error", ODDITIES, ids=name_of)
@pytest.mark.parametrize("opened", [False, True])
async def test_a_poller_is_not_ended_by_a_lookup(
    shop: Shop, opened: bool, error: BaseException
) -> None:
    """What comes out of `settle` and `order_known` is an Exception: a loop around it goes on."""
    handler = shop.handler(expected=raising(error))

    async def ask() -> None:
        with pytest.raises(ChaoyingError):
            await handler.settle(queried())
        with pytest.raises(ChaoyingError):
            await handler.order_known(MCH_ID, ORDER)

    if opened:
        async with handler:
            await ask()
    else:
        await ask()


@pytest.mark.parametrize("error", ODDITIES, ids=name_of)
@pytest.mark.parametrize("opened", [False, True])
async def test_one_stray_end_takes_nothing_else_out_of_its_round(
    shop: Shop, opened: bool, error: BaseException
) -> None:
    """M-17: B is delivered in the round in which the lookup of A ends in whatever way."""
    inbox = shop.inbox()
    price = ExpectedOrder(PRICE, MCH_ID)
    shop.orders.clear()
    for number in ("A", "B"):
        await shop.handler(inbox).handle(shop.body(out_trade_no=number))

    async def expected(_mch_id: str, number: str) -> ExpectedOrder:
        if number == "A":
            raise error
        return price

    handler = shop.handler(inbox, expected=expected)
    await shop.clock.advance(31)
    if opened:
        async with handler:
            await shop.clock.advance(1)
    else:
        assert await handler.run_due() == 2
    assert [order.out_trade_no for order in shop.delivered] == ["B"]


async def test_a_lookup_that_hangs_in_a_round_is_given_up_and_tried_again(shop: Shop) -> None:
    """M-17: without an owner too: cron's `run_due` ends, and the order is still due."""
    inbox = shop.inbox()
    await shop.handler(inbox, on_paid=raising(RuntimeError("no stock"))).handle(shop.body())
    await shop.clock.advance(31)

    async def hangs(_mch_id: str, _number: str) -> None:
        await asyncio.Event().wait()

    assert await shop.clock.run(shop.handler(inbox, expected=hangs).run_due()) == 1
    assert shop.clock.monotonic() <= BEGAN + 31 + 30
    assert await shop.handler(inbox).run_due() == 1
    assert len(shop.delivered) == 1


# ------------------------------------------------------------------------------------- reports


async def test_a_report_that_hangs_becomes_a_line_and_holds_nothing_up(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """M-15: on_conflict has 20 seconds; then the log has it, and it counts as told."""

    async def hangs(_aside: SetAside) -> None:
        await asyncio.Event().wait()

    inbox, body = shop.inbox(), shop.body(total_fee=1)
    async with shop.handler(inbox, on_conflict=hangs) as handler:
        assert said(await shop.clock.run(handler.handle(body))) == (D.IN_PROGRESS, FAIL)
        await shop.clock.advance(20)
        assert "another amount" in caplog.text
    async with shop.handler(inbox) as handler:
        assert said(await handler.handle(body)) == (D.CONFLICT, FAIL)
        await shop.clock.advance(3600)
    assert not shop.told


async def test_a_storm_of_one_message_is_told_once(shop: Shop) -> None:
    """M-15: two processes, fifty deliveries at the same time, and a hook that takes its time."""
    inbox = shop.inbox()

    async def slow(aside: SetAside) -> None:
        await shop.clock.sleep(1)
        shop.told.append(aside)

    handlers = [shop.handler(inbox, on_conflict=slow) for _ in range(2)]
    body = shop.body(total_fee=1)
    storm = [handler.handle(body) for handler in handlers * 25]
    answers = await shop.clock.run(asyncio.gather(*storm))
    assert {said(answer) for answer in answers} == {(D.CONFLICT, FAIL)}
    assert shop.reasons() == [D.CONFLICT]
    await shop.clock.advance(4000)
    await handlers[0].run_due()
    await handlers[1].handle(body)
    assert shop.reasons() == [D.CONFLICT]


@pytest.mark.parametrize("again", ["run_due", "redelivered", "too early"])
async def test_what_a_dead_process_did_not_tell_is_told_by_the_next(shop: Shop, again: str) -> None:
    """M-15, at least once: killed in on_conflict; a STALE one, which nobody would look at again."""
    inbox = shop.inbox()
    body = shop.body(time_end="20250101000000")

    async def dies(_aside: SetAside) -> None:
        await asyncio.Event().wait()

    dying = asyncio.create_task(shop.handler(inbox, on_conflict=dies).handle(body))
    await shop.clock.advance(1)
    await cancelled(dying)
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Aside)
    assert kept.decision == "STALE (untold)"
    handler = shop.handler(inbox)
    if again == "too early":  # as far as anybody knows, the first one is still telling it
        assert await handler.order_known(MCH_ID, ORDER) == 1
        assert not shop.told
    await shop.clock.advance(31)
    for _ in range(3):
        if again == "redelivered":
            assert said(await handler.handle(body)) == (D.STALE, FAIL)
        else:
            await handler.run_due()
            await shop.clock.advance(31)
    assert shop.reasons() == [D.STALE]
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Aside)
    assert kept.decision == "STALE"
    await shop.clock.advance(100_000)
    assert not await inbox.unfinished(10)


async def test_what_was_dismissed_is_told_of_no_more(shop: Shop) -> None:
    """`DISMISS` is the end, even if the message would be called something else by now."""
    inbox = shop.inbox()
    price = shop.orders.pop(ORDER)
    handler = shop.handler(inbox)
    body = shop.body(total_fee=1)
    await handler.handle(body)
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Aside)
    await inbox.close(kept)
    shop.orders[ORDER] = price
    for _ in range(3):
        assert said(await handler.handle(body)) == (D.CONFLICT, FAIL)
        await shop.clock.advance(60)
    assert shop.reasons() == [D.UNKNOWN_ORDER]


async def test_whoever_is_told_finds_it_in_the_listing(shop: Shop) -> None:
    """The hook may mark what it is told of: it is kept before anybody hears of it."""
    inbox = shop.inbox()
    listed: list[int] = []

    async def look(_aside: SetAside) -> None:
        listed.append(len(await inbox.listing(10)))

    await shop.handler(inbox, on_conflict=look).handle(shop.body(total_fee=1))
    assert listed == [1]


# ------------------------------------------------------------------------------------- closing


@pytest.mark.parametrize("waits", [False, True])
async def test_on_paid_cannot_close_what_it_runs_in(shop: Shop, waits: bool) -> None:
    """M-17: leaving the block would wait for its own caller for ever: an error says so."""
    raised: list[BaseException] = []

    async def closes(_order: PaidOrder) -> None:
        if waits:
            await shop.clock.sleep(1)
        try:
            await handler.__aexit__(None, None, None)
        except UsageError as error:
            raised.append(error)
        await shop.clock.sleep(100)  # its claim is renewed all the same

    shop.before = closes
    inbox = shop.inbox()
    async with asyncio.timeout(10), shop.handler(inbox) as handler:
        await shop.clock.run(handler.handle(shop.body()))
        await shop.clock.advance(50)
        async with inbox.lock(ORDER_KEY, Entry("", shop.clock.now())) as order:
            assert order is None
        await shop.clock.advance(100)
        assert len(raised) == 1
        assert len(shop.delivered) == 1


@pytest.mark.parametrize("way", ["handle", "settle", "set aside"])
async def test_nothing_begins_while_the_block_is_being_left(shop: Shop, way: str) -> None:
    """M-17: a lookup that ends during `grace` begins no work that nobody would wait for."""
    inbox = shop.inbox()
    known = asyncio.Event()

    async def slow(mch_id: str, number: str) -> ExpectedOrder | None:
        await known.wait()
        return shop.orders.get(number)

    async def long(order: PaidOrder) -> None:
        await shop.clock.sleep(5)
        shop.delivered.append(order)

    handler = shop.handler(inbox, on_paid=long, expected=slow, budget=100.0)
    await handler.__aenter__()
    if way == "settle":
        delivery: asyncio.Task[Any] = asyncio.create_task(handler.settle(queried()))
    else:
        fee = 1 if way == "set aside" else PRICE
        delivery = asyncio.create_task(handler.handle(shop.body(total_fee=fee)))
    await shop.clock.advance(1)
    closing = asyncio.create_task(handler.__aexit__(None, None, None))
    known.set()
    await shop.clock.advance(1)
    await closing
    assert delivery.done()
    answer = delivery.result()
    assert answer is D.IN_PROGRESS if way == "settle" else answer.body == FAIL
    assert not shop.delivered
    assert await inbox.look(ORDER_KEY) is None
    async with inbox.lock(ORDER_KEY, Entry("", shop.clock.now())) as order:
        assert order is not None


async def test_a_mark_that_replaces_a_dead_payment_sets_it_aside(shop: Shop) -> None:
    """M-15: a person applies T2 while T1 is half done and waiting: T1 is told of, not forgotten."""
    inbox = shop.inbox()
    await shop.handler(inbox, on_paid=raising(RuntimeError("no stock"))).handle(shop.body())
    second = {"transaction_id": "T2", "out_transaction_id": "W2"}
    handler = shop.handler(inbox)
    await handler.handle(shop.body(total_fee=1, **second))
    (aside,) = [item for item in await inbox.listing(10) if isinstance(item, Aside)]
    await inbox.mark(aside.key, Mark.APPLY, aside.fingerprint)
    await handler.run_due()
    assert [order.transaction_id for order in shop.delivered] == ["T2"]
    assert shop.reasons() == [D.CONFLICT, D.CONFLICT]


class Losing(MemoryInbox):
    """An inbox whose pool is closed when the second lock of an order is asked for."""

    locks = 0

    def lock(self, key: OrderKey, entry: Entry) -> Any:
        self.locks += 1
        if self.locks == 2:  # the first one is of the work, the second one of its failure
            raise asyncio.CancelledError
        return super().lock(key, entry)


async def test_a_failure_whose_recording_ends_oddly_is_delivered_again(shop: Shop) -> None:
    """M-16: the answer is `fail`, and the gateway's next delivery finds the order free."""
    inbox = Losing(clock=shop.clock)
    handler = shop.handler(inbox, on_paid=raising(RuntimeError("no stock")))
    assert said(await handler.handle(shop.body())) == (D.APPLY, FAIL)
    assert said(await shop.handler(inbox).handle(shop.body())) == (D.APPLY, SUCCESS)
    record = await inbox.look(ORDER_KEY)
    assert record is not None
    assert record.state is SeenState.DONE


@pytest.mark.parametrize("knob", ["budget", "grace"])
@pytest.mark.parametrize("value", [float("inf"), "2", None, True, [2]])
def test_a_span_that_is_no_number_of_seconds_is_refused(shop: Shop, knob: str, value: Any) -> None:
    """A wrong type is named when the handler is made, not at the first notification."""
    with pytest.raises(ParameterError, match=knob):
        shop.handler(**{knob: value})
