"""What becomes of a verified message about an order: the names, and :func:`decide` (M-15).

Pure: whoever calls hands in what the inbox knows, what the shop expects and the time. The table
itself is in ``judging``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import Enum, StrEnum
from typing import Final

import attrs

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.meaning import PaidOrder, PaidSource
from chaoying_async.sansio.model import Model, model
from chaoying_async.sansio.notifications.inbox_values import SeenState
from chaoying_async.sansio.values import Fen


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


class NoAmountCheck(Enum):
    """The type of :data:`NO_AMOUNT_CHECK`."""

    NO_AMOUNT_CHECK = "NO_AMOUNT_CHECK"

    def __repr__(self) -> str:
        return self.name


#: In place of ``expected``: take any amount of any merchant for any order number. Whoever can
#: make a signed payment of 1 fen under an order's number gets that order.
NO_AMOUNT_CHECK: Final = NoAmountCheck.NO_AMOUNT_CHECK


def _fen(amount: int) -> Fen:
    if type(amount) is int and amount > 0:
        return int.__new__(Fen, amount)
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
    if also == ():
        return ()
    if isinstance(also, str):
        raise ParameterError({"also": 'must be a tuple of merchant numbers, like ("1000",)'})
    return tuple(map(_mch_id, also))


@attrs.frozen
class ExpectedOrder:
    """An order as the shop knows it."""

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
        return frozenset(
            number for number in (self.transaction_id, self.out_transaction_id) if number
        )


@model
class SetAside(Model):
    """What ``on_conflict`` is told of a message that was set aside, or an order in quarantine."""

    decision: Decision
    """Why it did not take effect."""
    reason: str
    """The same in words, for a person."""
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
    """Whether a function of the user's is to run under a claim."""
    return decision in _WITH_EFFECT


#: What a query for confirmation said; a :class:`PaidOrder` where it said "paid".
class Unconfirmed(Enum):
    """Why there is no confirmation."""

    NOT_ASKED = "nobody was asked"
    NO_ANSWER = "the gateway gave no answer that counts"
    NOT_PAID = "the gateway says that it is not paid"


Confirmation = PaidOrder | Unconfirmed
