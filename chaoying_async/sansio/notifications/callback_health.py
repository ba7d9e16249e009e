"""Whether a merchant's callbacks come: counted by which message was the first of a paid order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

import attrs

from chaoying_async.sansio.paid import PaidSource

#: So many paid orders in a row, all first seen by query, with no callback meanwhile: dark.
DARK_AFTER = 5
#: Seconds since the first of them: as many callbacks may simply be late.
DARK_FOR = 20.0
#: How many merchants, and how many of the last orders, are remembered.
_MERCHANTS, _ORDERS = 10_000, 10_000


@attrs.frozen(kw_only=True)
class MerchantCallbacks:
    """How the callbacks of one merchant came, in this process."""

    by_notification: int
    """Paid orders that were first seen by a notification."""
    by_query: int
    """Paid orders that were first seen by a query."""
    delay: timedelta | None
    """How long after the payment a callback came, on average; None before one was heard."""
    longest_delay: timedelta | None
    """The longest of these."""
    is_dark: bool
    """Whether callbacks have ceased to come."""
    timed: int = 0
    """Callbacks of which it is known how long after their payment they came."""
    delays: timedelta = timedelta()
    """How long after their payments these came, all together: ``delay`` is this by ``timed``."""

    @property
    def share_by_query(self) -> float:
        """The share of paid orders that were first seen by query, from 0 to 1."""
        return self.by_query / ((self.by_query + self.by_notification) or 1)


@attrs.frozen(kw_only=True)
class CallbacksDark:
    """Callbacks of a merchant have ceased: its ``notify_url`` may be wrong, or out of reach."""

    mch_id: str
    """The merchant."""
    orders: int
    """Paid orders since the last callback; all of them were found by query."""
    seconds: float
    """How long ago the first of them was found, in seconds."""


@attrs.define
class _MerchantCounts:
    by_notification: int = 0
    by_query: int = 0
    heard: int = 0
    delays: timedelta = timedelta()
    longest: timedelta = timedelta()
    in_a_row: int = 0
    """Paid orders by query since the last callback."""
    since: float = 0.0
    """When the first of them came."""
    is_dark: bool = False

    def snapshot(self) -> MerchantCallbacks:
        return MerchantCallbacks(
            by_notification=self.by_notification,
            by_query=self.by_query,
            delay=self.delays / self.heard if self.heard else None,
            longest_delay=self.longest if self.heard else None,
            is_dark=self.is_dark,
            timed=self.heard,
            delays=self.delays,
        )


class CallbackCounts:
    """The counts of all merchants; moments are of a monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._merchants: dict[str, _MerchantCounts] = {}
        self._orders: dict[tuple[str, str], None] = {}
        self._total = _MerchantCounts()
        #: Merchants that may be dark soon: nobody looks at the others.
        self._suspects: set[str] = set()

    def heard(self, mch_id: str, delay: timedelta | None) -> bool:
        """A callback came, so long after its payment; whether the merchant was dark."""
        counts = self._of(mch_id)
        if delay is not None:
            for each in (counts, self._total):
                each.heard += 1
                each.delays += delay
                each.longest = max(each.longest, delay)
        return self._light(mch_id, counts)

    def took_effect(self, mch_id: str, number: str, source: PaidSource, now: float) -> bool:
        """A paid order was first seen in this way; whether the merchant was dark, and is no more.

        Each order counts once, however often it is told.
        """
        order = mch_id, number
        if order in self._orders:
            return False
        self._orders[order] = None
        if len(self._orders) > _ORDERS:
            del self._orders[next(iter(self._orders))]
        counts = self._of(mch_id)
        if source is not PaidSource.QUERY:
            counts.by_notification += 1
            self._total.by_notification += 1
            return self._light(mch_id, counts)
        counts.by_query += 1
        self._total.by_query += 1
        counts.in_a_row += 1
        if counts.in_a_row == 1:
            counts.since = now
        if counts.in_a_row >= DARK_AFTER and not counts.is_dark:
            self._suspects.add(mch_id)
        return False

    def newly_dark(self, now: float) -> Iterator[CallbacksDark]:
        """The merchants whose callbacks have ceased, each once until they come again."""
        for mch_id in sorted(self._suspects):
            counts = self._of(mch_id)
            seconds = now - counts.since
            if seconds >= DARK_FOR:
                counts.is_dark = True
                self._suspects.discard(mch_id)
                yield CallbacksDark(mch_id=mch_id, orders=counts.in_a_row, seconds=seconds)

    def snapshot(self) -> Mapping[str, MerchantCallbacks]:
        """The counts by merchant."""
        merchants = dict(self._merchants)  # a copy, in one step: another thread may ask
        return {mch_id: counts.snapshot() for mch_id, counts in merchants.items()}

    def total(self) -> MerchantCallbacks:
        """The counts of all merchants together, those too that are not remembered any more.

        It is dark when any of those that are remembered is.
        """
        total = self._total.snapshot()
        dark = any(counts.is_dark for counts in tuple(self._merchants.values()))
        return attrs.evolve(total, is_dark=dark)

    def _of(self, mch_id: str) -> _MerchantCounts:
        if mch_id not in self._merchants:
            if len(self._merchants) >= _MERCHANTS:
                oldest = next(iter(self._merchants))
                del self._merchants[oldest]
                self._suspects.discard(oldest)
            self._merchants[mch_id] = _MerchantCounts()
        return self._merchants[mch_id]

    def _light(self, mch_id: str, counts: _MerchantCounts) -> bool:
        was_dark = counts.is_dark
        counts.is_dark, counts.in_a_row = False, 0
        self._suspects.discard(mch_id)
        return was_dark
