"""Where outcomes go: to one who awaits a single order, or to a line that is read as they end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Iterable
from typing import Any

from chaoying_async.exceptions import SessionClosedError
from chaoying_async.poller.line import Sink
from chaoying_async.poller.outcome import PollOutcome
from chaoying_async.sansio.pollstatus import Query

#: What ``run`` takes: queries, or queries with their expected amounts in fen.
Wanted = Query | tuple[Query, int | None]


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

    def __init__(self) -> None:
        self.alone: tuple[Sink, ...] = (self,)
        self._ready: deque[PollOutcome[Any]] = deque()
        self._error: Exception | None = None
        self._changed = asyncio.Event()
        #: Orders that were given to it and have not ended.
        self.open = 0
        #: True: more orders may yet be added, so an empty one is not at its end.
        self.growing = False

    @property
    def held(self) -> int:
        """Orders that are not with the consumer yet, ended or not."""
        return self.open + len(self._ready)

    def deliver(self, outcome: PollOutcome[Any]) -> None:
        """See ``Sink``."""
        self.open -= 1
        self._ready.append(outcome)
        self._changed.set()

    def fail(self, error: Exception) -> None:
        """See ``Sink``; also what the source of queries raised. Outcomes come first."""
        self._error = error
        self._changed.set()

    def lose(self, error: Exception) -> None:
        """Nothing more is given out, whatever is ready: the store's new owner gives it out."""
        self._ready.clear()
        self.fail(error)

    def grown(self) -> None:
        """No more orders will be added."""
        self.growing = False
        self._changed.set()

    async def next(self) -> PollOutcome[Any] | None:
        """The next outcome; None when all have been given out."""
        while not self._ready:
            if self._error is not None:
                raise self._error
            if not self.open and not self.growing:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._ready.popleft()


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
