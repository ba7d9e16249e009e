"""Runs the user's function under its order's lock, and records what the order came to (M-16)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Generic, NamedTuple, TypeVar

import attrs

from chaoying_async.abc import Clock, Inbox, LockedOrder
from chaoying_async.clock import within
from chaoying_async.notifications.answering import Counts
from chaoying_async.notifications.callbacks import EffectCall
from chaoying_async.notifications.deciding import DecidedMessage, Message
from chaoying_async.notifications.reporting import Reporter, log, retry_in
from chaoying_async.notifications.tasks import Stage, must_propagate
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import (
    ClaimLostError,
    Entry,
    LookAgainError,
    OrderKey,
    Record,
    SeenState,
    TransactionEndedError,
)

#: Seconds that recording may take, be it an effect or a failure: a database may hang.
RECORD_WITHIN = 5.0
#: Seconds after which work here no longer speaks for its order: another one asks the inbox then.
SPEAKS_FOR = 30.0

T = TypeVar("T")

#: Called under the order's lock: what is to be run, or None where nothing is.
Decide = Callable[[LockedOrder], Awaitable[DecidedMessage | None]]


@attrs.define
class Attempt:
    """One try to let an order take effect."""

    key: OrderKey
    entry: Entry
    """What the message says, as far as that is known before the lock."""
    message: Message
    """What is told: by its ``until`` the order is locked."""
    was_locked: bool = False
    """Whether the order's lock was ours."""
    before: Record | None = None
    """The order's record, read under the lock."""
    decided: DecidedMessage | None = None
    """What is run, as it was decided under the lock; None as long as nothing is."""
    is_durable: bool = False
    """Whether the effect is recorded."""
    is_kept: bool = False
    """Whether something was recorded: the effect, or its failure and the next try."""


class Work(NamedTuple):
    """Work on an order in this process."""

    ended: asyncio.Event
    since: float


class EffectRunner:
    """Runs ``on_paid`` and ``on_paid_after_close``."""

    def __init__(
        self,
        inbox: Inbox,
        clock: Clock,
        calls: Mapping[Decision, EffectCall],
        reporter: Reporter,
        counts: Counts,
    ) -> None:
        self._inbox = inbox
        self._clock = clock
        self._calls = calls
        self._reporter = reporter
        self._counts = counts
        self._working: dict[OrderKey, Work] = {}
        counts.working = self._working

    def ended(self, key: OrderKey) -> asyncio.Event | None:
        """Set when this process has ended its work on an order; None: it does not work on it.

        Nor does it where the work has taken long: its connection may be dead, and the order free.
        """
        work = self._working.get(key)
        if work is None or self._clock.monotonic() - work.since >= SPEAKS_FOR:
            return None
        return work.ended

    async def run(self, attempt: Attempt, decide: Decide) -> None:
        """Lock the order, decide, run the function and record it; a failure is recorded as well.

        Nothing happens where somebody else is at work on the order: ``was_locked`` is False then.
        Nothing has happened either where the work was undone for somebody else's sake.
        """
        key, work = attempt.key, Work(asyncio.Event(), self._clock.monotonic())
        if self.ended(key) is None:
            self._working[key] = work
        elif not await self._is_done(key):
            return
        try:
            await self._run(attempt, decide)
        except LookAgainError as error:
            attempt.was_locked, attempt.decided = False, None
            attempt.message.was_undone = True
            if isinstance(error, ClaimLostError):
                self._counts.add("failed")
                log.warning("order %r: %s", key.out_trade_no, error)
        except BaseException as error:  # noqa: BLE001 - the end of the process goes on up from there
            await self._deal_with(error, attempt)
        finally:
            if self._working.get(key) is work:
                del self._working[key]
            work.ended.set()

    async def _is_done(self, key: OrderKey) -> bool:
        """Whether the order needs no lock, whoever is at work on it."""
        before = await self._inbox.look(key)
        return before is not None and before.state is SeenState.DONE

    async def _run(self, attempt: Attempt, decide: Decide) -> None:
        locking = self._inbox.lock(attempt.key, attempt.entry)
        async with LeftInTime(locking, self._clock, RECORD_WITHIN) as order:
            if order is None:
                return
            attempt.was_locked, attempt.before = True, order.before
            decided = await decide(order)
            if decided is None or decided.verdict.paid is None:
                return
            attempt.decided = decided
            call, running = self._calls[decided.verdict.decision], _running(attempt.message)
            await call(decided.verdict.paid, order, running)
            entry = decided.entry(payload=False)
            await within(self._clock, RECORD_WITHIN, order.save(SeenState.DONE, entry))
        attempt.is_durable = attempt.is_kept = True

    async def _deal_with(self, error: BaseException, attempt: Attempt) -> None:
        """Deal with what ended the work; a failing order takes nothing else down."""
        decided = attempt.decided
        if decided is None or must_propagate(error):
            raise error
        name, number = self._calls[decided.verdict.decision].name, attempt.key.out_trade_no
        self._counts.add("failed")
        entry = decided.entry(payload=True)
        if isinstance(error, TransactionEndedError):
            reason = f"{name} ended the transaction that it was lent"
            if await self._record(attempt, entry, SeenState.QUARANTINED, reason):
                await self._reporter.report(Decision.CONFLICT, reason, attempt.key)
            return
        failures = await self._record(attempt, entry, SeenState.HELD)
        if failures > 1:
            log.info("%s of order %r failed again: %s", name, number, type(error).__name__)
        else:
            log.error("%s of order %r failed; it is tried again", name, number, exc_info=error)

    async def _record(
        self, attempt: Attempt, entry: Entry, state: SeenState, reason: str = ""
    ) -> int:
        """Record a failure under the order's lock; how many there are, 0: it was not recorded.

        Nothing is written over what somebody has done since, nor where somebody is at work now:
        whoever that is has the order.
        """
        seen = 0 if attempt.before is None else attempt.before.token
        try:
            async with (
                self._clock.timeout(RECORD_WITHIN),
                self._inbox.lock(attempt.key, entry) as order,
            ):
                if order is None or not is_as_it_was(order.before, seen):
                    return 0
                failures = 1 + (0 if order.before is None else order.before.failures)
                await order.save(
                    state,
                    entry,
                    failures=failures,
                    reason=reason,
                    retry_in=retry_in(failures - 1),
                )
        except BaseException as error:  # the gateway delivers the message again
            if must_propagate(error):
                raise
            log.warning("a failure could not be recorded: %s", type(error).__name__)
            return 0
        attempt.is_kept = True
        return failures


@contextmanager
def _running(message: Message) -> Generator[None]:
    message.stage = Stage.RUNNING
    try:
        yield
    finally:
        message.stage = Stage.AFTER


class LeftInTime(Generic[T]):
    """A block that is left within some seconds, or given up: a database may hang."""

    def __init__(self, block: AbstractAsyncContextManager[T], clock: Clock, seconds: float) -> None:
        self._block, self._clock, self._seconds = block, clock, seconds

    async def __aenter__(self) -> T:
        return await self._block.__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        leaving = self._block.__aexit__(exc_type, exc, traceback)
        return await within(self._clock, self._seconds, leaving)


def is_as_it_was(record: Record | None, token: int) -> bool:
    """Whether nobody has recorded anything since the record with this token (0: none) was read.

    A token that is one higher is of our own try: ``on_paid`` has committed it by itself.
    """
    if record is None:
        return token == 0
    ended = record.state in (SeenState.DONE, SeenState.QUARANTINED)
    return not ended and record.token - token in (0, 1)
