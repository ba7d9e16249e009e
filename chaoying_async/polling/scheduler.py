"""Decides who is asked next and when, sends the queries, and says how each order ended.

One task sleeps until an order is due, and a few tasks send the queries. Who waits for an order is
not known here: ``finish`` is called with each outcome.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from chaoying_async.abc import Clock, Gateway
from chaoying_async.exceptions import TransportError
from chaoying_async.polling.order import read_said
from chaoying_async.polling.outcome import PollOutcome, PollStats
from chaoying_async.polling.queue import DueQueue, QueuedOrder, SleepQueue
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.api.follow_up import OrderQuery, OrderQueryResult
from chaoying_async.sansio.paid import PaidOrder, paid_order, refunded_order
from chaoying_async.sansio.polling.pacing import CLOSED, Breaker, Bucket
from chaoying_async.sansio.polling.status import PollStatus, Says

#: How many queries one task sends: a gateway that never waits would block the event loop.
_QUERIES_A_TASK = 16


class Scheduler:
    """Sleeps until orders are due, and sends their queries within all limits."""

    def __init__(
        self,
        gateway: Gateway,
        clock: Clock,
        rng: random.Random,
        *,
        concurrency: int,
        rate: float | None,
        merchant_rate: float | None,
        finish: Callable[[QueuedOrder, PollOutcome[Any]], None],
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._rng = rng
        self._concurrency = concurrency
        self._bucket = None if rate is None else Bucket.per_second(rate)
        self._finish = finish
        self._sleeping = SleepQueue()
        self._due = DueQueue(merchant_rate)
        self._breaker: Breaker = CLOSED
        self._wakes_at: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._resting = False
        self._polls = self._errors = 0

    def start(self, group: asyncio.TaskGroup, learnt: Callable[[QueuedOrder], None]) -> None:
        """Begin, with all tasks in that group; ``learnt`` hears of answers that did not decide."""
        self._group = group
        self._learnt = learnt
        self._closing = False
        self._wake = asyncio.Event()
        self._scheduling = group.create_task(self._schedule(), name="chaoying poller: schedule")

    def stop(self) -> None:
        """Cancel the scheduler and every query under way; these are reads, so nothing is lost."""
        self._closing = True
        self._scheduling.cancel()
        for task in self._tasks:
            task.cancel()

    async def rest(self) -> None:
        """Ask no more; return when the queries under way have ended."""
        self._resting = True
        self._scheduling.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def add(self, order: QueuedOrder) -> None:
        """Wait for a new order, or for one that a store kept.

        A kept answer never ends an order: where it would, the order is asked about once more at
        once (M-23).
        """
        order.decide(self._clock.monotonic(), self._rng.random())
        self._sleep(order)

    def ask_now(self, order: QueuedOrder) -> None:
        """Do not wait for the next moment of its schedule, unless it is being asked already."""
        if order.asleep and not order.ended:
            order.due = self._clock.monotonic()
            self._make_due(order)
            self._wake.set()

    def tidy(self, alive: int) -> None:
        """Drop orders that ended without having been asked again."""
        self._sleeping.tidy(alive)

    def outcome(
        self,
        order: QueuedOrder,
        status: PollStatus,
        *,
        said: Reply[Any] | Exception | None = None,
        paid: PaidOrder | None = None,
    ) -> PollOutcome[Any]:
        """Build the outcome of an order from what the last query said."""
        reply = said if isinstance(said, Reply) else None
        query = order.query
        if paid is None and reply is not None and isinstance(reply.result, OrderQueryResult):
            paid = paid_order(reply.result, mch_id=order.merchant, raw=reply.raw)
        if status is PollStatus.REFUNDED and reply and isinstance(query, OrderQuery):
            number = query.out_trade_no
            paid = refunded_order(reply.raw, mch_id=order.merchant, out_trade_no=number)
        return PollOutcome(
            query=query,
            status=status,
            reply=reply,
            paid=paid,
            error=said if isinstance(said, Exception) else None,
            attempts=order.attempts,
            elapsed=self._clock.monotonic() - order.started,
        )

    def stats(self, **others: int) -> PollStats:
        """See ``Poller.stats``; ``others`` are the numbers that the poller itself knows."""
        now = self._clock.monotonic()
        due = [order.due for order in self._due.orders() if order.due <= now]
        return PollStats(
            in_flight=len(self._tasks),
            due=len(due),
            lag=now - min(due) if due else 0.0,
            polls=self._polls,
            errors=self._errors,
            breaker_open=self._breaker.is_open,
            **others,
        )

    async def _schedule(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            self._due.order_by_deadline(self._breaker.is_open)
            for woken in self._sleeping.due(now):
                if woken.asleep and woken.due <= now:  # else it was asked out of turn meanwhile
                    self._make_due(woken)
            while len(self._tasks) < self._concurrency and (order := self._next(now)) is not None:
                task = self._group.create_task(self._ask(order), name="chaoying poller: ask")
                self._tasks.add(task)
                task.add_done_callback(self._asked)
            await self._sleep_until(self._next_moment(now))

    def _make_due(self, order: QueuedOrder) -> None:
        order.asleep = False
        self._due.push(order)

    def _next(self, now: float) -> QueuedOrder | None:
        """Take the order that is asked now out of the queue; None when nobody may be asked."""
        if self._resting or (self._bucket is not None and self._bucket.wait(now)):
            return None
        order = self._due.peek(now)
        if order is None or not self._breaker_lets(order, now):
            return None
        self._due.pop(now)
        if self._bucket is not None:
            self._bucket = self._bucket.take(now)
        order.sent = now
        return order

    def _breaker_lets(self, order: QueuedOrder, now: float) -> bool:
        probe_at = self._breaker.probe_at
        if probe_at is None or order.deadline <= now:  # M-23: the last query leaves anyway
            return True
        if probe_at > now:
            return False
        self._breaker = self._breaker.probed(now)
        return True

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()

    async def _ask(self, order: QueuedOrder) -> None:
        """Send this query, and then those of orders that wait: a task for each would cost more."""
        following: QueuedOrder | None = order
        left = _QUERIES_A_TASK
        while following is not None:
            left -= 1
            said: Reply[Any] | Exception
            try:
                said = await self._gateway.send(following.query)
            except Exception as error:  # noqa: BLE001 - one failing query takes nothing else down
                said = error
            except asyncio.CancelledError:
                if self._closing:
                    raise
                said = TransportError("the query was cancelled by somebody else")
                left = 0  # whoever cancelled this task wants it to end
            self._heard(following, said)
            following = self._next(self._clock.monotonic()) if left > 0 else None

    def _heard(self, order: QueuedOrder, said: Reply[Any] | Exception) -> None:
        self._polls += 1
        self._errors += isinstance(said, Exception)
        said, answer = read_said(order.query, said, order.expected)
        now = self._clock.monotonic()
        trouble = answer.says is Says.TROUBLE
        if trouble or self._breaker is not CLOSED:
            self._breaker = self._breaker.heard(trouble=trouble, now=now)
        if order.ended:
            return  # settled while it was being asked
        order.heard(answer)
        status = order.decide(now, self._rng.random())
        if status is None:
            self._sleep(order)
            self._learnt(order)
        else:
            self._finish(order, self.outcome(order, status, said=said))

    def _sleep(self, order: QueuedOrder) -> None:
        order.asleep = True
        self._sleeping.push(order)
        if self._wakes_at is None or order.due < self._wakes_at:
            self._wake.set()

    def _next_moment(self, now: float) -> float | None:
        """When something may change by time alone; None when only an answer can change it."""
        moments = [self._sleeping.next_due()]
        if len(self._tasks) < self._concurrency:
            moments.append(self._due.next_free())
            if (order := self._due.peek(now)) is not None:
                moments.append(self._when_it_may_leave(order, now))
        return min((moment for moment in moments if moment is not None), default=None)

    def _when_it_may_leave(self, order: QueuedOrder, now: float) -> float:
        token = now + (self._bucket.wait(now) if self._bucket is not None else 0.0)
        probe_at = self._breaker.probe_at
        return token if probe_at is None else max(token, min(probe_at, order.deadline))

    async def _sleep_until(self, moment: float | None) -> None:
        """Sleep until then, or until something happens that changes the plan."""
        self._wakes_at = moment
        left = None if moment is None else moment - self._clock.monotonic()
        if left is not None and left <= 0:
            await self._clock.sleep(0)
            return
        with suppress(TimeoutError):
            async with self._clock.timeout(left):
                await self._wake.wait()
