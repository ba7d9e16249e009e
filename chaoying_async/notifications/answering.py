"""What the gateway is answered, for every decision and every refusal (M-14), and the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sized
from types import MappingProxyType

import attrs

from chaoying_async.exceptions import MalformedMessageError, SignatureVerificationError
from chaoying_async.notifications.keys import UnknownMerchantError
from chaoying_async.sansio.notifications.callback_health import CallbackCounts, MerchantCallbacks
from chaoying_async.sansio.notifications.decide import Decision, NotificationAnswer
from chaoying_async.sansio.notifications.message import FAIL
from chaoying_async.sansio.notifications.reading import OversizedNotificationError

OK, _UNREADABLE, _TOO_LARGE = 200, 400, 413


def _refusal(status: int) -> NotificationAnswer:
    return NotificationAnswer(status=status, body=FAIL)


#: Somebody else's work has not ended in time.
NOT_YET = NotificationAnswer(status=OK, body=FAIL, decision=Decision.IN_PROGRESS)
#: Nothing could be done about the message: another delivery may fare better.
NOT_NOW = _refusal(OK)

#: For a body that proves nothing: the counter and the answer; the first that fits.
_REFUSALS: tuple[tuple[type[Exception], str, NotificationAnswer], ...] = (
    (UnknownMerchantError, "unverified", NOT_NOW),
    (SignatureVerificationError, "unverified", NOT_NOW),
    (OversizedNotificationError, "malformed", _refusal(_TOO_LARGE)),
    (MalformedMessageError, "malformed", _refusal(_UNREADABLE)),
)


def refused(error: BaseException) -> tuple[str, NotificationAnswer] | None:
    """The counter and the answer where the body itself is to blame; None for any other error."""
    for kind, counter, answer in _REFUSALS:
        if isinstance(error, kind):
            return counter, answer
    return None


@attrs.frozen(kw_only=True)
class HandlerStats:
    """Counts since the handler was made; see ``NotificationHandler.stats``."""

    decisions: Mapping[Decision, int]
    """Messages by what was decided about them; a redelivery counts again."""
    unverified: int
    """Bodies whose signature was missing or wrong, or whose merchant nobody knows."""
    malformed: int
    """Bodies that are no form, or too large."""
    troubled: int
    """Deliveries that were answered ``fail`` since the inbox, ``expected`` or the resolver failed.
    """
    late: int
    """Deliveries that were answered before their work had ended."""
    failed: int
    """Runs of ``on_paid`` that ended without an effect; one that was undone for another
    transaction's sake and done again at once is none.
    """
    working: int
    """Orders that are being worked on now."""
    not_kept: int = 0
    """Messages that were answered ``fail`` and not kept, since too many of their kind wait already.
    """
    callbacks: Mapping[str, MerchantCallbacks] = attrs.field(factory=dict)
    """By merchant: how many paid orders were first seen by query, and how late callbacks come."""
    all_callbacks: MerchantCallbacks
    """The same of all merchants together; it is dark when any of them is."""


class Counts:
    """The mutable counters that ``HandlerStats`` is a snapshot of."""

    def __init__(self) -> None:
        self.decisions: Counter[Decision] = Counter()
        self._others: Counter[str] = Counter()
        #: The orders that are worked on now; the journey puts its own here.
        self.working: Sized = ()

    def add(self, counter: str) -> None:
        self._others[counter] += 1

    def snapshot(self, callbacks: CallbackCounts) -> HandlerStats:
        counters = ("unverified", "malformed", "troubled", "late", "failed", "not_kept")
        return HandlerStats(
            decisions=MappingProxyType(dict(self.decisions)),
            working=len(self.working),
            callbacks=callbacks.snapshot(),
            all_callbacks=callbacks.total(),
            **{name: self._others[name] for name in counters},
        )
