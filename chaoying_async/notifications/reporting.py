"""Sets messages aside and tells the hooks of them: at least once, and mostly once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import attrs

from chaoying_async.abc import Clock, Inbox
from chaoying_async.clock import within
from chaoying_async.exceptions import MissingSignatureError, SignatureVerificationError
from chaoying_async.inbox.readable import UnreadableOrders
from chaoying_async.notifications.answering import Counts
from chaoying_async.notifications.callbacks import resolved
from chaoying_async.notifications.deciding import DecidedMessage, as_received
from chaoying_async.notifications.keys import UnknownMerchantError
from chaoying_async.notifications.tasks import must_propagate
from chaoying_async.observation import SafeLog
from chaoying_async.sansio.notifications.decide import (
    SECOND_PAYMENT,
    Decision,
    Judgement,
    SetAside,
)
from chaoying_async.sansio.notifications.facts import (
    Facts,
    kept_facts,
    to_text,
)
from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    OrderKey,
    Record,
    SeenState,
    TooManyWaitError,
)
from chaoying_async.sansio.notifications.message import Notification, notification_of
from chaoying_async.sansio.notifications.unreadable import readable
from chaoying_async.sansio.paid import PaidSource

log: Final = SafeLog("chaoying_async.notifications")

OnConflict = Callable[[SetAside], Awaitable[None] | None]
OnNotPaid = Callable[[Notification], Awaitable[None] | None]

#: Seconds until ``run_due`` tries again, doubling up to an hour (M-16).
FIRST_RETRY, LONGEST_RETRY = 30.0, 3600.0
_MOST_DOUBLINGS = 10

#: Seconds that ``on_conflict`` may take: less than until what it was not told is taken up again.
TELL_WITHIN = 20.0
#: Seconds between two lines about what a stranger may send at will.
REFUSALS_EVERY = 60.0
#: Why a body could not be verified; the first that fits.
_UNVERIFIED = (UnknownMerchantError, MissingSignatureError, SignatureVerificationError)
#: What a message's decision ends in, in the inbox, until somebody was told of it.
_UNTOLD = " (untold)"


def retry_in(tries: int) -> float:
    """How long to wait after so many tries."""
    return min(FIRST_RETRY * 2.0 ** min(tries, _MOST_DOUBLINGS), LONGEST_RETRY)


def is_untold(aside: Aside) -> bool:
    """Whether nobody was told of it yet, as far as the inbox knows."""
    return aside.decision.endswith(_UNTOLD)


class PacedCounts:
    """Counts what a stranger may send at will, so that one line a minute tells of all of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._told = clock, -math.inf
        self._counts: Counter[type[Exception]] = Counter()

    def due(self, kind: type[Exception]) -> Counter[type[Exception]]:
        """Count one more; all since the last line, where another may be written now, else none."""
        self._counts[kind] += 1
        now = self._clock.monotonic()
        if now < self._told + REFUSALS_EVERY:
            return Counter()
        counted, self._counts, self._told = self._counts, Counter(), now
        return counted


class Reporter:
    """Keeps messages that cannot take effect, and tells the hooks."""

    def __init__(
        self,
        inbox: Inbox,
        clock: Clock,
        counts: Counts,
        *,
        on_conflict: OnConflict | None,
        on_not_paid: OnNotPaid | None,
        confirms: bool,
    ) -> None:
        self._inbox, self._clock = inbox, clock
        self._on_conflict = on_conflict
        self._on_not_paid = on_not_paid
        self._counts = counts
        self._refused, self._unverified = PacedCounts(clock), PacedCounts(clock)
        #: Tells of orders whose records nothing can be made of.
        self.unreadable = UnreadableOrders()
        #: Decisions that may be others when they are made again, with what is known then.
        self._retried = {Decision.UNKNOWN_ORDER, Decision.UNCONFIRMED, Decision.CONFLICT}
        if confirms:
            self._retried.add(Decision.UNREADABLE)

    def next_try(self, decision: Decision, reason: str, tries: int) -> float | None:
        """Seconds until ``run_due`` looks at a message again; None: only when somebody marks it.

        A second payment stays a second one, also when the inbox has forgotten the first.
        """
        if decision not in self._retried or reason in SECOND_PAYMENT:
            return None
        return retry_in(tries)

    async def set_aside(self, matter: DecidedMessage) -> None:
        """Keep the message with its reason, and report it if that is news: at least once.

        The message is kept before it is reported, as one that nobody was told of yet, and under its
        decision only afterwards: if the process dies in between, a redelivery or ``run_due``
        reports it.
        """
        verdict = matter.verdict
        aside = Aside(
            key=matter.as_received,
            fingerprint=matter.facts.fingerprint,
            decision=verdict.decision,
            reason=verdict.reason,
            payload=to_text(matter.facts),
            first_seen=matter.first_seen,
            foreign=matter.foreign,
        )
        kept = await self._inbox.aside(aside.key, aside.fingerprint)
        if kept is None or kept.decision != aside.decision:
            if not await self._is_ours_to_tell(aside, kept):
                return
            await self.report(verdict.decision, verdict.reason, aside.key)
        first_try = self.next_try(verdict.decision, verdict.reason, 0)
        await self._inbox.set_aside(aside, retry_in=first_try)

    async def keep_replaced(self, before: Record) -> None:
        """Set aside the payment in an order's record, since another one of the order came first."""
        entry = before.entry
        if not entry.payload:
            return
        reason = "its work was broken off, and another payment of the order came first"
        verdict = Judgement(Decision.CONFLICT, reason)
        facts = readable(lambda: kept_facts(entry.payload, entry.source), before.key)
        await self.set_aside(DecidedMessage(facts, before.key, verdict, entry.first_seen))

    async def keep_in_progress(self, facts: Facts, first_seen: datetime | None = None) -> None:
        """Keep a message that nobody may bring again, while somebody else is at work on its order.

        It is due soon: whoever is at work may die. Nobody is told of it (M-16).
        """
        key = as_received(facts)
        if await self._inbox.aside(key, facts.fingerprint) is None:
            aside = Aside(
                key=key,
                fingerprint=facts.fingerprint,
                decision=Decision.IN_PROGRESS,
                reason="somebody was at work on this order when it came",
                payload=to_text(facts),
                first_seen=first_seen or self._clock.now(),
            )
            await self._inbox.set_aside(aside, retry_in=FIRST_RETRY)

    async def _is_ours_to_tell(self, aside: Aside, kept: Aside | None) -> bool:
        """Whether we report this message; if so, it is kept now as one that nobody was told of."""
        untold = attrs.evolve(aside, decision=aside.decision + _UNTOLD)
        if kept is None or kept.decision != untold.decision:
            # False where it was dismissed, or somebody else was faster.
            return await self._inbox.set_aside(untold, retry_in=FIRST_RETRY)
        age = abs((self._clock.now() - kept.first_seen).total_seconds())
        if age < FIRST_RETRY:
            return False  # somebody is telling it, or else it is due soon
        return await self.waits(aside.key, aside.fingerprint)

    async def waits(self, key: OrderKey, fingerprint: str) -> bool:
        """Whether this message is set aside and open."""
        waiting = await self._inbox.asides(key)
        return any(each.fingerprint == fingerprint for each in waiting)

    def refused(self, key: OrderKey, error: TooManyWaitError) -> None:
        """Say that a message was not kept: one line a minute, whatever a stranger sends (M-15)."""
        self._counts.add("not_kept")
        if counted := self._refused.due(type(error)):
            log.error(
                "a notification was not kept, and answered fail: %s; order %r of merchant %r, %d"
                " messages since the last such line",
                error,
                key[1],
                key[0],
                counted.total(),
            )

    def unverified(self, error: BaseException) -> None:
        """Say that bodies could not be verified: one line a minute, and nothing that they say."""
        kind = next(each for each in _UNVERIFIED if isinstance(error, each))
        if counted := self._unverified.due(kind):
            log.warning(
                "notifications could not be verified, and were answered fail: %d about a merchant"
                " whose key nobody has, %d without a signature, %d with a wrong one, since the last"
                " such line. Is your key the gateway's? A few are other merchants' or strangers';"
                " chaoying doctor explains one body",
                *(counted[each] for each in _UNVERIFIED),
            )

    async def report(self, decision: Decision, reason: str, key: OrderKey) -> None:
        """Tell ``on_conflict``; if there is none, or it fails or takes too long, log it."""
        told = SetAside(decision=decision, reason=reason, mch_id=key[0], out_trade_no=key[1])
        was_told = False
        try:
            if self._on_conflict is not None:
                await within(self._clock, TELL_WITHIN, resolved(self._on_conflict(told)))
                was_told = True
        except BaseException as error:
            if must_propagate(error):
                raise
            log.exception("on_conflict failed for order %r of merchant %r", key[1], key[0])
        finally:
            if not was_told:
                log.error("%s, order %r of merchant %r: %s", decision, key[1], key[0], reason)

    async def not_paid(self, matter: DecidedMessage) -> None:
        """Note a failed payment, and tell ``on_not_paid`` of the first one of an order.

        The hook comes first: if it raises, the failure is not noted, and comes again. An order that
        was given up is NOT_PAID as well, but its record speaks of a payment: no failure was noted.
        """
        record, entry = await self._inbox.look(matter.key), matter.entry(payload=True)
        if not _is_news(record):
            return
        if self._on_not_paid is not None and matter.facts.source is PaidSource.NOTIFICATION:
            await resolved(self._on_not_paid(notification_of(matter.facts)))
        async with self._inbox.lock(matter.key, entry) as order:
            # Where somebody is at work on it, a failure changes nothing: it never blocks a payment.
            if order is not None and _is_news(order.before):
                await order.save(SeenState.NOT_PAID, entry)


def _is_news(record: Record | None) -> bool:
    """Whether a failure of this order was not noted yet, and is worth noting."""
    if record is None:
        return True
    if record.state is not SeenState.NOT_PAID:
        log.info("a failure before order %r was paid changes nothing", record.key.out_trade_no)
        return False
    return record.entry.decision != Decision.NOT_PAID
