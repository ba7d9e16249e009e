"""What differs between the databases: their address, their clock, "insert or replace"."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Table,
    bindparam,
    event,
    literal_column,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool
from sqlalchemy.sql.dml import Insert

from chaoying_async.exceptions import StoreError, StoreTrouble, UsageError
from chaoying_async.pollstore.sql.addresses import address
from chaoying_async.pollstore.sql.tables import MYSQL_NAMES
from chaoying_async.sql.addresses import check_address

T = TypeVar("T")

#: The name under which a statement is given the time, where the database has no shared clock.
NOW = "p_now"

#: Milliseconds that one connection to a SQLite file waits for another.
_BUSY = 10_000

#: Microseconds since 1970 on the database's own clock (M-26); SQLite is given the ``Clock``'s.
_NOW: dict[str, Callable[[], ColumnElement[int]]] = {
    "sqlite": lambda: bindparam(NOW, type_=BigInteger),
    "postgresql": lambda: literal_column(
        "(extract(epoch from clock_timestamp()) * 1000000)::bigint", BigInteger
    ),
    # Not UNIX_TIMESTAMP(NOW(6)): local time, and one hour in autumn comes twice.
    **dict.fromkeys(
        MYSQL_NAMES,
        lambda: literal_column(
            "timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))", BigInteger
        ),
    ),
}


def engine_at(where: str | os.PathLike[str] | URL) -> AsyncEngine:
    """An engine of our own for a file's path or a database's address.

    It names no parameters in errors and logs none. A SQLite file is kept in WAL mode and written
    through to the disk at every commit.
    """
    url = address(where)
    if url.get_backend_name() != "sqlite":
        # Older SQLAlchemys cannot ping by aiomysql; there the lease's renewals find what is broken.
        ping = url.get_backend_name() not in MYSQL_NAMES
        return create_async_engine(url, hide_parameters=True, pool_pre_ping=ping)
    engine = create_async_engine(url, hide_parameters=True)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    return engine


def existing_at(where: str | os.PathLike[str] | URL) -> AsyncEngine:
    """The same where a database is there already: SQLite would make a file by looking for one."""
    url = address(where)
    file = str(url.database or "")
    a_path = url.get_backend_name() == "sqlite" and not file.startswith("file:")
    if a_path and not Path(file).is_file():
        words = f"there is no poll store at {file}: is that its file?"
        raise StoreError(words, kind=StoreTrouble.TABLE_MISSING)
    return engine_at(where)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={_BUSY}", "journal_mode=WAL", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def check_engine(engine: AsyncEngine) -> None:
    """:class:`UsageError` for an engine that no store can be kept with."""
    name = engine.dialect.name
    if name not in _NOW:
        raise UsageError(f"SqlPollStore knows {', '.join(sorted(_NOW))}, not {name}")
    check_address(engine.url)
    options = engine.sync_engine.get_execution_options()
    # create_engine(isolation_level=...) leaves its word only here.
    of_connections = getattr(engine.dialect, "_on_connect_isolation_level", None)
    if options.get("isolation_level", of_connections) == "AUTOCOMMIT":
        raise UsageError("an engine in AUTOCOMMIT has no transactions: give another one")
    if isinstance(engine.pool, StaticPool):
        raise UsageError(
            "a StaticPool (an in-memory SQLite database) has one connection for everybody, whose"
            " transactions would mix: use a file, or MemoryPollStore"
        )


async def whole(engine: AsyncEngine, work: Coroutine[Any, Any, T]) -> T:
    """Do this, and on SQLite to its end even when the caller is cancelled, who learns it after.

    What is cut off there leaves its connection open in a thread, and with that the file locked for
    everybody, this process included. A server notices by itself that one has gone.
    """
    if engine.dialect.name != "sqlite":
        return await work
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody is left to hear of it
        raise


def now_of(engine: AsyncEngine) -> ColumnElement[int]:
    """The moment as the database itself tells it."""
    return _NOW[engine.dialect.name]()


def clock_of_ours(engine: AsyncEngine) -> bool:
    """Whether statements have to be given the time, as :data:`NOW`."""
    return engine.dialect.name == "sqlite"


def insert_or_replace(engine: AsyncEngine, table: Table, keys: list[str], value: str) -> Insert:
    """An INSERT that gives an existing row of these keys a new ``value``, and nothing else."""
    if engine.dialect.name in MYSQL_NAMES:
        inserting = mysql.insert(table)
        return inserting.on_duplicate_key_update({value: inserting.inserted[value]})
    insert = _insert_of(engine)(table)
    return insert.on_conflict_do_update(index_elements=keys, set_={value: insert.excluded[value]})


def insert_new(engine: AsyncEngine, table: Table, key: str) -> Insert:
    """An INSERT that leaves alone what is there."""
    if engine.dialect.name in MYSQL_NAMES:
        return mysql.insert(table).on_duplicate_key_update({key: table.c[key]})
    return _insert_of(engine)(table).on_conflict_do_nothing(index_elements=[key])


def _insert_of(engine: AsyncEngine) -> Callable[[Table], postgresql.Insert | sqlite.Insert]:
    return postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
