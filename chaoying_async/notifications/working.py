"""Claim an order, run the user's function, record that it is done: M-16 to the letter."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

import attrs

from chaoying_async.abc import Clock, Inbox
from chaoying_async.clock import go_on
from chaoying_async.exceptions import HandlerMisuseError
from chaoying_async.notifications.answering import Outcome
from chaoying_async.notifications.callbacks import EffectCall
from chaoying_async.notifications.deciding import Matter
from chaoying_async.notifications.endings import is_wanted
from chaoying_async.notifications.leases import LEASE, Renewals
from chaoying_async.notifications.reporting import Reports, log, retry_in
from chaoying_async.notifications.stats import Counts
from chaoying_async.sansio.notifications.case import Learnt
from chaoying_async.sansio.notifications.decide import PAID_BUT_CLOSED, Decision, Verdict
from chaoying_async.sansio.notifications.facts import kept_facts, to_text
from chaoying_async.sansio.notifications.inbox_values import (
    BY_A_PERSON,
    Claim,
    ClaimLostError,
    Entry,
    OrderKey,
    Record,
    SeenState,
    Ways,
)
from chaoying_async.sansio.paid import PaidOrder

#: Seconds in which an inbox has to take a claim back, or its lease ends by itself.
RELEASE_WITHIN = 5.0


@attrs.define
class Held:
    """What is to be run for an order whose claim is ours."""

    key: OrderKey
    decision: Decision
    order: PaidOrder
    entry: Entry
    claim: Claim
    #: The moment before the claim was asked for.
    since: float
    #: Set when the work has ended; there only if somebody waits for it.
    ended: asyncio.Event | None = None
    #: Its effect is recorded.
    durable: bool = False


def entry_of(matter: Matter, order: PaidOrder) -> Entry:
    """As the inbox keeps it while it is being run, and afterwards.

    What is written down is the message itself: a retry decides about it again (M-17).
    """
    learnt = matter.verdict.learnt
    if learnt is None:
        learnt = Learnt(order.source, order.transaction_id, order.out_transaction_id, ())
    entry = Entry(
        partial(to_text, matter.facts),
        matter.first_seen,
        order.payable,
        learnt.transaction_id,
        learnt.out_transaction_id,
        learnt.source,
        matter.verdict.decision,
        learnt.other_numbers,
    )
    if matter.before is not None and matter.before.state is SeenState.HELD:
        _keep_what_was_known(entry, matter.before.entry)
    return entry


def _keep_what_was_known(entry: Entry, before: Entry) -> None:
    """When the same payment is claimed again: the other way's numbers, and a person's word."""
    known, mine = Ways.of(before), Ways.of(entry)
    if mine.is_another(known):
        return
    if not entry.other_numbers:
        others = known.notification if mine.query else known.query
        entry.other_numbers = tuple(sorted(others))
    if before.decision == BY_A_PERSON:
        entry.decision = BY_A_PERSON


#: Why another payment does not take over an order whose work was broken off.
DECIDED_FOR_ANOTHER = "a person applied another payment of the order, which has not ended yet"


def is_decided_for_another(entry: Entry, before: Record) -> bool:
    """Whether a person applied another payment: its message is closed, this record is all of it."""
    if before.state is not SeenState.HELD or before.entry.decision != BY_A_PERSON:
        return False
    return Ways.of(entry).is_another(Ways.of(before.entry))


class Effects:
    """Runs ``on_paid`` and ``on_paid_after_close``."""

    def __init__(
        self,
        inbox: Inbox,
        clock: Clock,
        calls: Mapping[Decision, EffectCall],
        reports: Reports,
        counts: Counts,
    ) -> None:
        self._inbox = inbox
        self._clock = clock
        self._calls = calls
        self._reports = reports
        self._counts = counts
        self.renewals = Renewals(inbox, clock)
        self._working: dict[OrderKey, Held] = {}
        counts.working = self._working

    def ended(self, key: OrderKey) -> asyncio.Event | None:
        """Set when this process has ended its work on that order; None: it is not ours."""
        held = self._working.get(key)
        if held is None:
            return None
        if held.ended is None:
            held.ended = asyncio.Event()
        return held.ended

    async def claim(
        self, matter: Matter, order: PaidOrder, decision: str | None = None
    ) -> Held | None:
        """Take the order; None when it is not free. ``decision``: as the record has to say it."""
        key = matter.key
        if key in self._working:
            return None
        since = self._clock.monotonic()
        entry = entry_of(matter, order)
        if decision is not None:
            entry.decision = decision
        claim = await self._inbox.claim(key, entry, lease=LEASE)
        if not isinstance(claim, Claim):
            return None
        return Held(key, matter.verdict.decision, order, entry, claim, since)

    def run(self, held: Held) -> Coroutine[Any, Any, None]:
        """To be awaited: then it is ``held.durable``, or what went wrong has been dealt with."""
        call = self._calls.get(held.decision)
        return self._uncalled(held) if call is None else self._called(held, call)

    async def _called(self, held: Held, call: EffectCall) -> None:
        claim, returned = held.claim, False
        self._working[held.key] = held
        try:
            if claim.before is not None:
                await self.keep_what_is_replaced(held.key, held.entry, claim.before)
            async with self._inbox.work(claim) as connection:
                working = call.begin(held.order, connection)
                try:
                    waits_for = working.send(None)
                    result = await go_on(working, waits_for, self.renewals.of(claim, held.since))
                except StopIteration as ended_at_once:
                    result = ended_at_once.value
                if result is not None:
                    call.check(result)
                returned = True
            held.durable = True
        except BaseException as error:  # noqa: BLE001 - what is wanted goes on up from there
            await self._deal_with(error, held, call, returned=returned)
        finally:
            self._end(held)

    async def _uncalled(self, held: Held) -> None:
        """It is closed since it was first tried, or such a function is no longer there."""
        self._working[held.key] = held
        try:
            await self._quarantine(held, "it was paid, but the shop had closed the order")
        finally:
            self._end(held)

    def _end(self, held: Held) -> None:
        if self._working.get(held.key) is held:
            del self._working[held.key]
        if held.ended is not None:
            held.ended.set()

    async def _deal_with(
        self, error: BaseException, held: Held, call: EffectCall, *, returned: bool
    ) -> None:
        """What broke the work off: a failing order takes nothing else down."""
        if isinstance(error, ClaimLostError):
            self._counts.failed += 1
            log.warning("%s of order %r: %s", call.name, held.key.out_trade_no, error)
        elif returned and isinstance(error, HandlerMisuseError):
            await self._quarantine(held, f"{call.name} ended the transaction that it was lent")
        elif not is_wanted(error):
            await self._failed(held, call, error)
        else:
            if isinstance(error, asyncio.CancelledError):
                await asyncio.shield(self._release(held.claim, failed=False))
            raise error  # where the process ends, so does the lease

    async def give_back(self, held: Held) -> None:
        """Nothing was begun: whoever comes next may have it."""
        if held.claim.before is not None:
            await self.keep_what_is_replaced(held.key, held.entry, held.claim.before)
        await self._release(held.claim, failed=False)

    async def give_up(self, record: Record, outcome: Outcome, *, seen_to: bool, told: bool) -> None:
        """An order whose retry came to nothing is not retried by itself any more.

        ``seen_to``: it is over, or its message waits in its place. Else nobody works on it (the
        message was closed), so it is quarantined. So is one that the shop has closed since: whether
        it is to be delivered where it is opened again, a person has to say. Where only the
        gateway's word is missing, it is asked again. Without effect where somebody has claimed the
        order since it was read: that may be another payment.
        """
        claim = record.as_claim()
        if outcome.decision is Decision.UNCONFIRMED:
            await self._inbox.release(claim, retry_in=retry_in(record.failures), failed=False)
        elif seen_to and outcome.reason != PAID_BUT_CLOSED:
            await self._inbox.give_up(claim)
        elif await self._inbox.quarantine(claim, outcome.reason) and not told:
            await self._reports.report(outcome.decision, outcome.reason, record.key)

    async def keep_what_is_replaced(self, key: OrderKey, entry: Entry, before: Record) -> None:
        """Another payment of the same order, whose work had died: it must not be forgotten.

        Before the claim, which overwrites it, and once more for what came in between.
        """
        if before.state is not SeenState.HELD or not before.entry.payload:
            return
        if not Ways.of(entry).is_another(Ways.of(before.entry)):
            return
        dead = kept_facts(before.entry.payload, before.entry.source)
        verdict = Verdict(
            Decision.CONFLICT,
            "its work was broken off, and another payment of the order came first",
        )
        first_seen = before.entry.first_seen
        await self._reports.set_aside(Matter(dead, key, verdict, first_seen))

    async def _failed(self, held: Held, call: EffectCall, error: BaseException) -> None:
        self._counts.failed += 1
        first = await self._release(held.claim, failed=True)
        number = held.key.out_trade_no
        if first:
            log.error("%s of order %r failed; it is tried again", call.name, number, exc_info=error)
        else:
            log.info("%s of order %r failed again: %s", call.name, number, type(error).__name__)

    async def _release(self, claim: Claim, *, failed: bool) -> bool:
        pause = retry_in(claim.failures) if failed else 0.0
        try:
            async with self._clock.timeout(RELEASE_WITHIN):
                return await self._inbox.release(claim, retry_in=pause, failed=failed)
        except BaseException as error:  # its lease ends by itself
            if is_wanted(error):
                raise
            log.warning("a claim could not be released: %s", type(error).__name__)
            return False

    async def _quarantine(self, held: Held, reason: str) -> None:
        self._counts.failed += 1
        if await self._inbox.quarantine(held.claim, reason):
            await self._reports.report(Decision.CONFLICT, reason, held.key)
