"""How an inbox reaches its database: connections, single statements, and SQLite's driver itself."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import namedtuple
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import MetaData, Select, select
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.clock import within
from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.sql.statements import Framed
from chaoying_async.inbox.sql.tables import Params
from chaoying_async.sql.creation import make_tables
from chaoying_async.sql.dialects import is_duplicate
from chaoying_async.sql.engines import check_engine
from chaoying_async.sql.loops import PerLoop
from chaoying_async.sql.transactions import (
    check_commit,
    connected,
    driver_of,
    is_open_in_sqlite,
    outside_transaction,
    retried,
)

T = TypeVar("T")

#: SQLite: seconds to wait for others of this process that write.
TURN = 30.0
#: Seconds after which a statement is given up: its connection may be dead, and nobody knows it.
PATIENCE = 30.0
_READY = "chaoying_async.inbox"
_FULL = 2
#: How aiosqlite says, with a ValueError, that its connection is closed.
_DEAD = frozenset({"connection closed", "no active connection"})


class _Prepared:
    """A statement as its driver takes it: made once, since SQLAlchemy would make it each time."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        """Its text, its parameters in their order, and its rows with their names."""
        framed = statement if isinstance(statement, Framed) else Framed("", statement, "")
        compiled: Any = framed.statement.compile(dialect=dialect)
        self.sql = f"{framed.before}{compiled.string}{framed.after}"
        self._constants: Params = compiled.params
        #: None where the driver takes parameters by their names.
        self._order: Sequence[str] | None = compiled.positiontup
        self._row: Any = None
        if isinstance(statement, Select):
            self._row = namedtuple("Row", statement.selected_columns.keys())  # type: ignore[misc] # noqa: PYI024

    def values(self, params: Params) -> Any:
        """The parameters as the driver takes them."""
        given = self._constants | params
        if self._order is None:
            return {name: given[name] for name in self._constants}
        return tuple([given[name] for name in self._order])

    def rows(self, found: Sequence[Sequence[Any]]) -> Sequence[Any]:
        """The rows, with the names of their columns."""
        return [self._row(*row) for row in found]


class Access:
    """The engine is the caller's and is never closed."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self.dialect = check_engine(engine, "SqlInbox", "MemoryInbox")
        self._engine = engine
        self._clock = clock
        self._turns = PerLoop(asyncio.Lock)
        self._statements: dict[Any, _Prepared] = {}

    def connect(
        self, turn: asyncio.Lock | None = None
    ) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection; what was not committed when the block is left is rolled back.

        ``turn``: from :meth:`turn`, of whoever is going to write; it ends with the block.
        """
        return self._connect_to_sqlite(turn) if self.dialect.one_writer else connected(self._engine)

    @asynccontextmanager
    async def _connect_to_sqlite(
        self, turn: asyncio.Lock | None
    ) -> AsyncGenerator[AsyncConnection]:
        with ExitStack() as its_turn:
            if turn is not None:
                its_turn.callback(turn.release)
            async with connected(self._engine) as connection:
                await make_durable(connection)
                if turn is not None:
                    await connection.begin()  # the driver, called directly, would not tell
                yield connection
                if not is_open_in_sqlite(connection):
                    its_turn.close()  # the next one need not wait until the pool has it back

    async def turn(self, seconds: float = TURN) -> asyncio.Lock:
        """SQLite's writers of this process queue here, since its own queue is slow."""
        turn = self._turns.get()
        async with self._clock.timeout(seconds):
            await turn.acquire()
        return turn

    @asynccontextmanager
    async def _connect(self, turn: asyncio.Lock | None = None) -> AsyncGenerator[AsyncConnection]:
        """A connection for a statement of our own."""
        async with self.connect(turn) as connection:
            # Single statements decide by what is there now, and not by an older snapshot. Not as
            # the engine's option: cancelled there, SQLAlchemy would lose the connection.
            if self.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="READ COMMITTED")
            yield connection

    async def read(self, statement: Any, params: Params) -> Sequence[Any]:
        """All rows of a query."""

        async def read_once() -> Sequence[Any]:
            async with self._connect() as connection:
                return await self.rows(connection, statement, params)

        # MariaDB's readers deadlock too where it is SERIALIZABLE.
        return await within(self._clock, PATIENCE, retried(read_once))

    async def rows(
        self, connection: AsyncConnection, statement: Any, params: Params
    ) -> Sequence[Any]:
        """All rows of a query, inside a transaction."""
        prepared, values = self._prepared(statement, params)
        if self.dialect.one_writer:
            found, _ = await run_in_sqlite(connection, prepared.sql, values)
        else:
            found = (await connection.exec_driver_sql(prepared.sql, values)).all()
        return prepared.rows(found)

    async def change(self, connection: AsyncConnection, statement: Any, params: Params) -> int:
        """How many rows a statement changed, inside a transaction."""
        prepared, values = self._prepared(statement, params)
        if self.dialect.one_writer:
            return (await run_in_sqlite(connection, prepared.sql, values))[1]
        return (await connection.exec_driver_sql(prepared.sql, values)).rowcount

    def _prepared(self, statement: Any, params: Params) -> tuple[_Prepared, Any]:
        prepared = self._statements.get(statement)
        if prepared is None:
            prepared = self._statements[statement] = _Prepared(statement, self._engine.dialect)
        return prepared, prepared.values(self.dialect.timed(self._clock) | params)

    async def write(self, statement: Any, params: Params) -> int:
        """Run a statement and commit; how many rows it changed."""

        async def write_once() -> int:
            turn = await self.turn() if self.dialect.one_writer else None
            async with self._connect(turn) as connection:
                changed = await self.change(connection, statement, params)
                await connection.commit()
                return changed

        return await within(self._clock, PATIENCE, retried(write_once))

    async def insert(self, statement: Any, params: Params) -> bool:
        """Whether the row is new; a row that was there is left alone."""
        try:
            return bool(await self.write(statement, params))
        except IntegrityError as error:
            if is_duplicate(error):
                return False
            raise

    async def now(self) -> int:
        """The database's clock, in microseconds."""
        rows = await self.read(select(self.dialect.now.label("now")), {})
        return int(rows[0].now)

    async def create(self, metadata: MetaData) -> None:
        """Make the tables that are missing; other processes may be doing the same."""
        await make_tables(self._engine, metadata, prepare=_log_ahead)


async def run_in_sqlite(
    connection: AsyncConnection, sql: str, values: Sequence[Any] = ()
) -> tuple[Sequence[Any], int]:
    """The rows of a statement, as tuples, and how many rows it changed.

    SQLite's driver called directly: one hop to its thread for a statement, SQLAlchemy takes four.
    Only for the inbox's own statements, and on the very connection that SQLAlchemy has checked out,
    so both are in the same transaction. A paid order costs two thirds as much that way.
    """
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


async def _log_ahead(connection: AsyncConnection) -> None:
    """Put an SQLite file into WAL mode, which it keeps."""
    if connection.dialect.name == "sqlite":
        await make_durable(connection)
        async with outside_transaction(connection):
            await pragma(connection, "journal_mode", "WAL")


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
    rows, _ = await run_in_sqlite(connection, f"PRAGMA {name}{setting}")
    return next(iter(rows))[0] if rows else None
