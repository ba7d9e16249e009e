"""Records of orders that are waited for already: an earlier wait's end is theirs, or it is not.

A record that somebody else wrote into the store joins the wait that is there for its order. The end
of that wait is the record's own if the last query left after the record was seen here; of a payment
that was found, if that query left after the record was written. Else the record is waited for next:
whenever it was committed, its order is asked about after that.
"""

from __future__ import annotations

import attrs

from chaoying_async.abc import Clock
from chaoying_async.polling.queue import Key, QueuedOrder
from chaoying_async.sansio.polling.status import PollStatus

#: Ends that stay what they are, however long the record's transaction is open.
_FOR_GOOD = (PollStatus.PAID, PollStatus.REFUNDED)
#: Seconds for which such an end is remembered: some looks of a fleet at what was handed over.
_REMEMBERED = 10.0


@attrs.define(eq=False)
class _NextWait:
    """The record that is waited for next, and the latest moments of all that joined the wait."""

    record: str
    order: QueuedOrder
    written: float
    seen: float


class JoinedRecords:
    """One record at most for each order that is waited for. All moments are monotonic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._joined: dict[Key, _NextWait] = {}
        #: Orders that ended for good: when, and when the query left that found it.
        self._over: dict[Key, tuple[float, float]] = {}

    def join(self, record: str, order: QueuedOrder) -> bool:
        """Add a record, seen now; ``order`` is how it is waited for, should it be next.

        False: it is to be forgotten, since another record stands for it.
        """
        now = self._clock.monotonic()
        first = self._joined.setdefault(order.key, _NextWait(record, order, order.started, now))
        first.written, first.seen = max(first.written, order.started), now
        return first.record == record

    def ended(
        self, order: QueuedOrder, status: PollStatus
    ) -> tuple[str, QueuedOrder | None] | None:
        """The record that had joined a wait which ended now, and how it is waited for next.

        Without the latter the end is the record's own. None: no record had joined.
        """
        for_good = status in _FOR_GOOD
        if for_good:
            self._remember(order)
        joined = self._joined.pop(order.key, None)
        if joined is None:
            return None
        asked = order.sent > (joined.written if for_good else joined.seen)
        return joined.record, None if asked else joined.order

    def is_over(self, order: QueuedOrder) -> bool:
        """Whether a payment was found by a query that left after this order's record was written.

        The record was seen after that, so it could not join.
        """
        return order.key in self._over and self._over[order.key][1] > order.started

    def _remember(self, order: QueuedOrder) -> None:
        now = self._clock.monotonic()
        while self._over and next(iter(self._over.values()))[0] < now - _REMEMBERED:
            del self._over[next(iter(self._over))]
        self._over.pop(order.key, None)
        self._over[order.key] = now, order.sent
