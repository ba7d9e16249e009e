"""A task that stands by, so that work can begin at once and still have a task of its own.

A new task for each piece of work costs another round of the event loop, and most work ends in its
first step. So that step is taken here and now, in the name of a task that stands by; only work that
then has to wait is handed to it. Python 3.12 has this as *eager tasks*, 3.11 only the means for it
("Extending" in asyncio's documentation).
"""

from __future__ import annotations

import asyncio
import types
from asyncio import _enter_task, _leave_task
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar

from chaoying_async.clock import begun

T = TypeVar("T")


class Standby:
    """One task, for one piece of work that has to wait; until then for any number that has not."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.Future[Awaitable[Any]] = self._loop.create_future()
        self.task: asyncio.Task[Any] = self._loop.create_task(self._stand_by())

    @property
    def is_free(self) -> bool:
        """Whether work may begin in its name."""
        return not (self.task.done() or self.task.cancelling())

    def begin(self, work: Coroutine[Any, Any, None], context: Context) -> Any:
        """Take the first step: what it waits for, or ``ENDED``."""
        loop = self._loop
        caller = asyncio.current_task(loop)
        if caller is not None:
            _leave_task(loop, caller)
        _enter_task(loop, self.task)
        try:
            return context.run(begun, work)
        finally:
            _leave_task(loop, self.task)
            if caller is not None:
                _enter_task(loop, caller)

    def go_on(
        self, work: Coroutine[Any, Any, T], context: Context, waits_for: Any
    ) -> asyncio.Task[T]:
        """Hand over what is left of it; from now on the task is this work's."""
        rest = _rest(work, context, waits_for)
        if not self.is_free:  # it asked for its own cancellation, and has that coming to it
            self.task = self._loop.create_task(_awaited(rest))
            self.task.cancel()
        else:
            self._rest.set_result(rest)
        return self.task

    async def _stand_by(self) -> Any:
        return await (await self._rest)


async def _awaited(rest: Awaitable[T]) -> T:
    return await rest


@types.coroutine
def _rest(work: Coroutine[Any, Any, T], context: Context, waits_for: Any) -> Generator[Any, Any, T]:
    """Every further step, in the context of the first."""
    step: Callable[[Any], Any]
    while True:
        try:
            value = yield waits_for
        except BaseException as error:  # noqa: BLE001 - whatever it is (a cancellation), it is the work's
            step, given = work.throw, error
        else:
            step, given = work.send, value
        try:
            waits_for = context.run(step, given)
        except StopIteration as ended:
            result: T = ended.value
            return result
