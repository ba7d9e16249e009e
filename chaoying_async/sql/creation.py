"""Tables that are made where they are missing."""

from __future__ import annotations

import contextlib

from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from chaoying_async.sql.transactions import check_commit, connected, limited, whole

#: Seconds: tables that are being made keep whoever makes them too waiting.
_IDLE = 60.0


async def make_tables(engine: AsyncEngine, metadata: MetaData) -> None:
    """Make the tables that are missing; other processes may be doing the same."""
    for _ in metadata.tables:  # each may have been made between our look and our try
        with contextlib.suppress(DBAPIError):
            return await whole(engine, _make_tables(engine, metadata))
    return await whole(engine, _make_tables(engine, metadata))


async def _make_tables(engine: AsyncEngine, metadata: MetaData) -> None:
    async with connected(engine) as connection:
        await check_commit(connection)
    async with limited(engine, _IDLE) as connection:
        await connection.run_sync(metadata.create_all)
