"""A clock that runs faster than the real one, for an afternoon of redelivery in a minute."""

from __future__ import annotations

import asyncio
from datetime import datetime

from chaoying_async.clock import SystemClock


class FastClock(SystemClock):
    """The real clock, ``speed`` times as fast.

    Time-outs keep real seconds: they measure how long somebody else takes to answer, and that
    somebody does not run faster. ``timeouts_too`` is for engines that wait with them (a poller).
    """

    def __init__(self, speed: float, *, timeouts_too: bool = False) -> None:
        if not speed > 0:
            raise ValueError("speed must be above 0")
        self._speed = speed
        self._hurry = speed if timeouts_too else 1.0
        self._began = super().now()
        self._zero = super().monotonic()

    @property
    def speed(self) -> float:
        """How many seconds of this clock pass in a real second."""
        return self._speed

    def now(self) -> datetime:
        """The wall clock, which started right and has run fast since."""
        real = super().now()
        return self._began + (real - self._began) * self._speed

    def monotonic(self) -> float:
        """Seconds on this clock."""
        return self._zero + (super().monotonic() - self._zero) * self._speed

    async def sleep(self, seconds: float) -> None:
        """Sleep so many seconds of this clock."""
        await super().sleep(seconds / self._speed)

    def timeout(self, seconds: float | None) -> asyncio.Timeout:
        """A time-out in real seconds, or in seconds of this clock."""
        return super().timeout(None if seconds is None else seconds / self._hurry)
