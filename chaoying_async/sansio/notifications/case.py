"""What is known beside a message (the shop's order, the record), and the paid order both make.

``decide`` has the rows of M-15.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, NamedTuple

import attrs

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.model import fields_of, name_of
from chaoying_async.sansio.notifications.facts import Facts, NotificationOutcome
from chaoying_async.sansio.notifications.inbox_values import SeenState
from chaoying_async.sansio.paid import PaidOrder, PaidSource, known_numbers
from chaoying_async.sansio.values import Fen


class NoAmountCheck(Enum):
    """The type of :data:`NO_AMOUNT_CHECK`."""

    NO_AMOUNT_CHECK = "NO_AMOUNT_CHECK"
    """The one value."""

    def __repr__(self) -> str:
        return self.name


#: In place of ``expected``: take any amount of any merchant for any order number. Whoever can
#: make a signed payment of 1 fen under an order's number gets that order.
NO_AMOUNT_CHECK: Final = NoAmountCheck.NO_AMOUNT_CHECK


def _fen(amount: int) -> Fen:
    if not isinstance(amount, int) or isinstance(amount, bool) or amount < 1:
        raise ParameterError(
            {"total_fee": 'must be a whole number of fen, 1 or more: fen("12.30") makes it of yuan'}
        )
    return int.__new__(Fen, amount)


def _mch_id(mch_id: str) -> str:
    if not isinstance(mch_id, str) or not mch_id:
        raise ParameterError({"mch_id": "must be text that is not empty"})
    return mch_id


def _numbers(also: Iterable[str]) -> tuple[str, ...]:
    if isinstance(also, str):
        raise ParameterError({"also": 'must be a tuple of merchant numbers, like ("1000",)'})
    return tuple(map(_mch_id, also))


@attrs.frozen
class ExpectedOrder:
    """An order as the shop knows it; ``total_fee`` is the order amount in fen, before coupons.

    ``closed``: the shop closed it *unpaid*. An order that it finished after the payment is not
    closed. ``also`` lists other numbers of the same merchant that a notification may carry: the
    document prints several forms of one (M-18).
    """

    total_fee: Fen = attrs.field(converter=_fen)
    """The order amount in fen, before coupons."""
    mch_id: str = attrs.field(converter=_mch_id)
    """The merchant's number under which the order is recorded (M-18)."""
    fee_type: str = "CNY"
    """The currency (ISO 4217)."""
    closed: bool = False
    """Whether the shop closed the order *unpaid*. One that it finished after the payment is not
    closed.
    """
    also: tuple[str, ...] = attrs.field(default=(), converter=_numbers)
    """Other numbers of the same merchant that a notification may carry: the document prints
    several forms of one (M-18).
    """


@attrs.frozen
class Seen:
    """What is known of the order from before."""

    state: SeenState = attrs.field(converter=SeenState)
    """How far the order has come."""
    payable: Fen | None = None
    """The order amount of the payment that took effect, in fen."""
    transaction_id: str | None = None
    """The platform's number of that payment."""
    out_transaction_id: str | None = None
    """The wallet's number of that payment."""
    lease_until: datetime | None = None
    """When the holder's claim ends; None and the past: nobody holds it."""
    first_seen: datetime | None = None
    """When the message that is decided about first came, if that was not just now: its age is
    judged as of then.
    """
    source: PaidSource | None = None
    """How the payment that took effect was learnt."""
    other_numbers: frozenset[str] = frozenset()
    """The same payment's numbers as the other way (a query, or a notification) names them (M-13).
    """

    @property
    def numbers(self) -> frozenset[str]:
        """The transaction numbers of the payment that took effect (M-13)."""
        return known_numbers(self.transaction_id, self.out_transaction_id)


#: What a query for confirmation said; a :class:`PaidOrder` where it said "paid".
class Unconfirmed(Enum):
    """Why there is no confirmation."""

    NOT_ASKED = "nobody was asked"
    """Nobody was asked."""
    NO_ANSWER = "the gateway gave no answer that counts"
    """The gateway gave no answer that counts."""
    NOT_PAID = "the gateway says that it is not paid"
    """The gateway says that it is not paid."""


Confirmation = PaidOrder | Unconfirmed


@attrs.define(kw_only=True)
class Case:
    """A message, and all that is known beside it.

    What most rows ask for is worked out once, when the case is made; ``attrs.evolve`` makes a
    changed case.
    """

    facts: Facts
    """What the message says."""
    seen: Seen | None
    """What the inbox knows of the order; None: nothing."""
    expected: ExpectedOrder | NoAmountCheck | None
    """The order as the shop knows it; None where it knows none."""
    now: datetime
    """The moment of the decision; aware."""
    window: timedelta
    """How old a payment may be."""
    trust_coupon_fee: bool = False
    """Whether a coupon that makes up the difference of the amounts is believed (M-13)."""
    confirmation: Confirmation = Unconfirmed.NOT_ASKED
    """What a query for confirmation said."""
    first_seen: datetime | None = None
    """When this very message first came, where that is known better than from ``seen``."""
    order: ExpectedOrder | None = attrs.field(init=False)
    """The shop's order, where there is one to compare with."""
    unclear: bool = attrs.field(init=False)
    """Whether only a query can say anything about it."""
    confirmed: PaidOrder | None = attrs.field(init=False)
    """The paid order that a query confirmed."""
    by_query: bool = attrs.field(init=False)
    """Whether it was learnt by a query of ours, not by somebody's message."""
    payable: Fen | None = attrs.field(init=False)
    """The order amount in fen, where it is known (M-13)."""
    time_end: datetime | None = attrs.field(init=False)
    """When it was paid."""
    as_of: datetime = attrs.field(init=False)
    """The moment when the message first came, as of which its age is judged."""
    is_anothers: bool = attrs.field(init=False)
    """Whether the shop knows the order, and as another merchant's than the message's (M-18)."""

    def __attrs_post_init__(self) -> None:
        facts, expected, confirmation = self.facts, self.expected, self.confirmation
        order = expected if isinstance(expected, ExpectedOrder) else None
        self.order = order
        self.unclear = facts.outcome is NotificationOutcome.UNCLEAR
        self.confirmed = confirmation if isinstance(confirmation, PaidOrder) else None
        self.by_query = facts.source is not PaidSource.NOTIFICATION
        self.payable = _payable(self)
        told = facts if self.confirmed is None or not self.unclear else self.confirmed
        self.time_end = told.time_end
        self.as_of = self.first_seen or _first_seen(self)
        mch_id = facts.mch_id
        self.is_anothers = order is not None and mch_id not in (order.mch_id, *order.also)

    @property
    def numbers(self) -> frozenset[str]:
        """Which payment it is about.

        The message's own numbers where it can be read: a query by ``out_trade_no`` may name another
        payment of the same order, and must not vouch for this one.
        """
        if not self.unclear or self.confirmed is None:
            return self.facts.numbers
        return known_numbers(self.confirmed.transaction_id, self.confirmed.out_transaction_id)


class Learnt(NamedTuple):
    """What a record has to say of a payment: its numbers, and how each was learnt."""

    source: PaidSource
    transaction_id: str | None
    out_transaction_id: str | None
    other_numbers: tuple[str, ...]
    """As the other way names the same payment."""


def _first_seen(case: Case) -> datetime:
    """When the message first came, as far as the order's record tells; now, where it does not."""
    seen = case.seen
    if seen is None or seen.first_seen is None or seen.state is SeenState.NOT_PAID:
        return case.now
    same = not seen.numbers or bool(seen.numbers & case.numbers)
    return seen.first_seen if same else case.now


def _payable(case: Case) -> Fen | None:
    """The order amount, where it is known (M-13); None where it is not.

    A notification's ``total_fee`` is the order amount when it equals the expected one, or nothing
    else explains it; with a coupon that makes up the difference it is known only to who trusts
    ``coupon_fee``. What a query says wins.
    """
    facts, order = case.facts, case.order
    if case.confirmed is not None and case.confirmed.payable is not None:
        return case.confirmed.payable
    if facts.payable is not None or case.by_query:
        return facts.payable
    if order is None or case.unclear:
        return None
    if facts.coupon_fee and _coupon_fits(facts, order):
        return order.total_fee if case.trust_coupon_fee else None
    return facts.total_fee


def _coupon_fits(facts: Facts, order: ExpectedOrder) -> bool:
    if facts.total_fee is None or facts.coupon_fee is None:
        return False
    return facts.total_fee + facts.coupon_fee == order.total_fee


def order_of_case(case: Case, mch_id: str | None = None) -> PaidOrder:
    """The paid order, under the shop's own merchant number or the given one (M-13, M-18)."""
    facts, confirmed = case.facts, case.confirmed
    mch_id = mch_id or (facts.mch_id if case.order is None else case.order.mch_id)
    if confirmed is not None:
        told: dict[str, Any] = {
            name_of(field): getattr(confirmed, field.name) for field in fields_of(PaidOrder)
        }
        told["mch_id"], told["out_trade_no"] = mch_id, facts.out_trade_no
        told["source"] = PaidSource.CONFIRM
        told["fee_type"] = told["fee_type"] or facts.fee_type
        if not case.unclear and not (told["transaction_id"] or told["out_transaction_id"]):
            # Else a redelivery could not be told from another payment.
            told["transaction_id"] = facts.transaction_id
            told["out_transaction_id"] = facts.out_transaction_id
        return PaidOrder(**told)
    checked = case.expected is not NO_AMOUNT_CHECK
    return PaidOrder(
        mch_id=mch_id,
        out_trade_no=facts.out_trade_no,
        transaction_id=facts.transaction_id,
        out_transaction_id=facts.out_transaction_id,
        payable=case.payable if checked or case.by_query else None,
        paid=_paid(case) if checked else None,
        coupon_fee=facts.coupon_fee,
        paytype=facts.paytype,
        time_end=facts.time_end,
        source=facts.source,
        fee_type=facts.fee_type,
        raw=facts.raw,
    )


def learnt_in(case: Case) -> Learnt | None:
    """What a notification and the query that confirmed it say of the payment, each for itself.

    Where they name the same payment the record is the notification's, though the order says
    CONFIRM. Where they do not, it is the query's, as the order is. The next message is held
    against the numbers of its own way: others in it are another payment (M-13, M-15).
    """
    facts, confirmed = case.facts, case.confirmed
    if confirmed is None or case.by_query or not facts.numbers:
        return None
    asked = confirmed.transaction_id, confirmed.out_transaction_id
    told = facts.transaction_id, facts.out_transaction_id
    numbers = known_numbers(*asked)
    agree = not numbers.isdisjoint(facts.numbers)
    if case.unclear:  # what it says of itself is not believed
        return Learnt(PaidSource.NOTIFICATION, *asked, ()) if agree else None
    if numbers and not agree:
        return Learnt(PaidSource.CONFIRM, *asked, tuple(sorted(facts.numbers)))
    return Learnt(PaidSource.NOTIFICATION, *told, tuple(sorted(numbers)))


def _paid(case: Case) -> Fen | None:
    """What the customer paid; None where the document leaves open what ``total_fee`` is (C 45)."""
    facts = case.facts
    total_is_paid = case.by_query or not facts.coupon_fee or case.payable != facts.total_fee
    return facts.total_fee if total_is_paid else None
