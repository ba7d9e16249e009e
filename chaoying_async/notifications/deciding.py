"""Decides about one message: asks the shop, the inbox and the gateway, and has it judged."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import attrs

from chaoying_async.abc import Clock, Gateway, Inbox, LockedOrder
from chaoying_async.clock import within
from chaoying_async.notifications.callbacks import resolved, wants_connection
from chaoying_async.notifications.tasks import Progress, must_propagate
from chaoying_async.sansio.api.follow_up import OrderQuery, OrderQueryResult
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.notifications.case import (
    Case,
    Confirmation,
    ExpectedOrder,
    Learnt,
    NoAmountCheck,
    Seen,
    Unconfirmed,
    order_of_case,
)
from chaoying_async.sansio.notifications.decide import (
    OTHER_NUMBERS,
    TAKEN_EFFECT,
    TWO_PAYMENTS,
    Decision,
    Judgement,
    is_told_otherwise,
    judge,
    order_that_is_done,
)
from chaoying_async.sansio.notifications.facts import (
    Facts,
    NotificationOutcome,
    facts_from_text,
    to_text,
    without_raw,
)
from chaoying_async.sansio.notifications.inbox_values import (
    BY_A_PERSON,
    FIRST,
    LONGEST_MCH_ID,
    LONGEST_NUMBER,
    Aside,
    Entry,
    InboxFullError,
    OrderKey,
    Record,
    SeenState,
    Ways,
)
from chaoying_async.sansio.notifications.unreadable import readable
from chaoying_async.sansio.paid import (
    PaidOrder,
    PaidSource,
    paid_order,
    paid_under,
    requested_paytype,
)
from chaoying_async.sansio.polling.status import PollStatus, Says, read_answer
from chaoying_async.sansio.values import Fen

#: ``expected(mch_id, out_trade_no)``, or the same with a connection behind.
Lookup = Callable[..., Awaitable[ExpectedOrder | None] | ExpectedOrder | None]
Expected = ExpectedOrder | NoAmountCheck | None

#: Seconds of the budget kept back for setting aside a message that was not confirmed in time.
SPARE = 0.25
_CONTROL = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
#: Stands in a message's key for a name that could not be kept.
NO_NAME = "?"

#: Decisions for which only the gateway's word is missing.
_WORTH_ASKING = frozenset({Decision.UNCONFIRMED, Decision.UNREADABLE})
#: Ends of an order under which it must not be delivered.
_NOT_PAID = frozenset(
    {PollStatus.FAILED, PollStatus.CLOSED, PollStatus.REVOKED, PollStatus.REFUNDED}
)

#: Seconds until ``run_due`` closes that message, where the process died before it could.
CLOSED_IN: Final = 30.0

NOT_KEPT: Final = "it may be another payment: there was no room to remember its numbers"
DECIDED_FOR_ANOTHER: Final = (
    "a person applied another payment of the order, which has not ended yet"
)


@attrs.define
class Message(Progress):
    """A verified message on its way, and what was learnt about it so far."""

    facts: Facts
    first_seen: datetime | None = None
    """When this very message first came; None: now, as far as anybody knows."""
    until: float = math.inf
    """The moment of the monotonic clock by which the user's function has begun, or never does."""
    by_a_person: bool = False
    """Whether a person said that it is to be applied, whatever the shop expects."""
    has_owner: bool = False
    """Whether its work had an owner when it came: then none of it may begin without one."""
    was_undone: bool = False
    """Whether work on it was undone for somebody else's sake."""
    key: OrderKey | None = None
    """The order by the shop's own merchant number, as soon as that is known."""
    confirmation: Confirmation | None = None
    """What the gateway said when it was asked; None before that."""
    kept_token: int | None = None
    """Of the order's record whose payment was set aside, to make room for this one."""


class Asked(NamedTuple):
    """What the shop says about an order."""

    received: OrderKey
    """The order as the message names it."""
    expected: Expected
    key: OrderKey
    """The order by the shop's own merchant number."""


def _asked(received: OrderKey, expected: Expected) -> Asked:
    if not isinstance(expected, ExpectedOrder) or expected.mch_id == received.mch_id:
        return Asked(received, expected, received)
    return Asked(received, expected, OrderKey(expected.mch_id, received.out_trade_no))


@attrs.define
class DecidedMessage:
    """A message, and what was decided about it."""

    facts: Facts
    key: OrderKey
    """The order by the shop's own merchant number; the message may spell it another way."""
    verdict: Judgement
    first_seen: datetime
    before: Record | None = None
    """The order's record in the inbox when this was decided."""
    case: Case | None = None
    """What was decided about; None where that does not matter."""
    foreign: bool = False
    """The shop knows no such order of this merchant: strangers send such messages (M-15)."""
    by_a_person: bool = False
    """Whether a person decided it."""

    @property
    def as_received(self) -> OrderKey:
        """The order as the message names it."""
        return as_received(self.facts)

    @property
    def done(self) -> PaidOrder | None:
        """For a duplicate: the order that took effect, where the message says the same of it."""
        return None if self.case is None else order_that_is_done(self.case, self.verdict)

    @property
    def leaves_nothing(self) -> bool:
        """Whether it is a failure of an order that is not this merchant's (M-15)."""
        failed = self.facts.outcome is NotificationOutcome.NOT_PAID
        return self.foreign and failed and self.verdict.decision is not Decision.UNREADABLE

    def entry(self, *, payload: bool) -> Entry:
        """What the inbox keeps of the payment.

        ``payload``: the message itself is written down too, so that a retry can decide about it
        again (M-17). Of an order that is done nobody reads it.
        """
        facts, verdict, paid = self.facts, self.verdict, self.verdict.paid
        learnt = verdict.learnt
        if learnt is None:
            told = facts if paid is None else paid
            learnt = Learnt(told.source, told.transaction_id, told.out_transaction_id, ())
        entry = Entry(
            payload=to_text(facts) if payload else "",
            first_seen=self.first_seen,
            payable=None if paid is None else paid.payable,
            transaction_id=learnt.transaction_id,
            out_transaction_id=learnt.out_transaction_id,
            source=learnt.source,
            decision=BY_A_PERSON if self.by_a_person else verdict.decision,
            other_numbers=learnt.other_numbers,
        )
        before = self.before
        if before is None or before.state is not SeenState.HELD:
            return entry
        return _with_what_was_known(entry, before.entry)

    @property
    def replaces_another(self) -> bool:
        """Whether the order was HELD for another payment than this one."""
        if self.before is None or self.before.state is not SeenState.HELD:
            return False
        return Ways.of(self.entry(payload=False)).is_another(Ways.of(self.before.entry))


def _with_what_was_known(entry: Entry, before: Entry) -> Entry:
    """Where the same payment is tried again: with its other numbers, and a person's decision."""
    known, mine = Ways.of(before), Ways.of(entry)
    if mine.is_another(known):
        return entry
    others = entry.other_numbers or tuple(sorted(known.notification if mine.query else known.query))
    decision = BY_A_PERSON if before.decision == BY_A_PERSON else entry.decision
    return attrs.evolve(entry, other_numbers=others, decision=decision)


def storable(facts: Facts) -> OrderKey | None:
    """The message's own names, where they can be a key."""
    mch_id, number = facts.mch_id, facts.out_trade_no
    if 0 < len(mch_id) <= LONGEST_MCH_ID and 0 < len(number) <= LONGEST_NUMBER:
        named = mch_id + number
        # Printable text has no control character; other text is looked at, one by one.
        if named.isprintable() or _CONTROL.isdisjoint(named):
            return OrderKey(mch_id, number)
    return None


class Decider:
    """Gathers what is known about a message, and has :func:`judge` decide."""

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
        self._clock = clock
        self._expected = expected
        self._confirm = confirm
        self._trust_coupon_fee = trust_coupon_fee
        self._takes_closed = takes_closed
        #: Whether the shop is asked under the order's lock, in the transaction of the effect.
        self.asks_inside = not isinstance(expected, NoAmountCheck) and wants_connection(
            "expected", expected, "mch_id", "out_trade_no", lends=inbox.lends_connection
        )

    async def ask(self, received: OrderKey, order: LockedOrder | None = None) -> Asked:
        """What the shop expects for an order number as received.

        ``order``: its lock is ours; a shop that wants a connection is asked in that transaction.
        """
        if isinstance(self._expected, NoAmountCheck):
            return _asked(received, self._expected)
        if order is None or not self.asks_inside:
            found: Any = await resolved(self._expected(*received))
        else:
            async with order.lend() as connection:
                found = await resolved(self._expected(*received, connection))
        if found is None or isinstance(found, ExpectedOrder):
            return _asked(received, found)
        raise TypeError("expected() must return an ExpectedOrder or None")

    def judge(self, message: Message, asked: Asked, before: Record | None) -> DecidedMessage:
        """What is to be done about a message where this is the order's record."""
        case = self._case(message, asked, before)
        if message.by_a_person:
            return _as_a_person_said(case, asked, before)
        verdict = judge(case)
        if verdict.decision is Decision.PAID_AFTER_CLOSE and not self._takes_closed:
            verdict = Judgement(Decision.CONFLICT, verdict.reason)
        decided = DecidedMessage(
            case.facts,
            asked.key,
            verdict,
            case.as_of,
            before,
            case,
            foreign=case.expected is None or case.is_anothers,
        )
        # Of a payment that a person applied nothing is left but this record.
        by_a_person = before is not None and before.entry.decision == BY_A_PERSON
        if by_a_person and verdict.paid and decided.replaces_another:
            decided.verdict = Judgement(Decision.CONFLICT, DECIDED_FOR_ANOTHER)
        return decided

    async def decide(self, message: Message, asked: Asked) -> DecidedMessage:
        """What is to be done about a message; APPLY and its like only as long as no record forbids.

        The inbox is not asked about what would take effect: that is judged again under the order's
        lock. Of what is asked here, only the gateway is given up in time, a moment before the
        message's ``until``.
        """
        decided = self.judge(message, asked, None)
        if decided.verdict.paid is not None:
            return decided
        before = await self._inbox.look(asked.key)
        return await self.decide_without_lock(message, asked, before)

    async def decide_without_lock(
        self, message: Message, asked: Asked, before: Record | None
    ) -> DecidedMessage:
        """As :meth:`decide`, where this is the order's record."""
        key, received, facts = asked.key, asked.received, message.facts
        decided = self.judge(message, asked, before)
        if decided.by_a_person:
            return decided
        if decided.verdict.decision is Decision.STALE and message.first_seen is None:
            aside = await self._inbox.aside(received, facts.fingerprint)
            if aside is not None:
                message.first_seen = aside.first_seen
                decided = self.judge(message, asked, before)
        case = decided.case
        is_open = decided.verdict.decision in _WORTH_ASKING and not decided.foreign
        unanswered = case is not None and case.confirmation is Unconfirmed.NO_ANSWER
        if self._confirm is not None and is_open and unanswered:
            message.confirmation = await self._ask_gateway(
                self._confirm, key, facts.paytype, message.until - SPARE
            )
            decided = self.judge(message, asked, before)
        case = decided.case
        if case is not None and is_told_otherwise(case, decided.verdict):
            decided.verdict = await self._compared_with_its_kind(key, case, decided.verdict)
        if decided.foreign:  # the shop's own order is another's: nobody waits for work on it
            decided.key = received
        return decided

    async def _compared_with_its_kind(
        self, key: OrderKey, case: Case, verdict: Judgement
    ) -> Judgement:
        """The verdict about a duplicate that came the other way than the payment that took effect.

        A query and a notification may name one payment by different numbers (M-13), so the first
        message of the other way is taken for the payment that is known; with a warning, where no
        number meets. Its numbers are kept, and the next message of that way is compared with them:
        two notifications with different numbers, or two queries, are two payments (M-15).
        """
        try:
            if await self._is_another(key, case.facts, case.now):
                return Judgement(Decision.CONFLICT, TWO_PAYMENTS)
        except InboxFullError:
            if verdict.reason == OTHER_NUMBERS:
                return Judgement(Decision.CONFLICT, NOT_KEPT)
        return verdict

    async def _is_another(self, key: OrderKey, facts: Facts, first_seen: datetime) -> bool:
        """Whether another payment of this order was told in the same way before.

        Two first messages may come at the same moment: a closed one is not overwritten, so both
        then read the same one. :class:`InboxFullError` where the inbox has no room for it.
        """
        if not facts.numbers or facts.outcome is not NotificationOutcome.PAID:
            return False
        kept = await self._inbox.aside(key, FIRST)
        if kept is None:
            first = Aside(
                key=key,
                fingerprint=FIRST,
                decision=Decision.DUPLICATE,
                reason=OTHER_NUMBERS,
                payload=without_raw(to_text(facts)),
                first_seen=first_seen,
            )
            await self._inbox.set_aside(first, retry_in=CLOSED_IN)
            await self._inbox.close(first)  # it needs nobody's attention
            kept = await self._inbox.aside(key, FIRST)
        # Where an earlier version has pruned the payload, nobody can tell any more.
        if kept is None or not kept.payload:
            return False
        first_facts = readable(lambda: facts_from_text(kept.payload), key)
        return first_facts.numbers.isdisjoint(facts.numbers)

    def _case(self, message: Message, asked: Asked, before: Record | None) -> Case:
        now, facts, confirmation = self._clock.now(), message.facts, message.confirmation
        if confirmation is None:
            told = facts.payable is not None or facts.outcome is NotificationOutcome.NOT_PAID
            unasked = self._confirm is None or told
            confirmation = Unconfirmed.NOT_ASKED if unasked else Unconfirmed.NO_ANSWER
        return Case(
            facts=facts,
            seen=None if before is None else seen_of(before, now),
            first_seen=message.first_seen,
            expected=asked.expected,
            now=now,
            window=self._inbox.window,
            trust_coupon_fee=self._trust_coupon_fee,
            confirmation=confirmation,
        )

    async def _ask_gateway(
        self, gateway: Gateway, key: OrderKey, paytype: str | None, until: float
    ) -> Confirmation:
        """What ``orderquery`` says about an order, under the shop's own merchant number (M-18).

        ``paytype`` follows from the notification's page: WECHAT or ALIPAY. Where nothing names the
        wallet, each is asked until one says paid; that another says otherwise of the number is no
        answer then.
        """
        if paytype:
            return await self._ask_under(gateway, key, paytype, until)
        for wallet in PayType:
            said = await self._ask_under(gateway, key, wallet, until)
            if isinstance(said, PaidOrder):
                return said
        return Unconfirmed.NO_ANSWER

    async def _ask_under(
        self, gateway: Gateway, key: OrderKey, paytype: str, until: float
    ) -> Confirmation:
        """What one wallet's query says.

        "Not found" is no answer, since the wallet may be the wrong one; nor is anything that a
        second query would have to back up (M-06). An order that has gone into refund is not to be
        delivered: NOT_PAID. Never raises.
        """
        try:
            query = OrderQuery(
                paytype=requested_paytype(paytype),
                mch_id=key.mch_id,
                out_trade_no=key.out_trade_no,
            )
            left = until - self._clock.monotonic()
            reply = await within(self._clock, left, gateway.send(query))
            answer = read_answer(query, reply)
        except BaseException as error:  # whatever it is, it is no answer
            if must_propagate(error):
                raise
            return Unconfirmed.NO_ANSWER
        if answer.says is not Says.ENDED or not answer.sure:
            return Unconfirmed.NO_ANSWER
        if answer.status is PollStatus.PAID and isinstance(reply.result, OrderQueryResult):
            paid = paid_order(
                reply.result, mch_id=key.mch_id, raw=reply.raw, source=PaidSource.CONFIRM
            )
            return paid_under(paid, paytype)
        return Unconfirmed.NOT_PAID if answer.status in _NOT_PAID else Unconfirmed.NO_ANSWER

    def unasked(self, message: Message, key: OrderKey) -> DecidedMessage:
        """What is known of a message before the shop was asked: its order is locked with that."""
        first_seen = message.first_seen or self._clock.now()
        verdict = Judgement(Decision.APPLY, "the shop has not been asked yet")
        return DecidedMessage(message.facts, key, verdict, first_seen)

    def nameless(self, facts: Facts) -> DecidedMessage:
        """What is to be done about a message whose names could not be kept."""
        reason = facts.problem or "its merchant or order number is none that could be kept"
        verdict = Judgement(Decision.UNREADABLE, reason)
        return DecidedMessage(facts, _nameless_key(facts), verdict, self._clock.now(), foreign=True)


def _as_a_person_said(case: Case, asked: Asked, before: Record | None) -> DecidedMessage:
    """Apply it, whatever the amounts; never a second time, and not while anybody has the order."""
    verdict = Judgement(Decision.APPLY, "a person said so", order_of_case(case, asked.key.mch_id))
    if before is not None and before.state is SeenState.DONE:
        verdict = Judgement(Decision.DUPLICATE, TAKEN_EFFECT)
    elif before is not None and (before.state is SeenState.QUARANTINED or before.lease > 0):
        verdict = Judgement(Decision.IN_PROGRESS, "somebody, or a person, has this order")
    first_seen = case.first_seen or case.now
    return DecidedMessage(case.facts, asked.key, verdict, first_seen, before, by_a_person=True)


def as_received(facts: Facts) -> OrderKey:
    """The order as a message names it, or what stands for a name that could not be kept."""
    return storable(facts) or _nameless_key(facts)


def _nameless_key(facts: Facts) -> OrderKey:
    """A key by the merchant's number, if that can be kept: each merchant has bounds of its own."""
    merchant = storable(attrs.evolve(facts, out_trade_no=NO_NAME))
    return merchant or OrderKey(NO_NAME, NO_NAME)


def seen_of(record: Record, now: datetime) -> Seen:
    """A record as :func:`judge` takes it: its lease ends at a moment of the handler's clock."""
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
