"""What happens with money: the session, the handler, and the one function that hands out goods."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.conf import settings  # type: ignore[import-untyped]
from sqlalchemy import column, select, table, update
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from chaoying_async import (
    ExpectedOrder,
    GatewaySession,
    Hosts,
    NotificationHandler,
    PaidOrder,
    credentials_from_env,
)
from chaoying_async.inbox.sql import SqlInbox
from django_shop.models import TABLE

orders = table(
    TABLE,
    *map(column, ("out_trade_no", "mch_id", "total_fee", "status", "shipments", "transaction_id")),
)


async def on_paid(order: PaidOrder, connection: AsyncConnection) -> None:
    """In the transaction that records the notification: never through Django's ORM (see above).

    The order may have been refused or repriced since ``expected`` was asked: then no row fits.
    """
    changes = {
        "status": "PAID",
        "shipments": orders.c.shipments + 1,
        "transaction_id": order.transaction_id or "",
    }
    query = update(orders).where(
        orders.c.out_trade_no == order.out_trade_no,
        orders.c.mch_id == order.mch_id,
        orders.c.status == "OPEN",
        orders.c.total_fee == order.payable,
    )
    if (await connection.execute(query.values(changes))).rowcount != 1:
        raise LookupError(order.out_trade_no)  # rolled back, judged again, tried again or reported


class Payments:
    """Everything that lives as long as the service."""

    gateway: GatewaySession

    def __init__(self) -> None:
        self.credentials = credentials_from_env()
        self.mch_id = os.environ["CHAOYING_MCH_ID"]
        self.engine = create_async_engine(settings.DATABASE_URL)
        self.inbox = SqlInbox(self.engine)
        self.handler = NotificationHandler(
            self.credentials, self.inbox, on_paid, expected=self.expected
        )

    async def expected(self, mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
        """The order as *we* know it, of that very merchant.

        By the engine too: outside of requests nobody would mend a broken connection of Django's.
        """
        query = select(orders).where(
            orders.c.out_trade_no == out_trade_no, orders.c.mch_id == mch_id
        )
        async with self.engine.connect() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            return None
        return ExpectedOrder(row.total_fee, row.mch_id, closed=row.status == "REFUSED")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """For ``with_lifespan``: open from the server's start to its end."""
        await self.inbox.create_tables()
        gateway = os.environ.get("CHAOYING_URL")
        hosts = Hosts.single(gateway) if gateway else Hosts.document()
        session = GatewaySession(self.credentials, mch_id=self.mch_id, hosts=hosts)
        async with session as self.gateway, self.handler:
            yield
        await self.engine.dispose()


payments = Payments()
