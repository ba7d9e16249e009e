"""Keeps the orders that are waited for, and finds the next one to ask about.

It is found by time and then by urgency, in O(log n). An order sleeps in the :class:`SleepQueue`
until it is due, and waits in the :class:`DueQueue` until it is asked. Orders that ended meanwhile
are skipped when they come up.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import Any, Protocol

from chaoying_async.polling.order import PolledOrder, number_of
from chaoying_async.polling.outcome import PollOutcome
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.sansio.polling.pacing import Bucket
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import Query

#: Deadlines nearer to each other than this are alike, and whoever is due first is asked first:
#: else those that came a moment earlier would be asked over and over, and the others once.
GRAIN = 30.0
#: A far deadline does not make an order wait for longer than this behind nearer ones. Seconds.
PATIENCE = 600.0

#: Kind of query, merchant, paytype, name of the number: alike for many orders, and shared by them.
Kind = tuple[str, str, str, str]
Key = tuple[Kind, str]


class Sink(Protocol):
    """Somebody who waits for an order's end."""

    alone: tuple[Sink, ...]
    """A tuple of the sink alone, which thousands of orders share."""

    def deliver(self, outcome: PollOutcome[Any]) -> None:
        """Take the outcome; called once for each order."""
        ...

    def fail(self, error: Exception) -> None:
        """Learn that there will be no outcome: the poller was closed."""
        ...


class QueuedOrder(PolledOrder):
    """One order that a poller waits for, and who waits for its end."""

    __slots__ = ("asleep", "ended", "kind", "sinks")

    def __init__(
        self,
        query: Query,
        kind: Kind,
        schedule: PollSchedule,
        expected: int | None,
        started: float,
    ) -> None:
        super().__init__(query, schedule, expected, started)
        self.kind = kind
        self.sinks: tuple[Sink, ...] = ()
        self.asleep = False
        self.ended = False

    def again(self) -> QueuedOrder:
        """A copy with which the wait goes on after everybody left: queues may hold this one."""
        order = QueuedOrder(self.query, self.kind, self.schedule, self.expected, self.started)
        order.sent, order.attempts, order.standing = self.sent, self.attempts, self.standing
        return order

    @property
    def key(self) -> Key:
        """What identifies the order. It is made when it is asked for: a kept one is 64 bytes."""
        return (self.kind, number_of(self.query)[1])

    @property
    def merchant(self) -> str:
        """The merchant whose rate the order counts against."""
        return self.kind[1]


class PendingOrders:
    """The orders that are waited for, by their numbers within their kind."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, dict[str, QueuedOrder]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[QueuedOrder]:
        for orders in self._kinds.values():
            yield from orders.values()

    def get(self, key: Key) -> QueuedOrder | None:
        """The order with that key; None when it is not waited for."""
        kind, number = key
        orders = self._kinds.get(kind)
        return None if orders is None else orders.get(number)

    def of_payment(self, paid: PaidOrder) -> QueuedOrder | None:
        """The order that this payment is for, by whichever of its numbers it is waited for."""
        numbers = (
            ("out_trade_no", paid.out_trade_no),
            ("transaction_id", paid.transaction_id),
            ("transaction_id", paid.out_transaction_id),
        )
        for paytype in (*PayType, paid.paytype):
            for name, number in numbers:
                key = (("orderquery", paid.mch_id, str(paytype), name), number or "")
                if (order := self.get(key)) is not None:
                    return order
        return None

    def add(self, key: Key, order: QueuedOrder) -> None:
        """Wait for an order; one with its key must not be here."""
        kind, number = key
        self._kinds.setdefault(kind, {})[number] = order
        self._count += 1

    def drop(self, order: QueuedOrder) -> None:
        """Wait for it no longer, if it is waited for."""
        kind, number = order.key
        orders = self._kinds.get(kind, {})
        if orders.pop(number, None) is None:
            return
        self._count -= 1
        if not orders:
            del self._kinds[kind]

    def clear(self) -> None:
        """Wait for nothing."""
        self._kinds.clear()
        self._count = 0


class SleepQueue:
    """Orders that are not due yet, the next one first.

    Orders that wake within the same second lie in one plain list, and are sorted when that second
    begins: a sorted place costs 100 bytes, and of a million orders few wake in any second.
    """

    def __init__(self) -> None:
        #: Orders by the second in which they wake; and these seconds, the next one first.
        self._by_second: dict[int, list[QueuedOrder]] = {}
        self._seconds: list[int] = []
        #: Orders of the seconds that have begun, sorted.
        self._sorted: list[tuple[float, int, QueuedOrder]] = []
        self._sorted_until = -math.inf
        self._count = 0
        self._held = 0

    def push(self, order: QueuedOrder) -> None:
        """Let it sleep until ``order.due``."""
        self._held += 1
        if order.due < self._sorted_until:
            self._sort(order)
            return
        second = math.floor(order.due)
        if second not in self._by_second:
            self._by_second[second] = []
            heapq.heappush(self._seconds, second)
        self._by_second[second].append(order)

    def due(self, now: float) -> Iterator[QueuedOrder]:
        """Take out every order whose moment has come."""
        while self._seconds and self._seconds[0] <= now:
            self._begin_second()
        while self._sorted and self._sorted[0][0] <= now:
            order = self._pop()
            if not order.ended:
                yield order

    def next_due(self) -> float | None:
        """When to look again: when the next one wakes, or the second begins in which it does."""
        while self._sorted and self._sorted[0][2].ended:
            self._pop()
        if self._sorted:
            return self._sorted[0][0]
        return float(self._seconds[0]) if self._seconds else None

    def tidy(self, alive: int) -> None:
        """Drop orders that ended, once they are more than those ``alive``."""
        if self._held <= 2 * alive + 1000:
            return
        kept = [item for item in self._sorted if not item[2].ended]
        heapq.heapify(kept)
        self._sorted = kept
        self._held = len(kept)
        for second, orders in self._by_second.items():
            self._by_second[second] = [order for order in orders if not order.ended]
            self._held += len(self._by_second[second])

    def _begin_second(self) -> None:
        second = heapq.heappop(self._seconds)
        self._sorted_until = second + 1.0
        orders = self._by_second.pop(second)
        self._held -= len(orders)
        for order in orders:
            if order.due < self._sorted_until and not order.ended:  # else it sleeps elsewhere
                self._held += 1
                self._sort(order)

    def _sort(self, order: QueuedOrder) -> None:
        self._count += 1
        heapq.heappush(self._sorted, (order.due, self._count, order))

    def _pop(self) -> QueuedOrder:
        self._held -= 1
        return heapq.heappop(self._sorted)[2]


_Item = tuple[float, float, int, QueuedOrder]


class _MerchantQueue:
    """The due orders of one merchant; of all merchants where these have no rate."""

    __slots__ = ("bucket", "heap")

    def __init__(self, bucket: Bucket | None) -> None:
        self.bucket = bucket
        self.heap: list[_Item] = []

    def top(self) -> _Item | None:
        heap = self.heap
        while heap and heap[0][3].ended:
            heapq.heappop(heap)
        return heap[0] if heap else None


class DueQueue:
    """Orders that are due, the most urgent first, within each merchant's rate.

    Usually that is the nearest deadline (in steps of ``GRAIN``), and among these whoever is due for
    longest. While the breaker is open only last queries may leave, so then it is the deadline
    exactly.
    """

    def __init__(self, merchant_rate: float | None) -> None:
        self._full = None if merchant_rate is None else Bucket.per_second(merchant_rate)
        self._merchants: dict[str, _MerchantQueue] = {}
        #: Merchants that may be asked for, by their first order; an item is stale when the merchant
        #: has another first order by now.
        self._ready: list[tuple[_Item, _MerchantQueue]] = []
        #: Merchants that wait for a token: when they get it, and who.
        self._waiting: list[tuple[float, int, _MerchantQueue]] = []
        self._count = 0
        self._by_deadline = False

    def push(self, order: QueuedOrder) -> None:
        """Add an order whose time has come."""
        name = "" if self._full is None else order.merchant
        merchant = self._merchants.get(name)
        if merchant is None:
            merchant = self._merchants[name] = _MerchantQueue(self._full)
        self._count += 1
        item = (self._urgency(order), order.due, self._count, order)
        heapq.heappush(merchant.heap, item)
        if merchant.heap[0] is item:
            heapq.heappush(self._ready, (item, merchant))

    def peek(self, now: float) -> QueuedOrder | None:
        """The order to ask about next; None when no query may leave now."""
        while self._waiting and self._waiting[0][0] <= now:
            self._make_ready(heapq.heappop(self._waiting)[2])
        while self._ready:
            item, merchant = self._ready[0]
            top = merchant.top()
            if top is item and (merchant.bucket is None or not merchant.bucket.wait(now)):
                return item[3]
            heapq.heappop(self._ready)
            if top is item and merchant.bucket is not None:
                self._count += 1
                free = now + merchant.bucket.wait(now)
                heapq.heappush(self._waiting, (free, self._count, merchant))
            elif top is not None and item[3].ended:
                heapq.heappush(self._ready, (top, merchant))
        return None

    def pop(self, now: float) -> QueuedOrder:
        """Take out the order that ``peek`` returned, and one token of its merchant."""
        item, merchant = heapq.heappop(self._ready)
        heapq.heappop(merchant.heap)
        if merchant.bucket is not None:
            merchant.bucket = merchant.bucket.take(now)
        self._make_ready(merchant)
        return item[3]

    def next_free(self) -> float | None:
        """When a merchant whose rate is used up has its next token."""
        return self._waiting[0][0] if self._waiting else None

    def order_by_deadline(self, exactly: bool) -> None:  # noqa: FBT001 - a switch
        """Change what counts as urgent, and sort all orders anew."""
        if exactly is self._by_deadline:
            return
        self._by_deadline = exactly
        orders = list(self.orders())
        for merchant in self._merchants.values():
            merchant.heap.clear()
        self._ready.clear()
        self._waiting.clear()
        for order in orders:
            self.push(order)

    def orders(self) -> Iterator[QueuedOrder]:
        """All orders that are due, unsorted; from copies, since any thread may ask for numbers."""
        for merchant in tuple(self._merchants.values()):
            yield from (item[3] for item in tuple(merchant.heap) if not item[3].ended)

    def _make_ready(self, merchant: _MerchantQueue) -> None:
        if (top := merchant.top()) is not None:
            heapq.heappush(self._ready, (top, merchant))

    def _urgency(self, order: QueuedOrder) -> float:
        if self._by_deadline:
            return order.deadline
        return min(order.deadline, order.due + PATIENCE) // GRAIN
