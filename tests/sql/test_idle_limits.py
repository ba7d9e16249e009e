"""The limit for an order's idle transaction is that transaction's alone (M-16)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.inbox_values import OrderKey, SeenState
from tests.factories import MCH_ID
from tests.servers import Servers
from tests.sql_shop import SqlShop, an_entry, sql_shop, take_effect

#: One connection: whoever comes next gets the one that the inbox has used.
ONE: dict[str, Any] = {"pool_size": 1, "max_overflow": 0}
ASK = {
    "mariadb": "SELECT @@idle_transaction_timeout, @@idle_write_transaction_timeout",
    "psycopg": "SHOW idle_in_transaction_session_timeout",
    "asyncpg": "SHOW idle_in_transaction_session_timeout",
}
MINE = {"mariadb": (7, 9), "psycopg": ("7s",), "asyncpg": ("7s",)}
INBOX = {"mariadb": (60, 60), "psycopg": ("1min",), "asyncpg": ("1min",)}
SET = {
    "mariadb": "SET SESSION idle_transaction_timeout = 7, SESSION idle_write_transaction_timeout=9",
    "psycopg": "SET idle_in_transaction_session_timeout = '7s'",
    "asyncpg": "SET idle_in_transaction_session_timeout = '7s'",
}


async def asked(shop: SqlShop) -> tuple[Any, ...]:
    async with shop.engine.connect() as connection:
        return tuple((await connection.execute(text(ASK[shop.kind]))).one())


async def succeeds(shop: SqlShop, number: str) -> None:
    key = OrderKey(MCH_ID, number)
    async with shop.inbox.lock(key, an_entry()) as order:
        assert order is not None
        async with order.lend() as connection:
            await take_effect(connection, number)
            found = tuple((await connection.execute(text(ASK[shop.kind]))).one())
            assert found == INBOX[shop.kind]
        await order.save(SeenState.DONE, an_entry())


async def raises(shop: SqlShop, number: str) -> None:
    with pytest.raises(RuntimeError):
        async with shop.inbox.lock(OrderKey(MCH_ID, number), an_entry()):
            raise RuntimeError


async def is_left(shop: SqlShop, number: str) -> None:
    async with shop.inbox.lock(OrderKey(MCH_ID, number), an_entry()) as order:
        assert order is not None


async def is_cancelled(shop: SqlShop, number: str) -> None:
    async def wait() -> None:
        async with shop.inbox.lock(OrderKey(MCH_ID, number), an_entry()) as order:
            assert order is not None
            entered.set()
            await asyncio.Event().wait()

    entered = asyncio.Event()
    task = asyncio.create_task(wait())
    await entered.wait()
    task.cancel()
    await asyncio.wait([task])


async def is_done_already(shop: SqlShop, number: str) -> None:
    await succeeds(shop, number)
    async with shop.inbox.lock(OrderKey(MCH_ID, number), an_entry()) as order:
        assert order is not None
        assert order.before is not None


async def is_tried_again(shop: SqlShop, number: str) -> None:
    key = OrderKey(MCH_ID, number)
    async with shop.inbox.lock(key, an_entry()) as order:
        assert order is not None
        await order.save(SeenState.HELD, an_entry(), failures=1)
    await succeeds(shop, number)


@pytest.mark.parametrize("kind", ASK)
@pytest.mark.parametrize(
    "happens", [succeeds, raises, is_left, is_cancelled, is_done_already, is_tried_again]
)
async def test_what_the_connection_had_before_is_put_back(
    servers: Servers, kind: str, happens: Any
) -> None:
    """Whoever gets the connection next finds the setting as its owner made it."""
    async with sql_shop(kind, servers, **ONE) as shop:
        async with shop.engine.connect() as connection:
            await connection.execute(text(SET[kind]))
            await connection.commit()
        assert await asked(shop) == MINE[kind]
        for number in ("I1", "I2"):
            await happens(shop, number)
            assert await asked(shop) == MINE[kind]


async def _slow(inbox: SqlInbox, key: OrderKey) -> None:
    async with inbox.lock(key, an_entry()) as order:
        assert order is not None
        async with order.lend() as connection:
            await take_effect(connection, key.out_trade_no)
            await asyncio.sleep(1.5)
        await order.save(SeenState.DONE, an_entry())


@pytest.mark.parametrize("kind", ASK)
@pytest.mark.parametrize("before", [None, SeenState.HELD])
async def test_a_transaction_that_nobody_uses_is_ended(
    servers: Servers, kind: str, before: SeenState | None
) -> None:
    """New or tried again: nothing of it is left, and the order is free."""
    key = OrderKey(MCH_ID, "I3")
    async with sql_shop(kind, servers) as shop:
        inbox = SqlInbox(shop.engine, idle=1)
        if before is not None:
            async with inbox.lock(key, an_entry()) as order:
                assert order is not None
                await order.save(before, an_entry(), failures=1)
        with pytest.raises(DBAPIError) as caught:
            await _slow(inbox, key)
        assert caught.value.connection_invalidated
        assert await shop.effects("I3") == 0
        async with inbox.lock(key, an_entry()) as order:
            assert order is not None
            assert (order.before is None) == (before is None)
