"""SIGINT, SIGTERM, SIGHUP and SIGQUIT, by how far a command has come.

Before anything is asked for, a signal ends the command. While something is being asked for it
cancels that, and whoever asked says what may have become of it. Once the answer is there, a signal
only ends what it would otherwise wait for: a write that is stuck.
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
    """What a signal does now; as a context manager it is what signals are handled by."""

    def __init__(self) -> None:
        #: A signal came; and it does what it is meant to without an exception.
        self.came = self.handled = False
        self._settled = False
        self._writing: TextIO | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: Callable[[], object] | None = None
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
        """Let no signal end the process any more: it is about to end by itself."""
        self._before = dict.fromkeys(self._before, signal.SIG_IGN)

    def settle(self) -> None:
        """What was asked for is decided: only the words are left, and they are not interrupted."""
        self._settled = True

    @contextmanager
    def writing(self, stream: TextIO) -> Generator[None]:
        """A write, which a signal ends if it is stuck: nothing else can end such a one."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are not handled there
            return
        self._writing = stream
        try:
            yield
        finally:
            self._writing = None

    def run(self, work: Coroutine[Any, Any, T], *, last: bool) -> T:
        """``asyncio.run``, which a signal cancels. ``last``: what comes after are only words."""

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
            self._loop = self._stop = None
            work.close()

    def stops(self, stop: Callable[[], object]) -> None:
        """Call this on a signal, in place of cancelling what runs."""
        if self._before:
            self._stop = stop

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        first, self.came = not self.came, True
        self.handled = self._settled
        if first and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop)
            self.handled = True
        if not self.handled or (self._writing is not None and _is_stuck(self._writing)):
            raise KeyboardInterrupt


def _is_stuck(stream: TextIO) -> bool:
    """Whether nobody takes what is written there."""
    try:
        return not select.select([], [stream], [], 0)[1]
    except (OSError, ValueError):  # no file of the system's: it cannot be waited for either
        return False


def of_command() -> Interrupts:
    """Those of the command that runs; outside ``chaoying`` itself, ones that handle nothing."""
    ctx = click.get_current_context(silent=True)
    found = None if ctx is None else ctx.find_object(Interrupts)
    return found or Interrupts()


def run(work: Coroutine[Any, Any, T], *, last: bool = True) -> T:
    """See :meth:`Interrupts.run`."""
    return of_command().run(work, last=last)


@attrs.define
class Errand(Generic[T]):
    """Something that is asked of somebody else, and how far that went.

    What came back counts whatever breaks afterwards: closing a connection, an interrupt.
    """

    begun: bool = False
    got: T | None = None

    async def send(self, work: Awaitable[T]) -> T:
        """From here on it may have been carried out."""
        self.begun = True
        self.got = await work
        return self.got
