"""An inbox that lives as long as its process: for a single process, and for tests."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import attrs

from chaoying_async.abc import Clock
from chaoying_async.inbox.leases import LEASE, Claim, LeasingInbox
from chaoying_async.inbox.readable import oldest_first
from chaoying_async.sansio.notifications.facts import without_raw
from chaoying_async.sansio.notifications.inbox_values import (
    AHEAD,
    BY_A_PERSON,
    FIRST,
    Aside,
    Entry,
    InboxFullError,
    Mark,
    OrderKey,
    Record,
    SeenState,
    TooManyWaitError,
    check_room,
)

_ENDED = (SeenState.DONE, SeenState.NOT_PAID)

#: One merchant's open messages are at most this part of the inbox: a tenth (M-15).
MERCHANTS_PART = 10
#: Seconds between two sweeps of a full inbox: each looks at everything in it.
SWEEP_EVERY = 60.0

AsideKey = tuple[OrderKey, str]
T = TypeVar("T")


class _Lease(NamedTuple):
    token: int
    ends: float


@attrs.define
class _KeptOrder:
    record: Record
    since: float
    """When it was recorded so, and its work had ended: by that it is forgotten (M-19)."""
    due: float


@attrs.define
class _Kept:
    aside: Aside
    due: float | None
    closed: bool = False


class _Waiting:
    """Counts of the open messages, kept so that nobody has to look at all of them."""

    def __init__(self) -> None:
        self.of_merchant: Counter[str] = Counter()
        self.of_order: Counter[OrderKey] = Counter()
        #: Of each merchant, the orders that the shop does not know.
        self.foreign: defaultdict[str, Counter[OrderKey]] = defaultdict(Counter)

    def add(self, aside: Aside, count: int = 1) -> None:
        """Count one open message more, or with -1 one less."""
        mch_id = aside.key.mch_id
        _count(self.of_merchant, mch_id, count)
        _count(self.of_order, aside.key, count)
        if aside.foreign:
            _count(self.foreign[mch_id], aside.key, count)


def _count(counter: Counter[T], name: T, count: int) -> None:
    counter[name] += count
    if not counter[name]:
        del counter[name]


class MemoryInbox(LeasingInbox):
    """Keeps everything in this process; see :class:`~chaoying_async.abc.Inbox`.

    At least once, not exactly once: when the process ends, what it knew is gone, and a redelivery
    takes effect again (M-19). It remembers for ``window`` (a day) from the end of an order's work,
    and holds ``max_items`` orders and messages; when it is full it takes nothing new, which the
    gateway is told as ``fail``, rather than forget what a redelivery may still ask about.
    ``max_items`` is also how many distinct orders a day it can serve. Give it the handler's clock.
    """

    shows_claims = False  # so the message is written down for no lock here

    def __init__(
        self,
        *,
        window: timedelta = timedelta(days=1),
        max_items: int = 1_000_000,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(clock)
        self._window = window
        self._max_items = max_items
        self._orders: dict[OrderKey, _KeptOrder] = {}
        self._asides: dict[AsideKey, _Kept] = {}
        # The open ones among them, kept apart: they are few, and looked through every 30 s.
        self._open_orders: dict[OrderKey, _KeptOrder] = {}
        self._open_asides: dict[AsideKey, _Kept] = {}
        self._waiting = _Waiting()
        self._leases: dict[OrderKey, _Lease] = {}
        #: Those among the leased orders that have no record yet; they take a place, too.
        self._new: set[OrderKey] = set()
        self._tokens = itertools.count(1)
        self._swept = -math.inf

    def __repr__(self) -> str:
        return f"<MemoryInbox {len(self._orders)} orders, {len(self._asides)} asides>"

    @property
    def window(self) -> timedelta:
        return self._window

    async def look(self, key: OrderKey) -> Record | None:
        order = self._orders.get(key)
        return None if order is None else self._record(order)

    async def _claim(self, key: OrderKey, _entry: Entry) -> Claim | None:
        now = self._clock.monotonic()
        if self._lease_left(key, now) > 0:
            return None
        order = self._orders.get(key)
        if order is None:
            if key not in self._new:
                self._make_room()
                self._new.add(key)
        elif order.record.state is SeenState.DONE:
            return Claim(key, order.record)
        token = next(self._tokens)
        self._leases[key] = _Lease(token, now + LEASE)
        return Claim(key, None if order is None else order.record, token)

    async def _renew(self, claim: Claim) -> bool:
        is_ours = self._is_ours(claim)
        if is_ours:
            self._leases[claim.key] = _Lease(claim.token, self._clock.monotonic() + LEASE)
        return is_ours

    async def _save(self, claim: Claim, record: Record) -> bool:
        is_ours = self._is_ours(claim)
        if is_ours:
            self._keep(record, claim.retry_in)
        return is_ours

    async def _leave(self, claim: Claim) -> None:
        if self._is_ours(claim):
            self._end_lease(claim.key)

    async def set_aside(self, aside: Aside, *, retry_in: float | None) -> bool:
        kept = self._asides.get((aside.key, aside.fingerprint))
        due = None if retry_in is None else self._clock.monotonic() + retry_in
        if kept is None:
            self._check_room(aside)
            self._make_room()
            at = aside.key, aside.fingerprint
            self._asides[at] = self._open_asides[at] = _Kept(aside, due)
            self._waiting.add(aside)
            return True
        if kept.closed:
            return False
        news = kept.aside.decision != aside.decision
        kept.due = due
        self._waiting.add(kept.aside, -1)
        kept.aside = attrs.evolve(
            kept.aside,
            decision=aside.decision,
            reason=aside.reason,
            payload=aside.payload,
            foreign=aside.foreign,
        )
        self._waiting.add(kept.aside)
        return news

    async def postpone(self, aside: Aside, *, retry_in: float | None) -> None:
        kept = self._asides.get((aside.key, aside.fingerprint))
        if kept is None:
            return
        mark = None if kept.aside.mark is Mark.RETRY else kept.aside.mark
        kept.aside = attrs.evolve(kept.aside, tries=kept.aside.tries + 1, mark=mark)
        kept.due = None if retry_in is None else self._clock.monotonic() + retry_in

    async def close(self, aside: Aside) -> None:
        self._close((aside.key, aside.fingerprint))

    async def asides(self, key: OrderKey) -> Sequence[Aside]:
        asides = (kept.aside for (of, _), kept in self._open_asides.items() if of == key)
        return sorted(asides, key=lambda aside: aside.first_seen)

    async def aside(self, key: OrderKey, fingerprint: str) -> Aside | None:
        kept = self._asides.get((key, fingerprint))
        return None if kept is None else kept.aside

    async def unfinished(self, limit: int) -> Sequence[Record | Aside]:
        now = self._clock.monotonic()
        orders = [
            order.record
            for key, order in self._open_orders.items()
            if order.record.state is SeenState.HELD
            and order.due <= now
            and not self._lease_left(key, now)
        ]
        asides = [kept.aside for kept in self._open_asides.values() if _is_due(kept, now)]
        return oldest_first([*orders, *asides])[:limit]

    async def listing(self, limit: int) -> Sequence[Record | Aside]:
        orders = [self._record(order) for order in self._open_orders.values()]
        asides = [kept.aside for kept in self._open_asides.values()]
        return oldest_first([*orders, *asides])[:limit]

    async def mark(self, key: OrderKey, mark: Mark, fingerprint: str | None = None) -> bool:
        if fingerprint is not None:
            return self._mark_aside((key, fingerprint), mark)
        order = self._orders.get(key)
        if order is None or order.record.state is not SeenState.QUARANTINED:
            return False
        state = SeenState.DONE if mark is Mark.DISMISS else SeenState.HELD
        entry = order.record.entry
        if mark is Mark.APPLY:
            entry = attrs.evolve(entry, decision=BY_A_PERSON)
        self._keep(attrs.evolve(order.record, state=state, entry=entry))
        return True

    async def prune(self, before: datetime, *, keys: bool = False) -> int:
        if not keys:
            return self._prune_bodies(before)
        until = min(before, self._outside_the_window())
        # The message's age does not count alone: a payment may have waited days for its order.
        ended = self._clock.monotonic() - (self._clock.now() - until).total_seconds()
        forgotten = self._forget(
            lambda order: order.since < ended and order.record.entry.first_seen < until,
            until,
            foreign=True,
        )
        return forgotten + self._prune_bodies(before)

    def _prune_bodies(self, before: datetime) -> int:
        pruned = 0
        for order in self._orders.values():
            record, entry = order.record, order.record.entry
            if record.state in _ENDED and entry.first_seen < before and entry.payload:
                order.record = attrs.evolve(record, entry=attrs.evolve(entry, payload=""))
                pruned += 1
        for kept in self._asides.values():
            emptied = kept.closed and kept.aside.fingerprint != FIRST
            payload = "" if emptied else without_raw(kept.aside.payload)
            if kept.aside.first_seen < before and payload != kept.aside.payload:
                kept.aside = attrs.evolve(kept.aside, payload=payload)
                pruned += 1
        return pruned

    def _check_room(self, aside: Aside) -> None:
        mch_id, waiting = aside.key.mch_id, self._waiting
        if waiting.of_merchant[mch_id] >= max(1, self._max_items // MERCHANTS_PART):
            raise TooManyWaitError(
                "the messages of this merchant that wait are a tenth of the inbox"
            )
        foreign = waiting.foreign[mch_id]
        check_room(
            aside,
            messages=waiting.of_order[aside.key],
            of_it=aside.key in foreign,
            orders=len(foreign),
        )

    def _keep(self, record: Record, due_in: float = 0.0) -> None:
        """Put this record in place of what was there, here only: so the open ones are known."""
        now, key, entry = self._clock.monotonic(), record.key, record.entry
        if record.state is SeenState.DONE and entry.payload:
            # Nobody runs it again, so its text is forgotten at once: it is most of what it takes.
            entry = attrs.evolve(entry, payload="")
        record = attrs.evolve(record, entry=entry, token=next(self._tokens))
        order = self._orders[key] = _KeptOrder(record, now, now + due_in)
        if record.state in _ENDED:
            self._open_orders.pop(key, None)
        else:
            self._open_orders[key] = order
        self._end_lease(key)

    def _is_ours(self, claim: Claim) -> bool:
        lease = self._leases.get(claim.key)
        return lease is not None and lease.token == claim.token

    def _lease_left(self, key: OrderKey, now: float) -> float:
        lease = self._leases.get(key)
        return 0.0 if lease is None else max(0.0, lease.ends - now)

    def _end_lease(self, key: OrderKey) -> None:
        self._leases.pop(key, None)
        self._new.discard(key)

    def _close(self, at: AsideKey) -> None:
        kept = self._open_asides.pop(at, None)
        if kept is not None:
            kept.closed, kept.due = True, None
            self._waiting.add(kept.aside, -1)

    def _record(self, order: _KeptOrder) -> Record:
        left = self._lease_left(order.record.key, self._clock.monotonic())
        return attrs.evolve(order.record, lease=left) if left else order.record

    def _mark_aside(self, at: AsideKey, mark: Mark) -> bool:
        kept = self._asides.get(at)
        if kept is None or kept.closed:
            return False
        kept.aside = attrs.evolve(kept.aside, mark=mark)
        if mark is Mark.DISMISS:
            self._close(at)
        return True

    def _is_full(self) -> bool:
        return len(self._orders) + len(self._new) + len(self._asides) >= self._max_items

    def _make_room(self) -> None:
        now = self._clock.monotonic()
        if self._is_full() and now - self._swept >= SWEEP_EVERY:
            self._swept = now
            # The message's age does not count: a payment may have waited for days for its order.
            ended = now - (self._window + AHEAD).total_seconds()
            self._forget(lambda order: order.since < ended, self._outside_the_window())
        if self._is_full():
            raise InboxFullError("the inbox is full, and nothing in it is older than its window")

    def _outside_the_window(self) -> datetime:
        """A message that came before this moment would be STALE if it came again."""
        return self._clock.now() - self._window - AHEAD

    def _forget(
        self, is_old: Callable[[_KeptOrder], bool], before: datetime, *, foreign: bool = False
    ) -> int:
        """Old orders that ended, and messages that are closed (or foreign) and came before then.

        A message goes no later than its order: as long as it is there, it is judged as of when it
        first came, and would take effect again.
        """
        orders = [
            key
            for key, order in self._orders.items()
            if order.record.state in _ENDED and is_old(order)
        ]
        asides = [
            at
            for at, kept in self._asides.items()
            if (kept.closed or (foreign and kept.aside.foreign)) and kept.aside.first_seen < before
        ]
        for key in orders:
            del self._orders[key]
        for at in asides:
            self._close(at)
            del self._asides[at]
        return len(orders) + len(asides)


def _is_due(kept: _Kept, now: float) -> bool:
    return kept.aside.mark is not None or (kept.due is not None and kept.due <= now)
