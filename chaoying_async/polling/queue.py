"""What is waited for: one small object an order, found by time, then by urgency.

An order sleeps in one heap until it is due, and stands in another until it is asked. Both find the
next one in O(log n). Orders that ended on the way are skipped when they come up.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Protocol

from chaoying_async.polling.outcome import PollOutcome
from chaoying_async.sansio.polling.pacing import Bucket
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import UNASKED, Query, Standing

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

    #: A tuple of itself alone, which thousands of orders share.
    alone: tuple[Sink, ...]

    def deliver(self, outcome: PollOutcome[Any]) -> None:
        """Take the outcome; called once for each order."""
        ...

    def fail(self, error: Exception) -> None:
        """There will be none: the poller was closed."""
        ...


class Entry:
    """One order that is waited for. All moments are those of ``Clock.monotonic``."""

    __slots__ = (
        *("asleep", "attempts", "due", "ended", "expected", "key", "query", "schedule", "sent"),
        *("sinks", "standing", "started"),
    )

    def __init__(
        self,
        query: Query,
        key: Key,
        schedule: PollSchedule,
        expected: int | None,
        started: float,
    ) -> None:
        self.query = query
        self.key = key
        self.schedule = schedule
        self.expected = expected
        self.started = started
        self.due = started
        self.sent = started
        self.attempts = 0
        self.standing: Standing = UNASKED
        self.sinks: tuple[Sink, ...] = ()
        self.asleep = False
        self.ended = False

    def again(self) -> Entry:
        """The same wait, begun anew after everybody left; heaps may still hold the old one."""
        entry = Entry(self.query, self.key, self.schedule, self.expected, self.started)
        entry.sent, entry.attempts, entry.standing = self.sent, self.attempts, self.standing
        return entry

    @property
    def deadline(self) -> float:
        """When the last query is due."""
        return self.started + self.schedule.until

    @property
    def merchant(self) -> str:
        """Whose rate it counts against."""
        return self.key[0][1]


class Sleepers:
    """Orders that are not due yet, the next one first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Entry]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, entry: Entry) -> None:
        """Wake it at ``entry.due``."""
        self._count += 1
        heapq.heappush(self._heap, (entry.due, self._count, entry))

    def due(self, now: float) -> Iterator[Entry]:
        """Everything whose moment has come, taken out."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            entry = heapq.heappop(heap)[2]
            if not entry.ended:
                yield entry

    def next_due(self) -> float | None:
        """When the next one wakes."""
        heap = self._heap
        while heap and heap[0][2].ended:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def tidy(self, alive: int) -> None:
        """Drop those that ended, once they are the larger part."""
        if len(self._heap) > 2 * alive + 1000:
            self._heap = [item for item in self._heap if not item[2].ended]
            heapq.heapify(self._heap)


_Item = tuple[float, float, int, Entry]


class _Lane:
    """One merchant's orders that are due; all of them where merchants have no rate."""

    __slots__ = ("bucket", "heap")

    def __init__(self, bucket: Bucket | None) -> None:
        self.bucket = bucket
        self.heap: list[_Item] = []

    def top(self) -> _Item | None:
        heap = self.heap
        while heap and heap[0][3].ended:
            heapq.heappop(heap)
        return heap[0] if heap else None


class Line:
    """Orders that are due, the most urgent first, within each merchant's rate.

    Usually that is the nearest deadline (in steps of ``GRAIN``), and among these whoever is due for
    longest. While the breaker is open only last queries may leave, so then it is the deadline
    exactly.
    """

    def __init__(self, merchant_rate: float | None) -> None:
        self._full = None if merchant_rate is None else Bucket.per_second(merchant_rate)
        self._lanes: dict[str, _Lane] = {}
        #: Lanes that may go, by their first order; an item is stale when that is another by now.
        self._open: list[tuple[_Item, _Lane]] = []
        #: Lanes that wait for a token: when, and which.
        self._waiting: list[tuple[float, int, _Lane]] = []
        self._count = 0
        self._by_deadline = False

    def push(self, entry: Entry) -> None:
        """Its time has come."""
        name = "" if self._full is None else entry.merchant
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(self._full)
        self._count += 1
        item = (self._urgency(entry), entry.due, self._count, entry)
        heapq.heappush(lane.heap, item)
        if lane.heap[0] is item:
            heapq.heappush(self._open, (item, lane))

    def peek(self, now: float) -> Entry | None:
        """Who would be asked next; None when nobody may be, now."""
        while self._waiting and self._waiting[0][0] <= now:
            self._reopen(heapq.heappop(self._waiting)[2])
        while self._open:
            item, lane = self._open[0]
            top = lane.top()
            if top is item and (lane.bucket is None or not lane.bucket.wait(now)):
                return item[3]
            heapq.heappop(self._open)
            if top is item and lane.bucket is not None:
                self._count += 1
                free = now + lane.bucket.wait(now)
                heapq.heappush(self._waiting, (free, self._count, lane))
            elif top is not None and item[3].ended:
                heapq.heappush(self._open, (top, lane))
        return None

    def pop(self, now: float) -> Entry:
        """Take out whom ``peek`` named, and the merchant's token."""
        item, lane = heapq.heappop(self._open)
        heapq.heappop(lane.heap)
        if lane.bucket is not None:
            lane.bucket = lane.bucket.take(now)
        self._reopen(lane)
        return item[3]

    def next_free(self) -> float | None:
        """When a merchant whose rate is used up has its next token."""
        return self._waiting[0][0] if self._waiting else None

    def order_by_deadline(self, exactly: bool) -> None:  # noqa: FBT001 - a switch
        """Change what counts as urgent; everybody is put in line anew."""
        if exactly is self._by_deadline:
            return
        self._by_deadline = exactly
        entries = list(self.entries())
        for lane in self._lanes.values():
            lane.heap.clear()
        self._open.clear()
        self._waiting.clear()
        for entry in entries:
            self.push(entry)

    def entries(self) -> Iterator[Entry]:
        """Everybody in line, in no order."""
        for lane in self._lanes.values():
            yield from (item[3] for item in lane.heap if not item[3].ended)

    def _reopen(self, lane: _Lane) -> None:
        if (top := lane.top()) is not None:
            heapq.heappush(self._open, (top, lane))

    def _urgency(self, entry: Entry) -> float:
        if self._by_deadline:
            return entry.deadline
        return min(entry.deadline, entry.due + PATIENCE) // GRAIN
