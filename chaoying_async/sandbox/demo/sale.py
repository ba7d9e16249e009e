"""One customer at the till: ``checkout`` pays, asks and cancels; here stands what became of it."""

from __future__ import annotations

import attrs

from chaoying_async.abc import Clock, Gateway
from chaoying_async.payments.checkout import checkout
from chaoying_async.sansio.api.barcode import Pay
from chaoying_async.sansio.payments.moves import CheckoutStatus
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.values import Fen

#: The document lets a till ask for 60 to 180 s before it gives up; a demo takes the shorter.
PATIENCE = PollSchedule(until=60.0)

_NOTHING = Fen(0)


@attrs.frozen(kw_only=True)
class Sale:
    """What became of one payment. ``payable`` is the order amount, ``paid`` the customer's cash."""

    out_trade_no: str
    status: CheckoutStatus
    #: Replies and errors on the way, the pay call's own among them.
    answers: int = 1
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
