"""Tasks of a user that raise, hang, or end in the ways in which tasks should not."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from chaoying_async.exceptions import SessionClosedError, StoreInUseError

#: How often a task was called, by the number of its order.
CALLS: Counter[str] = Counter()
#: Set when tasks that hang may go on.
GO_ON = threading.Event()
#: Set when those of them that are async may.
LET_GO = threading.Event()
HERE = __name__


class OfALibrary(BaseException):
    """As trio's Cancelled, greenlet's exit and gevent's Timeout: no Exception."""


async def _cancelled() -> None:
    inner = asyncio.ensure_future(asyncio.sleep(60))
    inner.cancel()
    await inner


async def _ends_itself(*, later: bool) -> None:
    """As a time-out or a scope of a library does that cancels the task which it is in."""
    this = asyncio.current_task()
    assert this is not None
    this.cancel()
    if not later:
        await asyncio.sleep(60)


async def _hangs() -> None:
    """For a minute, or until a test lets it go."""
    for _ in range(600):
        if LET_GO.is_set():
            return
        await asyncio.sleep(0.1)


def _raising(error: BaseException) -> Callable[[], None]:
    def trouble() -> None:
        raise error

    return trouble


#: What a task does on its first call, by the beginning of its order's number.
TROUBLES: Mapping[str, Callable[[], Any]] = {
    "RAISES": _raising(ValueError("the shop is out of order")),
    "CLOSED": _raising(SessionClosedError("the task's own session")),
    "IN_USE": _raising(StoreInUseError("the task's own store")),
    "EXITS": _raising(SystemExit(1)),
    "OF_A_LIBRARY": _raising(OfALibrary()),
    "GROUP": _raising(BaseExceptionGroup("of a task group", [OfALibrary()])),
    "CANCELLED": _cancelled,
    "ENDS_ITSELF": partial(_ends_itself, later=False),
    "ENDS_ITSELF_LATER": partial(_ends_itself, later=True),
    "HANGS": _hangs,
}


async def ended(outcome: Mapping[str, Any]) -> None:
    """The first call of an order is in trouble."""
    number = outcome["out_trade_no"]
    CALLS[number] += 1
    trouble = TROUBLES.get(number.partition("-")[0])
    if trouble is not None and CALLS[number] == 1:
        waiting = trouble()
        if waiting is not None:
            await waiting


def blocked(outcome: Mapping[str, Any]) -> None:
    """A task that is not async, and hangs."""
    CALLS[outcome["out_trade_no"]] += 1
    GO_ON.wait(60)
