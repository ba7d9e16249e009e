"""``Poller``: waits for thousands of orders at once, and gives out how each ended.

The scheduler asks, the records keep what a store has to know, and the consumers get the outcomes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, overload

from chaoying_async.abc import Clock, Gateway, PollStore
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import (
    ParameterError,
    SessionClosedError,
    UsageError,
    WrongEventLoopError,
)
from chaoying_async.polling.consumers import Collector, Outcomes, Waiter
from chaoying_async.polling.feeding import AT_ONCE, OrderItems, PollItems, RefundItems, fed, paced
from chaoying_async.polling.order import check_amount, merchant_of, number_of
from chaoying_async.polling.outcome import PollOutcome, PollStats
from chaoying_async.polling.queue import Key, Kind, PendingOrders, QueuedOrder, Sink
from chaoying_async.polling.records import LoadedRecords, PollRecords
from chaoying_async.polling.scheduler import Scheduler
from chaoying_async.pollstore.guarded import check_store
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.paid import PaidOrder, RefundedOrder, check_paid
from chaoying_async.sansio.polling.record import PendingOrder
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import PollStatus, Query, amount_fits
from chaoying_async.threads import running_loop

DEFAULT_SCHEDULE = PollSchedule()


class Poller:
    """Asks about each order on its schedule until it is known how it ended.

    ::

        async with Poller(gateway) as poller:
            outcome = await poller.wait(OrderQuery(...), expected=1230)
            if outcome.status is PollStatus.PAID:
                ...

    It only asks: it never pays, refunds or cancels. An undecided order ends EXPIRED, which is not
    "failed": it may have been paid. Give ``expected`` (fen) wherever you know it; without it PAID
    says nothing about the amount.

    ``schedule`` is the default for payments; give refunds ``PollSchedule.refunds()``, here or
    with each query. ``concurrency`` bounds the queries under way; so does the session's
    ``limits.max_connections`` (100), where that is less. ``rate`` bounds the queries a second, and
    ``merchant_rate`` those for one merchant (repeats that the session makes after a transport
    error are not counted). When more is due than may be asked, the nearest deadline goes first.
    When everything fails, only probes and last queries leave until the gateway answers again.

    Leaving the block ends what is under way and leaves ``pending()`` to look at.

    An open ``store`` keeps what :meth:`track` and :meth:`run` were given, until its outcome was
    taken: the next poller on that store asks on, with the same deadlines, and :meth:`outcomes` or
    :meth:`drain` gives out what was left, undelivered outcomes first. So an outcome may come
    twice, and never not at all: make what you do with it harmless to repeat. ``wait`` keeps
    nothing. A store that fails is tried again, and outcomes wait for it.
    """

    def __init__(
        self,
        gateway: Gateway,
        schedule: PollSchedule = DEFAULT_SCHEDULE,
        concurrency: int = 200,
        rate: float | None = None,
        store: PollStore | None = None,
        *,
        merchant_rate: float | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._orders = PendingOrders()
        self._kinds: dict[Kind, Kind] = {}
        check_store(store)
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ParameterError({"concurrency": "must be a whole number, 1 or more"})
        self._gateway = gateway
        self._schedule = schedule
        self._clock: Clock = clock or SystemClock()
        self._scheduler = Scheduler(
            gateway,
            self._clock,
            rng or random.Random(),
            # More queries than the session has connections would wait for one and fail.
            concurrency=min(concurrency, getattr(gateway, "max_connections", None) or concurrency),
            rate=rate,
            merchant_rate=merchant_rate,
            finish=self._finish,
        )
        self._store = store
        self._records = PollRecords(store, self._clock, self._lose)
        self._lost: Exception | None = None
        self._tracked: Collector | None = None
        self._feeders: set[asyncio.Task[None]] = set()
        self._runs: set[Collector] = set()

    def __repr__(self) -> str:
        state = "closed" if self._group is None else "open"
        return f"<Poller {len(self._orders)} pending, {state}>"

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise UsageError("this poller is open already; open another one")
        self._orders.clear()
        self._lost = None
        records = PollRecords(self._store, self._clock, self._lose)
        collector = Collector(records.hold)
        found = await records.load()
        group = asyncio.TaskGroup()
        self._group = await group.__aenter__()
        self._tracked, self._records = collector, records
        self._scheduler.start(group, records.learnt)
        self._take_up(found, collector)
        records.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        group, self._group = self._group, None
        self._scheduler.stop()
        for feeder in self._feeders:
            feeder.cancel()
        closed = "the poller was closed before this order ended"
        for order in self._orders:
            order.ended = True
            for sink in order.sinks:
                sink.fail(SessionClosedError(closed))
        if self._tracked is not None:
            self._tracked.leave(SessionClosedError(closed), withhold=self._store is not None)
        if group is None:
            return
        failed: Exception | None = None
        try:
            if isinstance(exc, Exception):  # the block's own error, which a group would wrap
                await group.__aexit__(None, None, None)
            else:
                await group.__aexit__(exc_type, exc, traceback)
        finally:
            try:
                failed = await self._records.close()
            finally:
                for sink in self._records.holders():
                    sink.fail(SessionClosedError(closed))
        if failed is not None and exc is None:
            raise failed

    @overload
    async def wait(
        self,
        query: OrderQuery,
        expected: int | None = None,
        *,
        schedule: PollSchedule | None = None,
    ) -> PollOutcome[PaidOrder]: ...
    @overload
    async def wait(
        self,
        query: RefundQuery,
        expected: int | None = None,
        *,
        schedule: PollSchedule | None = None,
    ) -> PollOutcome[RefundItem]: ...
    async def wait(
        self,
        query: Query,
        expected: int | None = None,
        *,
        schedule: PollSchedule | None = None,
    ) -> PollOutcome[Any]:
        """Wait for one order or refund; EXPIRED is an outcome too, and does not raise.

        ``expected`` is the order amount in fen (of a refund: what was applied for). Cancelling
        stops asking, unless somebody else waits for the same order. No store keeps it, but an
        order that is kept already is joined.
        """
        waiter = Waiter()
        order = self._add(query, expected, schedule, waiter)
        try:
            outcome = await waiter.outcome()
            await self._records.hold()
            return outcome
        finally:
            self._leave(order, waiter)

    def track(
        self,
        query: Query,
        expected: int | None = None,
        *,
        schedule: PollSchedule | None = None,
    ) -> None:
        """Start waiting now; :meth:`outcomes` or :meth:`drain` gives out how it ended.

        An order that is waited for already is joined, schedule and deadline included. A store has
        it shortly after: ``await poller.kept()`` before you forget it yourself. With a store a
        query with ``extra`` is a :class:`ParameterError`, since nobody knows what is in there.
        """
        self._add(query, expected, schedule, self._collector(), keep=True)

    async def kept(self) -> None:
        """Return when the store has everything that was tracked, ended and taken so far.

        While the store fails, this waits; if the store was lost, it raises. Without a store it
        returns at once.
        """
        await self._records.kept()

    def outcomes(self) -> AsyncGenerator[PollOutcome[PaidOrder | RefundItem]]:
        """Tracked orders as they end: for a service, begun at its start, ended with this block.

        It waits for what is tracked later, too. Several consumers share what comes: call this once
        for each. With a store each outcome is durable before it comes, and is forgotten when its
        consumer asks for the next one or ``done()`` is called; what an earlier process left comes
        first. A consumer that goes away before that leaves its outcome to the next consumer. So an
        exception that you catch inside the loop, to go on with the next order, loses the outcome:
        catch it around the loop, and call this again.
        """
        return Outcomes(self._collector, self._forget_taken, waits=True)

    def drain(self) -> AsyncGenerator[PollOutcome[PaidOrder | RefundItem]]:
        """Tracked orders as they end, until all that were tracked so far have ended.

        For a script or a job. What is tracked meanwhile counts too; where nothing is tracked it
        ends at once. All else is as in :meth:`outcomes`. Where the block is left before the end, it
        is a :class:`SessionClosedError`.
        """
        return Outcomes(self._collector, self._forget_taken, waits=False)

    @overload
    def run(
        self,
        queries: OrderItems,
        *,
        expected: int | None = None,
        schedule: PollSchedule | None = None,
        at_once: int = AT_ONCE,
    ) -> AsyncGenerator[PollOutcome[PaidOrder]]: ...
    @overload
    def run(
        self,
        queries: RefundItems,
        *,
        expected: int | None = None,
        schedule: PollSchedule | None = None,
        at_once: int = AT_ONCE,
    ) -> AsyncGenerator[PollOutcome[RefundItem]]: ...
    @overload
    def run(
        self,
        queries: PollItems,
        *,
        expected: int | None = None,
        schedule: PollSchedule | None = None,
        at_once: int = AT_ONCE,
    ) -> AsyncGenerator[PollOutcome[PaidOrder | RefundItem]]: ...
    async def run(
        self,
        queries: PollItems,
        *,
        expected: int | None = None,
        schedule: PollSchedule | None = None,
        at_once: int = AT_ONCE,
    ) -> AsyncGenerator[PollOutcome[Any]]:
        """Many orders, as they end; an item is a query, or a query and its expected amount.

        ``queries`` may be endless: it is pulled only while fewer than ``at_once`` of its orders
        are waited for or wait to be taken. What it raises comes out here, after the outcomes so
        far; a generator is closed. A consumer that stops early leaves nothing running.

        A store keeps what was pulled, and what an early stop left it keeps for the next poller,
        whose :meth:`outcomes` and :meth:`drain` have it: read those too.
        """
        if at_once < 1:
            raise ParameterError({"at_once": "must be a whole number, 1 or more"})
        collector = Collector(self._records.hold, growing=True)
        room = asyncio.Event()
        owned: dict[Key, QueuedOrder] = {}

        async def feed() -> None:
            async with aclosing(paced(queries, self._clock)) as items:
                async for item in items:
                    query, amount = item if isinstance(item, tuple) else (item, expected)
                    order = self._add(query, amount, schedule, collector, keep=True)
                    owned[order.key] = order
                    while collector.held >= at_once:
                        room.clear()
                        await room.wait()

        feeder = self._opened()[0].create_task(fed(feed(), collector), name="chaoying poller: feed")
        self._feeders.add(feeder)
        feeder.add_done_callback(self._feeders.discard)
        self._runs.add(collector)
        try:
            while (outcome := await collector.next()) is not None:
                key = self._key(outcome.query)
                if key in owned and owned[key].ended:  # else it was tracked again
                    del owned[key]
                room.set()
                yield outcome
                await self._forget_taken(outcome)
        finally:
            feeder.cancel()
            self._runs.discard(collector)
            for order in owned.values():
                self._leave(order, collector)

    def takes(self, key: str) -> bool:
        """Whether :meth:`take_up` may be given a record of this key now; else somewhat later.

        Not while an earlier record of the same key ended, and has not left the store yet.
        """
        return not self._records.is_leaving(key)

    def take_up(self, texts: Iterable[tuple[str, str]]) -> None:
        """Wait for orders whose records somebody else has written into the store, by their keys.

        Records that were there when the poller was opened are taken up already.
        """
        self._take_up(self._records.read(texts), self._collector())

    def _take_up(self, found: LoadedRecords, collector: Collector) -> None:
        for outcome in found.ended:
            collector.open += 1
            collector.deliver(outcome)
        for key, waiting in found.waiting:
            self._restore(key, waiting, collector)

    def settle(self, paid_order: PaidOrder) -> bool:
        """End the wait for a payment that was learnt another way; True if there was one to end.

        For verified notifications, whose ``mch_id`` is the one of your query. The expected amount
        is held against ``payable``: another one, or another currency, ends MISMATCH. Where it has
        to be compared and is not known, or some of it came back (:class:`RefundedOrder`), the order
        is asked about now instead, and the answer is False.
        """
        check_paid(paid_order)
        order = self._orders.of_payment(paid_order)
        if order is None or self._group is None or self._lost is not None:
            return False
        uncompared = order.expected is not None and paid_order.payable is None
        if uncompared or isinstance(paid_order, RefundedOrder):
            self._scheduler.ask_now(order)
            return False
        fits = amount_fits(order.expected, paid_order.payable, paid_order.fee_type)
        status = PollStatus.PAID if fits else PollStatus.MISMATCH
        self._finish(order, self._scheduler.outcome(order, status, paid=paid_order))
        return True

    async def rest(self) -> None:
        """Ask no more; return when the queries under way have ended. For leaving the block.

        Outcomes come out as before, and what is still pending stays so.
        """
        await self._scheduler.rest()

    def pending(self) -> tuple[Query, ...]:
        """The queries of orders that are waited for; after the block, of those that did not end."""
        return tuple(order.query for order in self._orders)

    def stats(self) -> PollStats:
        """Numbers for a progress display, from any thread. It reads all that is due: ask rarely."""
        return self._scheduler.stats(
            pending=len(self._orders),
            unread=self._tracked.unread if self._tracked else 0,
            unwritten=self._records.unwritten,
            store_errors=self._records.errors,
            unreadable=self._records.unreadable,
        )

    def _add(
        self,
        query: Query,
        expected: int | None,
        schedule: PollSchedule | None,
        sink: Sink,
        *,
        keep: bool = False,
    ) -> QueuedOrder:
        """Wait for an order, or join the wait for it; the first amount that is named counts."""
        self._opened()
        key = self._key(query)
        check_amount(expected)
        order = self._orders.get(key) or self._records.take_up(key)
        if order is None:
            begun = schedule or self._schedule
            if begun.ends is not None:
                begun = begun.begun(self._clock.now())
            order = QueuedOrder(query, key[0], begun, expected, self._clock.monotonic())
            self._records.track(order, keep=keep)
        else:
            if order.expected is not None and expected not in (None, order.expected):
                raise ParameterError({"expected": "this order is waited for with another amount"})
            news = order.expected is None and expected is not None
            self._records.track(order, keep=keep, news=news)
            order.expected = order.expected if expected is None else expected
        self._wait_for(key, order, sink)
        return order

    def _restore(self, key: str, waiting: PendingOrder, sink: Collector) -> None:
        """Ask about an order that an earlier process waited for, from where it stopped."""
        age = (self._clock.now() - waiting.started).total_seconds()
        # A negative age means that a clock was set back meanwhile.
        started = self._clock.monotonic() - max(0.0, age)
        order = QueuedOrder(
            waiting.query, self._key(waiting.query)[0], waiting.schedule, waiting.expected, started
        )
        order.attempts, order.standing = waiting.attempts, waiting.standing
        order.sent = started + waiting.sent
        if self._records.restore(key, order):
            self._wait_for(order.key, order, sink)

    def _wait_for(self, key: Key, order: QueuedOrder, sink: Sink) -> None:
        if self._orders.get(key) is None:
            self._orders.add(key, order)
            self._scheduler.add(order)
        if sink not in order.sinks:
            order.sinks = (*order.sinks, sink) if order.sinks else sink.alone
            if isinstance(sink, Collector):
                sink.open += 1

    async def _forget_taken(self, outcome: PollOutcome[Any]) -> None:
        """Forget an outcome whose consumer asks for the next one, and let the store catch up."""
        if self._store is not None:
            outcome.done()
            await self._clock.sleep(0)

    def _lose(self, error: Exception, held: list[Sink]) -> None:
        """Stop everything: the store has another owner, who asks from now on."""
        self._lost = error
        self._scheduler.stop()
        waiting = [sink for order in self._orders for sink in order.sinks]
        for sink in {*held, *waiting}:
            sink.fail(error)
        for collector in {self._tracked, *self._runs}:
            if collector is not None:
                collector.lose(error)

    def _leave(self, order: QueuedOrder, sink: Sink) -> None:
        order.sinks = tuple(other for other in order.sinks if other is not sink)
        if not order.sinks and not order.ended:
            self._forget(order)
            self._records.leave(order)

    def _finish(self, order: QueuedOrder, outcome: PollOutcome[Any]) -> None:
        self._forget(order)
        sinks, order.sinks = order.sinks, ()
        if not self._records.ended(order, sinks, outcome):
            for sink in sinks:
                sink.deliver(outcome)
        elif (following := self._records.next_wait(order, outcome.status)) and self._tracked:
            self._wait_for(following.key, following, self._tracked)

    def _forget(self, order: QueuedOrder) -> None:
        order.ended = True
        self._orders.drop(order)
        self._scheduler.tidy(len(self._orders))

    def _key(self, query: Query) -> Key:
        """Identify the order, with the merchant that the session would fill in (M-18)."""
        name, number = number_of(query)
        endpoint = query.endpoint.name
        merchant = query.mch_id or merchant_of(self._gateway, None, endpoint, where=" in the query")
        kind = (endpoint, merchant, str(query.paytype), name)
        return (self._kinds.setdefault(kind, kind), number)

    def _collector(self) -> Collector:
        return self._opened()[1]

    def _opened(self) -> tuple[asyncio.TaskGroup, Collector]:
        if self._lost is not None:
            raise self._lost
        if self._group is None or self._tracked is None:
            raise SessionClosedError(
                "the poller is not open: use it inside `async with Poller(...)`"
            )
        if running_loop() is not self._tracked.loop:
            raise WrongEventLoopError(
                "this poller belongs to another event loop: call it there, or open one for each "
                "loop"
            )
        return self._group, self._tracked
