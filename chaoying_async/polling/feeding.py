"""Pulls the queries of a run from whatever gives them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any

from chaoying_async.abc import Clock
from chaoying_async.exceptions import SessionClosedError
from chaoying_async.polling.consumers import Collector
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.polling.status import Query

#: What ``run`` takes: queries, or queries with their expected amounts in fen.
PollItem = Query | tuple[Query, int | None]
PollItems = Iterable[PollItem] | AsyncIterable[PollItem]
#: The same where all are orders, or all are refunds: type checkers then know what comes back.
_OrderItem = OrderQuery | tuple[OrderQuery, int | None]
_RefundItem = RefundQuery | tuple[RefundQuery, int | None]
OrderItems = Iterable[_OrderItem] | AsyncIterable[_OrderItem]
RefundItems = Iterable[_RefundItem] | AsyncIterable[_RefundItem]

#: How many orders of one ``run`` are waited for at a time.
AT_ONCE = 10_000
#: After so many queries other tasks run, although the source of queries never waits.
_PULLED_AT_A_TIME = 100


async def each(source: PollItems) -> AsyncGenerator[PollItem]:
    """The items of either kind of iterable, pulled one by one; a generator is closed at the end.

    One that was left to the garbage collector would keep what it has opened.
    """
    if isinstance(source, AsyncIterable):
        items = aiter(source)
        try:
            async for item in items:
                yield item
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()
    else:
        for item in source:
            yield item


async def paced(source: PollItems, clock: Clock) -> AsyncGenerator[PollItem]:
    """The items, with a turn for other tasks now and then."""
    pulled = 0
    async with aclosing(each(source)) as items:
        async for item in items:
            yield item
            pulled += 1
            if pulled % _PULLED_AT_A_TIME == 0:
                await clock.sleep(0)


async def fed(feeding: Coroutine[Any, Any, None], collector: Collector) -> None:
    """Pull the queries of a run; however that ends, the run's consumer hears of it."""
    try:
        await feeding
    except Exception as error:  # noqa: BLE001 - raised to the consumer
        collector.fail(error)
    except asyncio.CancelledError:
        collector.fail(SessionClosedError("the poller was closed before the last query"))
        raise
    finally:
        collector.grown()
