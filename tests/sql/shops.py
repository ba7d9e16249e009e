"""A handler on a SQL inbox, its deliveries, and the user's functions on its connection."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from chaoying_async.clock import SystemClock
from chaoying_async.notifications import NotificationHandler
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.inbox_values import OrderKey
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.testing import sign_notification
from tests.factories import CREDENTIALS, MCH_ID
from tests.shop import PRICE, message
from tests.sql_shop import SqlShop, take_effect


class Hurried(SystemClock):
    """Waits a tenth as long, so that whoever looks again does so soon."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 10)


async def expected(_mch_id: str, _out_trade_no: str) -> ExpectedOrder:
    return ExpectedOrder(PRICE, MCH_ID)


async def on_paid(order: PaidOrder, connection: Any) -> None:
    await take_effect(connection, order.out_trade_no)


def handler_of(shop: SqlShop, effect: Any = on_paid, **options: Any) -> NotificationHandler:
    knobs: dict[str, Any] = {"expected": expected, "budget": 5.0, "clock": Hurried()}
    return NotificationHandler(CREDENTIALS, shop.inbox, effect, **knobs | options)


def delivery(number: str, **fields: Any) -> bytes:
    """A paid notification of this order, of now."""
    fields = {"out_trade_no": number, "transaction_id": f"T{number}"} | fields
    return sign_notification(CREDENTIALS, **message(datetime.now(UTC), **fields))


def key_of(number: str) -> OrderKey:
    return OrderKey(MCH_ID, number)
