"""Payments from threads without an event loop; the gateway is a sandbox in the background loop."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from chaoying_async import (
    CheckoutStatus,
    GatewaySession,
    PollSchedule,
    SystemClock,
)
from chaoying_async.exceptions import (
    AttemptInProgressError,
    OutcomeUnknownError,
    ParameterError,
    RequestNotSentError,
    TransportError,
    UsageError,
)
from chaoying_async.sandbox import Sandbox
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.workers import background_loop, this_process
from chaoying_async.workers.blocking import BlockingGateway
from tests.workers.blocking_shop import (
    NEVER_PAID,
    WITHIN,
    Shop,
    give_up,
    kept,
    ordered,
    pay,
    query,
    refund_of,
    refunds_at_once,
)
from tests.workers.fleets import ENDED


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def gateway(shop: Shop) -> Generator[BlockingGateway]:
    with shop.gateway() as opened:
        kept(opened, shop)  # from here on it is open
        yield opened


@contextmanager
def in_a_thread(call: Callable[[], Any]) -> Generator[Callable[[], Any]]:
    """The call while the block runs; gives a function that waits for its result."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call)
        yield lambda: future.result(20)


def test_all_threads_share_one_session_in_one_loop(shop: Shop) -> None:
    """Sixteen threads that all make the first call open one session."""
    with shop.gateway() as gateway, ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(gateway.checkout, [pay(f"A{n:05}") for n in range(64)]))
    assert {outcome.status for outcome in outcomes} == {CheckoutStatus.PAID}
    assert (shop.opened, shop.closed) == (1, 1)
    assert shop.threads == {"chaoying-blocking"}
    assert shop.requests("pay") == 64


def test_nothing_is_made_before_the_first_call_and_closing_twice_does_no_harm(shop: Shop) -> None:
    """What forks after loading must find no loop and no connection made yet."""
    gateway = shop.gateway()
    assert shop.opened == 0
    gateway.checkout(pay("A10001"))
    gateway.close()
    gateway.close()
    assert (shop.opened, shop.closed) == (1, 1)
    with pytest.raises(UsageError, match="closed: make another"):
        gateway.send(query("A10001"))
    never = shop.gateway()
    never.close()
    assert shop.opened == 1


def test_a_sale_is_paid_asked_about_and_refunded(
    gateway: BlockingGateway, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions' own options are handed on, and their errors come out."""
    refunds_at_once(monkeypatch)
    outcome = gateway.checkout(pay("A10001"), order_no="B1")
    assert (outcome.status, outcome.order_no) == (CheckoutStatus.PAID, "B1")
    assert gateway.send(query("A10001"), timeout=5.0).unwrap().out_trade_no == "A10001"
    with pytest.raises(AttemptInProgressError):
        gateway.checkout(pay("A10002"), order_no="B1")
    quick = PollSchedule(first=0.01, every=0.01, until=5)
    assert (
        gateway.refund_and_track(refund_of("A10001"), schedule=quick).status is PollStatus.REFUNDED
    )
    assert shop.requests("refund") == 1


async def test_in_a_running_loop_the_async_call_is_named(shop: Shop) -> None:
    """A loop that waits for a thread stands still: nothing is begun there."""
    gateway = shop.gateway(fleet=lambda: pytest.fail("made"))
    refused: dict[str, Callable[[], object]] = {
        r"await session\.send": lambda: gateway.send(query("A10001")),
        r"await checkout\(": lambda: gateway.checkout(pay("A10001")),
        r"await refund_and_track\(": lambda: gateway.refund_and_track(None),  # type: ignore[arg-type]
        r"in resume\(": gateway.resume,
        r"in resume_refunds\(": gateway.resume_refunds,
        r"await fleet\.watch\(": lambda: gateway.watch(query("A10001"), then=ENDED),
        r"await slowly\(": lambda: gateway.call(slowly),
    }
    for named, call in refused.items():
        with pytest.raises(UsageError, match=named):
            call()
    assert shop.opened == 0


def test_a_fork_that_python_is_not_told_of_is_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """uWSGI forks so by itself: the child must not wait for a loop that only its parent has."""
    here = this_process.this_process()
    monkeypatch.setattr(this_process, "_mark", here)  # and back again
    monkeypatch.setattr(os, "getpid", lambda: -1)
    child = this_process.this_process()
    assert child is not here
    assert child is this_process.this_process()


def test_threads_that_are_none_are_refused_at_the_first_call(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under gevent the first payment would succeed, and every later one find a loop in its way."""
    gateway = shop.gateway()
    patched = SimpleNamespace(is_module_patched=lambda name: name == "threading")
    monkeypatch.setitem(sys.modules, "gevent.monkey", patched)
    with pytest.raises(UsageError, match="gthread"):
        gateway.checkout(pay("A10001"))
    assert shop.opened == 0


async def slowly(session: object) -> None:
    await asyncio.sleep(60)


def test_its_own_loop_is_not_waited_for_either(gateway: BlockingGateway) -> None:
    """A function in the background that calls the gateway, or closes it, is told at once."""

    async def entangled(session: object) -> None:
        for call in (lambda: gateway.send(query("A10001")), gateway.close):
            with pytest.raises(UsageError):
                call()

    gateway.call(entangled)


def test_another_gateways_loop_may_close_it(gateway: BlockingGateway) -> None:
    """It waits for the loop that it closes, which is not the one that the caller runs in."""
    of_another = Shop()
    another = of_another.gateway()

    async def closing(session: object) -> None:
        another.close()

    kept(another, of_another)
    gateway.call(closing)
    with pytest.raises(UsageError, match="closed"):
        another.call(closing)


def test_what_fails_while_opening_is_raised_and_tried_again(shop: Shop) -> None:
    """A missing key is an error; a database that comes back is found."""
    failures: list[Exception] = [ValueError("no key"), TimeoutError("no database")]

    def make() -> Any:
        if failures:
            raise failures.pop(0)
        return shop.session()

    with BlockingGateway(make) as gateway:
        with pytest.raises(ValueError, match="no key"):
            gateway.send(query("A10001"))
        with pytest.raises(TimeoutError, match="no database"):
            gateway.send(query("A10001"), within=20)
        assert gateway.checkout(pay("A10001")).status is CheckoutStatus.PAID


def test_a_call_that_opening_keeps_waiting_was_not_sent(shop: Shop) -> None:
    """``within`` holds for a session that does not open, too."""
    opens = threading.Event()

    @asynccontextmanager
    async def slow() -> AsyncGenerator[GatewaySession]:
        while not opens.is_set():
            await asyncio.sleep(0.005)
        async with shop.session() as session:
            yield session

    with BlockingGateway(slow) as gateway:
        with pytest.raises(RequestNotSentError, match="did not open"):
            gateway.checkout(pay("A10001"), within=0.05)
        opens.set()
        assert gateway.checkout(pay("A10001")).status is CheckoutStatus.PAID
        assert shop.requests("pay") == 1


@pytest.mark.parametrize("within", [math.inf, math.nan, 10**12, "90", Decimal(90), True], ids=repr)
def test_nothing_is_sent_where_no_clock_can_wait_so_long(
    within: Any, gateway: BlockingGateway, shop: Shop
) -> None:
    """Else the customer would have been charged when the caller hears of it."""
    with pytest.raises(ParameterError, match="within: must be a number of seconds"):
        gateway.checkout(pay("A10001"), within=within)
    assert shop.sandboxes[-1].ledger.orders == {}


def test_after_its_loop_fell_over_no_order_is_charged_again() -> None:
    """M-24: a hook ended the loop while the payment was under way, and its end is not known."""
    sandbox = Sandbox(clock=SystemClock())
    falls = [True]

    async def response(_: object) -> None:
        if falls and falls.pop():
            sys.exit("a hook ends the program")

    def session() -> GatewaySession:
        return GatewaySession(
            sandbox.credentials,
            mch_id=sandbox.mch_id,
            transport=sandbox.transport,
            event_hooks={"response": [response]},
        )

    with BlockingGateway(session) as gateway:
        with pytest.raises(SystemExit):
            gateway.checkout(pay("A10001A1"), order_no="A10001")
        [loop] = gateway._loops.values()
        assert loop._over.wait(20)
        for number in ("A10001A1", "A10001A2"):
            with pytest.raises(AttemptInProgressError):
                gateway.checkout(pay(number), order_no="A10001")
    assert sandbox.requests["pay"] == 1


def _loops() -> list[background_loop.BackgroundLoop[Any]]:
    loop = background_loop.BackgroundLoop
    return [each for each in gc.get_objects() if type(each) is loop]


def test_what_cannot_be_opened_leaves_nothing_behind_however_often_it_is_tried() -> None:
    """A database may be away for hours while customers come."""

    def away() -> Any:
        raise OSError("no database")

    of_others = _loops()  # a thread of another test may hold one for a moment yet
    gateway = BlockingGateway(away)
    for _ in range(3):
        with pytest.raises(OSError, match="no database"):
            gateway.send(query("A10001"))
    for thread in threading.enumerate():
        if thread.name == "chaoying-blocking-keeper":
            thread.join(10)
    gc.collect()
    kept = [*of_others, *gateway._loops.values()]
    assert not [each for each in _loops() if each not in kept]


class SoftTimeLimitError(Exception):
    """As Celery raises one in the main thread of a worker's child."""


@pytest.mark.parametrize("calls", ["checkout", "send"])
def test_what_ends_while_its_thread_is_interrupted_is_told_in_the_log(
    calls: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-24: the money has moved, and the caller has an exception that knows nothing of it."""
    sandbox = Sandbox(clock=SystemClock())

    def at_its_end(exchange: object) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        interrupted.wait(10)

    def limit(*_: object) -> None:
        interrupted.set()
        raise SoftTimeLimitError

    def session() -> GatewaySession:
        return GatewaySession(
            sandbox.credentials,
            mch_id=sandbox.mch_id,
            transport=sandbox.transport,
            on_exchange=at_its_end,
        )

    interrupted, before = threading.Event(), signal.signal(signal.SIGUSR1, limit)
    try:
        with BlockingGateway(session) as gateway, pytest.raises(SoftTimeLimitError):
            getattr(gateway, calls)(pay("A10001"))
    finally:
        signal.signal(signal.SIGUSR1, before)
    [line] = [each for each in caplog.records if each.levelname == "ERROR"]
    ended = "checkout A10001 ended PAID" if calls == "checkout" else "pay A10001 ended RESULT"
    assert line.getMessage().startswith(f"{ended} while its thread was being interrupted")


def test_what_is_no_function_is_refused_when_the_gateway_is_made() -> None:
    """An ``async def`` would never be awaited."""
    with pytest.raises(ParameterError, match="make"):
        BlockingGateway(slowly)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="fleet=lambda"):
        BlockingGateway(Shop().session).watch(query("A10001"), then=ENDED)


class TestGivenUp:
    """M-24: a payment that nobody waits for any more is on record."""

    def test_a_time_out_records_the_payment_as_unknown(
        self, gateway: BlockingGateway, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its error says that money may have moved; the store says which attempt it was."""
        give_up(monkeypatch, lambda: shop.requests("pay"))
        with pytest.raises(OutcomeUnknownError) as caught:
            gateway.checkout(pay("A10001", NEVER_PAID), within=WITHIN)
        assert (caught.value.doing, caught.value.order) == ("checkout", "A10001")
        assert shop.requests("pay") == 1
        assert kept(gateway, shop) == {"A10001": True}

    def test_closing_records_what_other_threads_have_under_way(self, shop: Shop) -> None:
        """The thread that waits is told, and nothing is left half written."""
        gateway = shop.gateway()
        with in_a_thread(lambda: gateway.checkout(pay("A10001", NEVER_PAID))) as result:
            ordered(gateway, shop)
            gateway.close()
            with pytest.raises(OutcomeUnknownError, match="cancelled"):
                result()
        with shop.gateway() as another:
            assert kept(another, shop) == {"A10001": True}

    def test_a_query_that_is_given_up_may_be_made_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A read is no ``OutcomeUnknownError``: nothing moved."""
        sent, answers = threading.Event(), threading.Event()
        give_up(monkeypatch, sent.is_set)

        class Slow:
            mch_id = "1"

            async def send(self, request: Any, *, timeout: Any = None) -> Any:
                sent.set()
                while not answers.is_set():
                    await asyncio.sleep(0.005)
                return request

        @asynccontextmanager
        async def slow() -> AsyncGenerator[Any]:
            yield Slow()

        with BlockingGateway(slow) as gateway:
            with pytest.raises(TransportError) as caught:
                gateway.send(query("A10001"), within=WITHIN)
            assert type(caught.value) is TransportError
            assert (caught.value.doing, caught.value.order) == ("orderquery", "A10001")
            sent.clear()
            with pytest.raises(OutcomeUnknownError):
                gateway.send(pay("A10001"), within=WITHIN)
            answers.set()
            gateway.send(query("A10001"), within=20)

    def test_what_ends_in_that_moment_is_told(
        self, gateway: BlockingGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer is worth more than the time-out, be it a result or an error."""
        begun = threading.Event()
        give_up(monkeypatch, begun.is_set)

        async def paid_after_all(session: object, error: Exception | None) -> str:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(0.05)  # a cancelled scope would not let it
                if error is not None:
                    raise error from None
            return "paid"

        assert gateway.call(paid_after_all, None, within=WITHIN) == "paid"
        begun.clear()
        with pytest.raises(KeyError, match="refused"):
            gateway.call(paid_after_all, KeyError("refused"), within=WITHIN)

    def test_what_does_not_end_is_not_waited_for(
        self, gateway: BlockingGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A thread comes back although its call swallows the cancellation."""
        monkeypatch.setattr(background_loop, "RECORDS_WITHIN", 0.05)
        begun, ends = threading.Event(), threading.Event()
        give_up(monkeypatch, begun.is_set)

        async def stubborn(session: object) -> None:
            begun.set()
            while not ends.is_set():
                try:
                    await asyncio.sleep(0.005)
                except asyncio.CancelledError:
                    continue

        with pytest.raises(OutcomeUnknownError, match="does not end"):
            gateway.call(stubborn, within=WITHIN)
        ends.set()


class TestBlockedLoop:
    """Something blocks the loop: a hook of the user's, as a rule."""

    def test_a_call_that_the_loop_does_not_begin_is_never_sent(
        self, gateway: BlockingGateway, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its thread is not held, and the payment does not leave later."""
        gateway.checkout(pay("A10001"))
        entered, release = threading.Event(), threading.Event()

        async def blocks(session: object) -> None:
            entered.set()
            release.wait(20)

        with in_a_thread(lambda: gateway.call(blocks)) as result:
            assert entered.wait(20)
            with monkeypatch.context() as hasty:
                hasty.setattr(background_loop, "BEGINS_WITHIN", 0.05)
                with pytest.raises(RequestNotSentError, match="block"):
                    gateway.checkout(pay("A10002"))
            release.set()
            result()
        gateway.checkout(pay("A10003"))
        assert shop.requests("pay") == 2

    def test_closing_does_not_wait_for_it(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that ends is not held by what blocks its loop."""
        monkeypatch.setattr(background_loop, "CLOSES_WITHIN", 0.05)
        gateway = shop.gateway()
        entered, release = threading.Event(), threading.Event()

        async def blocks(session: object) -> None:
            entered.set()
            release.wait(20)

        with in_a_thread(lambda: gateway.call(blocks)) as result:
            assert entered.wait(20)
            loop = gateway._loop()
            gateway.close()
            release.set()
            result()
        loop._keeper.join(20)
        assert shop.closed == 1

    def test_a_loop_that_fell_over_is_replaced(self, gateway: BlockingGateway, shop: Shop) -> None:
        """``sys.exit`` in a hook ends the loop: whoever waited is told, and the next call works."""

        async def leaves(session: object) -> None:
            raise SystemExit(3)

        with in_a_thread(lambda: gateway.checkout(pay("A10001", NEVER_PAID))) as result:
            ordered(gateway, shop)
            loop = gateway._loop()
            with pytest.raises(SystemExit):
                gateway.call(leaves)
            with pytest.raises(OutcomeUnknownError):
                result()
        loop._keeper.join(20)
        assert gateway.checkout(pay("A10002")).status is CheckoutStatus.PAID
        assert shop.opened == 2
