"""The shop's ``notify_url``: each paid order is shipped once, whatever arrives and how often."""

from __future__ import annotations

from collections import Counter

from chaoying_async.abc import Clock
from chaoying_async.inbox import MemoryInbox
from chaoying_async.notifications import NotificationHandler
from chaoying_async.polling import Poller
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import SetAside
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.sansio.values import Fen
from chaoying_async.web.asgi import Receive, Scope, Send, notification_app


class ShopBusyError(Exception):
    """The shop could not ship just now; the gateway comes again."""


class Warehouse:
    """What the shop knows of its pre-orders, and what it does when one is paid.

    Every fifth order finds the shop busy the first time: ``on_paid`` raises, the gateway is
    answered ``fail`` and comes again.
    """

    def __init__(self, credentials: Credentials, mch_id: str, clock: Clock, budget: float) -> None:
        self.mch_id = mch_id
        #: What the shop asked for: order to amount.
        self.expected: dict[str, Fen] = {}
        #: How often each order was shipped, and the amount that was notified or found.
        self.shipped: Counter[str] = Counter()
        self.paid: dict[str, Fen] = {}
        #: Orders that were put off once.
        self.put_off: set[str] = set()
        #: Messages that a person should look at, by decision.
        self.set_aside: Counter[str] = Counter()
        self.deliveries = 0
        #: Told of what a notification brought, so that it asks no more.
        self.poller: Poller | None = None
        self.handler = NotificationHandler(
            credentials,
            MemoryInbox(clock=clock),
            self._on_paid,
            expected=self._lookup,
            on_conflict=self._on_conflict,
            budget=budget,
            clock=clock,
        )
        self._app = notification_app(self.handler, clock=clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the gateway's deliveries, and count them."""
        self.deliveries += scope["type"] == "http"
        await self._app(scope, receive, send)

    def _lookup(self, mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
        total = self.expected.get(out_trade_no)
        if total is None or mch_id != self.mch_id:
            return None
        return ExpectedOrder(total_fee=total, mch_id=mch_id)

    async def _on_paid(self, order: PaidOrder) -> None:
        number = order.out_trade_no
        if number.endswith(("0", "5")) and number not in self.put_off:
            self.put_off.add(number)
            raise ShopBusyError(number)
        if order.payable != self.expected.get(number):  # repriced since the lookup
            raise LookupError(number)
        self.shipped[number] += 1
        self.paid[number] = order.payable or Fen(0)
        if self.poller is not None:
            self.poller.settle(order)

    def _on_conflict(self, aside: SetAside) -> None:
        self.set_aside[aside.decision] += 1
