"""What a message costs on the servers, as they count it themselves."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import NotificationHandler, PaidOrder
from chaoying_async.inbox.sql import SqlInbox
from tests.factories import CREDENTIALS
from tests.hard.inbox_workers import expected, notification
from tests.inbox.server_log import listening, talkative
from tests.servers import Servers
from tests.sql_shop import metadata, sql_shop, take_effect

#: Drivers prepare what they have executed a few times; only then is it what every order costs.
WARM = 10


async def on_paid(order: PaidOrder, connection: Any) -> None:
    await take_effect(connection, order.out_trade_no)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_a_first_delivery_takes_three_statements_and_one_commit(
    servers: Servers, driver: Literal["psycopg", "asyncpg"]
) -> None:
    """M-16: record and effect are one transaction; the shop's own statements are not counted."""
    engine = create_async_engine(talkative(servers, servers.postgresql_url(driver)))
    try:
        await SqlInbox(engine).create_tables()
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        handler = NotificationHandler(CREDENTIALS, SqlInbox(engine), on_paid, expected=expected)
        for number in range(WARM):
            await handler.handle(notification(f"W{number}"))
        with listening(servers) as first:
            assert (await handler.handle(notification("A1"))).body == b"success"
        with listening(servers) as duplicate:
            assert (await handler.handle(notification("A1"))).body == b"success"
    finally:
        await engine.dispose()
    assert first.statements <= 3, first.all
    assert first.commits == 1, first.all
    assert duplicate.statements <= 3, duplicate.all


async def test_a_first_delivery_takes_six_statements_on_mariadb(servers: Servers) -> None:
    """M-16: lock, effect, record, COMMIT, the limit put back, and the pool's ROLLBACK."""
    async with sql_shop("mariadb", servers) as shop:
        handler = NotificationHandler(CREDENTIALS, shop.inbox, on_paid, expected=expected)
        for number in range(WARM):
            await handler.handle(notification(f"W{number}"))
        watching = create_async_engine(shop.url)
        async with watching.connect() as connection:
            before = await _questions(connection)
            assert (await handler.handle(notification("A1"))).body == b"success"
            assert await _questions(connection) - before == 1 + 6
        await watching.dispose()


async def _questions(connection: Any) -> int:
    """What clients have sent to this server, this question included."""
    row = (await connection.execute(text("SHOW GLOBAL STATUS LIKE 'Questions'"))).one()
    return int(row[1])
