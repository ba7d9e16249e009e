"""What to do next with an order, and which money rule says so: tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

import attrs

from chaoying_async.sansio.currency import is_yuan
from chaoying_async.sansio.explanation.contradictions import Phrase
from chaoying_async.sansio.explanation.evidence import OrderEvidence
from chaoying_async.sansio.explanation.from_gateway import GatewaySays, Silence
from chaoying_async.sansio.explanation.from_inbox import InboxHolds
from chaoying_async.sansio.explanation.from_store import KeptRecord
from chaoying_async.sansio.explanation.standing import OrderStanding
from chaoying_async.sansio.explanation.told import Bearing, Value, amount_of
from chaoying_async.sansio.notifications.inbox_values import SeenState
from chaoying_async.sansio.paid import RefundedOrder
from chaoying_async.sansio.payments.moves import CheckoutStatus
from chaoying_async.sansio.polling.status import PollStatus


class Need(StrEnum):
    """What a step calls for."""

    NOTHING = "NOTHING"
    """It is done, or your own program does it."""
    TIME = "TIME"
    """Ask again later: it will be decided, or done, by itself."""
    PERSON = "PERSON"
    """A person has to decide or to put something right."""


@attrs.frozen(kw_only=True)
class NextStep:
    """One thing to do: what and why stand in the words under its name."""

    name: str
    rule: str
    """The money rule behind it, as ``M-25``."""
    need: Need = Need.NOTHING
    values: Mapping[str, Value] = attrs.field(factory=dict)


#: The step for how the order stands; of one that is PAID the inbox decides, see below.
_BY_STANDING: Mapping[OrderStanding, NextStep] = {
    OrderStanding.WAS_PAID: NextStep(name="was-paid", rule="M-11", need=Need.TIME),
    OrderStanding.OTHER_AMOUNT: NextStep(name="other-amount", rule="M-13", need=Need.PERSON),
    OrderStanding.UNPAID: NextStep(name="unpaid", rule="M-07"),
    OrderStanding.OPEN: NextStep(name="open", rule="M-11", need=Need.TIME),
    OrderStanding.NOT_FOUND: NextStep(name="not-found", rule="M-11", need=Need.PERSON),
    OrderStanding.CONTRADICTED: NextStep(name="contradicted", rule="M-11", need=Need.PERSON),
    OrderStanding.NO_ANSWER: NextStep(name="no-answer", rule="M-10", need=Need.TIME),
    OrderStanding.NO_NEWS: NextStep(name="no-news", rule="M-11", need=Need.TIME),
    OrderStanding.UNBELIEVED: NextStep(name="unbelieved", rule="M-08", need=Need.PERSON),
    OrderStanding.NOT_ASKED: NextStep(name="not-asked", rule="M-09", need=Need.PERSON),
}
#: Beside what others proved before: an answer that asking again does not mend.
_BY_SILENCE: Mapping[Silence, NextStep] = {
    Silence.UNBELIEVED: _BY_STANDING[OrderStanding.UNBELIEVED],
    Silence.REFUSED: _BY_STANDING[OrderStanding.NOT_ASKED],
}
_DELIVER = NextStep(name="deliver", rule="M-16")
#: It would be delivered, but for an amount that nobody compared.
COMPARE_AMOUNT = NextStep(name="compare-amount", rule="M-13", need=Need.PERSON)
_SETTLE = NextStep(name="settle", rule="M-17", need=Need.TIME)
#: The same, where its consumer took the outcome: who does it again may do it twice.
_TAKEN = NextStep(name="taken", rule="M-16", need=Need.PERSON)
_NOTHING_LEFT = NextStep(name="nothing-left", rule="M-15")
#: What somebody does by hand, where nothing else tells the shop that it is paid (M-23).
_BY_HAND = (_DELIVER, _SETTLE)
#: Of an order that is PAID: what its inbox holds; one that holds nothing waits to be told.
_BY_INBOX: Mapping[SeenState | None, NextStep] = {
    None: _SETTLE,
    SeenState.NOT_PAID: _SETTLE,
    SeenState.DONE: _NOTHING_LEFT,
    SeenState.HELD: NextStep(name="held", rule="M-17", need=Need.TIME),
    SeenState.QUARANTINED: NextStep(name="quarantined", rule="M-15", need=Need.PERSON),
}
_SECOND_PAYMENT = NextStep(name="second-payment", rule="M-15", need=Need.PERSON)
_PERHAPS_SECOND = NextStep(name="perhaps-second-payment", rule="M-15", need=Need.PERSON)
#: The step for each way in which a refund stands; None: it has not ended (M-25).
_BY_REFUND: Mapping[PollStatus | None, NextStep | None] = {
    PollStatus.REFUNDED: None,
    PollStatus.REFUND_FAILED: NextStep(name="refund-failed", rule="M-25", need=Need.PERSON),
    PollStatus.CHANGED: NextStep(name="refund-changed", rule="M-25", need=Need.PERSON),
    PollStatus.NOTSURE: NextStep(name="refund-notsure", rule="M-25", need=Need.PERSON),
    PollStatus.NOT_FOUND: NextStep(name="refund-absent", rule="M-25", need=Need.TIME),
    None: NextStep(name="refund-pending", rule="M-25", need=Need.TIME),
}
#: Of what was applied for, this may still leave: nobody delivers "the rest" before.
_ON_ITS_WAY = frozenset(
    {None, PollStatus.NOTSURE, PollStatus.CHANGED, PollStatus.NOT_FOUND, PollStatus.MISMATCH}
)
#: The gateway was asked, and whether a payment came of what was sent nobody knows.
_NOBODY_KNOWS = frozenset({OrderStanding.NOT_ASKED, OrderStanding.NO_NEWS, OrderStanding.NOT_FOUND})
#: So the last attempt of a business order ended, if another one may be made.
_FREE = frozenset({CheckoutStatus.FAILED, CheckoutStatus.CANCELLED})


def next_steps(
    evidence: OrderEvidence, standing: OrderStanding, says: GatewaySays, against: tuple[Phrase, ...]
) -> tuple[NextStep, ...]:
    """The steps in the order in which they are to be taken; there is always one."""
    return (
        *_because_of_contradictions(standing, against),
        *_of_what_was_not_read(evidence),
        *_of_the_order(evidence, standing, says, against),
        *_of_refunds(says),
        *_of_the_inbox(evidence, standing),
        *_of_the_stores(evidence),
    )


def _because_of_contradictions(
    standing: OrderStanding, against: tuple[Phrase, ...]
) -> Iterator[NextStep]:
    if against and standing is not OrderStanding.CONTRADICTED:
        yield NextStep(name="compare", rule="M-11", need=Need.PERSON)


def _of_what_was_not_read(evidence: OrderEvidence) -> Iterator[NextStep]:
    """What cannot be read may hide a refund, a cancel or another amount."""
    for each in evidence.unread:
        values = {"witness": each.value}
        yield NextStep(name="unread", rule="M-23", need=Need.PERSON, values=values)


def _of_the_order(
    evidence: OrderEvidence, standing: OrderStanding, says: GatewaySays, against: tuple[Phrase, ...]
) -> Iterator[NextStep]:
    unheard = _BY_SILENCE.get(says.silence)
    if unheard is not None and unheard is not _BY_STANDING.get(standing):
        yield unheard
    if standing is OrderStanding.PAID:
        yield from _of_a_paid_one(evidence, says, against)
    elif standing is OrderStanding.IN_REFUND:
        yield _of_one_in_refund(evidence, says)
    else:
        yield from _of_one_not_paid(evidence, standing)
    silent = standing in (OrderStanding.NO_ANSWER, OrderStanding.UNBELIEVED)
    if (silent and evidence.charged) or (standing in _NOBODY_KNOWS and evidence.unresolved):
        yield NextStep(name="charged", rule="M-02", need=Need.TIME)


def _of_one_not_paid(evidence: OrderEvidence, standing: OrderStanding) -> Iterator[NextStep]:
    end = _unpaid_end(evidence) if standing is OrderStanding.NOT_FOUND else None
    if standing is not OrderStanding.UNPAID and end is None:
        yield _BY_STANDING[standing]
        return
    if (other := _other_attempt(evidence)) is not None:
        values = {"number": other.attempt or "", "status": other.status or "?"}
        yield NextStep(name="unpaid-attempt", rule="M-24", need=Need.PERSON, values=values)
    elif end is not None:
        values = {"witness": end.witness.value, "status": end.status}
        yield NextStep(name="not-found-ended", rule="M-22", need=Need.PERSON, values=values)
    else:
        yield _BY_STANDING[standing]
    if evidence.cancelled:
        yield NextStep(name="after-cancel", rule="M-24")
    if (barred := _barred_by_this(evidence)) is not None:
        values = {"status": barred.status}
        yield NextStep(name="release", rule="M-24", need=Need.PERSON, values=values)


def _of_a_paid_one(
    evidence: OrderEvidence, says: GatewaySays, against: tuple[Phrase, ...]
) -> Iterator[NextStep]:
    """What speaks against delivering it; where nothing does, what its inbox says."""
    careful = [*_before_delivery(evidence, says)]
    yield from careful
    unread = evidence.unread or any(each.unreadable for each in evidence.kept)
    step = _by_its_inbox(evidence)
    if step in _BY_HAND and _was_taken(evidence):
        step = _TAKEN
    in_the_way = careful or unread or against or _waits(evidence, step)
    if step.need is Need.PERSON or not in_the_way:
        lacks_amount = step is _DELIVER and not evidence.amount_compared
        yield _compare_amount(says) if lacks_amount else step


def _waits(evidence: OrderEvidence, step: NextStep) -> bool:
    """Whether something is still to be decided, or to come, that the step overlooks."""
    inbox = evidence.inbox or InboxHolds()
    undecided = inbox.in_conflict or (inbox.asides and step is _NOTHING_LEFT)
    if undecided and step in (_SETTLE, _NOTHING_LEFT):
        return True
    # Who acts on it by hand while a store still owes its outcome delivers beside its consumer.
    return step in _BY_HAND and any(map(_is_to_come, evidence.kept))


def _compare_amount(says: GatewaySays) -> NextStep:
    amount = amount_of(None if says.paid is None else says.paid.payable, says.fee_type)
    return attrs.evolve(COMPARE_AMOUNT, values={"amount": amount})


def _before_delivery(evidence: OrderEvidence, says: GatewaySays) -> Iterator[NextStep]:
    if says.refunds or evidence.refund_numbers():
        yield NextStep(name="refund-begun", rule="M-25", need=Need.PERSON)
    if evidence.cancelled:
        yield NextStep(name="paid-after-cancel", rule="M-24", need=Need.PERSON)
    elif evidence.paid_earlier:
        yield NextStep(name="paid-earlier", rule="M-24", need=Need.PERSON)


def _by_its_inbox(evidence: OrderEvidence) -> NextStep:
    if evidence.inbox is None:
        return _DELIVER
    if evidence.took_effect and evidence.inbox.came_after_close:
        return NextStep(name="after-close", rule="M-15", need=Need.PERSON)
    return _BY_INBOX[evidence.inbox.state]


def _of_one_in_refund(evidence: OrderEvidence, says: GatewaySays) -> NextStep:
    back, whole = says.returned, _whole(evidence, says)
    values: dict[str, Value] = {
        "amount": amount_of(back, says.fee_type),
        "whole": amount_of(whole, says.fee_type),
    }
    if back is None:
        return NextStep(name="refund-unknown", rule="M-25", need=Need.PERSON)
    if whole is not None and back >= whole:
        return NextStep(name="all-came-back", rule="M-25", need=Need.PERSON, values=values)
    if not says.refunds_known or any(each.status in _ON_ITS_WAY for each in says.refunds):
        return NextStep(name="more-may-come-back", rule="M-25", need=Need.PERSON, values=values)
    if whole is None:
        return NextStep(name="some-came-back", rule="M-25", need=Need.PERSON, values=values)
    return NextStep(name="part-came-back", rule="M-25", need=Need.PERSON, values=values)


def _whole(evidence: OrderEvidence, says: GatewaySays) -> int | None:
    """What ``says.returned`` is a part of, in fen: as the gateway says, or as the shop knows."""
    if not says.refunds_known and isinstance(says.paid, RefundedOrder):
        return says.paid.refunded_of
    named = None if says.paid is None else says.paid.payable
    if named is not None or not is_yuan(says.fee_type):
        return named  # others tell of fen
    inbox = None if evidence.inbox is None else evidence.inbox.payable
    return inbox if inbox is not None else evidence.expected


def _of_refunds(says: GatewaySays) -> Iterator[NextStep]:
    for each in says.refunds:
        step = _BY_REFUND.get(each.status, _BY_REFUND[None])
        if step is not None and each.number not in says.foreign:
            yield attrs.evolve(step, values={"number": each.number, "amount": each.amount})


def _of_the_inbox(evidence: OrderEvidence, standing: OrderStanding) -> Iterator[NextStep]:
    if evidence.inbox is None:
        return
    # Where somebody contradicts the payment itself, nothing is refunded before that is decided.
    sure = standing is not OrderStanding.CONTRADICTED
    payments = evidence.inbox.second_payments if sure else ()
    for each in payments:
        step = _PERHAPS_SECOND if each.number is None else _SECOND_PAYMENT
        yield attrs.evolve(step, values={"message": each.message, "number": each.number})
    count = len(evidence.inbox.asides) - len(payments)
    if count:
        yield NextStep(name="asides", rule="M-15", need=Need.PERSON, values={"count": count})
    if evidence.took_effect and standing in (OrderStanding.IN_REFUND, OrderStanding.CONTRADICTED):
        yield NextStep(name="effect-stands", rule="M-15", need=Need.PERSON)
    if evidence.inbox.state is SeenState.QUARANTINED and standing is not OrderStanding.PAID:
        yield _BY_INBOX[SeenState.QUARANTINED]


def _of_the_stores(evidence: OrderEvidence) -> Iterator[NextStep]:
    if any(each.unreadable for each in evidence.kept):
        yield NextStep(name="unreadable", rule="M-23", need=Need.PERSON)
    to_come = [each for each in evidence.kept if _is_to_come(each)]
    need = Need.NOTHING if evidence.took_effect else Need.TIME
    if any(not each.ended for each in to_come):
        yield NextStep(name="waited-for", rule="M-23", need=need)
    if any(each.ended for each in to_come):
        yield NextStep(name="untaken", rule="M-23", need=need)
    orders = (each for each in evidence.kept if _is_business_order(each, evidence))
    last = next((each.attempt for each in orders), None)
    if last is not None:
        yield NextStep(name="attempt", rule="M-24", values={"number": last})


def _is_to_come(kept: KeptRecord) -> bool:
    """Whether the store owes the order's outcome to somebody: one at work, or one to come."""
    about_order = kept.kind in ("checkout", "poll", "outcome") and kept.refund is None
    return about_order and kept.owed and not kept.unreadable


def _unpaid_end(evidence: OrderEvidence) -> KeptRecord | None:
    """A record that says that the order ended unpaid, as its checkout or a poller asked it."""
    return next((k for k in evidence.kept if k.ended and k.bearing is Bearing.UNPAID), None)


def _barred_by_this(evidence: OrderEvidence) -> KeptRecord | None:
    """The record of a business order that this attempt keeps from being charged again."""
    mine = (k for k in evidence.kept if k.kind == "checkout-order" and k.ended)
    own = (k for k in mine if k.attempt == evidence.out_trade_no and k.released is None)
    return next((k for k in own if k.status not in _FREE), None)


def _was_taken(evidence: OrderEvidence) -> bool:
    """Whether a checkout's record that it is paid has outlived its outcome: done() was called."""
    mine = (k for k in evidence.kept if k.attempt == evidence.out_trade_no)
    paid = any(k.kind == "checkout-order" and k.status == CheckoutStatus.PAID for k in mine)
    return paid and not any(map(_is_to_come, evidence.kept))


def _other_attempt(evidence: OrderEvidence) -> KeptRecord | None:
    """The record of the business order, where another attempt may be paid."""
    others = (each for each in evidence.kept if _is_business_order(each, evidence))
    return next((each for each in others if each.status not in _FREE), None)


def _is_business_order(kept: KeptRecord, evidence: OrderEvidence) -> bool:
    """Whether the number that was asked about is an order's, and its attempts have others."""
    names_another = kept.kind == "checkout-order" and kept.attempt != evidence.out_trade_no
    return names_another and kept.bearing is Bearing.NONE
