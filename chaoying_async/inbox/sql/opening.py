"""An inbox at an address, for those who have no engine of their own: the command line."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.inbox.sql.inbox import SqlInbox
from chaoying_async.inbox.sql.tables import DEFAULT_PREFIX


@asynccontextmanager
async def sql_inbox_at(url: str, *, table_prefix: str = DEFAULT_PREFIX) -> AsyncGenerator[SqlInbox]:
    """Open the database at a SQLAlchemy URL and close it with the block; tables are not made."""
    engine = create_async_engine(url)
    try:
        yield SqlInbox(engine, table_prefix=table_prefix)
    finally:
        await engine.dispose()
