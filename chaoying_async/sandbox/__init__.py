"""A gateway on your own machine: the document's, strict about signatures, fields and money.

:class:`Sandbox` runs it inside a test, ``chaoying sandbox`` runs it on a port.
``from chaoying_async.sandbox import scenarios`` has what an amount or a payment code makes of a
payment: ``SCENARIOS``, and ``REFUND_SCENARIOS`` for refunds.

- ``sandbox``: the :class:`Sandbox` of a test, and the httpx transport that reaches it.
- ``speed``: a clock that runs faster than the real one.
- ``bank``: the books, and every rule about the money in them; pure.
- ``document``: what the document demands of a message, and how it is signed; pure.
- ``serving``: the gateway at work: HTTP, time, notifications, faults, and its file.
- ``console``: the pages for a browser.
- ``demo``: a busy shop against a sandbox in another process, for ``chaoying demo``.
"""

from __future__ import annotations

from chaoying_async.sandbox.bank import scenarios
from chaoying_async.sandbox.bank.entities import BookedRefund as Refund
from chaoying_async.sandbox.bank.entities import Ledger, Order, RefundState, Status
from chaoying_async.sandbox.bank.ledger import Books, Deed
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
    "scenarios",
]
