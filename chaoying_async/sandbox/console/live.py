"""Tells browsers that something changed, by Server-Sent Events.

The event does not say what changed: the page asks for itself again and takes over what differs. So
there is one way to draw a page, and a browser that missed an event loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from chaoying_async.abc import Clock

#: Real seconds after which pages that wait for a moment (an order about to expire) look again.
TICK = 2.0
#: At most this many events a second are sent to one browser.
AT_MOST = 5


class Bell:
    """A signal that something changed, for any number of browsers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()
        self._closed = asyncio.Event()

    def ring(self) -> None:
        """Tell all browsers that something changed."""
        self._rung.set()
        self._rung = asyncio.Event()  # who listens holds the old one

    def close(self) -> None:
        """End all streams, so that the server can end."""
        self._closed.set()
        self.ring()

    async def stream(self, stays: Callable[[], bool] = lambda: True) -> AsyncGenerator[str]:
        """The events for one browser, while ``stays`` allows it."""
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
