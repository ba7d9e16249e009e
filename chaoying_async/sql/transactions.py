"""Connections that go back to their pool without a transaction, or not at all (M-16).

SQLAlchemy alone does not see to that. It forgets a transaction as soon as a COMMIT was tried, so a
COMMIT that raised (a deferred reference on SQLite, a reader in its way) is never rolled back: the
pool hands the connection on, with the transaction still open, and whoever gets it reads what was
never committed. Nor does it know what a driver began behind its back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncGenerator[AsyncConnection]:
    """A connection; what was not committed when the block is left is rolled back.

    Where a COMMIT raised or was cancelled, nobody gets the connection any more: it is closed, which
    ends its transaction, and the pool makes a new one.
    """
    async with engine.connect() as connection:
        try:
            yield connection
        finally:
            if connection.closed or connection.invalidated:
                pass  # the pool has it no more, or as something new
            elif _commit_was_tried(connection):
                await to_its_end(connection.invalidate())
            elif _driver_has_one_open(connection):
                await to_its_end(_roll_back(connection))


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncGenerator[AsyncConnection]:
    """A connection in a transaction that is committed when the block is left without an error."""
    async with connected(engine) as connection:
        await connection.begin()
        yield connection
        await connection.commit()


def _commit_was_tried(connection: AsyncConnection) -> bool:
    """Whether a COMMIT raised: SQLAlchemy keeps the transaction then, but as an inactive one."""
    last = connection.get_transaction()
    return last is not None and not last.is_active


def _driver_has_one_open(connection: AsyncConnection) -> bool:
    """Whether a driver has a transaction that SQLAlchemy knows nothing of, and never ends.

    SQLite's alone can be asked: it begins one by itself, and our own statements go to it directly.
    """
    if connection.in_transaction() or connection.dialect.name != "sqlite":
        return False
    return is_open(driver_of(connection))


def is_open(driver: Any) -> bool:
    """Whether SQLite's driver is in a transaction; a dead connection is in none."""
    try:
        return bool(driver.in_transaction)
    except ValueError:  # aiosqlite's for a connection that was closed: the next statement says so
        return False


async def _roll_back(connection: AsyncConnection) -> None:
    try:
        await driver_of(connection).rollback()
    except BaseException:
        await connection.invalidate()
        raise


def driver_of(connection: AsyncConnection) -> Any:
    """The driver's own connection; nothing has to be waited for: it is checked out already."""
    sync: Any = connection.sync_connection
    return sync.connection.driver_connection


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await this, however often the caller is cancelled meanwhile; the caller learns it after."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    await task
    if cancelled is not None:
        raise cancelled
