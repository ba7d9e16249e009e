"""One consumer of tracked orders: what ``outcomes()`` and ``drain()`` return."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Any

from chaoying_async.exceptions import UsageError
from chaoying_async.polling.consumers import Collector
from chaoying_async.polling.outcome import PollOutcome


class Outcomes(AsyncGenerator[PollOutcome[Any], None]):
    """Outcomes for one consumer; the last one is in its hands until it asks for the next (M-23).

    A consumer that goes away with an outcome in its hands (cancelled, an error, ``break``) gives it
    back, unless it was done. It is a class because a generator ends for good when a wait for its
    next item is cancelled, as ``asyncio.wait_for(anext(...))`` does.
    """

    def __init__(
        self,
        opened: Callable[[], Collector],
        took: Callable[[PollOutcome[Any]], Awaitable[None]],
        *,
        waits: bool,
    ) -> None:
        self._opened = opened
        self._took = took
        self._waits = waits
        self._collector: Collector | None = None
        self._in_hand: PollOutcome[Any] | None = None
        self._asking = False
        self._closed = False

    async def asend(self, value: None = None, /) -> PollOutcome[Any]:  # noqa: ARG002
        """The next outcome. Asking for it says that the one before took effect."""
        if self._asking:
            raise UsageError("two tasks share one consumer: call outcomes() once for each")
        self._asking = True
        try:
            return await self._next()
        finally:
            self._asking = False

    async def _next(self) -> PollOutcome[Any]:
        if self._closed:
            raise StopAsyncIteration
        if self._collector is None:
            self._collector = self._opened()
        taken, self._in_hand = self._in_hand, None
        if taken is not None:
            await self._took(taken)
        while not self._closed:
            outcome = self._in_hand = await self._collector.taken()
            if outcome is not None:
                return outcome
            if self._collector.is_over(waits=self._waits):
                self._closed = True
            else:
                await self._collector.changed()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End it; an outcome that is not done goes to the next consumer."""
        self._closed = True
        if self._collector is not None:
            self._collector.wake()
        self._give_back()

    async def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,  # noqa: ARG002 - the error has its own
        /,
    ) -> PollOutcome[Any]:
        """End it with an error, as of a generator that catches nothing."""
        await self.aclose()
        if isinstance(typ, BaseException):
            raise typ
        raise val if isinstance(val, BaseException) else typ()

    def __del__(self) -> None:
        if self._in_hand is None or self._collector is None:
            return
        loop = self._collector.loop
        if loop is _running_loop():
            self._give_back()
        else:  # the garbage collector ran in another thread, or after the loop
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
                loop.call_soon_threadsafe(self._collector.give_back, self._in_hand)

    def _give_back(self) -> None:
        outcome, self._in_hand = self._in_hand, None
        if outcome is not None and self._collector is not None:
            self._collector.give_back(outcome)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
