"""Work that outlives the request that brought it, who owns it (M-17), and what may end it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from enum import Enum
from typing import Any, TypeVar

from chaoying_async.abc import Clock
from chaoying_async.clock import within
from chaoying_async.exceptions import ChaoyingError, UsageError

T = TypeVar("T")

#: Seconds that what was cancelled has for its end.
_CLEAN_UP = 5.0
#: Seconds that recording may go on after the answer should have been out.
_LAST_MOMENT = 0.2
_ENDS_OF_THE_PROCESS = (KeyboardInterrupt, SystemExit)


class Stage(Enum):
    """What may be done about work that has no owner when its time is over."""

    BEFORE = "nothing has begun: it is given up"
    RUNNING = "the user's function runs: it is waited for"
    AFTER = "its end is being recorded: it has a moment left, for a database may hang"


class OwnedTasks:
    """The tasks of an open handler; one that fails takes no other down with it.

    No task group: asyncio's ends all tasks when one fails, and anyio's, when it is cancelled, lets
    no ``finally`` of an ``on_paid`` await anything.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Whether work that is left here has an owner: from opening until all of it has ended.
        self.opened = False
        self.closing = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ticker: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether more work can be left here."""
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
        if asyncio.current_task() in self._tasks:
            raise UsageError("the handler cannot be closed by the work that it would wait for")
        self.closing = True
        if self._ticker is not None:
            self._ticker.cancel()
        in_time = False
        try:
            in_time = await self._all_ended(grace)
        finally:
            tasks = [*self._tasks, *filter(None, [self._ticker])]
            for task in tasks:
                task.cancel()
            await ended(tasks)
            self.opened, self.closing, self._ticker = False, False, None
        return in_time

    async def run(
        self,
        work: Coroutine[Any, Any, T],
        *,
        until: float | None = None,
        to_the_end: bool = False,
        stage: Callable[[], Stage] = lambda: Stage.RUNNING,
    ) -> T:
        """What the work returns; it runs in a task of its own.

        From ``until`` (a moment of the clock) on the caller has a :class:`TimeoutError`, and what
        had not begun by then never does; see :class:`Stage`. While this is open, what has begun
        goes on then, and also when the caller is cancelled; ``to_the_end``: the caller waits for
        it. Otherwise nobody owns it: so it is cancelled with its caller, who waits for a function
        of the user's, however late. Raises :class:`CutOffError` for work that was cancelled with
        its owner.
        """
        is_owned = self.is_open
        task = self._begun(work)
        leaves = is_owned and not to_the_end
        try:
            await self._waited(task, until, stage, leaves=leaves)
        except asyncio.CancelledError:
            if not is_owned and task.cancel():
                await asyncio.wait([task], timeout=_CLEAN_UP)
            elif until is not None:  # nobody waits any more, and it may still be given up in time
                self._begun(self._waited(task, until, stage, leaves=True))
            raise
        if task.cancelled():
            raise CutOffError("the work was cancelled with its owner")
        return task.result()

    def _begun(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    async def _waited(
        self,
        task: asyncio.Task[Any],
        until: float | None,
        stage: Callable[[], Stage],
        *,
        leaves: bool,
    ) -> None:
        """Wait for the end of a task; :class:`TimeoutError` where it is not waited for so long."""
        left = None if until is None else max(0.0, until - self._clock.monotonic())
        try:
            async with self._clock.timeout(left):
                await asyncio.wait([task])  # unlike awaiting the task, this does not cancel it
        except TimeoutError:
            if task.done():
                return
            if stage() is Stage.BEFORE:
                task.cancel()
                raise
            if leaves:
                raise
            if stage() is Stage.AFTER:
                with suppress(TimeoutError):
                    await within(self._clock, _LAST_MOMENT, asyncio.wait([task]))
                if task.cancel():
                    raise
            await asyncio.wait([task])

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone; then the message comes again

    async def _all_ended(self, grace: float) -> bool:
        try:
            async with self._clock.timeout(grace):
                while self._tasks:
                    await asyncio.wait(list(self._tasks))
        except TimeoutError:
            return False
        return True


async def ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait for tasks that were cancelled; the caller's own cancellation is raised afterwards.

    Drivers lose a cancellation now and then, and hooks swallow one: so it is repeated.
    """
    cancelled: asyncio.CancelledError | None = None
    while left := [task for task in tasks if not task.done()]:
        try:
            _, late = await asyncio.wait(left, timeout=_CLEAN_UP)
            for task in late:
                task.cancel()
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


class CutOffError(ChaoyingError):
    """The work was cancelled together with its owner."""


# Hooks, drivers and pools raise more than an ``Exception``: a CancelledError of their own, a
# GeneratorExit, a group of both. Unless somebody cancelled *us*, whatever raised it has failed.


class StrayEndError(ChaoyingError):
    """A hook or an inbox raised what should end a whole task, and nobody had asked for that."""


def must_propagate(error: BaseException) -> bool:
    """Whether this error has to go on up: the process ends, or this very task was cancelled."""
    if isinstance(error, Exception):
        return False
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(_ENDS_OF_THE_PROCESS) is not None
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return _is_ending(error)
    return isinstance(error, _ENDS_OF_THE_PROCESS)


def _is_ending(error: BaseException) -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop: a coroutine is being thrown away
        return True
    cancelled = task is not None and task.cancelling() > 0
    return cancelled and isinstance(error, asyncio.CancelledError)


async def only_exceptions(work: Awaitable[T]) -> T:
    """What ``work`` returns or raises; what is no ``Exception`` is raised as a StrayEndError."""
    try:
        return await work
    except Exception:
        raise
    except BaseException as error:
        if must_propagate(error):
            raise
        raise StrayEndError(f"{type(error).__name__}, and nobody asked for it") from error
