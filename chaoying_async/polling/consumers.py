"""Hands outcomes to those who wait: to one caller of ``wait``, or to readers of ``outcomes()``.

``drain()`` and ``run()`` read in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Any

from chaoying_async.exceptions import UsageError
from chaoying_async.observation import SafeLog
from chaoying_async.polling.outcome import PollOutcome
from chaoying_async.polling.queue import Sink
from chaoying_async.threads import running_loop

log = SafeLog("chaoying_async.polling")


class Waiter:
    """One caller who awaits one order."""

    def __init__(self) -> None:
        self.alone: tuple[Sink, ...] = (self,)
        self._future: asyncio.Future[PollOutcome[Any]] = asyncio.get_running_loop().create_future()

    def deliver(self, outcome: PollOutcome[Any]) -> None:
        """See ``Sink``."""
        if not self._future.done():
            self._future.set_result(outcome)

    def fail(self, error: Exception) -> None:
        """See ``Sink``."""
        if not self._future.done():
            self._future.set_exception(error)

    async def outcome(self) -> PollOutcome[Any]:
        """Wait for the outcome, or for the error that comes instead."""
        return await self._future


class Collector:
    """Outcomes in the order in which they came, and how many are still to come.

    ``before`` is awaited before an outcome is given out: whether the store is ours still (M-23).
    Its error is raised to the consumer, and the outcome stays.
    """

    def __init__(self, before: Callable[[], Awaitable[None]], *, growing: bool = False) -> None:
        self.alone: tuple[Sink, ...] = (self,)
        #: The event loop that the poller belongs to: nobody else may wait here.
        self.loop = asyncio.get_running_loop()
        self._before = before
        self._ready: deque[PollOutcome[Any]] = deque()
        #: Outcomes whose consumer went away before they were done.
        self._returned: deque[PollOutcome[Any]] = deque()
        self._error: Exception | None = None
        self._lost: Exception | None = None
        self._left = False
        self._withheld = False
        self._changed = asyncio.Event()
        #: Orders that were given to it and have not ended.
        self.open = 0
        #: Whether more orders may yet be added: then an empty collector is not at its end.
        self.growing = growing

    @property
    def held(self) -> int:
        """Orders that are not with the consumer yet, ended or not."""
        return self.open + len(self._ready)

    @property
    def unread(self) -> int:
        """Outcomes that wait for a consumer."""
        return len(self._ready) + sum(outcome.comes_again for outcome in tuple(self._returned))

    def deliver(self, outcome: PollOutcome[Any]) -> None:
        """See ``Sink``."""
        self.open -= 1
        self._ready.append(outcome)
        self.wake()

    def fail(self, error: Exception) -> None:
        """Raise this after the last outcome: the poller was closed, or a source failed."""
        self._error = error
        self.wake()

    def lose(self, error: Exception) -> None:
        """Give out nothing more, whatever is ready: the store's new owner gives it out."""
        self._lost = error
        self.wake()

    def leave(self, error: Exception, *, withhold: bool) -> None:
        """End with the poller's block; ``withhold`` leaves the rest to the store's next poller.

        ``outcomes()`` ends without an error then. ``drain()`` raises ``error`` unless every outcome
        was given out.
        """
        self._left, self._withheld = True, withhold
        if self.unread and withhold:
            self._error = error
        elif self.unread:
            log.warning(
                "the poller was left with %s outcomes that nobody has read: query those orders"
                " before anything else",
                self.unread,
            )
        self.wake()

    def give_back(self, outcome: PollOutcome[Any]) -> None:
        """Take an outcome back whose consumer went away; another one gets it if a store keeps it.

        It comes after the others, because the consumer may have failed over this one, and the next
        one would, too.
        """
        if outcome.comes_again:
            self._returned.append(outcome)
            self.wake()

    def grown(self) -> None:
        """Learn that no more orders will be added."""
        self.growing = False
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._changed.set()

    async def changed(self) -> None:
        """Wait until there is a reason to look again."""
        self._changed.clear()
        await self._changed.wait()

    async def take(self) -> PollOutcome[Any] | None:
        """The next outcome that is ready; None when there is none at the moment."""
        silent = self._withheld or self._lost is not None
        if not silent and (self._ready or self._returned):
            await self._before()
        if self._lost is not None:
            raise self._lost
        if self._withheld:
            return None
        if self._ready:
            return self._ready.popleft()
        while self._returned:
            outcome = self._returned.popleft()
            if outcome.comes_again:  # else somebody called done() meanwhile
                return outcome
        return None

    def is_over(self, *, waits: bool) -> bool:
        """Whether nothing more will come; ``waits`` is for orders that are tracked later, too."""
        if waits:
            return self._left
        if self._error is not None:
            raise self._error
        return not self.open and not self.growing

    async def next(self) -> PollOutcome[Any] | None:
        """The next outcome; None when all have been given out."""
        while (outcome := await self.take()) is None and not self.is_over(waits=False):
            await self.changed()
        return outcome


class Outcomes(AsyncGenerator[PollOutcome[Any], None]):
    """Outcomes for one consumer, who has the last one in hand until it asks for the next (M-23).

    A consumer that goes away with an outcome in hand (cancelled, an error, ``break``) gives it
    back, unless it was done. ``Outcomes`` is a class because a generator ends for good when a wait
    for its next item is cancelled, as ``asyncio.wait_for(anext(...))`` does.
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
        self._busy = False
        self._closed = False

    async def asend(self, value: None = None, /) -> PollOutcome[Any]:  # noqa: ARG002
        """Return the next outcome. Asking for it says that the one before took effect."""
        if self._busy:
            raise UsageError("two tasks share one consumer: call outcomes() once for each")
        self._busy = True
        try:
            return await self._next()
        finally:
            self._busy = False

    async def _next(self) -> PollOutcome[Any]:
        if self._closed:
            raise StopAsyncIteration
        if self._collector is None:
            self._collector = self._opened()
        taken, self._in_hand = self._in_hand, None
        if taken is not None:
            await self._took(taken)
        while not self._closed:
            outcome = self._in_hand = await self._collector.take()
            if outcome is not None:
                return outcome
            if self._collector.is_over(waits=self._waits):
                self._closed = True
            else:
                await self._collector.changed()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End this consumer; an outcome that is not done goes to the next one."""
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
        """End this consumer with an error, as a generator does that catches nothing."""
        await self.aclose()
        if isinstance(typ, BaseException):
            raise typ
        raise val if isinstance(val, BaseException) else typ()

    def __del__(self) -> None:
        if self._in_hand is None or self._collector is None:
            return
        loop = self._collector.loop
        if loop is running_loop():
            self._give_back()
        else:  # the garbage collector ran in another thread, or after the loop
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
                loop.call_soon_threadsafe(self._collector.give_back, self._in_hand)

    def _give_back(self) -> None:
        outcome, self._in_hand = self._in_hand, None
        if outcome is not None and self._collector is not None:
            self._collector.give_back(outcome)
