"""The real clock. Tests hand in ``chaoying_async.testing.FakeClock`` instead.

And :func:`within`, a time-out on any clock for what mostly ends without waiting, on the same terms
as :func:`guarded`.
"""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from chaoying_async.abc import Clock

T = TypeVar("T")


class SystemClock:
    """Time as the operating system and the running event loop tell it."""

    def now(self) -> datetime:
        """The current moment, aware, in UTC."""
        return datetime.now(UTC)

    #: Seconds of the system's monotonic clock; the function itself, as every message asks often.
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float | None) -> asyncio.Timeout:
        """``asyncio.timeout``: raises :class:`TimeoutError` when the block takes longer."""
        return asyncio.timeout(seconds)


async def guarded(
    work: Coroutine[Any, Any, T], guard: Callable[[], AbstractAsyncContextManager[Any]]
) -> T:
    """What ``work`` returns; ``guard`` is made and entered only if the work has to wait.

    Most does not: a body that is there already, a lookup in a dictionary. A guard (a time-out, the
    renewal of a lease) can do nothing before the first wait, and costs as much as reading an amount
    and a time. It is one task throughout, so the work may use time-outs and groups of its own.
    """
    try:
        waits_for = work.send(None)
        return await go_on(work, waits_for, guard())
    except StopIteration as ended_at_once:
        result: T = ended_at_once.value
        return result


#: What :func:`begun` returns where there is nothing to wait for.
ENDED: Final = object()


def begun(work: Coroutine[Any, Any, None]) -> Any:
    """Take the first step of work that returns nothing: what it waits for, or :data:`ENDED`.

    With :func:`go_on` this is :func:`guarded` for what every message passes through: a coroutine
    that returns nothing ends without an exception, and needs no other coroutine around it.
    """
    return next(work.__await__(), ENDED)


async def go_on(
    work: Coroutine[Any, Any, T], waits_for: Any, guard: AbstractAsyncContextManager[Any]
) -> T:
    """The rest of ``work`` under its guard, where its first step said that it waits for this."""
    async with guard:
        return await _rest(work, waits_for)


def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
    """The same under ``clock.timeout``: :class:`TimeoutError` when it waits longer than that."""
    return guarded(work, lambda: clock.timeout(max(0.0, seconds)))


@types.coroutine
def _rest(work: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, None, T]:
    """What is left of work after its first step, in which it asked for this."""
    while True:
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001 - whatever it is (a cancellation), it is the work's
            try:
                waits_for = work.throw(error)
            except StopIteration as ended:
                result: T = ended.value
                return result
        else:
            return (yield from work.__await__())
