"""Decides what SIGINT, SIGTERM, SIGHUP and SIGQUIT do, by how far a command has come.

Before a request is sent, a signal ends the command. While a request is under way, a signal cancels
it, and the command says what may have happened. Once the answer is there, a signal only ends a
write that is stuck.
"""

from __future__ import annotations

import asyncio
import select
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Generic, Self, TextIO, TypeVar

import attrs
import click

T = TypeVar("T")

_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if hasattr(signal, name)
)


class Interrupts:
    """Says what a signal does now; as a context manager it handles the signals."""

    def __init__(self) -> None:
        #: Whether a signal came, and whether it needs no KeyboardInterrupt.
        self.came = self.handled = False
        self._settled = False
        self._writing: TextIO | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: Callable[[], object] | None = None
        self._again: Callable[[], object] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):  # nohup, a shell's background job
                    self._before[number] = before
                    signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def ignore(self) -> None:
        """Ignore signals from here on: the process is about to end by itself."""
        self._before = dict.fromkeys(self._before, signal.SIG_IGN)

    def settle(self) -> None:
        """The request is decided: only printing is left, which signals do not interrupt."""
        self._settled = True

    @contextmanager
    def writing(self, stream: TextIO) -> Generator[None]:
        """During a write: a signal ends it if it is stuck, since nothing else can."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are not handled there
            return
        self._writing = stream
        try:
            yield
        finally:
            self._writing = None

    def run(self, work: Coroutine[Any, Any, T], *, last: bool) -> T:
        """``asyncio.run`` that a signal cancels. ``last``: afterwards only printing is left."""

        async def watched() -> T:
            task = asyncio.current_task()
            self._loop = asyncio.get_running_loop()
            self._stop = None if task is None else task.cancel
            try:
                return await work
            finally:
                if last:
                    self.settle()

        try:
            return asyncio.run(watched())
        except asyncio.CancelledError:
            if self.came:
                raise KeyboardInterrupt from None
            raise
        finally:
            self._loop = self._stop = self._again = None
            work.close()

    def stops(self, stop: Callable[[], object], again: Callable[[], object] | None = None) -> None:
        """On a signal call this instead of cancelling the work; on the next one ``again``."""
        if self._before:
            self._stop, self._again = stop, again

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        first, self.came = not self.came, True
        self.handled = self._settled
        if first and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop)
            self.handled = True
        elif self._again is not None:
            self._again()
        if not self.handled or (self._writing is not None and _is_stuck(self._writing)):
            raise KeyboardInterrupt


def _is_stuck(stream: TextIO) -> bool:
    """Whether nobody reads what is written there."""
    try:
        return not select.select([], [stream], [], 0)[1]
    except (OSError, ValueError):  # it has no descriptor
        return False


def of_command() -> Interrupts:
    """The running command's instance; outside of ``chaoying`` one that handles no signal."""
    ctx = click.get_current_context(silent=True)
    found = None if ctx is None else ctx.find_object(Interrupts)
    return found or Interrupts()


def stops(stop: Callable[[], object], again: Callable[[], object] | None = None) -> None:
    """See :meth:`Interrupts.stops`."""
    of_command().stops(stop, again)


def run(work: Coroutine[Any, Any, T], *, last: bool = True) -> T:
    """See :meth:`Interrupts.run`."""
    return of_command().run(work, last=last)


@attrs.define
class TrackedCall(Generic[T]):
    """A call to somebody else, and how far it went.

    Its result counts even if something breaks afterwards: closing a connection, an interrupt.
    """

    begun: bool = False
    got: T | None = None

    async def send(self, work: Awaitable[T]) -> T:
        """Await the call; from here on it may have been carried out."""
        self.begun = True
        self.got = await work
        return self.got
