"""An inbox that lives as long as its process: for a single process, and for tests."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

import attrs

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.notifications.facts import without_raw
from chaoying_async.sansio.notifications.inbox_values import (
    AHEAD,
    BY_A_PERSON,
    Aside,
    Claim,
    ClaimLostError,
    Entry,
    InboxFullError,
    Mark,
    OrderKey,
    Record,
    SeenState,
    TooManyWaitError,
    check_room,
)

_FREE = (SeenState.HELD, SeenState.NOT_PAID)
_ENDED = (SeenState.DONE, SeenState.NOT_PAID)

#: One merchant's open messages are at most this part of the inbox: a tenth (M-15).
MERCHANTS_PART = 10
#: Seconds between two sweeps of a full inbox: each looks at everything in it.
SWEEP_EVERY = 60.0

AsideKey = tuple[OrderKey, str]
T = TypeVar("T")


@attrs.define
class _KeptOrder:
    state: SeenState
    entry: Entry
    token: int = 0
    held_until: float = 0.0
    """While HELD, when the lease ends. Afterwards a moment that is not before its end: the last
    lease's, where it was worked on. By that it is forgotten (M-19).
    """
    due: float = 0.0
    failures: int = 0
    reason: str = ""

    def keep_text(self) -> None:
        """Write what may still be read; what it is written from may know the buyer (M-27)."""
        self.entry = self.entry.with_payload(self.entry.payload)


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


class MemoryInbox:
    """Keeps everything in this process; see :class:`~chaoying_async.abc.Inbox`.

    At least once, not exactly once: when the process ends, what it knew is gone, and a redelivery
    takes effect again (M-19). It remembers for ``window`` (a day) from the end of an order's work,
    and holds ``max_items`` orders and messages; when it is full it takes nothing new, which the
    gateway is told as ``fail``, rather than forget what a redelivery may still ask about.
    ``max_items`` is also how many distinct orders a day it can serve. Give it the handler's clock.
    """

    lends_connection = False
    renews = True

    def __init__(
        self,
        *,
        window: timedelta = timedelta(days=1),
        max_items: int = 1_000_000,
        clock: Clock | None = None,
    ) -> None:
        self._window = window
        self._max_items = max_items
        self._clock: Clock = clock or SystemClock()
        self._orders: dict[OrderKey, _KeptOrder] = {}
        self._asides: dict[AsideKey, _Kept] = {}
        # The open ones among them, kept apart: they are few, and looked through every 30 s.
        self._open_orders: dict[OrderKey, _KeptOrder] = {}
        self._open_asides: dict[AsideKey, _Kept] = {}
        self._waiting = _Waiting()
        self._swept = -math.inf

    def __repr__(self) -> str:
        return f"<MemoryInbox {len(self._orders)} orders, {len(self._asides)} asides>"

    @property
    def window(self) -> timedelta:
        return self._window

    async def look(self, key: OrderKey) -> Record | None:
        order = self._orders.get(key)
        return None if order is None else self._record(key, order)

    async def claim(self, key: OrderKey, entry: Entry, *, lease: float) -> Claim | Record:
        now = self._clock.monotonic()
        order = self._orders.get(key)
        if order is None:
            self._make_room()
            order = self._orders[key] = self._open_orders[key] = _KeptOrder(SeenState.HELD, entry)
            before = None
        else:
            before = self._record(key, order)
            if order.state not in _FREE or before.lease > 0:
                return before
            self._move(key, order, SeenState.HELD)
            order.entry = entry
        order.token += 1
        order.held_until, order.due = now + lease, 0.0
        return Claim(key, order.token, order.failures, before)

    def _held(self, claim: Claim) -> _KeptOrder | None:
        """The order of this claim; None where the claim is no longer ours."""
        order = self._orders.get(claim.key)
        if order is None or order.state is not SeenState.HELD or order.token != claim.token:
            return None
        return order

    async def renew(self, claim: Claim, *, lease: float) -> bool:
        order = self._held(claim)
        if order is None:
            return False
        order.held_until = self._clock.monotonic() + lease
        return True

    @asynccontextmanager
    async def work(self, claim: Claim) -> AsyncGenerator[None]:
        """As every inbox's ``work``, but without a transaction that could be rolled back."""
        if self._held(claim) is None:
            raise ClaimLostError("the claim was taken over before its work began")
        yield
        order = self._held(claim)
        if order is None:
            raise ClaimLostError("the claim was taken over while its work went on")
        self._move(claim.key, order, SeenState.DONE)
        # Nobody runs it again, so its text is forgotten at once: it is most of what an order takes.
        order.entry = order.entry.with_payload("")

    async def release(self, claim: Claim, *, retry_in: float, failed: bool) -> bool:
        order = self._held(claim)
        if order is None:
            return False
        order.token += 1  # the holder's no longer fits
        order.keep_text()
        order.held_until, order.due = 0.0, self._clock.monotonic() + retry_in
        order.failures += failed
        return failed and order.failures == 1

    async def quarantine(self, claim: Claim, reason: str) -> bool:
        order = self._held(claim)
        if order is None:
            return False
        self._move(claim.key, order, SeenState.QUARANTINED)
        order.keep_text()
        order.reason = reason
        order.token += 1
        return True

    async def give_up(self, claim: Claim) -> bool:
        order = self._held(claim)
        if order is None:
            return False
        self._move(claim.key, order, SeenState.NOT_PAID)
        order.keep_text()
        order.token += 1
        order.held_until = self._clock.monotonic()
        return True

    async def not_paid(self, key: OrderKey, entry: Entry) -> bool:
        order = self._orders.get(key)
        if order is None:
            self._make_room()
            now = self._clock.monotonic()
            self._orders[key] = _KeptOrder(SeenState.NOT_PAID, entry, held_until=now)
            return True
        if order.state is not SeenState.NOT_PAID or order.entry.decision == entry.decision:
            return False
        order.entry = entry
        return True

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
        return _oldest_first(kept.aside for (of, _), kept in self._open_asides.items() if of == key)

    async def aside(self, key: OrderKey, fingerprint: str) -> Aside | None:
        kept = self._asides.get((key, fingerprint))
        return None if kept is None else kept.aside

    async def unfinished(self, limit: int) -> Sequence[Record | Aside]:
        now = self._clock.monotonic()
        orders = [
            self._record(key, order)
            for key, order in self._open_orders.items()
            if order.state is SeenState.HELD and max(order.held_until, order.due) <= now
        ]
        asides = [kept.aside for kept in self._open_asides.values() if _is_due(kept, now)]
        return _oldest_first([*orders, *asides])[:limit]

    async def listing(self, limit: int) -> Sequence[Record | Aside]:
        orders = [self._record(key, order) for key, order in self._open_orders.items()]
        asides = [kept.aside for kept in self._open_asides.values()]
        return _oldest_first([*orders, *asides])[:limit]

    async def mark(self, key: OrderKey, mark: Mark, fingerprint: str | None = None) -> bool:
        if fingerprint is not None:
            return self._mark_aside((key, fingerprint), mark)
        order = self._orders.get(key)
        if order is None or order.state is not SeenState.QUARANTINED:
            return False
        ends = mark is Mark.DISMISS
        self._move(key, order, SeenState.DONE if ends else SeenState.HELD)
        order.held_until, order.due = self._clock.monotonic() if ends else 0.0, 0.0
        if mark is Mark.APPLY:
            order.entry = order.entry.with_payload(order.entry.payload)  # a copy
            order.entry.decision = BY_A_PERSON
        return True

    async def prune(self, before: datetime, *, keys: bool = False) -> int:
        if keys:
            until = min(before, self._outside_the_window())
            # The message's age does not count alone: a payment may have waited days for its order.
            ended = self._clock.monotonic() - (self._clock.now() - until).total_seconds()
            return self._forget(
                lambda order: order.held_until < ended and order.entry.first_seen < until,
                until,
                foreign=True,
            ) + self._prune_bodies(before)
        return self._prune_bodies(before)

    def _prune_bodies(self, before: datetime) -> int:
        pruned = 0
        for order in self._orders.values():
            entry = order.entry
            if order.state in _ENDED and entry.first_seen < before and entry.payload:
                order.entry = entry.with_payload("")
                pruned += 1
        for kept in self._asides.values():
            payload = "" if kept.closed else without_raw(kept.aside.payload)
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

    def _move(self, key: OrderKey, order: _KeptOrder, state: SeenState) -> None:
        """Change an order's state, here only: so the open orders are always known."""
        order.state = state
        if state in _ENDED:
            self._open_orders.pop(key, None)
        else:
            self._open_orders[key] = order

    def _close(self, at: AsideKey) -> None:
        kept = self._open_asides.pop(at, None)
        if kept is not None:
            kept.closed, kept.due = True, None
            self._waiting.add(kept.aside, -1)

    def _record(self, key: OrderKey, order: _KeptOrder) -> Record:
        held = order.state is SeenState.HELD
        return Record(
            key=key,
            state=order.state,
            entry=order.entry,
            lease=max(0.0, order.held_until - self._clock.monotonic()) if held else 0.0,
            failures=order.failures,
            reason=order.reason,
            token=order.token,
        )

    def _mark_aside(self, at: AsideKey, mark: Mark) -> bool:
        kept = self._asides.get(at)
        if kept is None or kept.closed:
            return False
        kept.aside = attrs.evolve(kept.aside, mark=mark)
        if mark is Mark.DISMISS:
            self._close(at)
        return True

    def _make_room(self) -> None:
        if len(self._orders) + len(self._asides) < self._max_items:
            return
        now = self._clock.monotonic()
        if now - self._swept >= SWEEP_EVERY:
            self._swept = now
            # The message's age does not count: a payment may have waited for days for its order.
            ended = now - (self._window + AHEAD).total_seconds()
            self._forget(lambda order: order.held_until < ended, self._outside_the_window())
        if len(self._orders) + len(self._asides) >= self._max_items:
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
            key for key, order in self._orders.items() if order.state in _ENDED and is_old(order)
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


def _first_seen(item: Record | Aside) -> datetime:
    return item.first_seen if isinstance(item, Aside) else item.entry.first_seen


def _oldest_first(items: Iterable[Record | Aside]) -> Sequence[Any]:
    return sorted(items, key=_first_seen)
