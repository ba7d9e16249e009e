"""What an inbox holds of an order: its record, and messages that were set aside.

An inbox keeps nothing that was not verified, so what it holds was once said with a right signature.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import attrs

from chaoying_async.sansio.explanation.told import (
    Bearing,
    ForeignAmount,
    Statement,
    Witness,
    amount_of,
    sentence,
    word,
)
from chaoying_async.sansio.notifications.decide import (
    PERHAPS_ANOTHER,
    SECOND_PAYMENT,
    Decision,
    amounts_in,
    has_effect,
)
from chaoying_async.sansio.notifications.facts import NotificationOutcome, kept_facts
from chaoying_async.sansio.notifications.inbox_values import (
    BY_A_PERSON,
    Aside,
    Record,
    SeenState,
    Ways,
)
from chaoying_async.sansio.stored import UNREADABLE
from chaoying_async.sansio.values import Fen

#: How an order's end in the inbox bears on whether it was paid.
_STATES: Mapping[SeenState, Bearing] = {
    SeenState.DONE: Bearing.PAID,
    SeenState.NOT_PAID: Bearing.OPEN,  # a later "paid" counts (M-15)
}
#: Decisions under which a function of the user's runs because of a payment.
_EFFECTS = tuple(each.value for each in Decision if has_effect(each))
_OUTCOMES: Mapping[NotificationOutcome, Bearing] = {
    NotificationOutcome.PAID: Bearing.PAID,
    NotificationOutcome.NOT_PAID: Bearing.OPEN,
    NotificationOutcome.UNCLEAR: Bearing.NONE,
}
#: So many digits of a fingerprint name a message, as ``chaoying inbox`` does.
SHOWN_DIGITS = 10
#: What follows a decision's word in an inbox: `` (untold)``, `` (a person said so)``.
_DECISION = re.compile(r"[A-Z_]{1,32}").match


@attrs.frozen(kw_only=True)
class SecondPayment:
    """A payment beside the one that took effect, as a message that was set aside tells of it."""

    message: str
    """The digits by which ``chaoying inbox`` names its message."""
    number: str | None
    """Its ``transaction_id``; None where nobody can tell whether it is a second one, or which."""
    amount: int | ForeignAmount | None
    """What was paid, as it is told."""


@attrs.frozen(kw_only=True)
class InboxHolds:
    """What an inbox holds of one order."""

    record: Record | None = None
    asides: Sequence[Aside] = ()

    @property
    def state(self) -> SeenState | None:
        """How far the order has come; None where nobody told of it."""
        return None if self.record is None else self.record.state

    @property
    def payable(self) -> Fen | None:
        """The order amount of the payment that is recorded, where it is known."""
        found = None if self.record is None else self.record.entry.payable
        return None if found is None else Fen(found)

    @property
    def keeps_message(self) -> bool:
        """Whether the message of the recorded payment is kept still."""
        return self.record is not None and bool(self.record.entry.payload)

    @property
    def fee_type(self) -> str | None:
        """The currency of that payment; None where nothing names one, which is CNY."""
        return None if self.record is None else _currency_in(self.record)

    @property
    def amount(self) -> int | ForeignAmount | None:
        """The order amount as it is told."""
        return amount_of(self.payable, self.fee_type)

    @property
    def was_compared(self) -> bool:
        """Whether a handler gave the payment its effect, and so, as a rule, compared its amount.

        What a person said is to be applied takes effect whatever the shop expects. A handler with
        ``NO_AMOUNT_CHECK`` compares nothing: what it learnt from a notification has no ``payable``
        here, but what a query told it has one, and cannot be told from a payment that was compared.
        """
        by_a_person = self.record is not None and self.record.entry.decision == BY_A_PERSON
        return self.state is SeenState.DONE and self.payable is not None and not by_a_person

    @property
    def came_after_close(self) -> bool:
        """Whether its effect is that of a payment after the shop had closed the order."""
        late = Decision.PAID_AFTER_CLOSE.value
        return self.record is not None and self.record.entry.decision.startswith(late)

    @property
    def expected(self) -> int | None:
        """What the order costs in fen, as a handler held it against a payment last (M-13).

        None of an order that took effect: what was expected before was settled since.
        """
        if self.state is SeenState.DONE:
            return None
        reasons = [] if self.record is None else [self.record.reason]
        reasons += [each.reason for each in sorted(self.asides, key=lambda each: each.first_seen)]
        found = [amounts_in(each)[0] for each in reversed(reasons)]
        return next((each.number for each in found if each and each.fee_type is None), None)

    @property
    def in_conflict(self) -> bool:
        """Whether a message waits that says otherwise than the shop: no handler settles that."""
        return any(each.decision.startswith(Decision.CONFLICT) for each in self.asides)

    @property
    def second_payments(self) -> tuple[SecondPayment, ...]:
        """The payments beside the one that took effect: of two messages about one, the first."""
        found = [_second_payment(each) for each in self.asides if each.reason in SECOND_PAYMENT]
        return tuple({each.number or each.message: each for each in reversed(found)}.values())

    def is_another_payment(self, numbers: frozenset[str]) -> bool:
        """Whether the recorded payment and one that a query named are two (M-13)."""
        if self.record is None or self.state in (None, SeenState.NOT_PAID):
            return False
        return Ways.of(self.record.entry).is_another(Ways(frozenset(), numbers))


def told_by_inbox(holds: InboxHolds) -> Iterator[Statement]:
    """The lines of the timeline: the order's record, then each message that waits."""
    if holds.record is not None:
        yield _record(holds.record)
    for aside in holds.asides:
        yield _aside(aside)


def _record(record: Record) -> Statement:
    return Statement(
        witness=Witness.INBOX,
        what=f"inbox-{record.state.value.lower().replace('_', '-')}",
        at=record.entry.first_seen,
        values={
            "source": word(record.entry.source or "NOTIFICATION"),
            "amount": amount_of(record.entry.payable, _currency_in(record)),
            "failures": record.failures,
            "reason": sentence(record.reason),
        },
        bearing=bearing_of_record(record),
        proves=True,
        payable=record.entry.payable,
        fee_type=_currency_in(record),
        status=record.state.value,
    )


def bearing_of_record(record: Record) -> Bearing:
    """What the record proves; of one that waits, what its message said.

    Where the message is not kept, a decision that is to have an effect tells of a payment (M-15).
    """
    settled = _STATES.get(record.state)
    if settled is not None:
        return settled
    if record.entry.payload:
        told = _bearing_in(record.entry.payload, record.entry.source)
        return _or_other_amount(told, record.reason)
    return Bearing.PAID if record.entry.decision.startswith(_EFFECTS) else Bearing.NONE


def _aside(aside: Aside) -> Statement:
    found = _DECISION(aside.decision)
    decision = found[0] if found else "?"
    return Statement(
        witness=Witness.INBOX,
        what="inbox-aside",
        at=aside.first_seen,
        values={
            "decision": decision,
            "reason": sentence(aside.reason),
            "message": aside.fingerprint[:SHOWN_DIGITS],
        },
        bearing=_or_other_amount(_bearing_in(aside.payload, ""), aside.reason),
        proves=True,
        status=decision,
    )


def _or_other_amount(bearing: Bearing, reason: str) -> Bearing:
    """The same, where the reason does not say that another amount was paid than expected."""
    differs = bearing is Bearing.PAID and amounts_in(reason)[0] is not None
    return Bearing.OTHER_AMOUNT if differs else bearing


def _second_payment(aside: Aside) -> SecondPayment:
    message = aside.fingerprint[:SHOWN_DIGITS]
    try:
        facts = kept_facts(aside.payload, "")
    except UNREADABLE:
        return SecondPayment(message=message, number=None, amount=None)
    paid = facts.total_fee if facts.payable is None else facts.payable
    number = None if aside.reason == PERHAPS_ANOTHER else facts.transaction_id
    return SecondPayment(
        message=message,
        number=word(number) if number else None,
        amount=amount_of(paid, facts.fee_type),
    )


def _currency_in(record: Record) -> str | None:
    """The currency that the record's message names, as long as that is kept."""
    try:
        return kept_facts(record.entry.payload, record.entry.source).fee_type
    except UNREADABLE:
        return None


def _bearing_in(payload: str, source: str) -> Bearing:
    """What a message said of the payment; NONE where it is kept no more, or cannot be read."""
    try:
        return _OUTCOMES[kept_facts(payload, source).outcome]
    except UNREADABLE:
        return Bearing.NONE
