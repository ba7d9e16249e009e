"""Drivers that commit in a way of their own: what can be worked with, and what is refused.

SQLite's driver has ``isolation_level`` and, from Python 3.12 on, ``autocommit``; psycopg and
aiomysql have an ``autocommit`` too. SQLAlchemy is told of none of them, so connections are asked.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.exceptions import UsageError
from chaoying_async.sql.transactions import driver_of, is_open_in_sqlite, to_its_end

#: Where SQLAlchemy keeps that this connection's ``commit()`` was tried out.
_KNOWN = "chaoying_async.sql.autocommit"
_BY_ITSELF = (
    "this engine's connections commit every statement by themselves (autocommit, or SQLite's"
    " isolation_level=None without an event that begins): what belongs together could not be one"
    " transaction"
)
_NEVER = (
    "commit() does nothing on this engine's connections (SQLite's autocommit=True): leave that out,"
    " or use autocommit=False"
)

#: By the driver: whether a connection is in no transaction although a statement was just executed.
_COMMITTED: Mapping[str, Callable[[AsyncConnection], bool]] = {
    "aiosqlite": lambda connection: not is_open_in_sqlite(connection),
    "psycopg": lambda connection: bool(driver_of(connection).autocommit),
    "aiomysql": lambda connection: bool(driver_of(connection).get_autocommit()),
}


def check_transaction(connection: AsyncConnection) -> None:
    """After the first write of a transaction; :class:`UsageError` where there is none."""
    committed = _COMMITTED.get(connection.dialect.driver)
    if committed is not None and not connection.invalidated and committed(connection):
        raise UsageError(_BY_ITSELF)


async def check_commit(connection: AsyncConnection) -> None:
    """Once for a connection to SQLite: :class:`UsageError` where ``commit()`` commits nothing."""
    sync: Any = connection.sync_connection
    if connection.dialect.name != "sqlite" or sync.info.get(_KNOWN):
        return
    if not is_open_in_sqlite(connection):  # else the driver begins by itself, and ends it as well
        driver = driver_of(connection)
        async with _or_thrown_away(connection):
            await driver.execute_fetchall("BEGIN")
            await driver.commit()
            if is_open_in_sqlite(connection):
                raise UsageError(_NEVER)
    sync.info[_KNOWN] = True


@asynccontextmanager
async def outside_transaction(connection: AsyncConnection) -> AsyncGenerator[None]:
    """A block for what SQLite refuses inside a transaction; nothing may have been written yet.

    With ``autocommit=False`` the driver is in a transaction from the start, and is left in one.
    """
    if not is_open_in_sqlite(connection):
        yield
        return
    driver = driver_of(connection)
    async with _or_thrown_away(connection):
        await driver.execute_fetchall("ROLLBACK")
        yield
        await driver.execute_fetchall("BEGIN")


@asynccontextmanager
async def _or_thrown_away(connection: AsyncConnection) -> AsyncGenerator[None]:
    """Throws the connection away where the block is cancelled or fails: it is half-way through."""
    try:
        yield
    except BaseException:
        await to_its_end(connection.invalidate())
        raise
