"""Work that outlives the request that brought it, and who owns it (M-17)."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Collection, Coroutine, Generator
from typing import Any, Generic, TypeVar

import attrs

from chaoying_async.abc import Clock
from chaoying_async.exceptions import UsageError

T = TypeVar("T")


@attrs.frozen
class Ended(Generic[T]):
    """How a piece of work ended: a result, an error, or neither when it was cancelled."""

    result: T | None = None
    error: Exception | None = None


class Tasks:
    """A group of tasks that never fail: one failing order takes nothing else down.

    No ``asyncio.TaskGroup``: what that adds is the end of all when one fails.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opened = False
        self._owned: set[asyncio.Task[Any]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self.closing = False

    @property
    def is_open(self) -> bool:
        """Whether work can be left here."""
        return self._opened and not self.closing

    def open(self, ticker: Coroutine[Any, Any, None]) -> None:
        """Begin; ``ticker`` runs until the end and is not waited for."""
        if self._opened:
            ticker.close()
            raise UsageError("this handler is open already; make another one")
        self._opened, self.closing = True, False
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
            self._opened, self.closing, self._ticker = False, False, None
        return in_time

    async def run(self, work: Coroutine[Any, Any, T], *, until: float | None = None) -> Ended[T]:
        """Run it here if this is open, so that it outlives its caller; else where it stands.

        The caller may be cancelled while the work goes on. From ``until`` (a moment of the clock)
        on the caller has a :class:`TimeoutError`, and the work goes on too; without an owner for it
        there is no such end.
        """
        if not self.is_open:
            return await _caught(work)
        task = asyncio.create_task(_caught(work))
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)
        # The task's first step comes before our next one, and mostly it is the last one too: then
        # there is nothing to wait for, and no timer to set.
        await _next_turn()
        if not task.done():
            await self._wait_for(task, until)
        return Ended() if task.cancelled() else task.result()

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


async def _caught(work: Coroutine[Any, Any, T]) -> Ended[T]:
    try:
        return Ended(await work)
    except Exception as error:  # noqa: BLE001 - handed to whoever waits for it
        return Ended(error=error)
