"""An inbox at an address, for those who have no engine of their own: the command line."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.sql.inbox import SqlInbox
from chaoying_async.inbox.sql.tables import DEFAULT_PREFIX
from chaoying_async.sql.addresses import read_address

_NO_OPTION = "the driver of this address does not know one of the options after its question mark"


@asynccontextmanager
async def sql_inbox_at(url: str, *, table_prefix: str = DEFAULT_PREFIX) -> AsyncGenerator[SqlInbox]:
    """Open the database at a SQLAlchemy URL and close it with the block.

    :class:`~chaoying_async.exceptions.UsageError` for an address that is none, and where it has no
    inbox's tables: none are made.
    """
    engine = create_async_engine(read_address(url), hide_parameters=True)
    try:
        inbox = SqlInbox(engine, table_prefix=table_prefix)
        try:
            async with engine.connect() as connection:
                there = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
        except TypeError:
            there = None
        if there is None:  # raised outside, since the driver's error has the options in its frames
            raise UsageError(_NO_OPTION)
        if not there.issuperset(inbox.metadata.tables):
            raise UsageError(
                f"no inbox's tables named {table_prefix}... are there: is it the right address and "
                "prefix? A handler makes them with `await inbox.create_tables()`"
            )
        yield inbox
    finally:
        await engine.dispose()
