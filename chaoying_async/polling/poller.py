"""The poller: one scheduler for all orders, and a task only for each query that is under way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, overload

import attrs

from chaoying_async.abc import Clock, Gateway, PollStore
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import ParameterError, SessionClosedError, UsageError
from chaoying_async.polling.consumer import Outcomes
from chaoying_async.polling.consumers import Collector, Waiter, Wanted, each, fed, query_and_amount
from chaoying_async.polling.order import (
    check_amount,
    check_loop,
    connections_of,
    default_mch_id_of,
    not_open,
    number_of,
)
from chaoying_async.polling.outcome import PollOutcome, PollStats
from chaoying_async.polling.queue import Entry, Key, Kind, Sink
from chaoying_async.polling.records import Keeping
from chaoying_async.polling.scheduler import Asking
from chaoying_async.pollstore.guarded import check_store
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.meaning import PaidOrder, check_paid
from chaoying_async.sansio.payments.refunded_order import RefundedOrder
from chaoying_async.sansio.polling.record import Waiting
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import PollStatus, Query, amount_fits

DEFAULT_SCHEDULE = PollSchedule()
#: So many orders of one ``run`` are waited for at a time.
AT_ONCE = 10_000
#: A source that never waits lets others run after so many queries.
_PULLED_AT_A_TIME = 100


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

    ``schedule`` is the document's for payments; give refunds ``PollSchedule.refunds()``, here or
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
        self._entries: dict[Key, Entry] = {}
        self._kinds: dict[Kind, Kind] = {}
        check_store(store)
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ParameterError({"concurrency": "must be a whole number, 1 or more"})
        self._gateway = gateway
        self._schedule = schedule
        self._clock: Clock = clock or SystemClock()
        self._asking = Asking(
            gateway,
            self._clock,
            rng or random.Random(),
            concurrency=min(concurrency, connections_of(gateway, concurrency)),
            rate=rate,
            merchant_rate=merchant_rate,
            finish=self._finish,
            learnt=None if store is None else self._note,
        )
        self._store = store
        self._keeping: Keeping | None = None
        self._lost: Exception | None = None
        self._tracked: Collector | None = None
        self._feeders: set[asyncio.Task[None]] = set()
        self._runs: set[Collector] = set()

    def __repr__(self) -> str:
        state = "closed" if self._group is None else "open"
        return f"<Poller {len(self._entries)} pending, {state}>"

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise UsageError("this poller is open already; open another one")
        self._entries.clear()
        self._lost = None
        collector = Collector(self._before_an_end)
        keeping = None if self._store is None else Keeping(self._store, self._clock, self._lose)
        found = None if keeping is None else await keeping.load()
        group = asyncio.TaskGroup()
        self._group = await group.__aenter__()
        self._tracked, self._keeping = collector, keeping
        self._asking.start(group)
        if keeping is not None and found is not None:
            for outcome in found.ended:
                collector.open += 1
                collector.deliver(outcome)
            for key, waiting in found.waiting:
                self._restore(keeping, key, waiting, collector)
            keeping.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        group, self._group = self._group, None
        self._asking.stop()
        for feeder in self._feeders:
            feeder.cancel()
        closed = "the poller was closed before this order ended"
        for entry in self._entries.values():
            entry.ended = True
            for sink in entry.sinks:
                sink.fail(SessionClosedError(closed))
        if self._tracked is not None:
            self._tracked.leave(SessionClosedError(closed), withhold=self._keeping is not None)
        if group is None:
            return
        failed: Exception | None = None
        try:
            if isinstance(exc, Exception):  # the block's own, which a group would wrap
                await group.__aexit__(None, None, None)
            else:
                await group.__aexit__(exc_type, exc, traceback)
        finally:
            if self._keeping is not None:
                try:
                    failed = await self._keeping.close()
                finally:
                    for sink in self._keeping.holders():
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
        entry = self._add(query, expected, schedule, waiter)
        try:
            outcome = await waiter.outcome()
            await self._before_an_end()
            return outcome
        finally:
            self._leave(entry, waiter)

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
        """Return when all that was tracked, ended and taken so far is in the store, durable.

        It waits while the store fails; a store that was lost raises. Without one it returns.
        """
        if self._keeping is not None:
            await self._keeping.kept()

    def outcomes(self) -> AsyncGenerator[PollOutcome[Any]]:
        """Tracked orders as they end: for a service, begun at its start, ended with this block.

        It waits for what is tracked later, too. Several consumers share what comes: call this once
        for each. With a store each outcome is durable before it comes, and is forgotten when its
        consumer asks for the next one or ``done()`` is called; what an earlier process left comes
        first. A consumer that goes away before that leaves its outcome to the next consumer.
        """
        return Outcomes(self._collector, self._took, waits=True)

    def drain(self) -> AsyncGenerator[PollOutcome[Any]]:
        """Tracked orders as they end, until all that were tracked so far have ended.

        For a script or a job. What is tracked meanwhile counts too; where nothing is tracked it
        ends at once. All else is as in :meth:`outcomes`. Where the block is left before the end, it
        is a :class:`SessionClosedError`.
        """
        return Outcomes(self._collector, self._took, waits=False)

    async def run(
        self,
        queries: Iterable[Wanted] | AsyncIterable[Wanted],
        *,
        expected: int | None = None,
        schedule: PollSchedule | None = None,
        at_once: int = AT_ONCE,
    ) -> AsyncGenerator[PollOutcome[Any]]:
        """Many orders, as they end; an item is a query, or a query and its expected amount.

        ``queries`` may be endless: it is pulled only while fewer than ``at_once`` of its orders
        are waited for or wait to be taken. What it raises comes out here, after the outcomes so
        far. A consumer that stops early leaves nothing running.

        A store keeps what was pulled, and what an early stop left it keeps for the next poller,
        whose :meth:`outcomes` and :meth:`drain` have it: read those too.
        """
        if at_once < 1:
            raise ParameterError({"at_once": "must be a whole number, 1 or more"})
        collector = Collector(self._before_an_end)
        collector.growing = True
        room = asyncio.Event()
        room.set()
        owned: dict[Key, Entry] = {}

        async def feed() -> None:
            async with aclosing(each(queries)) as items:
                async for item in items:
                    query, amount = query_and_amount(item, expected)
                    entry = self._add(query, amount, schedule, collector, keep=True)
                    owned[entry.key] = entry
                    if len(owned) % _PULLED_AT_A_TIME == 0:
                        await self._clock.sleep(0)
                    while collector.held >= at_once:
                        room.clear()
                        await room.wait()

        feeder = self._opened()[0].create_task(fed(feed(), collector))
        self._feeders.add(feeder)
        feeder.add_done_callback(self._feeders.discard)
        self._runs.add(collector)
        try:
            while (outcome := await collector.next()) is not None:
                key = self._key(outcome.query)
                if key in owned and owned[key].ended:  # else it came again, and is asked about
                    del owned[key]
                room.set()
                yield outcome
                await self._took(outcome)
        finally:
            feeder.cancel()
            self._runs.discard(collector)
            for entry in owned.values():
                self._leave(entry, collector)

    def settle(self, paid_order: PaidOrder) -> bool:
        """A payment that was learnt another way ends the wait at once; True if it did.

        For verified notifications, whose ``mch_id`` is the one of your query. The expected amount
        is held against ``payable``: another one ends MISMATCH. Where it has to be compared and is
        not known, or some of it came back (:class:`RefundedOrder`), the order is asked about now
        instead, and the answer is False.
        """
        check_paid(paid_order)
        entry = self._waiting_for(paid_order)
        if entry is None or self._group is None or self._lost is not None:
            return False
        uncompared = entry.expected is not None and paid_order.payable is None
        if uncompared or isinstance(paid_order, RefundedOrder):
            self._asking.ask_now(entry)
            return False
        fits = amount_fits(entry.expected, paid_order.payable)
        status = PollStatus.PAID if fits else PollStatus.MISMATCH
        self._finish(entry, self._asking.outcome(entry, status, paid=paid_order))
        return True

    def pending(self) -> tuple[Query, ...]:
        """What is waited for; after the block, what had not ended when it was left."""
        return tuple(entry.query for entry in self._entries.values())

    def stats(self) -> PollStats:
        """How it goes, for a progress display. It looks at all that is due: not for every poll."""
        stats = self._asking.stats(pending=len(self._entries))
        stats = attrs.evolve(stats, unread=self._tracked.unread if self._tracked else 0)
        if (keeping := self._keeping) is None:
            return stats
        return attrs.evolve(
            stats,
            unwritten=keeping.unwritten,
            store_errors=keeping.errors,
            unreadable=keeping.unreadable,
        )

    def _add(
        self,
        query: Query,
        expected: int | None,
        schedule: PollSchedule | None,
        sink: Sink,
        *,
        keep: bool = False,
    ) -> Entry:
        self._opened()
        key = self._key(query)
        check_amount(expected)
        entry = self._entries.get(key) or self._left(key)
        if entry is None:
            begun = schedule or self._schedule
            if begun.ends is not None:
                begun = begun.begun(self._clock.now())
            entry = Entry(query, key, begun, expected, self._clock.monotonic())
            if self._keeping is not None:
                self._keep(self._keeping, entry, keep=keep, news=True)
        else:
            self._join(entry, expected, keep=keep)
        if key not in self._entries:
            self._entries[key] = entry
            self._asking.add(entry)
        if sink not in entry.sinks:
            entry.sinks = (*entry.sinks, sink) if entry.sinks else sink.alone
            if isinstance(sink, Collector):
                sink.open += 1
        return entry

    def _left(self, key: Key) -> Entry | None:
        """An order that nobody waited for meanwhile, and whose record says until when."""
        left = None if self._keeping is None else self._keeping.taken_up(key)
        return None if left is None else left.again()

    def _join(self, entry: Entry, expected: int | None, *, keep: bool) -> None:
        """Once more the same order; the first amount that is named counts for all."""
        if entry.expected is not None and expected not in (None, entry.expected):
            raise ParameterError({"expected": "this order is waited for with another amount"})
        news = expected is not None and entry.expected is None
        if self._keeping is not None:
            self._keep(self._keeping, entry, keep=keep, news=news)
        if news:
            entry.expected = expected

    @staticmethod
    def _keep(keeping: Keeping, entry: Entry, *, keep: bool, news: bool) -> None:
        """Have it written, where it has to be."""
        kept = keeping.keeps(entry)
        if (keep and not kept) or (kept and news):
            keeping.track(entry)

    def _restore(self, keeping: Keeping, key: str, waiting: Waiting, sink: Collector) -> None:
        """Ask on where an earlier process stopped."""
        now = self._clock.monotonic()
        age = (self._clock.now() - waiting.started).total_seconds()
        started = now - max(0.0, age)  # less than nothing: a clock was set back meanwhile
        entry = Entry(
            waiting.query, self._key(waiting.query), waiting.schedule, waiting.expected, started
        )
        if not keeping.restore(key, entry):
            return
        entry.attempts, entry.standing = waiting.attempts, waiting.standing
        entry.sent = started + waiting.sent
        entry.sinks = sink.alone
        sink.open += 1
        self._entries[entry.key] = entry
        self._asking.add(entry)

    def _note(self, entry: Entry) -> None:
        if self._keeping is not None:
            self._keeping.learnt(entry)

    async def _before_an_end(self) -> None:
        """Whoever lost the store says nothing of how anything ended (M-23)."""
        if self._keeping is not None:
            await self._keeping.hold()

    async def _took(self, outcome: PollOutcome[Any]) -> None:
        """The consumer asks for the next one; one that never waits must not outrun the store."""
        if self._keeping is not None:
            outcome.done()
            await self._clock.sleep(0)

    def _lose(self, error: Exception, held: list[Sink]) -> None:
        """The store has another owner, who asks from now on."""
        self._lost = error
        self._asking.stop()
        waiting = [sink for entry in self._entries.values() for sink in entry.sinks]
        for sink in {*held, *waiting}:
            sink.fail(error)
        for collector in {self._tracked, *self._runs}:
            if collector is not None:
                collector.lose(error)

    def _leave(self, entry: Entry, sink: Sink) -> None:
        entry.sinks = tuple(other for other in entry.sinks if other is not sink)
        if not entry.sinks and not entry.ended:
            self._forget(entry)
            if self._keeping is not None:
                self._keeping.left(entry)

    def _finish(self, entry: Entry, outcome: PollOutcome[Any]) -> None:
        self._forget(entry)
        sinks, entry.sinks = entry.sinks, ()
        if self._keeping is not None and self._keeping.keeps(entry):
            self._keeping.ended(entry, sinks, outcome)
            return
        for sink in sinks:
            sink.deliver(outcome)

    def _forget(self, entry: Entry) -> None:
        entry.ended = True
        self._entries.pop(entry.key, None)
        self._asking.tidy(len(self._entries))

    def _waiting_for(self, paid: PaidOrder) -> Entry | None:
        numbers = (
            ("out_trade_no", paid.out_trade_no),
            ("transaction_id", paid.transaction_id),
            ("transaction_id", paid.out_transaction_id),
        )
        for paytype in (*PayType, paid.paytype):
            for name, number in numbers:
                key = (("orderquery", paid.mch_id, str(paytype), name), number or "")
                if (entry := self._entries.get(key)) is not None:
                    return entry
        return None

    def _key(self, query: Query) -> Key:
        """Which order it is about; what the session would fill in is filled in at once (M-18)."""
        name, number = number_of(query)
        merchant = query.mch_id or default_mch_id_of(self._gateway)
        if not merchant:
            rule = "is required: name it in the query or give the session a default"
            raise ParameterError({"mch_id": rule}).about(query.endpoint.name)
        kind = (query.endpoint.name, merchant, str(query.paytype), name)
        return (self._kinds.setdefault(kind, kind), number)

    def _collector(self) -> Collector:
        return self._opened()[1]

    def _opened(self) -> tuple[asyncio.TaskGroup, Collector]:
        if self._lost is not None:
            raise self._lost
        if self._group is None or self._tracked is None:
            raise not_open()
        check_loop(self._tracked.loop)
        return self._group, self._tracked
