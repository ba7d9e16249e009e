"""Transactions as they really are: begun, ended by one COMMIT, and never left behind (M-16).

Connections go back to their pool without a transaction, or not at all. SQLAlchemy alone does not
see to that. It forgets a transaction as soon as a COMMIT was tried. So a COMMIT that raised (a
deferred reference on SQLite, a reader in its way) is never rolled back: the pool hands the
connection on with the transaction still open, and whoever gets the connection reads what was never
committed. Nor does SQLAlchemy know of a transaction that the driver began by itself.

Drivers may commit in a way of their own as well. SQLite's has ``isolation_level`` and, from Python
3.12 on, ``autocommit``; psycopg and aiomysql have an ``autocommit`` too. SQLAlchemy is told of none
of them, so connections are asked, and what cannot be worked with is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Executable, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.exceptions import UsageError
from chaoying_async.sql.dialects import DIALECTS, is_read_only, may_be_tried_again
from chaoying_async.sql.loops import check_loop

T = TypeVar("T")

#: How often a transaction is tried that the database rolls back for the sake of another one.
ATTEMPTS = 4


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncGenerator[AsyncConnection]:
    """A connection; what was not committed when the block is left is rolled back.

    Where a COMMIT raised or was cancelled, nobody gets the connection any more: it is closed, which
    ends its transaction, and the pool makes a new one. So it is where the server may only be read:
    after a failover the address leads to another one, and a connection that lives does not.
    """
    check_loop(engine)
    async with engine.connect() as connection:
        try:
            yield connection
        except DBAPIError as error:
            if is_read_only(error) and not (connection.closed or connection.invalidated):
                await to_its_end(connection.invalidate())
            raise
        finally:
            if connection.closed or connection.invalidated:
                pass  # the pool has it no more, or as something new
            elif _commit_was_tried(connection):
                await to_its_end(connection.invalidate())
            elif not connection.in_transaction() and is_open_in_sqlite(connection):
                await to_its_end(_roll_back(connection))


async def rows_of(
    engine: AsyncEngine, statement: Executable, values: Mapping[str, Any]
) -> Sequence[Any]:
    """All rows of one statement, in a connection of its own."""
    async with connected(engine) as connection:
        return (await connection.execute(statement, values)).all()


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncGenerator[AsyncConnection]:
    """A connection in a transaction that is committed when the block is left without an error."""
    async with connected(engine) as connection:
        await connection.begin()
        yield connection
        await connection.commit()


@asynccontextmanager
async def limited(engine: AsyncEngine, idle: float) -> AsyncGenerator[AsyncConnection]:
    """A :func:`transaction` that PostgreSQL ends when it is idle for ``idle`` seconds.

    That costs a statement more; one that is often run has ``limits_idling`` in its own WHERE.
    """
    async with transaction(engine) as connection:
        await limit_idling(connection, idle)
        yield connection


async def limit_idling(connection: AsyncConnection, seconds: float) -> None:
    """Let PostgreSQL end this transaction, and no other, when it is idle for so long."""
    limits = DIALECTS[connection.dialect.name].limits_idling(seconds)
    if limits:
        await connection.execute(select(*limits))


def _commit_was_tried(connection: AsyncConnection) -> bool:
    """Whether a COMMIT raised: SQLAlchemy keeps the transaction then, but as an inactive one."""
    last = connection.get_transaction()
    return last is not None and not last.is_active


def is_open_in_sqlite(connection: AsyncConnection) -> bool:
    """Whether SQLite's driver is in a transaction, SQLAlchemy's or one that it began by itself.

    A dead connection is in none; nor, for all that anybody can ask, is one of another database.
    """
    if connection.invalidated or connection.dialect.name != "sqlite":
        return False
    try:
        return bool(driver_of(connection).in_transaction)
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


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns, awaited however often the caller is cancelled meanwhile.

    The cancellation is raised afterwards, whatever the work raised.
    """
    task = asyncio.get_running_loop().create_task(work, name="chaoying sql: to its end")
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return await task
    if not task.cancelled():
        task.exception()  # nobody is left to hear of it
    raise cancelled


async def whole(engine: AsyncEngine, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns; on SQLite it runs to its end even when the caller is cancelled.

    Work that is cut off there leaves its connection open in a thread, and with that the file locked
    for everybody, this process included. A server notices by itself that a client has gone.
    """
    return await (to_its_end(work) if engine.dialect.name == "sqlite" else work)


async def retried(work: Callable[[], Awaitable[T]]) -> T:
    """What ``work`` returns, tried again where the database rolled it back for somebody else."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await work()
        except DBAPIError as error:
            if not may_be_tried_again(error):
                raise
    return await work()


#: Where SQLAlchemy keeps that this connection's ``commit()`` was tried out.
_KNOWN = "chaoying_async.sql.transactions"
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
