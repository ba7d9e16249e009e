"""Renews the claim of an order while its work goes on, and ends work whose claim is lost (M-16)."""

from __future__ import annotations

import asyncio
from types import TracebackType

from chaoying_async.abc import Clock, Inbox
from chaoying_async.notifications.tasks import ended, must_propagate
from chaoying_async.sansio.notifications.inbox_values import Claim, ClaimLostError

#: Seconds: a claim's lease, how often it is renewed, and how long before its end work is ended.
LEASE = 30.0
RENEW_EVERY = 10.0
MARGIN = 5.0
#: After a renewal that failed, seconds until the next try.
AGAIN_AFTER = 1.0


class Renewal:
    """Renews one claim while the block runs; cancels the block when the claim is lost.

    A claim is lost when it is somebody else's, or could not be renewed until :data:`MARGIN` seconds
    before its end; a renewal that raises is tried again. The block then ends with
    ``ClaimLostError``, even if it ignored that it was cancelled.
    """

    def __init__(self, inbox: Inbox, claim: Claim, clock: Clock, since: float) -> None:
        self._inbox, self._claim, self._clock = inbox, claim, clock
        #: The lease counts from ``since``, the moment before the claim was asked for.
        self._ends = since + LEASE
        self._lost = False
        #: Whether the inbox is being asked at this moment.
        self._asking = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        block = asyncio.current_task()
        if block is None:
            raise RuntimeError("a claim is held inside a task")
        self._block: asyncio.Task[object] = block
        if self._inbox.renews:
            self._task = asyncio.create_task(self._keep_renewing())

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            if self._asking:  # a renewal must have ended: what follows is the commit
                await ended([self._task])
        if not self._lost:
            return
        others = self._block.uncancel()
        if exc is None or (isinstance(exc, asyncio.CancelledError) and not others):
            raise ClaimLostError("the claim was lost while its work went on") from exc

    async def _keep_renewing(self) -> None:
        pause = RENEW_EVERY
        while not self._lost:
            await self._clock.sleep(max(0.0, min(pause, self._left())))
            asked = self._clock.monotonic()
            self._asking = True
            try:
                async with self._clock.timeout(max(0.0, self._left())):
                    self._lost = not await self._inbox.renew(self._claim, lease=LEASE)
            except BaseException as error:  # one error is no failure
                if must_propagate(error):
                    raise
                self._lost, pause = self._left() <= 0, AGAIN_AFTER
            else:
                self._ends, pause = asked + LEASE, RENEW_EVERY
            self._asking = False
        self._block.cancel()

    def _left(self) -> float:
        return self._ends - MARGIN - self._clock.monotonic()
