"""A gateway on your own machine: the document's, strict about signatures, fields and money.

:class:`Sandbox` runs it inside a test, ``chaoying sandbox`` on a port. ``ledger.py`` and what it
calls is pure and holds every rule; ``scenarios.py`` lists what an amount or a payment code makes of
a payment; ``app.py`` and ``notifier.py`` speak HTTP.
"""

from __future__ import annotations

from chaoying_async.sandbox.bank.entities import Order, Refund, RefundState, Status
from chaoying_async.sandbox.bank.ledger import Books, Deed, Ledger
from chaoying_async.sandbox.sandbox import Sandbox
from chaoying_async.sandbox.serving.faults import Fault, Plan
from chaoying_async.sandbox.serving.notifier import Delivery

__all__ = [
    "Books",
    "Deed",
    "Delivery",
    "Fault",
    "Ledger",
    "Order",
    "Plan",
    "Refund",
    "RefundState",
    "Sandbox",
    "Status",
]
