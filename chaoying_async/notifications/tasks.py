"""Work that outlives the request that brought it, and who owns it (M-17)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from contextvars import copy_context
from typing import Any

from chaoying_async.abc import Clock
from chaoying_async.clock import ENDED
from chaoying_async.exceptions import UsageError
from chaoying_async.notifications.standby import Standby


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
        self._standby: Standby | None = None
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
        if asyncio.current_task() in self._owned:
            raise UsageError("the handler cannot be closed by the work that it would wait for")
        self.closing = True
        if self._ticker is not None:
            self._ticker.cancel()
        in_time = False
        try:
            in_time = await self._wait(grace)
        finally:
            idle = [self._ticker] if self._ticker is not None else []
            if self._standby is not None:
                idle.append(self._standby.task)
            for task in (*self._owned, *idle):
                task.cancel()
            await ended([*self._owned, *idle])
            self.opened, self.closing, self._ticker, self._standby = False, False, None, None
        return in_time

    async def run(self, work: Coroutine[Any, Any, None], *, until: float | None = None) -> bool:
        """Run it here if this is open, so that it outlives its caller; else where it stands.

        True when it has ended, False when it was cancelled with its owner. The caller may be
        cancelled while the work goes on. From ``until`` (a moment of the clock) on the caller has a
        :class:`TimeoutError`, and the work goes on too; without an owner for it there is no such
        end.
        """
        if self.closing or not self.opened:
            await work
            return True
        # Its first step is taken here: a guard against our caller's end is needed only where there
        # is something to wait for.
        standby, self._standby = self._standby or Standby(), None
        context = copy_context()
        self._owned.add(standby.task)
        try:
            waits_for = standby.begin(work, context)
        except asyncio.CancelledError:  # its own doing: nobody else had the time
            self._stand_by(standby)
            return False
        except BaseException:
            self._stand_by(standby)
            raise
        if waits_for is ENDED:  # as most has
            self._stand_by(standby)
            return True
        self._owned.discard(standby.task)
        task = standby.go_on(work, context, waits_for)
        self._owned.add(task)
        task.add_done_callback(self._forget)
        await self._wait_for(task, until)
        if task.cancelled():
            return False
        task.result()
        return True

    def _stand_by(self, standby: Standby) -> None:
        """It was not needed; where another one came while it was in use, it goes."""
        self._owned.discard(standby.task)
        if standby.is_free and self._standby is None:
            self._standby = standby
        else:
            standby.task.cancel()

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


def is_being_cancelled() -> bool:
    """Whether somebody asked this task to end; a CancelledError without that is a hook's own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
