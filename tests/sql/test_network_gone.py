"""A shop whose network goes away in on_paid loses its order to the next process, and to nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import NullPool, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import NotificationHandler, PaidOrder
from chaoying_async.clock import SystemClock
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.notifications.journey import SPEAKS_FOR
from chaoying_async.sansio.notifications.decide import Decision
from tests.factories import CREDENTIALS
from tests.hanging import KINDS
from tests.hard.inbox_workers import expected, notification
from tests.servers import Servers
from tests.sql.swallowing import Network, network_to
from tests.sql_shop import SqlShop, sql_shop, take_effect

NUMBER = "N1"
IDLE = 1.0


class Ahead(SystemClock):
    """The system's clock, put on by hand."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class Cut:
    """A shop behind a network, with a handler whose on_paid waits until it is told to go on."""

    def __init__(self, shop: SqlShop, port: int) -> None:
        self.clock = Ahead()
        self.engine = create_async_engine(make_url(shop.url).set(port=port), poolclass=NullPool)
        self.working, self.go_on = asyncio.Event(), asyncio.Event()
        self.handler = NotificationHandler(
            CREDENTIALS,
            SqlInbox(self.engine, idle=IDLE),
            self.on_paid,
            expected=expected,
            budget=0.5,
            grace=0.0,
            clock=self.clock,
        )

    async def on_paid(self, order: PaidOrder, connection: Any) -> None:
        await take_effect(connection, order.out_trade_no)
        if not self.working.is_set():
            self.working.set()
            await self.go_on.wait()
            await connection.execute(text("SELECT 1"))


async def until_success(handler: NotificationHandler) -> None:
    async with asyncio.timeout(30):
        while (await handler.handle(notification(NUMBER))).body != b"success":
            pass


def elsewhere(shop: SqlShop) -> NotificationHandler:
    """Another process, whose network is well."""

    async def on_paid(order: PaidOrder, connection: Any) -> None:
        await take_effect(connection, order.out_trade_no)

    inbox = SqlInbox(shop.engine, idle=IDLE)
    return NotificationHandler(CREDENTIALS, inbox, on_paid, expected=expected, budget=0.5)


@asynccontextmanager
async def cut_shop(kind: str, servers: Servers) -> AsyncGenerator[tuple[SqlShop, Cut, Network]]:
    """A shop, and its process behind a network, in the middle of on_paid."""
    server = servers.mariadb if kind == "mariadb" else servers.postgresql
    async with sql_shop(kind, servers) as shop, network_to(server.port) as network:
        cut = Cut(shop, network.port)
        async with cut.handler:
            answer = await cut.handler.handle(notification(NUMBER))
            assert (answer.body, answer.decision) == (b"fail", Decision.IN_PROGRESS)
            network.lose()
            yield shop, cut, network
        await cut.engine.dispose()
        assert await shop.effects(NUMBER) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_another_process_takes_the_order_over(servers: Servers, kind: str) -> None:
    """M-16: the server ends what was not used for ``idle`` seconds; the lost one has no say."""
    async with cut_shop(kind, servers) as (shop, cut, network):
        async with elsewhere(shop) as handler:
            await until_success(handler)
        cut.go_on.set()
        network.cut()
        await until_success(cut.handler)  # as a duplicate
        async with asyncio.timeout(30):  # the lost work hears of its end a moment later
            while not cut.handler.stats().failed:
                await asyncio.sleep(0.01)
        assert cut.handler.stats().failed == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_the_same_process_takes_it_over_on_another_connection(
    servers: Servers, kind: str
) -> None:
    """M-17: work that hears nothing any more does not keep its order for the process's life."""
    async with cut_shop(kind, servers) as (_, cut, network):
        cut.go_on.set()  # its statement is on its way to nowhere
        answer = await cut.handler.handle(notification(NUMBER))
        assert answer.decision == Decision.IN_PROGRESS
        cut.clock.ahead = SPEAKS_FOR
        await until_success(cut.handler)
        assert cut.handler.stats().working == 0
        network.cut()
