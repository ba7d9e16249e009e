"""Work that outlives the request that brought it, and who owns it (M-17)."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Collection, Coroutine, Generator
from typing import Any, TypeVar

from chaoying_async.abc import Clock
from chaoying_async.exceptions import UsageError

T = TypeVar("T")


class Tasks:
    """A group of tasks that never fail: one failing order takes nothing else down.

    No ``asyncio.TaskGroup``: what that adds is the end of all when one fails.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Whether somebody owns what was left here; so until all of it has ended.
        self.opened = False
        self._owned: set[asyncio.Task[Any]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self.closing = False

    @property
    def is_open(self) -> bool:
        """Whether work can be left here."""
        return self.opened and not self.closing

    def open(self, ticker: Coroutine[Any, Any, None]) -> None:
        """Begin; ``ticker`` runs until the end and is not waited for."""
        if self.opened:
            ticker.close()
            raise UsageError("this handler is open already; make another one")
        self.opened, self.closing = True, False
        self._ticker = asyncio.create_task(ticker)

    async def close(self, grace: float) -> bool:
        """Wait for what is under way, then cancel it; False when something had to be cancelled."""
        self.closing = True
        if self._ticker is not None:
            self._ticker.cancel()
        in_time = False
        try:
            in_time = await self._wait(grace)
        finally:
            for task in self._owned:
                task.cancel()
            await ended(self._owned if self._ticker is None else {*self._owned, self._ticker})
            self.opened, self.closing, self._ticker = False, False, None
        return in_time

    async def run(self, work: Coroutine[Any, Any, T], *, until: float | None = None) -> T | None:
        """Run it here if this is open, so that it outlives its caller; else where it stands.

        What it returns or raises; None when it was cancelled with its owner. The caller may be
        cancelled while the work goes on. From ``until`` (a moment of the clock) on the caller has a
        :class:`TimeoutError`, and the work goes on too; without an owner for it there is no such
        end.
        """
        if not self.is_open:
            return await work
        task = asyncio.create_task(work)
        self._owned.add(task)
        try:
            # The task's first step comes before our next one, and mostly it is the last one too:
            # then there is nothing to wait for, and no timer to set.
            await _next_turn()
        finally:
            if task.done():
                self._forget(task)
            else:
                task.add_done_callback(self._forget)
        if not task.done():
            await self._wait_for(task, until)
        return None if task.cancelled() else task.result()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._owned.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone; then the message comes again

    async def _wait_for(self, task: asyncio.Task[Any], until: float | None) -> None:
        left = None if until is None else max(0.0, until - self._clock.monotonic())
        async with self._clock.timeout(left):
            await asyncio.wait([task])  # unlike awaiting it, this does not cancel it

    async def _wait(self, grace: float) -> bool:
        try:
            async with self._clock.timeout(grace):
                while self._owned:
                    await asyncio.wait(list(self._owned))
        except TimeoutError:
            return False
        return True


@types.coroutine
def _next_turn() -> Generator[None, None, None]:
    """Let what is ready run, once; what ``asyncio.sleep(0)`` does."""
    yield


async def ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait for tasks that were cancelled; one's own cancellation is raised only afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while left := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
