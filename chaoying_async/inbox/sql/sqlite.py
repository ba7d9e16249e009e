"""SQLite's driver called directly: one hop to its thread for a statement, SQLAlchemy takes four.

Only for the inbox's own statements, and on the very connection that SQLAlchemy has checked out, so
both are in the same transaction. A paid order costs two thirds as much that way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.exceptions import UsageError
from chaoying_async.sql.autocommit import check_commit, outside_transaction
from chaoying_async.sql.transactions import driver_of

_READY = "chaoying_async.inbox"
_FULL = 2
#: How aiosqlite says, with a ValueError, that its connection is closed.
_DEAD = frozenset({"connection closed", "no active connection"})


async def run(
    connection: AsyncConnection, sql: str, values: Sequence[Any] = ()
) -> tuple[Sequence[Any], int]:
    """The rows of a statement, as tuples, and how many rows it changed."""
    driver = driver_of(connection)
    try:
        before = driver.total_changes
        rows = await driver.execute_fetchall(sql, values)
        return rows, driver.total_changes - before
    except (sqlite3.Error, ValueError) as error:
        await _raise_as_sqlalchemy(error, connection, sql)
        raise


async def _raise_as_sqlalchemy(error: Exception, connection: AsyncConnection, sql: str) -> None:
    """Raise the driver's errors as SQLAlchemy's, without parameters, which are payments.

    As with SQLAlchemy, a connection that turns out to be dead never goes back to the pool.
    """
    dialect: Any = connection.dialect
    dead = str(error).lower() in _DEAD
    if isinstance(error, ValueError) and not dead:
        return
    original = sqlite3.OperationalError(str(error)) if dead else error
    dead = dead or dialect.is_disconnect(original, None, None)
    if dead:
        await connection.invalidate(original)
    told: Any = DBAPIError.instance(
        sql,
        None,
        original,
        sqlite3.Error,
        hide_parameters=True,
        connection_invalidated=dead,
        dialect=dialect,
    )
    raise told from error


async def make_durable(connection: AsyncConnection) -> None:
    """Once for a connection: from now on a commit is on the disk when it returns."""
    sync: Any = connection.sync_connection
    info = sync.info
    if info.get(_READY):
        return
    await check_commit(connection)
    if int(await pragma(connection, "synchronous")) < _FULL:
        async with outside_transaction(connection):
            await pragma(connection, "synchronous", "FULL")
        if int(await pragma(connection, "synchronous")) < _FULL:
            raise UsageError(
                "this engine's connections run with PRAGMA synchronous below FULL, which cannot be"
                " changed: a payment could be lost"
            )
    info[_READY] = True


async def pragma(connection: AsyncConnection, name: str, value: str | None = None) -> Any:
    """Reads or sets a PRAGMA, outside of SQLAlchemy's transaction, where SQLite refuses some."""
    setting = "" if value is None else f"={value}"
    rows, _ = await run(connection, f"PRAGMA {name}{setting}")
    return next(iter(rows))[0] if rows else None
