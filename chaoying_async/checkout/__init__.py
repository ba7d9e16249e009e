"""Payments and refunds to an honest end: paid, failed, cancelled, or handed to a person as unknown.

- :func:`checkout` pays, asks, cancels in time, and says what is true; :func:`resume` takes up what
  a dead process left.
- :class:`OrderNumbers` numbers the attempts of one business order.
- :func:`open_attempts` and :func:`open_refunds` show what a store holds of them.
- :func:`refund_and_track` sends a refund once and waits for its end; :func:`resume_refunds`.

What decides is pure and lives in ``sansio``: ``till`` and its words ``tillmoves``,
``tillnews``, ``tillcancels``, ``intents``, ``ordernumbers``.
"""

from __future__ import annotations

from chaoying_async.checkout.listing import (
    AttemptState,
    OpenAttempt,
    OpenRefund,
    open_attempts,
    open_refunds,
)
from chaoying_async.checkout.orders import attempts_so_far, prune_orders, release_order
from chaoying_async.checkout.outcome import CheckoutOutcome
from chaoying_async.checkout.refundoutcome import RefundOutcome
from chaoying_async.checkout.refunds import refund_and_track, resume_refunds
from chaoying_async.checkout.resuming import resume
from chaoying_async.checkout.run import checkout
from chaoying_async.sansio.ordernumbers import AttemptNumber, OrderNumbers
from chaoying_async.sansio.tillmoves import CheckoutStatus
from chaoying_async.sansio.tillmoves import Reason as CheckoutReason

__all__ = [
    "AttemptNumber",
    "AttemptState",
    "CheckoutOutcome",
    "CheckoutReason",
    "CheckoutStatus",
    "OpenAttempt",
    "OpenRefund",
    "OrderNumbers",
    "RefundOutcome",
    "attempts_so_far",
    "checkout",
    "open_attempts",
    "open_refunds",
    "prune_orders",
    "refund_and_track",
    "release_order",
    "resume",
    "resume_refunds",
]
