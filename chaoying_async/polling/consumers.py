"""Where outcomes go: to one who awaits a single order, or to a line that is read as they end."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Iterable
from typing import Any

from chaoying_async.exceptions import SessionClosedError
from chaoying_async.polling.outcome import PollOutcome
from chaoying_async.polling.queue import Sink
from chaoying_async.sansio.polling.status import Query

log = logging.getLogger("chaoying_async.polling")

#: What ``run`` takes: queries, or queries with their expected amounts in fen.
Wanted = Query | tuple[Query, int | None]


#: Awaited before an outcome is given out: whether the store is ours still (M-23). What it raises is
#: the consumer's, and the outcome stays.
Before = Callable[[], Awaitable[None]]


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
        """Wait for it."""
        return await self._future


class Collector:
    """Outcomes in the order in which they came, and how many are still to come."""

    def __init__(self, before: Before | None = None) -> None:
        self.alone: tuple[Sink, ...] = (self,)
        #: Whose loop it is: nobody else may wait here.
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
        #: True: more orders may yet be added, so an empty one is not at its end.
        self.growing = False

    @property
    def held(self) -> int:
        """Orders that are not with the consumer yet, ended or not."""
        return self.open + len(self._ready)

    @property
    def unread(self) -> int:
        """Outcomes that wait for a consumer."""
        return len(self._ready) + sum(outcome.comes_again for outcome in self._returned)

    def deliver(self, outcome: PollOutcome[Any]) -> None:
        """See ``Sink``."""
        self.open -= 1
        self._ready.append(outcome)
        self.wake()

    def fail(self, error: Exception) -> None:
        """See ``Sink``; also what the source of queries raised. Outcomes come first."""
        self._error = error
        self.wake()

    def lose(self, error: Exception) -> None:
        """Nothing more is given out, whatever is ready: the store's new owner gives it out."""
        self._lost = error
        self.wake()

    def leave(self, error: Exception, *, withhold: bool) -> None:
        """The poller's block is left; with ``withhold`` the store's next poller gives out the rest.

        Who waits for what is tracked later is at the end then; who waits for all that was tracked
        gets ``error`` unless all of it was given out.
        """
        self._left, self._withheld = True, withhold
        if self.unread and withhold:
            self._error = error
        elif self.unread:
            log.warning("the poller was left with %s outcomes that nobody has read", self.unread)
        self.wake()

    def give_back(self, outcome: PollOutcome[Any]) -> None:
        """Its consumer went away. What a store still keeps goes to the next one, after the others.

        After the others, because the consumer may have failed over this one, and would again.
        """
        if outcome.comes_again:
            self._returned.append(outcome)
            self.wake()

    def grown(self) -> None:
        """No more orders will be added."""
        self.growing = False
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._changed.set()

    async def changed(self) -> None:
        """Wait until there is a reason to look again."""
        self._changed.clear()
        await self._changed.wait()

    async def taken(self) -> PollOutcome[Any] | None:
        """As :meth:`take`, once it is known again that outcomes may be given out at all."""
        silent = self._withheld or self._lost is not None
        if self._before is not None and not silent and (self._ready or self._returned):
            await self._before()
        return self.take()

    def take(self) -> PollOutcome[Any] | None:
        """The next outcome that is ready; None when there is none at the moment."""
        if self._lost is not None:
            raise self._lost
        if self._withheld:
            return None
        if self._ready:
            return self._ready.popleft()
        while self._returned:
            outcome = self._returned.popleft()
            if outcome.comes_again:  # else it was done meanwhile
                return outcome
        return None

    def is_over(self, *, waits: bool) -> bool:
        """Whether nothing more will come; ``waits`` is for those that are tracked later, too."""
        if waits:
            return self._left
        if self._error is not None:
            raise self._error
        return not self.open and not self.growing

    async def next(self) -> PollOutcome[Any] | None:
        """The next outcome; None when all have been given out."""
        while (outcome := await self.taken()) is None and not self.is_over(waits=False):
            await self.changed()
        return outcome


async def each(source: Iterable[Wanted] | AsyncIterable[Wanted]) -> AsyncGenerator[Wanted]:
    """The items of either kind of iterable, pulled one by one."""
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item


async def fed(feeding: Coroutine[Any, Any, None], collector: Collector) -> None:
    """Do the feeding; however it ends, the collector's consumer is told."""
    try:
        await feeding
    except Exception as error:  # noqa: BLE001 - whatever the source raises is the consumer's
        collector.fail(error)
    except asyncio.CancelledError:
        collector.fail(SessionClosedError("the poller was closed before the last query"))
        raise
    finally:
        collector.grown()


def query_and_amount(item: Wanted, expected: int | None) -> tuple[Query, int | None]:
    """What one item asks for."""
    return item if isinstance(item, tuple) else (item, expected)
