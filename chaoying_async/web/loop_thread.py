"""Runs an event loop in a thread, with something open in it from the loop's start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    InvalidStateError,
    wait,
)
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from chaoying_async.exceptions import UsageError
from chaoying_async.threads import NO_THREADS, context_for_a_loop, threads_are_greenlets

H = TypeVar("H")
T = TypeVar("T")


class NoResultError(Exception):
    """The loop has ended, or gave no result in time; work that was begun may go on."""


class LoopThread(Generic[H]):
    """Starts at once, calls ``make`` in the loop, and opens there what that returns.

    Every wait here is for two things at the same time, the result and the loop's end: a loop that
    ends silently drops work that was handed to it in its last moments.

    anyio's ``BlockingPortal`` cannot replace this (4.16 was tried): ``start_task_soon`` waits
    without a limit until the loop takes the call, so a thread of the server would stand still for
    as long as a blocking ``on_paid`` does, and the sender would get no answer.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[H]]) -> None:
        self._make = make
        #: What is open, its loop, and the event that ends both.
        self._opened: Future[tuple[H, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._over: Future[None] = Future()
        # A daemon thread: a program can end while it runs, and closes it on its way out.
        self._thread = threading.Thread(
            target=self._run_loop, name="chaoying-notifications", daemon=True
        )
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it ended by itself: opening failed, or the loop fell over."""
        return self._over.done()

    @property
    def is_here(self) -> bool:
        """Whether the caller runs in this loop, which must never wait for itself."""
        return threading.current_thread() is self._thread

    def opened(self, patience: float | None = None) -> H:
        """What is open, as soon as it is; or the error of ``make`` or of opening."""
        return self._result(self._opened, patience)[0]

    def run(self, coroutine: Coroutine[Any, Any, T], patience: float | None = None) -> T:
        """The coroutine's result. It goes on after ``patience``. Call :meth:`opened` before."""
        loop = self._opened.result()[1]

        def hand_over() -> Future[T]:
            return asyncio.run_coroutine_threadsafe(coroutine, loop)

        try:
            future = context_for_a_loop().run(hand_over)
        except RuntimeError as error:  # the loop is closed
            coroutine.close()
            raise NoResultError from error
        return self._result(future, patience)

    def end(self, patience: float) -> bool:
        """Leave what is open and end the loop; whether it ended within ``patience`` seconds.

        What is open may have a ``grace``, which leaving it takes: then so much longer.
        """
        try:
            self._opened.set_exception(NoResultError())  # for whoever waits for it
        except InvalidStateError:  # it is open, or could not be opened
            if self._opened.exception() is None:
                opened, loop, stop = self._opened.result()
                patience += getattr(opened, "grace", 0.0)
                with contextlib.suppress(RuntimeError):  # closed: the loop fell over before
                    loop.call_soon_threadsafe(stop.set)
        # What blocks the loop, or a thread of its, may never end. It is a daemon thread.
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _result(self, future: Future[T], patience: float | None) -> T:
        either: list[Future[Any]] = [future, self._over]
        wait(either, patience, FIRST_COMPLETED)
        if not future.done():
            raise NoResultError
        try:
            return future.result()
        except CancelledError as error:
            raise NoResultError from error

    def _run_loop(self) -> None:
        try:
            if threads_are_greenlets():
                _refuse_a_second_loop()
            asyncio.run(self._stay_open())
        except BaseException as error:
            self._over.set_result(None)  # first: whoever sees the error may start another at once
            with contextlib.suppress(InvalidStateError):
                self._opened.set_exception(error)
                return
            raise  # while leaving: threading's excepthook reports it
        else:
            self._over.set_result(None)

    async def _stay_open(self) -> None:
        async with self._make() as handler:
            stop = asyncio.Event()
            with contextlib.suppress(InvalidStateError):  # ended meanwhile: nobody waits for it
                self._opened.set_result((handler, asyncio.get_running_loop(), stop))
                await stop.wait()


def _refuse_a_second_loop() -> None:
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise UsageError(NO_THREADS)
