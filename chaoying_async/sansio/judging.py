"""The table of M-15, row by row: which decision fits a message, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import attrs

from chaoying_async.sansio.decisions import (
    NO_AMOUNT_CHECK,
    Confirmation,
    Decision,
    ExpectedOrder,
    NoAmountCheck,
    Seen,
    Unconfirmed,
    has_effect,
)
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.facts import Facts, facts_of
from chaoying_async.sansio.inboxvalues import AHEAD, SeenState
from chaoying_async.sansio.models import Model, fields_of, model
from chaoying_async.sansio.notifications import Notification
from chaoying_async.sansio.outcome import NotificationOutcome, PaidOrder, PaidSource
from chaoying_async.sansio.values import Fen


def _is_unclear(case: Case) -> bool:
    return case.facts.outcome is NotificationOutcome.UNCLEAR


def _confirmed(case: Case) -> PaidOrder | None:
    return case.confirmation if isinstance(case.confirmation, PaidOrder) else None


def _is_by_query(case: Case) -> bool:
    return case.facts.source is not PaidSource.NOTIFICATION


@attrs.frozen(kw_only=True)
class Case:
    """A message, and all that is known beside it."""

    facts: Facts
    seen: Seen | None
    expected: ExpectedOrder | NoAmountCheck | None
    now: datetime
    window: timedelta
    trust_coupon_fee: bool = False
    confirmation: Confirmation = Unconfirmed.NOT_ASKED
    #: When this very message first came, where that is known better than from ``seen``.
    first_seen: datetime | None = None
    # Known once and asked by most rows, so no properties.
    #: Only a query can say anything about it.
    unclear: bool = attrs.field(init=False, default=attrs.Factory(_is_unclear, takes_self=True))
    #: The paid order that a query confirmed.
    confirmed: PaidOrder | None = attrs.field(
        init=False, default=attrs.Factory(_confirmed, takes_self=True)
    )
    #: Learnt by a query of ours, not by somebody's message.
    by_query: bool = attrs.field(init=False, default=attrs.Factory(_is_by_query, takes_self=True))

    @property
    def numbers(self) -> frozenset[str]:
        """Which payment it is about.

        The message's own numbers where it can be read: a query by ``out_trade_no`` may name another
        payment of the same order, and must not vouch for this one.
        """
        if not self.unclear or self.confirmed is None:
            return self.facts.numbers
        confirmed = (self.confirmed.transaction_id, self.confirmed.out_transaction_id)
        return frozenset(number for number in confirmed if number)

    @property
    def time_end(self) -> datetime | None:
        """When it was paid."""
        if self.unclear and self.confirmed is not None:
            return self.confirmed.time_end
        return self.facts.time_end


@model
class Verdict(Model):
    """A decision, its reason in words, and for an effect the order to run it with."""

    decision: Decision
    reason: str = ""
    paid: PaidOrder | None = None


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


def judge(case: Case) -> Verdict:
    """The first row that fits."""
    for decision, row in ROWS:
        reason = row(case)
        if reason is not None:
            effect = has_effect(decision)
            return Verdict(
                decision=decision, reason=reason, paid=order_of_case(case) if effect else None
            )
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
    if case.seen is None or case.seen.state is not SeenState.DONE:
        return None
    if case.seen.numbers & case.numbers:
        return "this payment has taken effect already"
    if other_source(case):
        return OTHER_NUMBERS
    return None


#: The reason of a DUPLICATE that deserves a warning (M-15).
OTHER_NUMBERS = (
    "the order has taken effect already; a query and a notification name different transactions"
)


def other_source(case: Case) -> bool:
    """Whether the record and the message came by the two different ways (M-13)."""
    source = case.seen.source if case.seen is not None else None
    return source is not None and (source is PaidSource.NOTIFICATION) is case.by_query


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
    as_of = first_seen(case)
    if moment < as_of - case.window:
        return "it was paid longer ago than anything is remembered"
    if moment > as_of + AHEAD:
        return "it was paid more than 10 minutes in the future"
    return None


def first_seen(case: Case) -> datetime:
    """As of when the age of a message is judged: of the time when it first came."""
    if case.first_seen is not None:
        return case.first_seen
    seen = case.seen
    if seen is None or seen.first_seen is None or seen.state is SeenState.NOT_PAID:
        return case.now
    same = not seen.numbers or bool(seen.numbers & case.numbers)
    return seen.first_seen if same else case.now


def _conflict(case: Case) -> str | None:
    for check in _CONFLICTS:
        reason = check(case)
        if reason is not None:
            return reason
    return None


def _quarantined(case: Case) -> str | None:
    quarantined = case.seen is not None and case.seen.state is SeenState.QUARANTINED
    return "the order is in quarantine: a person has to decide" if quarantined else None


def _another_payment(case: Case) -> str | None:
    done = case.seen is not None and case.seen.state is SeenState.DONE
    return "the order has taken effect already, by another payment" if done else None


def _another_merchant(case: Case) -> str | None:
    expected = case.expected
    if not isinstance(expected, ExpectedOrder):
        return None
    told = case.facts.mch_id
    known = told == expected.mch_id or told in expected.also
    return None if known else "another merchant than expected"


def _another_currency(case: Case) -> str | None:
    if not isinstance(case.expected, ExpectedOrder):
        return None
    fitting = (None, "", case.expected.fee_type)
    fits = case.facts.fee_type in fitting
    if case.confirmed is not None:
        fits = fits and case.confirmed.raw.get("fee_type") in fitting
    return None if fits else "another currency than expected"


def _not_confirmed(case: Case) -> str | None:
    denied = case.confirmation is Unconfirmed.NOT_PAID
    return "the gateway, asked about it, says that it is not paid" if denied else None


def _another_amount(case: Case) -> str | None:
    expected = case.expected
    if not isinstance(expected, ExpectedOrder) or case.confirmation is Unconfirmed.NO_ANSWER:
        return None
    known = payable(case)
    if known is None or known == expected.total_fee:  # None: a query could tell
        return None
    return f"another amount than the expected {expected.total_fee} fen"


#: Everything that is for a person (M-15).
_CONFLICTS: tuple[Callable[[Case], str | None], ...] = (
    _quarantined,
    _another_payment,
    _another_merchant,
    _another_currency,
    _not_confirmed,
    _another_amount,
)


def _unconfirmed(case: Case) -> str | None:
    if case.confirmation is Unconfirmed.NO_ANSWER:
        return "the gateway, asked about it, gave no answer that counts"
    if isinstance(case.expected, ExpectedOrder) and payable(case) is None:
        return "only a coupon explains the amount, and nothing vouches for it"
    return None


def _closed(case: Case) -> str | None:
    closed = isinstance(case.expected, ExpectedOrder) and case.expected.closed
    return "it was paid, but the shop had closed the order" if closed else None


def _apply(_case: Case) -> str | None:
    return "it is paid as expected"


ROWS: tuple[tuple[Decision, Callable[[Case], str | None]], ...] = (
    (Decision.UNREADABLE, _unreadable),
    (Decision.NOT_PAID, _not_paid),
    (Decision.DUPLICATE, _duplicate),
    (Decision.IN_PROGRESS, _in_progress),
    (Decision.UNKNOWN_ORDER, _unknown_order),
    (Decision.STALE, _stale),
    (Decision.CONFLICT, _conflict),
    (Decision.UNCONFIRMED, _unconfirmed),
    (Decision.PAID_AFTER_CLOSE, _closed),
    (Decision.APPLY, _apply),
)


# --------------------------------------------------------------------------------------- the amount


def payable(case: Case) -> Fen | None:
    """The order amount, where it is known (M-13); None where it is not.

    A notification's ``total_fee`` is the order amount when it equals the expected one, or nothing
    else explains it; with a coupon that makes up the difference it is known only to who trusts
    ``coupon_fee``. What a query says wins.
    """
    if case.confirmed is not None and case.confirmed.payable is not None:
        return case.confirmed.payable
    if case.facts.payable is not None or case.by_query:
        return case.facts.payable
    if not isinstance(case.expected, ExpectedOrder) or case.unclear:
        return None
    if _coupon_fits(case):
        return case.expected.total_fee if case.trust_coupon_fee else None
    return case.facts.total_fee


def _coupon_fits(case: Case) -> bool:
    facts, expected = case.facts, case.expected
    if facts.total_fee is None or not facts.coupon_fee:  # as with most orders
        return False
    if not isinstance(expected, ExpectedOrder) or case.unclear or case.by_query:
        return False
    return facts.total_fee + facts.coupon_fee == expected.total_fee


_PAYTYPES = PayType.__members__


def order_of_case(case: Case) -> PaidOrder:
    """The paid order, under the shop's own merchant number (M-13, M-18)."""
    facts, confirmed = case.facts, case.confirmed
    expected = case.expected
    mch_id = expected.mch_id if isinstance(expected, ExpectedOrder) else facts.mch_id
    if confirmed is not None:
        told: dict[str, Any] = {
            field.name: getattr(confirmed, field.name) for field in fields_of(PaidOrder)
        }
        told["mch_id"], told["out_trade_no"] = mch_id, facts.out_trade_no
        told["source"] = PaidSource.CONFIRM
        if not case.unclear and not (told["transaction_id"] or told["out_transaction_id"]):
            # Else a redelivery could not be told from another payment.
            told["transaction_id"] = facts.transaction_id
            told["out_transaction_id"] = facts.out_transaction_id
        return PaidOrder(**told)
    known = payable(case)
    return PaidOrder(
        mch_id=mch_id,
        out_trade_no=facts.out_trade_no,
        transaction_id=facts.transaction_id,
        out_transaction_id=facts.out_transaction_id,
        payable=known if expected is not NO_AMOUNT_CHECK or case.by_query else None,
        paid=_paid(case, known),
        coupon_fee=facts.coupon_fee,
        paytype=_PAYTYPES.get(facts.paytype or "", facts.paytype),
        time_end=facts.time_end,
        source=facts.source,
        raw=facts.raw,
    )


def _paid(case: Case, known: Fen | None) -> Fen | None:
    """What the customer paid; not guessed where the document leaves open what a total is (C 45)."""
    facts = case.facts
    total_is_paid = case.by_query or not facts.coupon_fee or known != facts.total_fee
    return facts.total_fee if total_is_paid and case.expected is not NO_AMOUNT_CHECK else None


__all__ = ["NO_AMOUNT_CHECK", "Case", "Verdict", "decide", "judge"]
