"""Telling browsers that something changed, over Server-Sent Events.

What changed is not said: a page that hears of it asks for itself again, and takes over what is
different. So there is one way to draw a page, and a browser that missed something loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from chaoying_async.abc import Clock

#: Real seconds after which pages that wait for a moment (an order about to expire) look again.
TICK = 2.0
#: No more than so many events a second leave for one browser.
AT_MOST = 5


class Bell:
    """Rung when something changed; any number of browsers listen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()
        self._closed = asyncio.Event()

    def ring(self) -> None:
        """Something changed."""
        self._rung.set()
        self._rung = asyncio.Event()  # who listens holds the old one

    def close(self) -> None:
        """End all streams, so that the server can end."""
        self._closed.set()
        self.ring()

    async def stream(self, stays: Callable[[], bool] = lambda: True) -> AsyncGenerator[str]:
        """What one browser is sent, as long as it may hear it."""
        rung = self._rung
        yield "retry: 1000\n\n"
        while not self._closed.is_set() and stays():
            with suppress(TimeoutError):
                async with self._clock.timeout(TICK):
                    await rung.wait()
            changed, rung = rung.is_set(), self._rung
            yield f"event: {'changed' if changed else 'tick'}\ndata:\n\n"
            with suppress(TimeoutError):  # a breath, unless it is over
                async with self._clock.timeout(1 / AT_MOST):
                    await self._closed.wait()
