"""Asks the gateway about orders that no notification has told of: some never come."""

from __future__ import annotations

import asyncio
import logging

from chaoying_async import Gateway, NotificationHandler, OrderQuery, Poller, PollStatus
from fastapi_shop.orders import Order, OrderBook, Status
from fastapi_shop.settings import Settings

log = logging.getLogger("fastapi_shop")

#: The order can no longer be paid, or its last question was answered "not yet".
OVER = frozenset(
    {
        PollStatus.CLOSED,
        PollStatus.EXPIRED,
        PollStatus.FAILED,
        PollStatus.NOT_FOUND,
        PollStatus.REVOKED,
    }
)


class SafetyNet:
    """Follows every open order of the table until it is known how it ended.

    The table is the list of what is waited for, so a restart loses nothing. What a query learns
    goes to ``handler.settle``: the same effect and the same record as a notification, so whichever
    comes second is a duplicate. Several processes may do this; they only ask more than needed.
    """

    def __init__(
        self,
        settings: Settings,
        book: OrderBook,
        gateway: Gateway,
        handler: NotificationHandler,
    ) -> None:
        self._settings = settings
        self._book = book
        self._gateway = gateway
        self._handler = handler
        self._followed: set[str] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with Poller(self._gateway) as poller, asyncio.TaskGroup() as group:
            while True:
                try:
                    orders = await self._book.open_orders()
                except Exception:
                    log.exception("cannot read the open orders; trying again")
                    orders = []
                for order in orders:
                    if order.out_trade_no not in self._followed:
                        self._followed.add(order.out_trade_no)
                        group.create_task(self._follow(poller, order))
                await asyncio.sleep(self._settings.look_every)

    async def _follow(self, poller: Poller, order: Order) -> None:
        """One order; whatever goes wrong, it is still open, so the next look follows it again."""
        try:
            outcome = await poller.wait(
                OrderQuery(paytype=order.wallet, out_trade_no=order.out_trade_no),
                expected=order.total_fee,
                schedule=self._settings.schedule(order.expires),
            )
            # Of another amount, or refunded meanwhile, too: the handler reports that.
            if outcome.paid is not None:
                decision = await self._handler.settle(outcome.paid)
                log.info("a query says that %s is paid: %s", order.out_trade_no, decision)
            elif outcome.error is None and outcome.status in OVER:
                await self._book.end(order.out_trade_no, Status.LAPSED)
        except Exception:
            log.exception("cannot follow %s; trying again", order.out_trade_no)
        finally:
            self._followed.discard(order.out_trade_no)
