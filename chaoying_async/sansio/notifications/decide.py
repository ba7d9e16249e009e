"""Decides what is done about a verified message about an order: the table of M-15, row by row.

The caller hands in what the inbox knows, what the shop expects and the time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from chaoying_async.sansio.currency import fen_in_words, shown_code
from chaoying_async.sansio.model import Model, model
from chaoying_async.sansio.notifications.case import (
    Case,
    ExpectedOrder,
    Learnt,
    NoAmountCheck,
    Seen,
    Unconfirmed,
    learnt_in,
    order_of_case,
)
from chaoying_async.sansio.notifications.facts import NotificationOutcome
from chaoying_async.sansio.notifications.inbox_values import AHEAD, SeenState
from chaoying_async.sansio.notifications.message import Notification, facts_of
from chaoying_async.sansio.paid import PaidOrder, PaidSource


class Decision(StrEnum):
    """What to do about one message, in the order of the table: the first that fits wins (M-15).

    CONFLICT has two places in it: another merchant's order comes first, everything else later.
    """

    UNREADABLE = "UNREADABLE"
    """Verified, but it can be read in two ways, or its decision fields make no sense: set aside."""
    DUPLICATE = "DUPLICATE"
    """This very payment has taken effect already."""
    IN_PROGRESS = "IN_PROGRESS"
    """Another delivery of the same order is being worked on."""
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    """The shop knows no such order, or not yet."""
    CONFLICT = "CONFLICT"
    """Another amount, currency, merchant or payment than there should be: for a person."""
    NOT_PAID = "NOT_PAID"
    """The payment failed; a later one may succeed."""
    STALE = "STALE"
    """Paid too long ago, or in the future."""
    UNCONFIRMED = "UNCONFIRMED"
    """Plausible, but nothing vouches for it yet."""
    PAID_AFTER_CLOSE = "PAID_AFTER_CLOSE"
    """Paid, but the shop had closed the order unpaid: give the money back, or reopen it."""
    APPLY = "APPLY"
    """Paid as expected: deliver."""


@model
class SetAside(Model):
    """What ``on_conflict`` is told of a message that was set aside, or an order in quarantine."""

    decision: Decision
    """Why it did not take effect."""
    reason: str
    """Why, in words for a person."""
    mch_id: str
    """The merchant's number."""
    out_trade_no: str
    """The order's number."""


@model
class NotificationAnswer(Model):
    """What to answer the gateway: exactly these bytes, as ``text/plain`` (M-14)."""

    status: int
    """The HTTP status."""
    body: bytes
    """The exact bytes: ``success`` only where the effect is durable, so APPLY with ``fail`` means:
    not yet (M-14).
    """
    decision: Decision | None = None
    """What was decided; None where nothing could be verified."""
    paid: PaidOrder | None = None
    """The order whose effect is durable, now or since an earlier delivery: give it to
    ``poller.settle``, so that nobody asks about it any more. None with every other answer.
    """


#: ``success`` at once; APPLY and PAID_AFTER_CLOSE only when their effect is durable (M-14, M-15).
#: Tuples: an enum's hash is a call in Python, and two members are compared sooner.
_WITH_EFFECT = (Decision.APPLY, Decision.PAID_AFTER_CLOSE)
_SUCCESS = (*_WITH_EFFECT, Decision.NOT_PAID, Decision.DUPLICATE)


def is_success(decision: Decision | None, *, durable: bool) -> bool:
    """Whether the gateway may stop delivering; ``durable``: what the decision asks for is done."""
    return durable and decision in _SUCCESS


def has_effect(decision: Decision) -> bool:
    """Whether a function of the user's is to run, under its order's lock."""
    return decision in _WITH_EFFECT


def has_ended(decision: Decision, *, durable: bool) -> bool:
    """Whether nobody is at work on the message any more; ``durable``: an effect is recorded."""
    return decision is not Decision.IN_PROGRESS and (durable or not has_effect(decision))


class Judgement(NamedTuple):
    """A decision, its reason in words, and for an effect the order to run it with."""

    decision: Decision
    """What to do about the message."""
    reason: str
    """Why, for a person."""
    paid: PaidOrder | None = None
    """The order that the effect is run with; None where there is no effect."""
    learnt: Learnt | None = None
    """What the record has to say where two ways told of the payment; None: what the order says."""

    @property
    def source(self) -> PaidSource | None:
        """How the record has to say that the payment was learnt; None: as the order does."""
        if self.learnt is None or self.paid is None or self.learnt.source is self.paid.source:
            return None
        return self.learnt.source

    @property
    def names_another_transaction(self) -> bool:
        """Whether the confirming query named another transaction: worth a warning (M-15)."""
        return self.learnt is not None and self.learnt.source is PaidSource.CONFIRM


def decide(
    notification: Notification,
    *,
    seen: Seen | None,
    expected: ExpectedOrder | NoAmountCheck | None,
    now: datetime,
    window: timedelta,
    trust_coupon_fee: bool = False,
    confirmed: PaidOrder | None = None,
) -> Decision:
    """What to do about a verified notification: the whole of M-15, and nothing else.

    ``seen`` is what your records know of the order (None: nothing), ``expected`` what your shop
    knows (None: no such order). ``now`` is aware, ``window`` how long your records remember.
    ``confirmed`` is the paid order that a query told you; give None where you asked nobody.

    APPLY means: run the effect and record it, together, and only then answer ``success``.
    """
    case = Case(
        facts=facts_of(notification),
        seen=seen,
        expected=expected,
        now=now,
        window=window,
        trust_coupon_fee=trust_coupon_fee,
        confirmation=Unconfirmed.NOT_ASKED if confirmed is None else confirmed,
    )
    return judge(case).decision


def judge(case: Case) -> Judgement:
    """The judgement of the first row that fits."""
    for decision, row in ROWS:
        reason = row(case)
        if reason is not None:
            if decision not in _WITH_EFFECT:
                return Judgement(decision, reason)
            return Judgement(decision, reason, order_of_case(case), learnt_in(case))
    raise AssertionError("the last row fits everything")


# ------------------------------------------------------------------------- the rows, in their order


def _unreadable(case: Case) -> str | None:
    if case.facts.outcome is NotificationOutcome.NOT_PAID:
        return None
    if case.unclear and case.confirmed is None:
        return case.facts.problem or "its decision fields are missing, unknown or contradicting"
    if case.time_end is None and not case.by_query:
        return "nothing says when it was paid"
    return None


def _not_paid(case: Case) -> str | None:
    failed = case.facts.outcome is NotificationOutcome.NOT_PAID
    return "the payment failed" if failed else None


def _duplicate(case: Case) -> str | None:
    seen = case.seen
    if seen is None or seen.state is not SeenState.DONE:
        return None
    numbers, same_way, other_way = case.numbers, seen.numbers, seen.other_numbers
    if other_source(case):
        same_way, other_way = other_way, same_way
    if same_way and numbers:  # told in the same way: other numbers are another payment
        return TAKEN_EFFECT if same_way & numbers else None
    if other_way & numbers:
        return TAKEN_EFFECT
    # Not taken for the same payment: a failure, or what another merchant's key has signed.
    if case.facts.outcome is NotificationOutcome.NOT_PAID or case.is_anothers:
        return None
    return OTHER_NUMBERS if other_source(case) else None


#: The reason of a DUPLICATE that names the payment by a number that is known.
TAKEN_EFFECT = "this payment has taken effect already"


#: The reason of a DUPLICATE that deserves a warning (M-15).
OTHER_NUMBERS = (
    "the order has taken effect already; a query and a notification name different transactions"
)


def other_source(case: Case) -> bool:
    """Whether the record and the message came by the two different ways (M-13)."""
    source = case.seen.source if case.seen is not None else None
    return source is not None and (source is PaidSource.NOTIFICATION) is case.by_query


def is_told_otherwise(case: Case, verdict: Judgement) -> bool:
    """Whether a duplicate is the first word of its payment by its way (notification or query).

    Its numbers have to be kept then: the next message by that way is compared with them.
    """
    if verdict.decision is not Decision.DUPLICATE or case.seen is None:
        return False
    return other_source(case) and not case.seen.other_numbers and not case.is_anothers


def order_that_is_done(case: Case, verdict: Judgement) -> PaidOrder | None:
    """For a duplicate: the order that took effect, where the message says the same of it."""
    if verdict.reason != TAKEN_EFFECT or case.seen is None or case.is_anothers:
        return None
    is_paid = case.facts.outcome is NotificationOutcome.PAID
    return order_of_case(case) if is_paid and case.payable == case.seen.payable else None


def _in_progress(case: Case) -> str | None:
    seen = case.seen
    if seen is None or seen.state is not SeenState.HELD or seen.lease_until is None:
        return None
    return "somebody is working on this order" if seen.lease_until > case.now else None


def _unknown_order(case: Case) -> str | None:
    return "the shop knows no such order" if case.expected is None else None


def _stale(case: Case) -> str | None:
    moment = case.time_end
    if case.by_query or moment is None:
        return None
    if moment < case.as_of - case.window:
        return "it was paid longer ago than anything is remembered"
    if moment > case.as_of + AHEAD:
        return "it was paid more than 10 minutes in the future"
    return None


def _quarantined(case: Case) -> str | None:
    quarantined = case.seen is not None and case.seen.state is SeenState.QUARANTINED
    return "the order is in quarantine: a person has to decide" if quarantined else None


def _another_payment(case: Case) -> str | None:
    if case.seen is None or case.seen.state is not SeenState.DONE:
        return None
    same_way = case.seen.other_numbers if other_source(case) else case.seen.numbers
    return ANOTHER_PAYMENT if same_way and case.numbers else PERHAPS_ANOTHER


ANOTHER_PAYMENT = "the order has taken effect already, by another payment"
TWO_PAYMENTS = "two messages of the same kind name different transactions of an order"
PERHAPS_ANOTHER = (
    "the order has taken effect already; whether by this payment nobody can tell, since a message"
    " names no transaction"
)
#: The reasons of a CONFLICT that nothing but a person can end.
SECOND_PAYMENT = frozenset({ANOTHER_PAYMENT, PERHAPS_ANOTHER, TWO_PAYMENTS})


def _another_merchant(case: Case) -> str | None:
    if case.order is None or not case.is_anothers:
        return None
    return f"another merchant than the expected {case.order.mch_id}"


_MERCHANT = re.compile(r"another merchant than the expected (.+)", re.DOTALL).fullmatch


def merchant_in(reason: str) -> str | None:
    """The merchant that a reason says the shop knows the order under; None where it names none."""
    told = _MERCHANT(reason)
    return None if told is None else told[1]


def _another_currency(case: Case) -> str | None:
    if case.order is None:
        return None
    fitting = (None, "", case.order.fee_type)
    named = [
        (case.facts.fee_type, case.payable if case.payable is not None else case.facts.total_fee)
    ]
    if case.confirmed is not None:
        named.append((case.confirmed.fee_type, case.confirmed.payable))
    found = next((each for each in named if each[0] not in fitting), None)
    if found is None:
        return None
    fee_type, amount = found
    expected = fen_in_words(case.order.total_fee, case.order.fee_type)
    told = shown_code(fee_type) if amount is None else fen_in_words(amount, fee_type)
    return f"another currency than the expected {expected}: {told}"


def _not_confirmed(case: Case) -> str | None:
    denied = case.confirmation is Unconfirmed.NOT_PAID
    return "the gateway, asked about it, says that it is not paid" if denied else None


def _another_amount(case: Case) -> str | None:
    if case.order is None or case.confirmation is Unconfirmed.NO_ANSWER:
        return None
    known, expected = case.payable, case.order.total_fee
    if known is None or known == expected:  # None: a query could tell
        return None
    wanted, found = (fen_in_words(each, case.order.fee_type) for each in (expected, known))
    return f"another amount than the expected {wanted}: {found}"


class ToldAmount(NamedTuple):
    """An amount that a reason names."""

    number: int
    """In fen, or as it came in another currency."""
    fee_type: str | None = None
    """The other currency; None: CNY."""


#: What is longer than any amount was written by a hand, and names none.
_AMOUNT = r"([0-9]{1,19}) (?:fen|\(fee_type ([A-Za-z]{1,8}|\?)\))"
_AMOUNTS = re.compile(
    rf"another (?:amount|currency) than the expected {_AMOUNT}(?:: (?:{_AMOUNT}|[A-Za-z?]+))?"
).fullmatch


def amounts_in(reason: str) -> tuple[ToldAmount | None, ToldAmount | None]:
    """The expected and the found amount in a reason; None where it names none."""
    told = _AMOUNTS(reason)
    if told is None:
        return None, None
    expected, wanted_in, found, found_in = told.groups()
    return (
        ToldAmount(int(expected), wanted_in),
        None if found is None else ToldAmount(int(found), found_in),
    )


def _unconfirmed(case: Case) -> str | None:
    if case.confirmation is Unconfirmed.NO_ANSWER:
        return "the gateway, asked about it, gave no answer that counts"
    if case.order is not None and case.payable is None:
        return "only a coupon explains the amount, and nothing vouches for it"
    return None


def _closed(case: Case) -> str | None:
    closed = case.order is not None and case.order.closed
    return PAID_BUT_CLOSED if closed else None


PAID_BUT_CLOSED = "it was paid, but the shop had closed the order"


def _apply(_case: Case) -> str:
    return "it is paid as expected"


Row = Callable[[Case], str | None]

ROWS: tuple[tuple[Decision, Row], ...] = (
    (Decision.UNREADABLE, _unreadable),
    (Decision.DUPLICATE, _duplicate),
    (Decision.IN_PROGRESS, _in_progress),
    # Whose order it is comes before what happened to it.
    (Decision.UNKNOWN_ORDER, _unknown_order),
    (Decision.CONFLICT, _another_merchant),
    (Decision.NOT_PAID, _not_paid),
    (Decision.STALE, _stale),
    # Everything else that is for a person.
    (Decision.CONFLICT, _quarantined),
    (Decision.CONFLICT, _another_payment),
    (Decision.CONFLICT, _another_currency),
    (Decision.CONFLICT, _not_confirmed),
    (Decision.CONFLICT, _another_amount),
    (Decision.UNCONFIRMED, _unconfirmed),
    (Decision.PAID_AFTER_CLOSE, _closed),
    (Decision.APPLY, _apply),
)
