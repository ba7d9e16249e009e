"""A shop whose database stands still in the middle of an order, and goes on later."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
from sqlalchemy import event, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async import NotificationHandler, PaidOrder
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.decide import NotificationAnswer
from tests.factories import CREDENTIALS
from tests.hard.inbox_workers import expected, notification
from tests.servers import Server, Servers
from tests.sizes import FULL
from tests.sql_shop import effects, sql_shop, take_effect
from tests.stopped import Standstill

#: Each test hands in two notifications. Where other tests keep the machine busy, they take longer;
#: an answer that waits for the database waits for ever, or for half a minute where a pool is empty.
BUDGET = 0.5
IN_TIME = 2 * BUDGET + (0.3 if FULL else 10.0)
KINDS = ("psycopg", "asyncpg", "mariadb")
NUMBER = "H1"


def server_of(kind: str, servers: Servers) -> Server:
    return servers.mariadb if kind == "mariadb" else servers.postgresql


@attrs.define
class Hanging:
    """``at`` is the point of the next order from which on the database stands still."""

    engine: AsyncEngine
    still: Standstill
    at: str | None = None

    async def on_paid(self, order: PaidOrder, connection: Any) -> None:
        if self.at == "on_paid":
            self.still.begin()
        await take_effect(connection, order.out_trade_no)
        if self.at == "save":
            self.still.begin()
        if self.at == "commit":
            event.listen(self.engine.sync_engine, "commit", self._begin, once=True)

    def _begin(self, _connection: Any) -> None:
        self.still.begin()

    def handler(self) -> NotificationHandler:
        inbox = SqlInbox(self.engine)
        return NotificationHandler(
            CREDENTIALS, inbox, self.on_paid, expected=expected, budget=BUDGET
        )

    async def order(self, handler: NotificationHandler, at: str) -> NotificationAnswer:
        """An order that goes well, so that there are connections; then one that does not."""
        assert (await handler.handle(notification("WARM"))).body == b"success"
        self.hang(at)
        return await handler.handle(notification(NUMBER))

    def hang(self, at: str) -> None:
        self.at = at
        if at == "lock":
            self.still.begin()


async def redelivered(url: str) -> None:
    """In another process, when the database goes on: until it is acknowledged."""
    engine = create_async_engine(url)

    async def on_paid(order: PaidOrder, connection: Any) -> None:
        await take_effect(connection, order.out_trade_no)

    handler = NotificationHandler(CREDENTIALS, SqlInbox(engine), on_paid, expected=expected)
    try:
        async with handler, asyncio.timeout(60):
            while (await handler.handle(notification(NUMBER))).body != b"success":
                pass
    finally:
        await engine.dispose()


async def effects_at(url: str, number: str) -> int:
    """How often an order took effect, as another process sees it."""
    engine = create_async_engine(url)
    question = select(func.count()).select_from(effects).where(effects.c.number == number)
    try:
        async with engine.connect() as connection:
            return int((await connection.execute(question)).scalar_one())
    finally:
        await engine.dispose()


async def fresh_shop(kind: str, servers: Servers) -> str:
    """The address of a shop's database, its tables made."""
    async with sql_shop(kind, servers) as shop:
        return shop.url
