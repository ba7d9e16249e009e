"""Payments from synchronous code, over one event loop in the background of each process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs

from chaoying_async.abc import Gateway, PollStore
from chaoying_async.exceptions import (
    OutcomeUnknownError,
    ParameterError,
    RequestNotSentError,
    TransportError,
    UsageError,
)
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.claims import remember
from chaoying_async.payments.outcome import CheckoutOutcome, RefundOutcome
from chaoying_async.payments.refunds import refund_and_track, resume_refunds
from chaoying_async.payments.resume import resume
from chaoying_async.pollstore.errands import NOTHING_KEPT
from chaoying_async.sansio.api.endpoint import Reply, Request, check_kind, check_request, order_of
from chaoying_async.sansio.api.follow_up import OrderQuery, Refund, RefundQuery
from chaoying_async.sansio.payments.hearing import Payment
from chaoying_async.sansio.userfunctions import Kind, check_functions
from chaoying_async.threads import NO_THREADS, running_loop, threads_are_greenlets
from chaoying_async.workers.background_loop import BackgroundLoop, GivenUpError, NotBegunError
from chaoying_async.workers.this_process import this_process

if TYPE_CHECKING:
    from chaoying_async.sansio.polling.status import Query
    from chaoying_async.workers.fleet import Fleet

T = TypeVar("T")
Ended = TypeVar("Ended", CheckoutOutcome, RefundOutcome)

#: Seconds that a caller may be ready to wait.
_YEAR = 366 * 86_400.0


class BlockingGateway:
    """A ``GatewaySession`` for code without an event loop: each call waits in the caller's thread.

    ::

        gateway = BlockingGateway(lambda: GatewaySession(credentials, mch_id="00000001"))
        outcome = gateway.checkout(Pay(...), within=90)

    For tasks of Celery, views of Flask and of Django under WSGI, and scripts. Make one for the
    program, as a global; any number of threads may use it. ``make`` is called at the first call, in
    an event loop in the background that all threads of the process share; a process that was forked
    makes a loop and a session of its own. ``store`` makes the poll store that :meth:`checkout` and
    :meth:`refund_and_track` write into; an outcome's ``done()`` is durable on return, and what
    nobody called it for comes again from :meth:`resume`. ``fleet`` makes the
    :class:`~chaoying_async.workers.Fleet` that :meth:`watch` hands orders to. Both are opened in
    that loop, where the fleet serves.

    ``within`` bounds a call, in seconds from when it began; without it a call takes as long as it
    takes: a checkout five minutes, a refund days. A call that is given up, by ``within``, Ctrl-C or
    a soft time limit of Celery, is cancelled, and this waits until it is recorded: a checkout ends
    UNKNOWN in the store, and as a line at ERROR where there is none (M-24). ``within`` then raises
    :class:`~chaoying_async.exceptions.OutcomeUnknownError` where money may have moved, else a
    ``TransportError``; a :class:`~chaoying_async.exceptions.RequestNotSentError` says that the call
    was never begun. A call that ended in that moment after all returns how; where it was
    interrupted, a line at ERROR says how, if it moves money.

    In a running event loop every call is a :class:`~chaoying_async.exceptions.UsageError`. What
    blocks in an event hook or in ``on_exchange`` blocks the calls of all threads.
    """

    def __init__(
        self,
        make: Callable[[], AbstractAsyncContextManager[Gateway]],
        *,
        store: Callable[[], AbstractAsyncContextManager[PollStore]] | None = None,
        fleet: Callable[[], Fleet] | None = None,
    ) -> None:
        check_functions(Kind.PLAIN, 0, make=make, store=store, fleet=fleet)
        self._make = make
        self._make_store = store
        self._make_fleet = fleet
        #: By process. A child keeps its parent's untouched: to tidy it up would write to
        #: connections that belong to the parent, and its lock may have been copied locked.
        self._loops: dict[object, BackgroundLoop[_Opened]] = {}
        self._locks: dict[object, threading.Lock] = {}
        #: The last one of each; after a loop fell over the next knows what was not to be charged.
        self._gateways: dict[object, Gateway] = {}
        self._closed = False

    def send(self, request: Request[T], *, within: float | None = None, **options: Any) -> Reply[T]:
        """Send one request; ``options`` and errors are ``GatewaySession.send``'s."""
        _refuse_in_a_loop("await session.send(request)")
        check_request(request)
        unknown = OutcomeUnknownError if request.endpoint.moves_money else TransportError
        about = (request.endpoint.name, order_of(request))
        sending = partial(_send, request, options)
        reply: Reply[T] = self._call(sending, within, unknown, about)
        return reply

    def checkout(
        self, pay: Payment, *, within: float | None = None, **options: Any
    ) -> CheckoutOutcome:
        """Charge a customer at a till, and say how it ended; ``options`` are ``checkout``'s.

        A ``within`` below five minutes may give up before the order could be cancelled.
        """
        _refuse_in_a_loop("await checkout(session, pay)")
        about = ("checkout", getattr(pay, "out_trade_no", ""))
        return self._stored(checkout, pay, options, within, about)

    def refund_and_track(
        self, refund: Refund, *, within: float | None = None, **options: Any
    ) -> RefundOutcome:
        """Send a refund once, and wait for its end; ``options`` are ``refund_and_track``'s.

        That may take days. After ``within`` call it again with the same number: it asks then, and
        does not send.
        """
        _refuse_in_a_loop("await refund_and_track(session, refund)")
        about = ("refund", getattr(refund, "out_refund_no", ""))
        return self._stored(refund_and_track, refund, options, within, about)

    def resume(self, *, within: float | None = None, **options: Any) -> Generator[CheckoutOutcome]:
        """Ask about the payments that the ``store`` still holds, and say how each ended.

        ``for outcome in gateway.resume(): ...``, at every start; ``options`` are ``resume``'s. An
        outcome is forgotten when the next one is taken, or ``outcome.done()`` called, so act on it
        before. Each may take the four minutes after which its order is cancelled. ``within`` bounds
        the wait for the next one, by a ``TransportError``: what has not ended stays in the store.
        """
        _refuse_in_a_loop("async for outcome in resume(session, store)")
        return self._resumed(resume, options, within)

    def resume_refunds(
        self, *, within: float | None = None, **options: Any
    ) -> Generator[RefundOutcome]:
        """The same for refunds, which may take days: in a thread of its own.

        ``options`` are ``resume_refunds``'s.
        """
        _refuse_in_a_loop("async for outcome in resume_refunds(session, store)")
        return self._resumed(resume_refunds, options, within)

    def watch(self, query: Query, *, within: float | None = None, **options: Any) -> None:
        """Hand an order to the ``fleet``, durable on return; ``options`` are ``Fleet.watch``'s.

        To hand it over in a transaction of yours, execute ``fleet.watching(...)`` there instead.
        """
        _refuse_in_a_loop("await fleet.watch(query, then=...)")
        if self._make_fleet is None:
            raise UsageError("give BlockingGateway a fleet to watch with: fleet=lambda: Fleet(...)")
        check_kind("query", query, OrderQuery, RefundQuery)
        watching = partial(_watch, query, options)
        self._call(watching, within, TransportError, (query.endpoint.name, order_of(query)))

    def call(
        self,
        function: Callable[..., Awaitable[T]],
        *args: Any,
        within: float | None = None,
        **options: Any,
    ) -> T:
        """What ``await function(session, *args, **options)`` returns in the background loop.

        For everything that has no method here. ``within`` raises ``OutcomeUnknownError``.
        """
        name = getattr(function, "__name__", "the function")
        _refuse_in_a_loop(f"await {name}(session, ...)")

        async def called(opened: _Opened) -> T:
            return await function(opened.gateway, *args, **options)

        return self._call(called, within, about=(name, ""))

    def close(self) -> None:
        """Cancel what is under way and wait until that is recorded, then close the session.

        The second time does nothing, and the end of the process calls it, by ``atexit``. Children
        of ``multiprocessing`` and of Celery end without that: call it there (in Celery in
        ``worker_process_shutdown``). Only the loop of this process is closed.
        """
        with self._lock():
            loop = self._loops.get(this_process())
            if loop is not None and loop.is_here:
                raise UsageError("close() waits for this loop: call it from another thread")
            self._closed = True
        if loop is not None:
            loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _call(
        self,
        work: Callable[[_Opened], Coroutine[Any, Any, T]],
        within: float | None,
        unknown: type[TransportError] = OutcomeUnknownError,
        about: tuple[str, str] = ("", ""),
        loop: BackgroundLoop[_Opened] | None = None,
    ) -> T:
        _check_within(within, about)
        moves_money = unknown is OutcomeUnknownError
        try:
            return (loop or self._loop()).run(work, within, about if moves_money else None)
        except NotBegunError as error:
            raise RequestNotSentError(str(error)).about(*about) from None
        except GivenUpError as error:
            raise unknown(str(error)).about(*about) from None

    def _stored(
        self,
        function: Callable[..., Awaitable[Ended]],
        what: Any,
        options: dict[str, Any],
        within: float | None,
        about: tuple[str, str],
    ) -> Ended:
        loop = self._loop()

        async def stored(opened: _Opened) -> Ended:
            chosen = {"store": opened.store} | options
            outcome = await function(opened.gateway, what, **chosen)
            return outcome if chosen["store"] is None else self._kept(outcome, loop)

        return self._call(stored, within, about=about, loop=loop)

    def _kept(self, outcome: Ended, loop: BackgroundLoop[_Opened]) -> Ended:
        """The same outcome, whose ``done()`` a thread may call: it is durable on return."""

        async def forgotten(_: _Opened) -> None:
            await outcome.done()

        def forget() -> Awaitable[None]:
            if loop.is_here:
                return outcome.done()
            _refuse_in_a_loop("call done() in a thread")
            self._call(forgotten, None, TransportError, ("done", _number_of(outcome)), loop)
            return NOTHING_KEPT

        return attrs.evolve(outcome, forget=forget)

    def _resumed(
        self,
        function: Callable[..., AsyncGenerator[Ended]],
        options: dict[str, Any],
        within: float | None,
    ) -> Generator[Ended]:
        if self._make_store is None:
            raise UsageError("give BlockingGateway a store: store=lambda: SqlPollStore(...)")
        about = (function.__name__, "")
        _check_within(within, about)

        async def begin(opened: _Opened) -> AsyncGenerator[Ended]:
            return function(opened.gateway, opened.store, **options)

        def resumed() -> Generator[Ended]:
            loop = self._loop()
            ends = self._call(begin, within, TransportError, about, loop)

            async def following(_: _Opened) -> Ended | None:
                return await anext(ends, None)

            async def leave(_: _Opened) -> None:
                await ends.aclose()

            try:
                while outcome := self._call(following, within, TransportError, about, loop):
                    yield self._kept(outcome, loop)
            except GeneratorExit:
                with contextlib.suppress(TransportError):  # the loop is closed: that has left, too
                    self._call(leave, None, TransportError, about, loop)
                raise

        return resumed()

    def _loop(self) -> BackgroundLoop[_Opened]:
        """The loop of this process; a new one where the last did not open, or fell over."""
        with self._lock():
            if self._closed:
                raise UsageError("this BlockingGateway is closed: make another one")
            loop = self._loops.get(this_process())
            if loop is None or loop.is_over:
                loop = self._loops[this_process()] = BackgroundLoop(self._open)
            return loop

    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(this_process(), threading.Lock())

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[_Opened]:
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            store = None if self._make_store is None else await enter(self._make_store())
            gateway = await enter(self._make())
            if (earlier := self._gateways.get(this_process())) is not None:
                remember(gateway, earlier)
            self._gateways[this_process()] = gateway
            fleet = None if self._make_fleet is None else await enter(self._make_fleet())
            yield _Opened(gateway, store, fleet)


@attrs.frozen
class _Opened:
    """What is open in the loop."""

    gateway: Gateway
    store: PollStore | None
    fleet: Fleet | None


async def _send(request: Request[T], options: dict[str, Any], opened: _Opened) -> Reply[T]:
    return await opened.gateway.send(request, **options)


async def _watch(query: Query, options: dict[str, Any], opened: _Opened) -> None:
    if opened.fleet is not None:
        await opened.fleet.watch(query, **options)


def _number_of(outcome: CheckoutOutcome | RefundOutcome) -> str:
    if isinstance(outcome, CheckoutOutcome):
        return outcome.out_trade_no
    return order_of(outcome.query)


def _refuse_in_a_loop(instead: str) -> None:
    if threads_are_greenlets():  # the second call would find the loop of the first one here
        raise UsageError(NO_THREADS)
    if running_loop() is not None:
        raise UsageError(f"an event loop runs here, and would stand still: {instead}")


def _check_within(within: Any, about: tuple[str, str]) -> None:
    """Before anything is sent: no clock waits for more seconds than these."""
    number = isinstance(within, (int, float)) and not isinstance(within, bool)
    if within is not None and not (number and within <= _YEAR):
        words = "must be a number of seconds, a year at most; None waits to the end"
        raise ParameterError({"within": words}).about(*about)
