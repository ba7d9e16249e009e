"""A handler for threads: one event loop in the background, for WSGI (Flask, Django)."""

from __future__ import annotations

import atexit
import concurrent.futures
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from chaoying_async.exceptions import ParameterError, UsageError
from chaoying_async.sansio.notifications.message import Wallet
from chaoying_async.sansio.userfunctions import Kind, function_problem
from chaoying_async.web.contract import NO_ANSWER, Handles, HttpAnswer, log
from chaoying_async.web.loop_thread import LoopThread, NoResultError

H = TypeVar("H", bound=Handles)
T = TypeVar("T")

#: Longer than any handler's budget: only a loop that is blocked by what runs in it gets there.
PATIENCE = 10.0


class BackgroundHandler(Generic[H]):
    """A ``NotificationHandler`` in an event loop of its own, called from any thread.

    ::

        background = BackgroundHandler(
            lambda: NotificationHandler(credentials, inbox(), on_paid, expected=lookup)
        )
        answer = background.handle(body)

    WSGI has no event loop, and an async view under WSGI gets a new one for each request; pools,
    leases and work that outlives its request need one that stays. ``make`` is called *in* that
    loop, when the first notification comes: make the handler, its inbox and its engine there, not
    before. So each process of a server that forks (gunicorn, uWSGI) has a loop, a handler and
    connections of its own, with ``preload_app`` too. uWSGI runs threads only with
    ``--enable-threads``.

    :meth:`start` does it at once, and raises what ``make`` or opening raised (a missing key); on
    the first notification that is an error 500, and the next one tries again. :meth:`close` lets
    running work end within the handler's ``grace``; the end of the process calls it.
    ``on_paid`` and the lookup run in the background loop: whatever blocks there blocks them all.
    """

    def __init__(
        self,
        make: Callable[[], AbstractAsyncContextManager[H]],
        *,
        patience: float = PATIENCE,
    ) -> None:
        if problem := function_problem(make, Kind.PLAIN, 0):
            raise ParameterError({"make": problem})
        self._make = make
        self._patience = patience
        self._lock = threading.Lock()
        self._loop: LoopThread[H] | None = None
        self._of_the_parent: LoopThread[H] | None = None
        self._closed = False
        _made.add(self)

    def handle(self, body: bytes, *, kind: Wallet | None = None) -> HttpAnswer:
        """The handler's answer; ``fail`` when the loop says nothing for ``patience`` seconds.

        ``fail`` too once this is closed, since requests still come while a server ends; and when
        opening takes longer than ``patience``. Not to be called in an event loop: that would stand
        still meanwhile, and in the background loop itself it is a ``UsageError``.
        """
        try:
            loop = self._elsewhere()
            if loop is None:
                log.warning("a notification came after its BackgroundHandler was closed: `fail`")
                return NO_ANSWER
            handler = loop.opened(self._patience)
            return loop.run(_handled(handler, body, kind), self._patience)
        except NoResultError:
            return NO_ANSWER  # what was begun goes on: work has an owner (M-17)
        finally:
            del body  # a debug page shows the locals of every frame of a traceback (M-27)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop, for as long as it takes; its result.

        ``background.run(background.start().order_known(mch_id, out_trade_no))``

        From a thread only: in ``on_paid``, which runs in that loop, await it. A ``UsageError`` too
        when this is closed before the coroutine has ended.
        """
        try:
            loop = self._started()
            loop.opened()
        except BaseException as error:
            coroutine.close()
            if isinstance(error, NoResultError):
                raise _closed() from error
            raise
        try:
            return loop.run(coroutine)
        except NoResultError as error:
            raise _closed() from error

    def start(self) -> H:
        """Start the loop and open the handler now; what ``make`` returned, opened."""
        try:
            return self._started().opened()
        except NoResultError as error:
            raise _closed() from error

    def close(self) -> None:
        """Close the handler and end the loop; the second time does nothing."""
        with self._lock:
            loop = self._loop
            if loop is not None and loop.is_here:
                raise UsageError("close() waits for the loop: call it from another thread")
            self._loop, self._closed = None, True
        _open.discard(self)
        if loop is not None:
            loop.end(self._patience)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _started(self) -> LoopThread[H]:
        loop = self._elsewhere()
        if loop is None:
            raise _closed()
        return loop

    def _elsewhere(self) -> LoopThread[H] | None:
        """The loop, which turns in another thread than the caller's; None when this is closed."""
        loop = self._loop
        if loop is None or loop.is_over:
            loop = self._new_loop()
        if loop is not None and loop.is_here:
            raise UsageError("this is the background loop itself: await the handler's method here")
        return loop

    def _new_loop(self) -> LoopThread[H] | None:
        with self._lock:
            if self._closed:
                return None
            if self._loop is None or self._loop.is_over:
                self._loop = LoopThread(self._make)
                _open.add(self)
            return self._loop

    def forget(self) -> None:
        """In a fork's child: the parent's thread is not there, and its lock may be locked.

        The parent's loop is kept as it is: to tidy it up would be to speak on connections that are
        the parent's.
        """
        self._lock = threading.Lock()
        self._of_the_parent, self._loop = self._loop, None


async def _handled(handler: Handles, body: bytes, kind: Wallet | None) -> HttpAnswer:
    try:
        return await handler.handle(body, kind=kind)
    finally:
        del body


def _closed() -> UsageError:
    return UsageError("this BackgroundHandler is closed: make another one")


#: All there are, for a fork; and those that have something open, which the process closes.
_made: weakref.WeakSet[BackgroundHandler[Any]] = weakref.WeakSet()
_open: set[BackgroundHandler[Any]] = set()


def _forget_all() -> None:
    _open.clear()
    for background in list(_made):
        background.forget()


def _close_all() -> None:
    for background in list(_open):
        background.close()


# atexit is too late: the executors of concurrent.futures are shut by then, and on_paid could call
# asyncio.to_thread no more. They are shut by this same hook of threading's, last in first out, so
# they have to be imported before. It is not public; without it atexit is the next best.
_EXECUTORS = concurrent.futures.ThreadPoolExecutor
_at_exit: Callable[..., Any] = getattr(threading, "_register_atexit", atexit.register)
_at_exit(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
