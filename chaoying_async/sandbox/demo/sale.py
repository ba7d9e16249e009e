"""One customer: paying with ``checkout``, and getting money back with ``refund_and_track``."""

from __future__ import annotations

import attrs

from chaoying_async.abc import Clock, Gateway
from chaoying_async.exceptions import GatewayError
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.refunds import refund_and_track
from chaoying_async.polling import PollOutcome
from chaoying_async.sansio.api.barcode import Pay
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.follow_up import Refund
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.payments.moves import CheckoutStatus
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.sansio.values import Fen

#: The document lets a till ask for 60 to 180 s before it gives up; the demo takes 60 s.
PATIENCE = PollSchedule(until=60.0)

_NOTHING = Fen(0)


@attrs.frozen(kw_only=True)
class Sale:
    """What became of one payment. ``payable`` is the order amount, ``paid`` the customer's cash."""

    out_trade_no: str
    status: CheckoutStatus
    answers: int = 1
    """Replies and errors on the way, the pay call's own among them."""
    payable: Fen = _NOTHING
    paid: Fen = _NOTHING


async def take_payment(gateway: Gateway, pay: Pay, clock: Clock) -> Sale:
    """Charge one code and follow it to its end: PAID, FAILED, CANCELLED, or not known."""
    outcome = await checkout(gateway, pay, schedule=PATIENCE, clock=clock)
    paid = outcome.paid if outcome.status is CheckoutStatus.PAID else None
    return Sale(
        out_trade_no=pay.out_trade_no,
        status=outcome.status,
        answers=len(outcome.replies),
        payable=(paid and paid.payable) or _NOTHING,
        paid=(paid and paid.paid) or _NOTHING,
    )


#: The sandbox's refunds take seconds; real ones take days, which is ``PollSchedule.refunds()``.
QUICK = PollSchedule(first=3.0, every=5.0, until=120.0)

#: The money has left the merchant: CHANGED came back to the gateway, and a person pays it out.
_GONE = frozenset({PollStatus.REFUNDED, PollStatus.CHANGED})


@attrs.frozen(kw_only=True)
class Returned:
    """What became of one refund. ``cash`` is what the customer got back, coupons aside."""

    out_refund_no: str
    status: PollStatus
    cash: Fen = _NOTHING


async def refund_parts(
    gateway: Gateway, sale: Sale, wallet: PayType, parts: list[Fen], clock: Clock
) -> list[Returned]:
    """Refund a sale part by part; each part is followed to its end before the next is asked for.

    Every part has a refund number of its own, made from the order number, so that asking again
    for a part can never become a second refund.
    """
    refunds = [
        Refund(
            paytype=wallet,
            out_trade_no=sale.out_trade_no,
            out_refund_no=f"{sale.out_trade_no}-{number}",
            total_fee=sale.payable,  # the order amount, not what the customer paid
            refund_fee=part,
        )
        for number, part in enumerate(parts, start=1)
    ]
    return [await _refund(gateway, refund, clock) for refund in refunds]


async def _refund(gateway: Gateway, refund: Refund, clock: Clock) -> Returned:
    number = refund.out_refund_no
    try:
        outcome = await refund_and_track(gateway, refund, schedule=QUICK, clock=clock)
    except GatewayError:  # refused, and nothing moved
        return Returned(out_refund_no=number, status=PollStatus.REFUND_FAILED)
    return Returned(out_refund_no=number, status=outcome.status, cash=_cash(outcome))


def _cash(outcome: PollOutcome[RefundItem]) -> Fen:
    entry = outcome.refund
    if outcome.status not in _GONE or entry is None:
        return _NOTHING
    return entry.refund_fee or _NOTHING
