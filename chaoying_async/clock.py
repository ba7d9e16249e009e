"""The real clock, and a time-out on any clock; tests hand in a ``testing.FakeClock`` instead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

from chaoying_async.abc import Clock

T = TypeVar("T")


class SystemClock:
    """Time as the operating system and the running event loop tell it."""

    def now(self) -> datetime:
        """The current moment, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of the system's monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float | None) -> asyncio.Timeout:
        """``asyncio.timeout``: raises :class:`TimeoutError` when the block takes longer."""
        return asyncio.timeout(seconds)


async def within(clock: Clock, seconds: float, work: Awaitable[T]) -> T:
    """What ``work`` returns, or a :class:`TimeoutError` of the clock where it takes longer."""
    async with clock.timeout(max(0.0, seconds)):
        return await work
