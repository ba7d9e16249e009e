"""A handler for threads: one event loop in the background, for WSGI (Flask, Django)."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import attrs

from chaoying_async.exceptions import UsageError
from chaoying_async.sansio.notifications import Wallet
from chaoying_async.web.contract import NO_ANSWER, Answer, Handles

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
    connections of its own, with ``preload_app`` too.

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
        self._make = make
        self._patience = patience
        self._lock = threading.Lock()
        self._running: _Running[H] | None = None
        self._closed = False
        _forget_after_fork(self)

    def handle(self, body: bytes, *, kind: Wallet | None = None) -> Answer:
        """The handler's answer; ``fail`` when the loop says nothing for ``patience`` seconds.

        Not to be called in an event loop: it would stand still meanwhile.
        """
        running = self._started()
        future = asyncio.run_coroutine_threadsafe(
            running.handler.handle(body, kind=kind), running.loop
        )
        try:
            return future.result(self._patience)
        except concurrent.futures.CancelledError:
            return NO_ANSWER  # closed meanwhile
        except TimeoutError:
            if future.done():
                raise  # the handler's own
            return NO_ANSWER  # what was begun goes on: work has an owner (M-17)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop, for as long as it takes; its result.

        ``background.run(background.start().order_known(mch_id, out_trade_no))``
        """
        return asyncio.run_coroutine_threadsafe(coroutine, self._started().loop).result()

    def start(self) -> H:
        """Start the loop and open the handler now; what ``make`` returned, opened."""
        return self._started().handler

    def close(self) -> None:
        """Close the handler and end the loop; the second time does nothing."""
        with self._lock:
            running, self._running = self._running, None
            self._closed = True
        atexit.unregister(self.close)
        if running is not None:
            running.loop.call_soon_threadsafe(running.stop.set)
            running.thread.join()

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

    def _started(self) -> _Running[H]:
        running = self._running
        if running is not None and running.thread.is_alive():
            return running
        with self._lock:
            if self._closed:
                raise UsageError("this BackgroundHandler is closed: make another one")
            if self._running is None or not self._running.thread.is_alive():
                self._running = _start(self._make)
                atexit.register(self.close)
            return self._running

    def _forget(self) -> None:
        """In a fork's child: the parent's thread is not there, and its lock may be locked."""
        self._lock = threading.Lock()
        self._running = None


@attrs.frozen
class _Running(Generic[H]):
    """A loop that turns, and the handler that is open in it."""

    thread: threading.Thread
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    handler: H


def _start(make: Callable[[], AbstractAsyncContextManager[H]]) -> _Running[H]:
    opened: concurrent.futures.Future[_Running[H]] = concurrent.futures.Future()

    async def stay_open() -> None:
        async with make() as handler:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            opened.set_result(_Running(thread, loop, stop, handler))
            await stop.wait()

    def turn() -> None:
        try:
            asyncio.run(stay_open())
        except BaseException as error:
            if opened.done():
                raise  # while closing: threading's excepthook reports it
            opened.set_exception(error)

    # A daemon, so that a program ends although nobody closed it: atexit does, while it still turns.
    thread = threading.Thread(target=turn, name="chaoying-notifications", daemon=True)
    thread.start()
    return opened.result()


def _forget_after_fork(background: BackgroundHandler[Any]) -> None:
    if sys.platform == "win32":
        return
    here = weakref.ref(background)

    def forget() -> None:
        with contextlib.suppress(AttributeError):  # collected
            here()._forget()  # type: ignore[union-attr]  # noqa: SLF001 - one file

    os.register_at_fork(after_in_child=forget)
