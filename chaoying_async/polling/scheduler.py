"""Who is asked next, when, and what becomes of the answer; knows nothing of who waits for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from chaoying_async.abc import Clock, Gateway
from chaoying_async.exceptions import TransportError
from chaoying_async.polling.outcome import PollOutcome, PollStats
from chaoying_async.polling.queue import Entry, Line, Sleepers
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.api.follow_up import OrderQuery, OrderQueryResult
from chaoying_async.sansio.meaning import PaidOrder, paid_order
from chaoying_async.sansio.payments.refunded_order import refunded_order
from chaoying_async.sansio.polling.breaker import CLOSED, Breaker
from chaoying_async.sansio.polling.pacing import Bucket
from chaoying_async.sansio.polling.schedule import Done, Wait, next_step
from chaoying_async.sansio.polling.status import (
    Answer,
    PollStatus,
    Says,
    read_answer,
    taken_together,
)

Finish = Callable[[Entry, PollOutcome[Any]], None]
Learnt = Callable[[Entry], None]


class Asking:
    """The scheduler's task, and a task for each query under way."""

    def __init__(
        self,
        gateway: Gateway,
        clock: Clock,
        rng: random.Random,
        *,
        concurrency: int,
        rate: float | None,
        merchant_rate: float | None,
        finish: Finish,
        learnt: Learnt | None = None,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._rng = rng
        self._concurrency = concurrency
        self._bucket = None if rate is None else Bucket.per_second(rate)
        self._finish = finish
        self._learnt = learnt
        self._sleepers = Sleepers()
        self._line = Line(merchant_rate)
        self._breaker: Breaker = CLOSED
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._wakes_at: float | None = None
        self._closing = False
        self._polls = 0
        self._errors = 0
        self._group: asyncio.TaskGroup | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin; everything runs in that group."""
        self._group = group
        self._closing = False
        self._wake = asyncio.Event()
        self._scheduler = group.create_task(self._schedule())

    def stop(self) -> None:
        """Cancel the scheduler and every query under way; reads, so nothing is lost."""
        self._closing = True
        self._scheduler.cancel()
        for task in self._tasks:
            task.cancel()

    def add(self, entry: Entry) -> None:
        """Wait for a new order, or one that was kept: its next query is a step like any other.

        What was kept never decides: where it would, one more query does (M-23).
        """
        step = next_step(
            entry.schedule,
            entry.attempts,
            entry.sent - entry.started,
            entry.standing,
            self._rng.random(),
        )
        self._sleep(entry, step.seconds if isinstance(step, Wait) else 0.0)

    def ask_now(self, entry: Entry) -> None:
        """Do not wait for the next moment of its schedule, unless it is being asked already."""
        if entry.asleep and not entry.ended:
            entry.asleep = False
            entry.due = self._clock.monotonic()
            self._line.push(entry)
            self._wake.set()

    def tidy(self, alive: int) -> None:
        """Let go of orders that ended without having been asked again."""
        self._sleepers.tidy(alive)

    def outcome(
        self,
        entry: Entry,
        status: PollStatus,
        *,
        said: Reply[Any] | Exception | None = None,
        paid: PaidOrder | None = None,
    ) -> PollOutcome[Any]:
        """The end of an order, with what the last query said."""
        reply = said if isinstance(said, Reply) else None
        if paid is None and reply is not None and isinstance(reply.result, OrderQueryResult):
            paid = paid_order(reply.result, mch_id=entry.merchant, raw=reply.raw)
        if (
            status is PollStatus.REFUNDED
            and isinstance(entry.query, OrderQuery)
            and reply is not None
        ):
            number = entry.query.out_trade_no
            paid = refunded_order(reply.raw, mch_id=entry.merchant, out_trade_no=number)
        return PollOutcome(
            query=entry.query,
            status=status,
            reply=reply,
            paid=paid,
            error=said if isinstance(said, Exception) else None,
            attempts=entry.attempts,
            elapsed=self._clock.monotonic() - entry.started,
        )

    def stats(self, *, pending: int) -> PollStats:
        """See ``Poller.stats``."""
        now = self._clock.monotonic()
        due = [entry.due for entry in self._line.entries() if entry.due <= now]
        return PollStats(
            pending=pending,
            in_flight=len(self._tasks),
            due=len(due),
            lag=now - min(due) if due else 0.0,
            polls=self._polls,
            errors=self._errors,
            breaker_open=self._breaker.is_open,
        )

    async def _schedule(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            self._line.order_by_deadline(self._breaker.is_open)
            self._rouse(now)
            while len(self._tasks) < self._concurrency and (entry := self._next(now)) is not None:
                self._send(entry)
            await self._sleep_until(self._next_moment(now))

    def _rouse(self, now: float) -> None:
        for entry in self._sleepers.due(now):
            if entry.asleep and entry.due <= now:  # else it was asked out of turn meanwhile
                entry.asleep = False
                self._line.push(entry)

    def _next(self, now: float) -> Entry | None:
        """Who is asked now, taken out of the line; None when nobody may be."""
        if self._bucket is not None and self._bucket.wait(now):
            return None
        entry = self._line.peek(now)
        if entry is None or not self._breaker_lets(entry, now):
            return None
        self._line.pop(now)
        if self._bucket is not None:
            self._bucket = self._bucket.take(now)
        entry.sent = now
        return entry

    def _breaker_lets(self, entry: Entry, now: float) -> bool:
        probe_at = self._breaker.probe_at
        if probe_at is None or entry.deadline <= now:  # M-23: a last query leaves all the same
            return True
        if probe_at > now:
            return False
        self._breaker = self._breaker.probed(now)
        return True

    def _send(self, entry: Entry) -> None:
        if self._group is None:  # cannot be: the scheduler runs in it
            return
        task = self._group.create_task(self._ask(entry))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()

    async def _ask(self, entry: Entry) -> None:
        """Ask, and then ask whoever waits for a turn: a task for each would cost them more."""
        following: Entry | None = entry
        left = _QUERIES_A_TASK
        while following is not None:
            left -= 1
            goes_on = await self._asked(following) and left > 0
            following = self._next(self._clock.monotonic()) if goes_on else None

    async def _asked(self, entry: Entry) -> bool:
        """One query; False when its task had better end, since somebody else cancelled it."""
        said: Reply[Any] | Exception
        cancelled = False
        try:
            said = await self._gateway.send(entry.query)
        except Exception as error:  # noqa: BLE001 - one failing query takes nothing else down
            said = error
        except asyncio.CancelledError:
            if self._closing:
                raise
            cancelled = True
            said = TransportError("the query was cancelled by somebody else")
        self._heard(entry, said)
        return not cancelled

    def _heard(self, entry: Entry, said: Reply[Any] | Exception) -> None:
        self._polls += 1
        self._errors += isinstance(said, Exception)
        try:
            answer = read_answer(entry.query, said, entry.expected)
        except Exception as error:  # noqa: BLE001 - a gateway of the user's that returns no Reply
            said, answer = error, Answer(Says.TROUBLE)
        trouble = answer.says is Says.TROUBLE
        if trouble or self._breaker is not CLOSED:
            self._breaker = self._breaker.heard(trouble=trouble, now=self._clock.monotonic())
        if entry.ended:
            return  # settled while it was being asked
        entry.attempts += 1
        entry.standing = taken_together(entry.standing, answer)
        elapsed = entry.sent - entry.started
        if entry.sent >= entry.deadline:  # sums of floats drift
            elapsed = max(elapsed, entry.schedule.until)
        step = next_step(
            entry.schedule, entry.attempts, elapsed, entry.standing, self._rng.random()
        )
        if isinstance(step, Wait):
            self._sleep(entry, step.seconds)
            if self._learnt is not None:
                self._learnt(entry)
        else:
            status = step.status if isinstance(step, Done) else PollStatus.EXPIRED
            self._finish(entry, self.outcome(entry, status, said=said))

    def _sleep(self, entry: Entry, seconds: float) -> None:
        due, deadline = max(entry.sent + seconds, self._clock.monotonic()), entry.deadline
        entry.due = deadline if deadline - _SAME <= due < deadline else due
        entry.asleep = True
        self._sleepers.push(entry)
        if self._wakes_at is None or entry.due < self._wakes_at:
            self._wake.set()

    def _next_moment(self, now: float) -> float | None:
        """When something may change by time alone; None when only an answer can change it."""
        moments = [self._sleepers.next_due()]
        if len(self._tasks) < self._concurrency:
            moments.append(self._line.next_free())
            if (entry := self._line.peek(now)) is not None:
                moments.append(self._when_it_may_leave(entry, now))
        return min((moment for moment in moments if moment is not None), default=None)

    def _when_it_may_leave(self, entry: Entry, now: float) -> float:
        token = now + (self._bucket.wait(now) if self._bucket is not None else 0.0)
        probe_at = self._breaker.probe_at
        return token if probe_at is None else max(token, min(probe_at, entry.deadline))

    async def _sleep_until(self, moment: float | None) -> None:
        """Until then, or until something happens that changes the plan."""
        self._wakes_at = moment
        left = None if moment is None else moment - self._clock.monotonic()
        if left is not None and left <= 0:
            await self._clock.sleep(0)
            return
        try:
            async with self._clock.timeout(left):
                await self._wake.wait()
        except TimeoutError:
            pass


#: A gateway that never waits would keep the loop for itself.
_QUERIES_A_TASK = 16
#: Sums of floats drift: a query that is due this near to the deadline is the last one.
_SAME = 1e-6
