"""A lock for inboxes that have none of their own: a claim with a token and a lease (M-16)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from types import TracebackType

import attrs

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import UsageError
from chaoying_async.sansio.notifications.inbox_values import (
    ClaimLostError,
    Entry,
    OrderKey,
    Record,
    SeenState,
)

#: Seconds: a claim's lease, how often it is renewed, and how long before its end work is ended.
LEASE = 30.0
RENEW_EVERY = 10.0
MARGIN = 5.0
#: After a renewal that failed, seconds until the next try.
AGAIN_AFTER = 1.0
#: Seconds that leaving a claim may take: an answer waits for it, and its lease ends by itself.
LEAVE_WITHIN = 0.2

_LOST = "the claim was lost while the work under it went on"
_RUN_OUT = "the claim had run out before the work under it began"


@attrs.define
class Claim:
    """An order that is ours while its token is the last one; see ``LockedOrder``."""

    key: OrderKey
    before: Record | None
    token: int = 0
    """Another one for each claim; 0 where the order is DONE, and needs none."""
    saved: Record | None = None
    """How the order is to stand when the block has been left."""
    retry_in: float = 0.0

    def lend(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def save(
        self,
        state: SeenState,
        entry: Entry,
        *,
        failures: int = 0,
        reason: str = "",
        retry_in: float = 0.0,
    ) -> None:
        if not self.token or self.saved is not None:
            raise UsageError("this order is recorded already")
        self.retry_in = retry_in
        self.saved = Record(
            key=self.key, state=state, entry=entry, failures=failures, reason=reason
        )


class LeasingInbox(ABC):
    """What memory and Redis share: :meth:`lock`, made of four steps that each inbox does itself."""

    lends_connection = False

    def __init__(self, clock: Clock | None) -> None:
        self._clock: Clock = clock or SystemClock()

    @asynccontextmanager
    async def lock(self, key: OrderKey, entry: Entry) -> AsyncGenerator[Claim | None]:
        since = self._clock.monotonic()
        claim = await self._claim(key, entry)
        if claim is None or not claim.token:
            yield claim
            return
        recorded = False
        try:
            async with Renewal(lambda: self._renew(claim), self._clock, since):
                yield claim
            if claim.saved is not None:
                recorded = await self._save(claim, claim.saved)
                if not recorded:
                    raise ClaimLostError(_LOST)
        finally:
            if not recorded:
                with suppress(Exception):
                    async with self._clock.timeout(LEAVE_WITHIN):
                        await self._leave(claim)

    @abstractmethod
    async def _claim(self, key: OrderKey, entry: Entry, /) -> Claim | None:
        """Take the order for :data:`LEASE` seconds; None where somebody else's lease runs.

        The record stays as it is. An order that is DONE is not taken: its claim has no token.
        """

    @abstractmethod
    async def _renew(self, claim: Claim) -> bool:
        """Let the lease begin anew; False where the claim is no longer ours."""

    @abstractmethod
    async def _save(self, claim: Claim, record: Record) -> bool:
        """End the claim by this record; False, and nothing done, where it is no longer ours."""

    @abstractmethod
    async def _leave(self, claim: Claim) -> None:
        """End the claim without a trace; nothing is done where it is no longer ours."""


class Renewal:
    """Renews a claim while the block runs; cancels the block when the claim is lost.

    A claim is lost when it is somebody else's, or could not be renewed until :data:`MARGIN` seconds
    before its end; a renewal that raises is tried again. The block then ends with
    ``ClaimLostError``, even if it ignored that it was cancelled; a cancellation that came from
    outside stays one. Where it is lost before the block begins, the block does not.
    """

    def __init__(self, renew: Callable[[], Awaitable[bool]], clock: Clock, since: float) -> None:
        self._renew, self._clock = renew, clock
        #: The lease counts from ``since``, the moment before the claim was asked for.
        self._ends = since + LEASE
        self._over = self._lost = False

    async def __aenter__(self) -> None:
        # Its process may have stood still since it asked. Nothing is awaited from here to the
        # effect, so this is the last moment at which nothing has begun.
        if self._left() <= 0:
            raise ClaimLostError(_RUN_OUT)
        block = asyncio.current_task()
        if block is None:
            raise RuntimeError("a claim is held inside a task")
        self._block: asyncio.Task[object] = block
        self._task = asyncio.create_task(self._run(), name="chaoying inbox: renew a claim")

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over = True
        self._task.cancel()
        if not self._lost:
            return
        others = self._block.uncancel()
        ours = isinstance(exc, asyncio.CancelledError) and not others
        if exc is None or isinstance(exc, Exception) or ours:
            raise ClaimLostError(_LOST) from exc

    async def _run(self) -> None:
        try:
            await self._renew_until_lost()
        finally:  # whatever has ended it: nobody renews the claim any more
            if not self._over:
                self._lost = True
                self._block.cancel()

    async def _renew_until_lost(self) -> None:
        pause = RENEW_EVERY
        while True:
            await self._clock.sleep(max(0.0, min(pause, self._left())))
            asked = self._clock.monotonic()
            try:
                async with self._clock.timeout(max(0.0, self._left())):
                    if not await self._renew():
                        return
            except Exception:  # noqa: BLE001 - one error is no failure
                if self._left() <= 0:
                    return
                pause = AGAIN_AFTER
            else:
                self._ends, pause = asked + LEASE, RENEW_EVERY

    def _left(self) -> float:
        return self._ends - MARGIN - self._clock.monotonic()
