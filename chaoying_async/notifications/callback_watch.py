"""Notices a merchant whose callbacks have ceased, and tells the hook and the log of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from chaoying_async.abc import Clock
from chaoying_async.clock import within
from chaoying_async.notifications.callbacks import resolved
from chaoying_async.notifications.deciding import DecidedMessage
from chaoying_async.notifications.tasks import must_propagate
from chaoying_async.observation import SafeLog
from chaoying_async.sansio.notifications.callback_health import CallbackCounts, CallbacksDark
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.paid import PaidSource

log: Final = SafeLog("chaoying_async.notifications")

OnCallbacksDark = Callable[[CallbacksDark], Awaitable[None] | None]

#: Seconds that ``on_callbacks_dark`` may take.
_TELL_WITHIN = 20.0


class CallbackWatch:
    """Sees every message about a paid order whose effect is durable."""

    def __init__(self, clock: Clock, on_callbacks_dark: OnCallbacksDark | None) -> None:
        self._clock = clock
        self._on_callbacks_dark = on_callbacks_dark
        #: By merchant, and all together.
        self.counts = CallbackCounts()

    def saw(self, decided: DecidedMessage) -> None:
        """A message took effect, or what it says had taken effect before."""
        mch_id, number = decided.key
        said_by = decided.facts.source
        is_first = decided.verdict.decision is not Decision.DUPLICATE
        seen = None if decided.case is None else decided.case.seen
        source = said_by if is_first else None if seen is None else seen.source
        again = False
        if said_by is not PaidSource.QUERY:
            paid_at, delay = decided.facts.time_end, None
            if paid_at is not None and (is_first or source is PaidSource.QUERY):
                delay = decided.first_seen - paid_at  # else the gateway delivers it once more
            again = self.counts.heard(mch_id, delay)
        if source is not None:
            now = self._clock.monotonic()
            again |= self.counts.took_effect(mch_id, number, source, now)
        if again:
            log.warning("callbacks of merchant %r come again", mch_id)

    async def tell(self) -> None:
        """Say which merchants' callbacks have ceased: one line at ERROR each, and the hook."""
        for dark in self.counts.newly_dark(self._clock.monotonic()):
            log.error(
                "no callback came for the last %d paid orders of merchant %r, within %.0f s: they"
                " were found by query. Is its notify_url right, and can it be reached?",
                *(dark.orders, dark.mch_id, dark.seconds),
            )
            if self._on_callbacks_dark is None:
                continue
            try:
                told = resolved(self._on_callbacks_dark(dark))
                await within(self._clock, _TELL_WITHIN, told)
            except BaseException as error:
                if must_propagate(error):
                    raise
                log.exception(
                    "on_callbacks_dark failed for merchant %r: only this log says it", dark.mch_id
                )
