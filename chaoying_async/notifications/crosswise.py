"""Messages that tell of a payment in the other way than the one that took effect.

A query and a notification may name one payment by different numbers (M-13), so what the first of
the other way says is taken for the payment that is known; with a warning, where no number meets.
Its numbers are kept, and the next one of that way is held against them: two notifications with
different numbers, or two queries, are two payments (M-15), whichever of them the record names.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from chaoying_async.abc import Inbox
from chaoying_async.sansio.notifications.decide import OTHER_NUMBERS, Decision
from chaoying_async.sansio.notifications.facts import Facts, facts_from_text, to_text
from chaoying_async.sansio.notifications.inbox_values import Aside, OrderKey
from chaoying_async.sansio.notifications.message import NotificationOutcome

#: Under this name the first one of the other way is kept; no message has such a fingerprint.
FIRST: Final = "0" * 64
#: Seconds until ``run_due`` closes it, where the process died before it could.
CLOSED_IN: Final = 30.0

NOT_KEPT: Final = "it may be another payment: there was no room to remember its numbers"
TWO_PAYMENTS: Final = "two messages of the same kind name different transactions of an order"


async def is_another(inbox: Inbox, key: OrderKey, facts: Facts, first_seen: datetime) -> bool:
    """Whether another payment of this order was told in the same way before.

    Of two first ones in the same moment one finds the other: what was closed is not overwritten,
    so both then read the same. :class:`InboxFullError` where the inbox has no room for it.
    """
    if not facts.numbers or facts.outcome is not NotificationOutcome.PAID:
        return False
    kept = await inbox.aside(key, FIRST)
    if kept is None:
        first = Aside(
            key=key,
            fingerprint=FIRST,
            decision=Decision.DUPLICATE,
            reason=OTHER_NUMBERS,
            payload=to_text(facts),
            first_seen=first_seen,
        )
        await inbox.set_aside(first, retry_in=CLOSED_IN)
        await inbox.close(first)  # nobody has to do anything about it
        kept = await inbox.aside(key, FIRST)
    # Where the body has been pruned, nobody knows any more.
    if kept is None or not kept.payload:
        return False
    return facts_from_text(kept.payload).numbers.isdisjoint(facts.numbers)
