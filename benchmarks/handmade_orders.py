"""Paid orders as somebody without the library would write them: one transaction, one unique key.

Verified with ``sansio.signing.verify``, since no other scheme is right; the amount is held against
the shop's order; the key and the shop's effect are inserted in one transaction and committed once.
A duplicate is a key that is there. That is all: no retry of what failed, no second payment of an
order told from the first, no message set aside, no record of what was paid.

:func:`with_sqlalchemy` is the peer of the bar, as quick as its engine lets it be. What is written
for a driver alone shows what SQLAlchemy costs them both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any
from urllib.parse import parse_qsl

import aiomysql  # type: ignore[import-untyped]
import asyncpg  # type: ignore[import-untyped]
import psycopg
from sqlalchemy import Boolean, Column, MetaData, String, Table, false, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from benchmarks.handmade import KEY
from chaoying_async.sansio.signing import verify

#: What an order costs, by its number, in fen; None where the shop knows no such order.
Price = Callable[[str], int | None]
Effect = Callable[[AsyncConnection, str], Awaitable[None]]
Handle = Callable[[bytes], Awaitable[bytes]]

metadata = MetaData()
paid_keys = Table(
    "handmade_keys",
    metadata,
    Column("mch_id", String(64), primary_key=True),
    Column("out_trade_no", String(128), primary_key=True),
    Column("done", Boolean, nullable=False, server_default=false()),
)

#: Straight to the driver, by its name: SQLAlchemy need not compile it, nor look for it in a cache.
_NEW = "INSERT INTO handmade_keys (mch_id, out_trade_no) VALUES"
NEW_KEY: Mapping[str, str] = {
    "aiosqlite": f"{_NEW} (?, ?) ON CONFLICT DO NOTHING",
    "asyncpg": f"{_NEW} ($1, $2) ON CONFLICT DO NOTHING",
    "psycopg": f"{_NEW} (%s, %s) ON CONFLICT DO NOTHING",
    "aiomysql": _NEW.replace("INSERT", "INSERT IGNORE") + " (%s, %s)",
}
_DONE = "UPDATE handmade_keys SET done = true WHERE"
#: Records that an order took effect, by a statement of its own after the effect.
NOW_DONE: Mapping[str, str] = {
    "aiosqlite": f"{_DONE} mch_id = ? AND out_trade_no = ?",
    "asyncpg": f"{_DONE} mch_id = $1 AND out_trade_no = $2",
    "psycopg": f"{_DONE} mch_id = %s AND out_trade_no = %s",
    "aiomysql": f"{_DONE} mch_id = %s AND out_trade_no = %s",
}
#: The effect as SQLAlchemy writes it, for those who do without SQLAlchemy.
_EFFECT = "INSERT INTO effects (number) VALUES"


def paid_key(body: bytes, price: Price) -> tuple[str, str] | None:
    """Merchant and number of the order that is paid; None where it is not paid as it should be."""
    fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
    verify(fields, KEY)
    if fields["pay_result"] != "0" or fields["fee_type"] != "CNY":
        return None
    number = fields["out_trade_no"]
    if int(fields["total_fee"]) != price(number):
        return None
    return fields["mch_id"], number


def with_sqlalchemy(
    engine: AsyncEngine, price: Price, effect: Effect, *, records_after: bool = False
) -> Handle:
    """The peer: the user's engine, pool and driver, as the handler has them.

    ``records_after``: it sets the key done after the effect, as M-16 has it. The peer of the bar
    does not: an effect that ends its transaction would leave it a key without the effect.
    """
    new_key, now_done = NEW_KEY[engine.dialect.driver], NOW_DONE[engine.dialect.driver]
    # SQLite has one writer, and who waits for the file sleeps: those of this process take turns.
    one_writer = engine.dialect.name == "sqlite"
    turn: AbstractAsyncContextManager[Any] = asyncio.Lock() if one_writer else nullcontext()

    async def handle(body: bytes) -> bytes:
        key = paid_key(body, price)
        if key is None:
            return b"fail"
        async with turn, engine.begin() as connection:
            if (await connection.exec_driver_sql(new_key, key)).rowcount:
                await effect(connection, key[1])
                if records_after:
                    await connection.exec_driver_sql(now_done, key)
        return b"success"

    return handle


class _Pool:
    """Connections that stay open; the one that was given back last is the next."""

    def __init__(self, connections: list[Any]) -> None:
        self._free: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
        for connection in connections:
            self._free.put_nowait(connection)

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[Any]:
        connection = await self._free.get()
        try:
            yield connection
        finally:
            self._free.put_nowait(connection)


@asynccontextmanager
async def with_asyncpg(url: str, price: Price, connections: int) -> AsyncGenerator[Handle]:
    address = make_url(url).set(drivername="postgresql").render_as_string()
    links = [await asyncpg.connect(address) for _ in range(connections)]
    pool = _Pool(links)

    async def handle(body: bytes) -> bytes:
        key = paid_key(body, price)
        if key is None:
            return b"fail"
        async with pool.one() as connection, connection.transaction():
            if await connection.execute(NEW_KEY["asyncpg"], *key) == "INSERT 0 1":
                await connection.execute(f"{_EFFECT} ($1)", key[1])
        return b"success"

    yield handle
    for link in links:
        await link.close()


@asynccontextmanager
async def with_psycopg(url: str, price: Price, connections: int) -> AsyncGenerator[Handle]:
    address = make_url(url).set(drivername="postgresql").render_as_string()
    links = [await psycopg.AsyncConnection.connect(address) for _ in range(connections)]
    pool = _Pool(links)

    async def handle(body: bytes) -> bytes:
        key = paid_key(body, price)
        if key is None:
            return b"fail"
        async with pool.one() as connection:
            if (await connection.execute(NEW_KEY["psycopg"], key)).rowcount:
                await connection.execute(f"{_EFFECT} (%s)", (key[1],))
            await connection.commit()
        return b"success"

    yield handle
    for link in links:
        await link.close()


@asynccontextmanager
async def with_aiomysql(url: str, price: Price, connections: int) -> AsyncGenerator[Handle]:
    at = make_url(url)
    links = [
        await aiomysql.connect(at.host or "", at.username, "", at.database or "", at.port or 0)
        for _ in range(connections)
    ]
    pool = _Pool(links)

    async def handle(body: bytes) -> bytes:
        key = paid_key(body, price)
        if key is None:
            return b"fail"
        async with pool.one() as connection:
            async with connection.cursor() as cursor:
                if await cursor.execute(NEW_KEY["aiomysql"], key):
                    await cursor.execute(f"{_EFFECT} (%s)", (key[1],))
            await connection.commit()
        return b"success"

    yield handle
    for link in links:
        link.close()


Alone = Callable[[str, Price, int], AbstractAsyncContextManager[Handle]]
#: By the kind of database, where there is one.
ALONE: Mapping[str, Alone] = {
    "asyncpg": with_asyncpg,
    "psycopg": with_psycopg,
    "mariadb": with_aiomysql,
}
