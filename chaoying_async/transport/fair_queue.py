"""Queues callers fairly in front of a pool: whoever asked first gets the next free connection."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from chaoying_async.transport.errors import not_sent

if TYPE_CHECKING:
    from chaoying_async.abc import Clock


#: From this length on, cancelled callers are removed from the queue.
_UNTIDY = 64


class FairQueue:
    """At most ``places`` calls at once, the others first come, first served; None: no limit.

    A place that becomes free is handed to the longest waiting caller itself, so that a newcomer
    cannot slip in between (aiohttp's connector and httpcore's pool both let it). Waiting costs
    O(1), however many wait.

    anyio's ``CapacityLimiter`` is fair too, but was measured and left out: with 1,000 calls in
    flight a place costs 80 µs instead of 31, and versions that we support (4.4) lose the place of a
    caller who is cancelled in the moment of his turn.
    """

    __slots__ = ("_clock", "_free", "_shut", "_waiting")

    def __init__(self, places: int | None, clock: Clock) -> None:
        self._free = float("inf") if places is None else max(1, places)
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._shut = False

    def try_enter(self) -> bool:
        """Take a place if one is free. While anybody waits none is: `leave` hands it on."""
        if self._free < 1 or self._shut:
            return False
        self._free -= 1
        return True

    async def enter(self, seconds: float | None) -> None:
        """Wait for a place; :class:`RequestNotSentError` after ``seconds`` or when shut."""
        if self._shut:
            raise not_sent("the connection pool is closed")
        if self.try_enter():
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with self._clock.timeout(seconds):
                await turn
        except BaseException as exc:
            self._give_up(turn)
            if isinstance(exc, TimeoutError):
                raise not_sent(f"no connection of the pool was free for {seconds} s") from exc
            raise

    def leave(self) -> None:
        """Give the place to the longest waiting caller."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def shut(self) -> None:
        """End all waiting: nothing was sent for any of these callers."""
        self._shut = True
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(not_sent("the connection pool was closed"))

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if not turn.done() or turn.cancelled():
            turn.cancel()  # `leave` skips it
            if len(self._waiting) > _UNTIDY and self._waiting[0] is not turn:
                self._remove_cancelled()
        elif turn.exception() is None:
            self.leave()  # the place was handed over in the same moment: pass it on

    def _remove_cancelled(self) -> None:
        """Without this, cancelled callers would pile up while every connection hangs."""
        if sum(turn.done() for turn in self._waiting) * 2 > len(self._waiting):
            self._waiting = deque(turn for turn in self._waiting if not turn.done())
