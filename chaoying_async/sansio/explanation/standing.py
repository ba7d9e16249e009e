"""How an order stands when all witnesses are taken together: a table.

The gateway's signed answer decides. What others hold was proven once: where the gateway gives no
answer it says what was, and where the two do not go together nobody may act on either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from chaoying_async.sansio.explanation.from_gateway import GatewaySays, Silence
from chaoying_async.sansio.explanation.told import PAID_ONCE, Bearing, Statement, Witness


class OrderStanding(StrEnum):
    """How an order stands."""

    PAID = "PAID"
    """Paid: the gateway says so now."""
    WAS_PAID = "WAS_PAID"
    """It was paid; the gateway gives no answer now, so it may have gone into refund since."""
    IN_REFUND = "IN_REFUND"
    """It was paid, and all of it or a part came back."""
    OTHER_AMOUNT = "OTHER_AMOUNT"
    """Paid, and another amount than was expected."""
    UNPAID = "UNPAID"
    """Over, and not paid."""
    OPEN = "OPEN"
    """Not decided: it may be paid at this moment."""
    NOT_FOUND = "NOT_FOUND"
    """The gateway knows no such order, which does not prove that it is unpaid (M-11)."""
    CONTRADICTED = "CONTRADICTED"
    """One that proves it says paid, and the gateway says otherwise."""
    NO_ANSWER = "NO_ANSWER"
    """No usable answer came, and nobody else knows whether it was paid."""
    NO_NEWS = "NO_NEWS"
    """The gateway refused the query, which says nothing of the order."""
    UNBELIEVED = "UNBELIEVED"
    """Something answered that cannot be read or trusted."""
    NOT_ASKED = "NOT_ASKED"
    """The gateway will not be asked: key, agent, merchant or the number itself is wrong."""


#: What the gateway says, where nobody else proves a payment.
_ALONE: Mapping[Bearing, OrderStanding] = {
    Bearing.PAID: OrderStanding.PAID,
    Bearing.IN_REFUND: OrderStanding.IN_REFUND,
    Bearing.OTHER_AMOUNT: OrderStanding.OTHER_AMOUNT,
    Bearing.UNPAID: OrderStanding.UNPAID,
    Bearing.OPEN: OrderStanding.OPEN,
    Bearing.ABSENT: OrderStanding.NOT_FOUND,
}
#: The same, where somebody else proves one: what says "not paid", or not yet, contradicts.
_BESIDE_A_PAYMENT: Mapping[Bearing, OrderStanding] = {
    **_ALONE,
    Bearing.UNPAID: OrderStanding.CONTRADICTED,
    Bearing.OPEN: OrderStanding.CONTRADICTED,
    Bearing.ABSENT: OrderStanding.CONTRADICTED,
}
#: The gateway says nothing: what was proven before.
_BEFORE: Mapping[Bearing, OrderStanding] = {
    Bearing.PAID: OrderStanding.WAS_PAID,
    Bearing.IN_REFUND: OrderStanding.IN_REFUND,
    Bearing.OTHER_AMOUNT: OrderStanding.OTHER_AMOUNT,
}
#: The gateway says nothing, and nobody else proves a payment.
_SILENCES: Mapping[Silence, OrderStanding] = {
    Silence.NONE: OrderStanding.NO_ANSWER,  # nobody asked
    Silence.UNREACHED: OrderStanding.NO_ANSWER,
    Silence.NO_NEWS: OrderStanding.NO_NEWS,
    Silence.UNBELIEVED: OrderStanding.UNBELIEVED,
    Silence.REFUSED: OrderStanding.NOT_ASKED,
}


def standing_of(says: GatewaySays, told: Iterable[Statement]) -> OrderStanding:
    """How the order stands; only what was proven counts beside the gateway's answer."""
    payments = [each for each in told if _proves_payment(each)]
    if says.bearing is not Bearing.NONE:
        return (_BESIDE_A_PAYMENT if payments else _ALONE)[says.bearing]
    if not payments:
        return _SILENCES[says.silence]
    bearings = {each.bearing for each in payments}
    order = (Bearing.OTHER_AMOUNT, Bearing.IN_REFUND, Bearing.PAID)
    return _BEFORE[next(each for each in order if each in bearings)]


def _proves_payment(told: Statement) -> bool:
    return told.proves and told.witness is not Witness.GATEWAY and told.bearing in PAID_ONCE
