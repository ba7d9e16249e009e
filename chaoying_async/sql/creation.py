"""Tables: which are there, and making those that are missing."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from sqlalchemy import MetaData, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.sql.transactions import check_commit, connected, limited, whole

#: Seconds: tables that are being made keep whoever makes them too waiting.
_IDLE = 60.0


async def table_names(engine: AsyncEngine) -> set[str]:
    """The names of all tables that are there; none is made."""
    async with connected(engine) as connection:
        return await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))


async def make_tables(
    engine: AsyncEngine,
    metadata: MetaData,
    *,
    prepare: Callable[[AsyncConnection], Awaitable[None]] = check_commit,
) -> None:
    """Make the tables that are missing; other processes may be doing the same.

    ``prepare`` comes first, on a connection without a transaction.
    """
    for _ in metadata.tables:  # each may have been made between our look and our try
        with contextlib.suppress(DBAPIError):
            return await whole(engine, _make_tables(engine, metadata, prepare))
    return await whole(engine, _make_tables(engine, metadata, prepare))


async def _make_tables(
    engine: AsyncEngine, metadata: MetaData, prepare: Callable[[AsyncConnection], Awaitable[None]]
) -> None:
    async with connected(engine) as connection:
        await prepare(connection)
    async with limited(engine, _IDLE) as connection:
        await connection.run_sync(metadata.create_all)
