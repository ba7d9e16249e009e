"""Work that outlives the request that brought it, who owns it (M-17), and what may end it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Collection, Coroutine
from contextlib import suppress
from enum import Enum
from typing import Any, Final, TypeVar
from weakref import WeakSet

import attrs

from chaoying_async.abc import Clock
from chaoying_async.exceptions import ChaoyingError, UsageError

T = TypeVar("T")

#: Seconds that recording may take, be it an effect or a failure: a database may hang.
RECORD_WITHIN: Final = 5.0
#: Seconds that what was cancelled has for its end.
_CLEAN_UP = 5.0
#: Seconds that recording may go on after the answer should have been out.
_LAST_MOMENT = 0.2
_ENDS_OF_THE_PROCESS = (KeyboardInterrupt, SystemExit)


class Stage(Enum):
    """What may be done about work whose time is over."""

    BEFORE = "nothing has begun: it is given up"
    RUNNING = "the user's function runs: it is waited for, or left to its owner"
    AFTER = "its end is being recorded: that has some seconds left, for a database may hang"
    GIVEN_UP = "recording its end took too long: it was cancelled"


@attrs.define
class Progress:
    """How far a piece of work has come."""

    stage: Stage = attrs.field(default=Stage.RUNNING, kw_only=True)

    @property
    def is_recording(self) -> bool:
        """Whether nothing but a database is waited for."""
        return self.stage in (Stage.AFTER, Stage.GIVEN_UP)


class LateError(TimeoutError):
    """The work has not ended by the moment until which its caller waits."""


class OwnedTasks:
    """The tasks of an open handler; one that fails takes no other down with it.

    No task group: asyncio's ends all tasks when one fails, and anyio's, when it is cancelled, lets
    no ``finally`` of an ``on_paid`` await anything.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Whether work that is left here has an owner: from opening until all of it has ended.
        self.opened = False
        #: Whether more work can be left here.
        self.is_open = False
        #: Each with what is set when it has ended.
        self._tasks: dict[asyncio.Task[Any], asyncio.Event] = {}
        #: Those that were cancelled here, with their owner or in their caller's stead.
        self._cut_off: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._ticker: asyncio.Task[None] | None = None

    def open(self, ticker: Coroutine[Any, Any, None]) -> None:
        """Begin; ``ticker`` runs until the end and is not waited for."""
        if self.opened:
            ticker.close()
            raise UsageError("this handler is open already; make another one")
        self.opened = self.is_open = True
        self._ticker = asyncio.create_task(
            ticker, name="chaoying notifications: look for what is due"
        )

    async def close(self, grace: float) -> bool:
        """Wait for what is under way, then cancel it; False when something had to be cancelled."""
        if asyncio.current_task() in self._tasks:
            raise UsageError("the handler cannot be closed by the work that it would wait for")
        self.is_open = False
        if self._ticker is not None:
            self._ticker.cancel()
        in_time = False
        try:
            in_time = await self._all_ended(grace)
        finally:
            tasks = [*self._tasks, *filter(None, [self._ticker])]
            for task in tasks:
                self._cut(task)
            await ended(tasks)
            self.opened, self._ticker = False, None
        return in_time

    async def run(
        self,
        work: Coroutine[Any, Any, T],
        *,
        until: float = math.inf,
        to_the_end: bool = False,
        progress: Progress | None = None,
    ) -> T:
        """What the work returns; it runs in a task of its own.

        From ``until`` (a moment of the clock) on the caller has a :class:`LateError`, and what had
        not begun by then never does; see :class:`Stage`. While this is open, what has begun goes on
        then, and also when the caller is cancelled; ``to_the_end``: the caller waits for it.
        Otherwise nobody owns it: so it is cancelled with its caller, who waits for a function of
        the user's, however late. Recording that takes too long is given up, whoever waits for it.
        Raises :class:`CutOffError` for work that was cancelled with its owner.
        """
        is_owned, progress = self.is_open, progress or Progress()
        task = self._begun(work)
        try:
            await self._waited(task, progress, until, owned=is_owned, to_the_end=to_the_end)
        except asyncio.CancelledError:
            if is_owned:  # nobody waits any more, and it may still be given up in time
                self._begun(self._waited(task, progress, until, to_the_end=True))
            elif self._cut(task):
                await asyncio.wait([task], timeout=_CLEAN_UP)
            raise
        if task.cancelled() and (task in self._cut_off or progress.is_recording):
            raise CutOffError("the work was cancelled with its owner")
        return await only_exceptions(task)  # which has ended

    def cause_of(self, error: BaseException, progress: Progress) -> BaseException:
        """What ended the user's function, in its own task, which goes on unless it was cut off.

        A time-out, where recording its end was given up. A cancellation that did not come from here
        is the function's own: it may hold the task that it runs in, and a watchdog of its own
        cancels just that (M-17).
        """
        given_up = progress.stage is Stage.GIVEN_UP
        if given_up:
            progress.stage = Stage.RUNNING
        task = asyncio.current_task()
        if task is None or task in self._cut_off:
            return error
        while task.uncancel():
            pass
        if given_up and isinstance(error, asyncio.CancelledError):
            return TimeoutError("recording it took too long")
        return error

    def _cut(self, task: asyncio.Task[Any]) -> bool:
        self._cut_off.add(task)
        return task.cancel()

    def _begun(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name="chaoying notifications: work")
        self._tasks[task] = asyncio.Event()
        task.add_done_callback(self._forget)
        return task

    async def _waited(
        self,
        task: asyncio.Task[Any],
        progress: Progress,
        until: float,
        *,
        owned: bool = False,
        to_the_end: bool = False,
    ) -> None:
        """Wait for the end of a task; :class:`LateError` where it is not waited for so long.

        One that is found recording twice in a row, with so many seconds in between, is given up.
        """
        was_recording = False
        while not task.done():
            left = until - self._clock.monotonic()
            try:
                async with self._clock.timeout(max(0.0, min(left, RECORD_WITHIN))):
                    await self._tasks[task].wait()  # unlike awaiting the task, it cancels nothing
                return
            except TimeoutError:
                if task.done():
                    return
            if was_recording and progress.is_recording:
                progress.stage = Stage.GIVEN_UP
                task.cancel()
            was_recording = progress.is_recording
            if self._clock.monotonic() >= until:
                await self._late(task, progress, owned=owned, to_the_end=to_the_end)
                until = math.inf

    async def _late(
        self, task: asyncio.Task[Any], progress: Progress, *, owned: bool, to_the_end: bool
    ) -> None:
        """Return where the task is waited for all the same."""
        if progress.stage is not Stage.BEFORE:
            if to_the_end:
                return
            if owned:
                self._begun(self._waited(task, progress, math.inf))
                raise LateError
            if not progress.is_recording:
                return
            with suppress(TimeoutError):
                async with self._clock.timeout(_LAST_MOMENT):
                    await self._tasks[task].wait()
        if self._cut(task):
            raise LateError

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task).set()
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
