"""Claims an order, runs the user's function, records that it is done (M-16)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

import attrs

from chaoying_async.abc import Clock, Inbox
from chaoying_async.exceptions import HandlerMisuseError
from chaoying_async.notifications.answering import Counts
from chaoying_async.notifications.callbacks import EffectCall
from chaoying_async.notifications.deciding import DecidedMessage
from chaoying_async.notifications.leases import LEASE, Renewal
from chaoying_async.notifications.reporting import Reporter, log, retry_in
from chaoying_async.notifications.tasks import must_propagate
from chaoying_async.sansio.notifications.case import Learnt
from chaoying_async.sansio.notifications.decide import PAID_BUT_CLOSED, Decision, Judgement
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

#: Seconds that releasing a claim may take; else its lease runs out.
RELEASE_WITHIN = 5.0


@attrs.define
class ClaimedOrder:
    """An order whose claim is ours, and what is to be run for it."""

    key: OrderKey
    decision: Decision
    order: PaidOrder
    entry: Entry
    claim: Claim
    since: float
    """The moment before the claim was asked for."""
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)
    """Set when the work has ended."""
    durable: bool = False
    """Whether its effect is recorded."""


def entry_of(matter: DecidedMessage, order: PaidOrder) -> Entry:
    """What the inbox keeps of an order, from its claim on.

    The message itself is written down: a retry decides about it again (M-17).
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
    """Where the same payment is claimed again: keep its other numbers, and a person's decision."""
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
    """Whether a person applied another payment, of which nothing but this record is left."""
    if before.state is not SeenState.HELD or before.entry.decision != BY_A_PERSON:
        return False
    return Ways.of(entry).is_another(Ways.of(before.entry))


class EffectRunner:
    """Runs ``on_paid`` and ``on_paid_after_close``."""

    def __init__(
        self,
        inbox: Inbox,
        clock: Clock,
        calls: Mapping[Decision, EffectCall],
        reporter: Reporter,
        counts: Counts,
    ) -> None:
        self._inbox = inbox
        self._clock = clock
        self._calls = calls
        self._reporter = reporter
        self._counts = counts
        self._working: dict[OrderKey, ClaimedOrder] = {}
        counts.working = self._working

    def ended(self, key: OrderKey) -> asyncio.Event | None:
        """Set when this process has ended its work on an order; None: it does not work on it."""
        held = self._working.get(key)
        return None if held is None else held.ended

    async def claim(
        self, matter: DecidedMessage, order: PaidOrder, decision: str | None = None
    ) -> ClaimedOrder | None:
        """Claim the order; None when it is not free. ``decision``: what its record shall say."""
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
        return ClaimedOrder(key, matter.verdict.decision, order, entry, claim, since)

    async def run(self, held: ClaimedOrder) -> None:
        """Run the function: then the order is ``durable``, or what went wrong was dealt with."""
        call = self._calls.get(held.decision)
        self._working[held.key] = held
        try:
            if call is None:
                # The shop has closed the order since it was first tried, or the handler was given
                # no ``on_paid_after_close`` this time.
                await self._quarantine(held, PAID_BUT_CLOSED)
            else:
                await self._run(held, call)
        finally:
            if self._working.get(held.key) is held:
                del self._working[held.key]
            held.ended.set()

    async def _run(self, held: ClaimedOrder, call: EffectCall) -> None:
        claim, returned = held.claim, False
        try:
            if claim.before is not None:
                await self.keep_what_is_replaced(held.key, held.entry, claim.before)
            async with self._inbox.work(claim) as connection:
                async with Renewal(self._inbox, claim, self._clock, held.since):
                    await call(held.order, connection)
                returned = True
            held.durable = True
        except BaseException as error:  # noqa: BLE001 - the end of the process goes on up from there
            await self._deal_with(error, held, call, returned=returned)

    async def _deal_with(
        self, error: BaseException, held: ClaimedOrder, call: EffectCall, *, returned: bool
    ) -> None:
        """Deal with what ended the work; a failing order takes nothing else down."""
        if isinstance(error, ClaimLostError):
            self._counts.add("failed")
            log.warning("%s of order %r: %s", call.name, held.key.out_trade_no, error)
        elif returned and isinstance(error, HandlerMisuseError):
            await self._quarantine(held, f"{call.name} ended the transaction that it was lent")
        elif not must_propagate(error):
            await self._failed(held, call, error)
        else:
            if isinstance(error, asyncio.CancelledError):
                await asyncio.shield(self._release(held.claim, failed=False))
            raise error  # if the process ends, the lease runs out

    async def give_back(self, held: ClaimedOrder) -> None:
        """Release a claim whose work was not begun: whoever comes next may have the order."""
        if held.claim.before is not None:
            await self.keep_what_is_replaced(held.key, held.entry, held.claim.before)
        await self._release(held.claim, failed=False)

    async def keep_what_is_replaced(self, key: OrderKey, entry: Entry, before: Record) -> None:
        """Set aside another payment of the order, whose work had died: the claim overwrites it.

        Called before the claim, and once more after it for what came in between.
        """
        if before.state is not SeenState.HELD or not before.entry.payload:
            return
        if not Ways.of(entry).is_another(Ways.of(before.entry)):
            return
        dead = kept_facts(before.entry.payload, before.entry.source)
        verdict = Judgement(
            Decision.CONFLICT,
            "its work was broken off, and another payment of the order came first",
        )
        first_seen = before.entry.first_seen
        await self._reporter.set_aside(DecidedMessage(dead, key, verdict, first_seen))

    async def _failed(self, held: ClaimedOrder, call: EffectCall, error: BaseException) -> None:
        self._counts.add("failed")
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
        except BaseException as error:  # the lease runs out by itself
            if must_propagate(error):
                raise
            log.warning("a claim could not be released: %s", type(error).__name__)
            return False

    async def _quarantine(self, held: ClaimedOrder, reason: str) -> None:
        self._counts.add("failed")
        if await self._inbox.quarantine(held.claim, reason):
            await self._reporter.report(Decision.CONFLICT, reason, held.key)
