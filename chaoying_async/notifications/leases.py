"""Renews the claims of orders that are worked on, and ends work whose claim is lost (M-16)."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self

from chaoying_async.abc import Clock, Inbox
from chaoying_async.notifications.tasks import ended
from chaoying_async.sansio.notifications.inbox_values import Claim, ClaimLostError

#: Seconds: a claim's lease, how often it is renewed, and how long before its end work is ended.
LEASE = 30.0
RENEW_EVERY = 10.0
MARGIN = 5.0
#: After a renewal that failed, seconds until the next try.
AGAIN_AFTER = 1.0


class Renewals:
    """Renews every claim that this process works on; one waiting task for all of them.

    Most work ends long before its first renewal, so a claim costs an entry in a dictionary.
    """

    def __init__(self, inbox: Inbox, clock: Clock) -> None:
        self._inbox, self._clock = inbox, clock
        self._held: set[Renewal] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._wakes_at = 0.0
        #: Whether the waiting task outlives the last claim, since the next one is not far.
        self.lingers = False

    def of(self, claim: Claim, since: float) -> Renewal:
        """Renew this claim while the block runs; ``since``: the moment before it was asked for."""
        return Renewal(self, self._inbox, claim, self._clock, since)

    def add(self, renewal: Renewal) -> None:
        if not self._inbox.renews:
            return
        self._held.add(renewal)
        if self._ticker is not None and not self._ticker.done() and not self._ticker.cancelling():
            if self._wakes_at <= renewal.due:
                return
            self._ticker.cancel()
        self._ticker = asyncio.create_task(self._tick())

    def drop(self, renewal: Renewal) -> None:
        """Stop renewing this claim."""
        self._held.discard(renewal)
        if not self._held and not self.lingers and self._ticker is not None:
            self._ticker.cancel()

    async def close(self) -> None:
        """End the waiting task."""
        self.lingers = False
        if self._ticker is not None:
            self._ticker.cancel()
            await ended([self._ticker])

    async def _tick(self) -> None:
        while self._held or self.lingers:
            # A claim that is made from now on is not due before that.
            idle = self._clock.monotonic() + RENEW_EVERY
            self._wakes_at = min((renewal.due for renewal in self._held), default=idle)
            await self._clock.sleep(self._wakes_at - self._clock.monotonic())
            now = self._clock.monotonic()
            for renewal in [each for each in self._held if each.due <= now]:
                renewal.start()


class Renewal:
    """Renews one claim while the block runs; cancels the block when the claim is lost.

    A claim is lost when it is somebody else's, or could not be renewed until :data:`MARGIN` seconds
    before its end; a renewal that raises is tried again. The block then ends with
    ``ClaimLostError``, even if it ignored that it was cancelled.
    """

    def __init__(
        self, renewals: Renewals, inbox: Inbox, claim: Claim, clock: Clock, since: float
    ) -> None:
        self._renewals = renewals
        self._inbox, self._claim, self._clock = inbox, claim, clock
        self._ends = since + LEASE
        self._lost = False
        self._under_way: asyncio.Task[None] | None = None
        #: When to renew the claim next; never, while a renewal is under way.
        self.due = self._next(RENEW_EVERY)

    async def __aenter__(self) -> Self:
        self._block = _current_task()
        self._renewals.add(self)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._renewals.drop(self)
        if self._under_way is not None:
            self._under_way.cancel()
            # The renewal must have ended: what follows is the commit.
            await ended([self._under_way])
        if not self._lost:
            return
        others = self._block.uncancel()
        if exc is None or (isinstance(exc, asyncio.CancelledError) and not others):
            raise ClaimLostError("the claim was lost while its work went on") from exc

    def start(self) -> None:
        """Begin to renew the claim now."""
        self.due = math.inf
        self._under_way = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        pause = AGAIN_AFTER
        asked = self._clock.monotonic()
        try:
            async with self._clock.timeout(max(0.0, self._left())):
                ours = await self._inbox.renew(self._claim, lease=LEASE)
        except Exception:  # noqa: BLE001 - one error is no failure
            if self._left() <= 0:
                self._lose()
                return
        else:
            if not ours:
                self._lose()
                return
            self._ends, pause = asked + LEASE, RENEW_EVERY
        self.due = self._next(pause)
        self._renewals.add(self)  # it may be due before the others

    def _next(self, pause: float) -> float:
        return self._clock.monotonic() + max(0.0, min(pause, self._left()))

    def _left(self) -> float:
        return self._ends - MARGIN - self._clock.monotonic()

    def _lose(self) -> None:
        self._lost = True
        self._renewals.drop(self)
        self._block.cancel()


def _current_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a claim is held inside a task")
    return task
