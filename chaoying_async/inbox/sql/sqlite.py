"""SQLite's driver called directly: one hop to its thread for a statement, SQLAlchemy takes four.

Only for the inbox's own statements, and on the very connection that SQLAlchemy has checked out, so
both are in the same transaction. A paid order costs two thirds as much that way.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import Executable, Insert, Select
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction
from sqlalchemy.sql.elements import CompilerElement

from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.sql.lending import Savepoints
from chaoying_async.inbox.sql.rows import Params
from chaoying_async.sql.autocommit import check_commit, outside_transaction
from chaoying_async.sql.transactions import driver_of

_READY = "chaoying_async.inbox"
_FULL = 2
_GUARD = "chaoying_guard"
#: How aiosqlite says, with a ValueError, that its connection is closed.
_DEAD = frozenset({"connection closed", "no active connection"})
#: What SQLAlchemy calls to set a savepoint, and to release it.
_SET, _RELEASE = "_savepoint_impl", "_release_savepoint_impl"


class Prepared:
    """A statement in the form that SQLite's driver takes."""

    def __init__(self, statement: CompilerElement, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.sql: str = compiled.string
        self._constants: Params = compiled.params
        self._order: Sequence[str] = compiled.positiontup
        self._row: Any = None
        self.key = ""
        if isinstance(statement, Insert):
            self.key = ", ".join(column.name for column in statement.table.primary_key)
        if isinstance(statement, Select):
            self._row = namedtuple("Row", statement.selected_columns.keys())  # type: ignore[misc] # noqa: PYI024

    @property
    def parts(self) -> tuple[str, str, str]:
        """An INSERT's text before its one row of values, that row, and the text after it."""
        head, _, rest = self.sql.partition("VALUES ")
        row, _, tail = rest.partition(" ON CONFLICT")
        return f"{head}VALUES ", row, f" ON CONFLICT{tail}"

    def values(self, params: Params) -> tuple[Any, ...]:
        """The parameters in the order of their question marks."""
        given = {**self._constants, **params}
        return tuple(given[name] for name in self._order)

    def rows(self, found: Sequence[Sequence[Any]]) -> Sequence[Any]:
        """The rows, with the names of their columns."""
        return [self._row(*row) for row in found]


class Driver(Savepoints):
    """Runs an inbox's statements on SQLAlchemy's connections, by the driver's own methods."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prepared: dict[Executable, Prepared] = {}

    async def read(
        self, connection: AsyncConnection, statement: Any, params: Params
    ) -> Sequence[Any]:
        """All rows of a query."""
        prepared = self._prepare(statement)
        return prepared.rows(await _fetch(connection, prepared.sql, prepared.values(params)))

    async def change(self, connection: AsyncConnection, statement: Any, params: Params) -> int:
        """Run a statement inside a transaction; how many rows it changed."""
        prepared = self._prepare(statement)
        return await _run(connection, prepared.sql, prepared.values(params))

    async def write(self, connection: AsyncConnection, statement: Any, params: Params) -> int:
        """Run a statement that is a transaction of its own; how many rows it changed.

        The driver begins a transaction before what starts with INSERT, UPDATE or DELETE, and then a
        commit takes another hop; what starts with WITH it leaves to SQLite, which commits it.
        """
        prepared = self._prepare(statement)
        alone = f"WITH alone AS (SELECT 1) {prepared.sql}"
        changed = await _run(connection, alone, prepared.values(params))
        await _commit(connection)
        return changed

    async def write_all(
        self, connection: AsyncConnection, statement: Any, rows: Sequence[Params]
    ) -> set[tuple[Any, ...]]:
        """Insert all these rows in a transaction of their own; the keys of those that are new."""
        prepared = self._prepare(statement)
        head, one, tail = prepared.parts
        sql = f"WITH alone AS (SELECT 1) {head}{', '.join([one] * len(rows))}{tail}"
        values = [value for row in rows for value in prepared.values(row)]
        new = await _fetch(connection, f"{sql} RETURNING {prepared.key}", values)
        await _commit(connection)
        return {tuple(key) for key in new}

    async def guard(self, connection: AsyncConnection) -> AsyncTransaction:
        """``begin_nested()`` in one hop: SQLAlchemy is told that the savepoint is there already."""
        sync: Any = connection.sync_connection
        if not _can_be_told(sync):
            return await super().guard(connection)
        await _fetch(connection, f"SAVEPOINT {_GUARD}")
        with _told(sync, _SET, _GUARD):
            return await connection.begin_nested()

    async def release(self, connection: AsyncConnection, guard: AsyncTransaction) -> None:
        """``commit()`` of the guard, in one hop."""
        sync: Any = connection.sync_connection
        if not _can_be_told(sync):
            return await super().release(connection, guard)
        await _fetch(connection, f"RELEASE {_GUARD}")
        with _told(sync, _RELEASE, None):
            return await guard.commit()

    def _prepare(self, statement: Any) -> Prepared:
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = self._prepared[statement] = Prepared(statement, self._dialect)
        return prepared


def _can_be_told(sync: Any) -> bool:
    """Whether SQLAlchemy still has these two private methods; else it does it itself, in 3 hops."""
    return hasattr(sync, _SET) and hasattr(sync, _RELEASE)


@contextmanager
def _told(sync: Any, method: str, answer: str | None) -> Generator[None]:
    setattr(sync, method, lambda *_, **__: answer)
    try:
        yield
    finally:
        delattr(sync, method)


async def _run(connection: AsyncConnection, sql: str, values: Sequence[Any]) -> int:
    driver = driver_of(connection)
    async with _translated(connection, sql):
        before = driver.total_changes
        await driver.execute_fetchall(sql, values)
        return int(driver.total_changes - before)


async def _fetch(connection: AsyncConnection, sql: str, values: Sequence[Any] = ()) -> Any:
    async with _translated(connection, sql):
        return await driver_of(connection).execute_fetchall(sql, values)


async def _commit(connection: AsyncConnection) -> None:
    """Commits where the engine's owner has transactions begin in a way of their own."""
    driver = driver_of(connection)
    async with _translated(connection, "COMMIT"):
        if driver.in_transaction:
            await driver.commit()


@asynccontextmanager
async def _translated(connection: AsyncConnection, sql: str) -> AsyncGenerator[None]:
    """Raises the driver's errors as SQLAlchemy's, without parameters, which are payments.

    As with SQLAlchemy, a connection that turns out to be dead never goes back to the pool.
    """
    dialect: Any = connection.dialect
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        dead = str(error).lower() in _DEAD
        if isinstance(error, ValueError) and not dead:
            raise
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
    rows = list(await _fetch(connection, f"PRAGMA {name}{setting}"))
    return rows[0][0] if rows else None
