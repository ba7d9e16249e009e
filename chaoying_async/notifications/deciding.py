"""Gathers what a decision needs, and has it made: the shop, the inbox, the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from inspect import iscoroutinefunction
from typing import Any

import attrs

from chaoying_async.abc import Clock, Gateway, Inbox
from chaoying_async.notifications.callbacks import resolved
from chaoying_async.notifications.confirming import ask
from chaoying_async.notifications.crosswise import NOT_KEPT, TWO_PAYMENTS, is_another
from chaoying_async.sansio.notifications.case import (
    NO_AMOUNT_CHECK,
    Case,
    Confirmation,
    ExpectedOrder,
    NoAmountCheck,
    Seen,
    Unconfirmed,
    order_of_case,
)
from chaoying_async.sansio.notifications.decide import (
    OTHER_NUMBERS,
    Decision,
    Verdict,
    is_anothers,
    is_told_otherwise,
    judge,
    plainly_paid,
    repeats_what_is_done,
)
from chaoying_async.sansio.notifications.decide import first_seen as judged_as_of
from chaoying_async.sansio.notifications.facts import Facts
from chaoying_async.sansio.notifications.inbox_values import InboxFullError, OrderKey, Record
from chaoying_async.sansio.notifications.message import NotificationOutcome
from chaoying_async.sansio.paid import PaidOrder, PaidSource
from chaoying_async.sansio.values import Fen

Lookup = Callable[[str, str], Awaitable[ExpectedOrder | None] | ExpectedOrder | None]

#: Seconds kept back for setting aside what nobody confirmed in time.
SPARE = 0.25
#: Names that no database could keep as a key (M-18); the document's have 32 characters.
LONGEST_MCH_ID, LONGEST_NUMBER = 64, 128
_CONTROL = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
#: In the key of messages in place of what could not be kept.
NO_NAME = "?"

#: Only the gateway's word is missing.
_WORTH_ASKING = frozenset({Decision.UNCONFIRMED, Decision.UNREADABLE})


@attrs.define
class Matter:
    """A message, and what was decided about it."""

    facts: Facts
    #: The order by the shop's own merchant number; the message may spell it another way.
    key: OrderKey
    verdict: Verdict
    first_seen: datetime
    #: The order as its inbox knew it when this was decided.
    before: Record | None = None
    #: Of a duplicate, the order that took effect, where the message says the same of it.
    done: PaidOrder | None = None
    #: The shop knows no such order of this merchant: strangers send such messages (M-15).
    foreign: bool = False

    @property
    def as_received(self) -> OrderKey:
        """The order as the message names it."""
        return storable(self.facts) or _nameless_key(self.facts)

    @property
    def leaves_nothing(self) -> bool:
        """Whether it is a failure of an order that is not this merchant's (M-15)."""
        failed = self.facts.outcome is NotificationOutcome.NOT_PAID
        return self.foreign and failed and self.verdict.decision is not Decision.UNREADABLE


def lookup_of(expected: Lookup) -> Callable[[str, str], Coroutine[Any, Any, ExpectedOrder | None]]:
    """The lookup as a coroutine function, which nearly every one is; the others become one."""
    if iscoroutinefunction(expected):
        return expected

    async def looked_up(mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
        return await resolved(expected(mch_id, out_trade_no))

    return looked_up


def _checked(found: Any) -> ExpectedOrder | None:
    if found is None or isinstance(found, ExpectedOrder):
        return found
    raise TypeError("expected() must return an ExpectedOrder or None")


def storable(facts: Facts) -> OrderKey | None:
    """The message's own names, where they can be a key."""
    mch_id, number = facts.mch_id, facts.out_trade_no
    if 0 < len(mch_id) <= LONGEST_MCH_ID and 0 < len(number) <= LONGEST_NUMBER:
        named = mch_id + number
        # What is printable has no control character; the rest is looked at, one by one.
        if named.isprintable() or _CONTROL.isdisjoint(named):
            return OrderKey(mch_id, number)
    return None


class Desk:
    """Decides about one message at a time."""

    def __init__(
        self,
        inbox: Inbox,
        clock: Clock,
        *,
        expected: Lookup | NoAmountCheck,
        confirm: Gateway | None,
        trust_coupon_fee: bool,
        takes_closed: bool,
    ) -> None:
        self._inbox = inbox
        self._window = inbox.window
        self._clock = clock
        self._expected = None if isinstance(expected, NoAmountCheck) else lookup_of(expected)
        self._confirm = confirm
        self._trust_coupon_fee = trust_coupon_fee
        self._takes_closed = takes_closed

    async def expected(
        self, mch_id: str, out_trade_no: str
    ) -> ExpectedOrder | NoAmountCheck | None:
        """What the shop expects for an order number as received."""
        if self._expected is None:
            return NO_AMOUNT_CHECK
        return _checked(await self._expected(mch_id, out_trade_no))

    async def decide(self, facts: Facts, *, first_seen: datetime | None, until: float) -> Matter:
        """Gather and judge; only the question to the gateway ends by itself before ``until``.

        ``first_seen``: when this message first came; None: now, as far as anybody knows.
        """
        received = storable(facts)
        if received is None:
            return self._nameless(facts)
        looked_up = self._expected
        expected = NO_AMOUNT_CHECK if looked_up is None else _checked(await looked_up(*received))
        key = _key(received, expected)
        record = await self._inbox.look(key)
        if record is None and first_seen is None and self._confirm is None:
            now = self._clock.now()
            verdict = plainly_paid(facts, expected, now, self._window)
            if verdict is not None:
                return Matter(facts, key, verdict, now)
        foreign = expected is None or is_anothers(facts.mch_id, expected)
        case = self._case(facts, expected, record, first_seen)
        verdict = judge(case)
        if verdict.decision is Decision.STALE and first_seen is None:
            aside = await self._inbox.aside(received, facts.fingerprint)
            if aside is not None:
                case = attrs.evolve(case, first_seen=aside.first_seen)
                verdict = judge(case)
        is_open = case.confirmation is Unconfirmed.NO_ANSWER and not foreign
        if is_open and verdict.decision in _WORTH_ASKING:
            case = attrs.evolve(case, confirmation=await self._ask(key, facts, until - SPARE))
            verdict = judge(case)
        if verdict.decision is Decision.PAID_AFTER_CLOSE and not self._takes_closed:
            verdict = Verdict(Decision.CONFLICT, verdict.reason)
        if is_told_otherwise(case, verdict):
            verdict = await self._held_against_its_kind(key, case, verdict)
        done = order_of_case(case) if repeats_what_is_done(case, verdict) else None
        if foreign and key != received:
            # Its key did not verify this message: nothing is kept under it.
            key, record = received, await self._inbox.look(received)
        return Matter(facts, key, verdict, judged_as_of(case), record, done, foreign)

    async def _held_against_its_kind(self, key: OrderKey, case: Case, verdict: Verdict) -> Verdict:
        """A duplicate that came the other way: its numbers are known, or have to be remembered."""
        try:
            if await is_another(self._inbox, key, case.facts, case.now):
                return Verdict(Decision.CONFLICT, TWO_PAYMENTS)
        except InboxFullError:
            if verdict.reason == OTHER_NUMBERS:
                return Verdict(Decision.CONFLICT, NOT_KEPT)
        return verdict

    async def case(
        self, facts: Facts, received: OrderKey, first_seen: datetime
    ) -> tuple[Case, Record | None]:
        """All that is known beside a message that a person decided about, and the order."""
        expected = await self.expected(*received)
        record = await self._inbox.look(_key(received, expected))
        return self._case(facts, expected, record, first_seen), record

    def _case(
        self,
        facts: Facts,
        expected: ExpectedOrder | NoAmountCheck | None,
        record: Record | None,
        first_seen: datetime | None,
    ) -> Case:
        now = self._clock.now()
        told = facts.payable is not None or facts.outcome is NotificationOutcome.NOT_PAID
        unasked = self._confirm is None or told
        return Case(
            facts=facts,
            seen=None if record is None else seen_of(record, now),
            first_seen=first_seen,
            expected=expected,
            now=now,
            window=self._window,
            trust_coupon_fee=self._trust_coupon_fee,
            confirmation=Unconfirmed.NOT_ASKED if unasked else Unconfirmed.NO_ANSWER,
        )

    async def _ask(self, key: OrderKey, facts: Facts, until: float) -> Confirmation:
        if self._confirm is None:
            return Unconfirmed.NOT_ASKED
        patience = max(0.0, until - self._clock.monotonic())
        try:
            async with self._clock.timeout(patience):
                return await ask(
                    self._confirm,
                    mch_id=key.mch_id,
                    out_trade_no=key.out_trade_no,
                    paytype=facts.paytype,
                )
        except TimeoutError:
            return Unconfirmed.NO_ANSWER

    def _nameless(self, facts: Facts) -> Matter:
        reason = facts.problem or "its merchant or order number is none that could be kept"
        verdict = Verdict(Decision.UNREADABLE, reason)
        return Matter(facts, _nameless_key(facts), verdict, self._clock.now(), foreign=True)


def _nameless_key(facts: Facts) -> OrderKey:
    """Under the merchant's number, where that can be kept: each merchant has bounds of its own."""
    merchant = storable(attrs.evolve(facts, out_trade_no=NO_NAME))
    return merchant or OrderKey(NO_NAME, NO_NAME)


def _key(received: OrderKey, expected: ExpectedOrder | NoAmountCheck | None) -> OrderKey:
    """The order by the shop's own merchant number."""
    if not isinstance(expected, ExpectedOrder) or expected.mch_id == received.mch_id:
        return received
    return OrderKey(expected.mch_id, received.out_trade_no)


def seen_of(record: Record, now: datetime) -> Seen:
    """A record as the table reads it: leases as moments of the handler's clock."""
    entry = record.entry
    return Seen(
        state=record.state,
        payable=None if entry.payable is None else Fen(entry.payable),
        transaction_id=entry.transaction_id,
        out_transaction_id=entry.out_transaction_id,
        lease_until=now + timedelta(seconds=record.lease) if record.lease > 0 else None,
        first_seen=entry.first_seen,
        source=PaidSource(entry.source) if entry.source else None,
        other_numbers=frozenset(entry.other_numbers),
    )
