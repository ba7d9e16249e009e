"""How many messages became what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sized
from types import MappingProxyType

import attrs

from chaoying_async.sansio.notifications.decide import Decision


@attrs.frozen(kw_only=True)
class HandlerStats:
    """Since the handler was made; see ``NotificationHandler.stats``."""

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
    """Runs of ``on_paid`` that ended without an effect."""
    working: int
    """Orders that are being worked on now."""
    not_kept: int = 0
    """Messages that were answered ``fail`` and not kept, since too many of their kind wait already.
    """


class Counts:
    """The same, being counted."""

    def __init__(self) -> None:
        self.decisions: Counter[Decision] = Counter()
        self.unverified = self.malformed = self.troubled = self.late = self.failed = 0
        self.not_kept = 0
        #: What is worked on now, kept by whoever does the work.
        self.working: Sized = ()

    def add(self, counter: str) -> None:
        """One more of these."""
        setattr(self, counter, getattr(self, counter) + 1)

    def snapshot(self) -> HandlerStats:
        """As of now."""
        return HandlerStats(
            decisions=MappingProxyType(dict(self.decisions)),
            unverified=self.unverified,
            malformed=self.malformed,
            troubled=self.troubled,
            late=self.late,
            failed=self.failed,
            working=len(self.working),
            not_kept=self.not_kept,
        )
