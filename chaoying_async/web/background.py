"""Runs a handler in an event loop in the background and calls it from threads: for WSGI."""

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
from chaoying_async.sansio.notifications.facts import Wallet
from chaoying_async.sansio.userfunctions import Kind, function_problem
from chaoying_async.web.adapter_log import AdapterLog
from chaoying_async.web.contract import NO_ANSWER, Handles, HttpAnswer, Refusal, call, log
from chaoying_async.web.loop_thread import LoopThread, NoResultError

H = TypeVar("H", bound=Handles)
T = TypeVar("T")

#: Seconds; longer than any handler's budget: only a loop that something blocks takes as long.
PATIENCE = 10.0


class BackgroundHandler(Generic[H]):
    """A ``NotificationHandler`` in an event loop of its own, called from any thread.

    ::

        background = BackgroundHandler(
            lambda: NotificationHandler(credentials, inbox(), on_paid, expected=lookup)
        )
        answer = background.handle(body)

    WSGI has no event loop, and an async view under WSGI gets a new one for each request; pools,
    claims and work that outlives its request need one that stays. ``make`` is called *in* that
    loop, when the first notification comes: make the handler, its inbox and its engine there, not
    before. So each process of a server that forks (gunicorn, uWSGI) has a loop, a handler and
    connections of its own, with ``preload_app`` too. uWSGI runs threads only with
    ``--enable-threads``.

    :meth:`start` opens the handler at once, and raises the error of ``make`` or of opening (a
    missing key). Without it the first notification is answered with an error 500, and the next one
    tries again. :meth:`close` lets running work end within the handler's ``grace``; the end of the
    process calls it. It waits for ``grace`` and ``patience``, no longer, and leaves alone what
    hangs in the loop or in a thread. Python itself lets no process end before the threads of
    ``asyncio.to_thread`` have. ``on_paid`` and the lookup run in the background loop: code that
    blocks there blocks every notification.
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
        self._log = AdapterLog("")
        _made.add(self)

    def handle(self, body: bytes, *, kind: Wallet | None = None) -> HttpAnswer:
        """The handler's answer; ``fail`` when the loop gives none for ``patience`` seconds.

        A line at ERROR says so, once a minute. It is ``fail`` too when opening takes longer than
        ``patience``, and once this is closed, since requests still come while a server ends. Do not
        call it in an event loop, which would stand still meanwhile; in the background loop itself
        it is a ``UsageError``.
        """
        try:
            loop = self._elsewhere()
            if loop is None:
                log.warning(
                    "a notification came after its BackgroundHandler was closed: it is answered"
                    " fail, and comes again"
                )
                return NO_ANSWER
            handler = loop.opened(self._patience)
            return loop.run(call(handler, body, kind), self._patience)
        except NoResultError:
            if not self._closed:
                self._log.unanswered(self._patience)
            return NO_ANSWER  # the work goes on: it has an owner (M-17)
        finally:
            del body  # a debug page shows the locals of every frame of a traceback (M-27)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop, for as long as it takes; its result.

        ``background.run(background.start().order_known(mch_id, out_trade_no))``

        Call it from a thread only: in ``on_paid``, which runs in that loop, await the coroutine. It
        is a ``UsageError`` too when this is closed before the coroutine has ended.
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
        """Start the loop and open the handler now; returns the open handler."""
        try:
            return self._started().opened()
        except NoResultError as error:
            raise _closed() from error

    def close(self) -> None:
        """Close the handler and end the loop; the second time does nothing.

        What has not ended ``patience`` seconds after the handler's ``grace`` is left alone, with a
        line at WARNING.
        """
        _notice_a_fork()
        with self._lock:
            loop = self._loop
            if loop is not None and loop.is_here:
                raise UsageError("close() waits for the loop: call it from another thread")
            self._loop, self._closed = None, True
        _open.discard(self)
        if loop is not None and not loop.end(self._patience):
            log.warning(
                "a BackgroundHandler is closed, but what runs in its loop or in a thread does not"
                " end: it is left alone"
            )

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
        """The loop, which must not be the caller's own; None when this is closed."""
        _notice_a_fork()
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
        """For a fork's child, where the parent's thread is missing and its lock may be locked.

        A reference keeps the parent's loop as it is: tidying it up would write to connections that
        belong to the parent.
        """
        self._lock = threading.Lock()
        self._of_the_parent, self._loop = self._loop, None


def answer(
    background: BackgroundHandler[Any], body: bytearray | Refusal, kind: Wallet | None
) -> HttpAnswer:
    """For adapters: the handler's answer to a body; a :class:`Refusal` is returned as it is."""
    try:
        return body if isinstance(body, Refusal) else background.handle(bytes(body), kind=kind)
    finally:
        del body  # a debug page shows the locals of every frame of a traceback (M-27)


def _closed() -> UsageError:
    return UsageError("this BackgroundHandler is closed: make another one")


#: All instances, for a fork; and those with an open handler, which the process closes at its end.
_made: weakref.WeakSet[BackgroundHandler[Any]] = weakref.WeakSet()
_open: set[BackgroundHandler[Any]] = set()
_process, _noticing = os.getpid(), threading.Lock()


def _forget_all() -> None:
    global _process, _noticing
    _open.clear()
    for background in list(_made):
        background.forget()
    _process, _noticing = os.getpid(), threading.Lock()


def _notice_a_fork() -> None:
    """uWSGI does not tell Python that it forks, unless it runs with ``--py-call-osafterfork``."""
    if _process != os.getpid():
        with _noticing:
            if _process != os.getpid():
                _forget_all()


def _close_all() -> None:
    _notice_a_fork()
    for background in list(_open):
        background.close()


# atexit is too late: the executors of concurrent.futures are shut by then, so an on_paid that calls
# asyncio.to_thread would fail. threading's own hook shuts them, last in first out, so they have to
# be imported before. The hook is not public; where it is missing, atexit is used.
_EXECUTORS = concurrent.futures.ThreadPoolExecutor
_at_exit: Callable[..., Any] = getattr(threading, "_register_atexit", atexit.register)
_at_exit(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
