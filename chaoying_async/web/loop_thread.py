"""An event loop in a thread, with something open in it from the loop's start to its end."""

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

import attrs

H = TypeVar("H")
T = TypeVar("T")


class NoResultError(Exception):
    """The loop has ended, or said nothing in time; what was begun may go on."""


@attrs.frozen
class _Open(Generic[H]):
    handler: H
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event


class LoopThread(Generic[H]):
    """Starts at once; ``make`` is called in the loop, and what it returns is opened there.

    Whoever waits here waits for two things at the same time: the result, and the loop's end. A loop
    that ends drops what was handed to it in its last moments without a word.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[H]]) -> None:
        self._make = make
        self._opened: Future[_Open[H]] = Future()
        self._over: Future[None] = Future()
        # A daemon: a program ends although this still turns, and closes it on its way out.
        self._thread = threading.Thread(
            target=self._turn, name="chaoying-notifications", daemon=True
        )
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it ended by itself: it could not be opened, or it fell over."""
        return self._over.done()

    @property
    def is_here(self) -> bool:
        """Whether the caller runs in this loop, which must never wait for itself."""
        return threading.current_thread() is self._thread

    def opened(self, patience: float | None = None) -> H:
        """What is open, as soon as it is; or what ``make`` or opening raised."""
        return self._result(self._opened, patience).handler

    def run(self, coroutine: Coroutine[Any, Any, T], patience: float | None = None) -> T:
        """The coroutine's result. It goes on after ``patience``; :meth:`opened` comes before."""
        loop = self._opened.result().loop
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError as error:  # closed
            coroutine.close()
            raise NoResultError from error
        return self._result(future, patience)

    def end(self, patience: float) -> None:
        """Leave what is open and end the loop.

        Waits for as long as leaving takes; but where it never opened, only for ``patience``.
        """
        try:
            self._opened.set_exception(NoResultError())  # whoever waits for it
        except InvalidStateError:  # it is open, or could not be opened
            self._leave()
            self._thread.join()
        else:
            self._thread.join(patience)

    def _leave(self) -> None:
        if self._opened.exception() is None:
            opened = self._opened.result()
            with contextlib.suppress(RuntimeError):  # closed: it fell over before
                opened.loop.call_soon_threadsafe(opened.stop.set)

    def _result(self, future: Future[T], patience: float | None) -> T:
        either: list[Future[Any]] = [future, self._over]
        wait(either, patience, FIRST_COMPLETED)
        if not future.done():
            raise NoResultError
        try:
            return future.result()
        except CancelledError as error:
            raise NoResultError from error

    def _turn(self) -> None:
        try:
            asyncio.run(self._stay_open())
        except BaseException as error:
            self._over.set_result(None)  # first: who sees the error may start another loop at once
            with contextlib.suppress(InvalidStateError):
                self._opened.set_exception(error)
                return
            raise  # while leaving: threading's excepthook reports it
        else:
            self._over.set_result(None)

    async def _stay_open(self) -> None:
        async with self._make() as handler:
            opened = _Open(handler, asyncio.get_running_loop(), asyncio.Event())
            try:
                self._opened.set_result(opened)
            except InvalidStateError:  # ended meanwhile: nobody waits for it
                return
            await opened.stop.wait()
