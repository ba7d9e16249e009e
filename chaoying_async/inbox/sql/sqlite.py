"""SQLite past SQLAlchemy: one hop to the connection's thread for a statement, rather than four.

Only for the inbox's own statements, and on the very connection that SQLAlchemy has checked out, so
both are in the same transaction. A paid order costs two thirds as much that way.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Executable, Select
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import CompilerElement

from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.sql.values import Params

_READY = "chaoying_async.inbox"
_FULL = 2


class Prepared:
    """A statement as SQLite's driver takes it."""

    def __init__(self, statement: CompilerElement, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.sql: str = compiled.string
        self._constants: Params = compiled.params
        self._order: Sequence[str] = compiled.positiontup
        self._row: Any = None
        if isinstance(statement, Select):
            self._row = namedtuple("Row", statement.selected_columns.keys())  # type: ignore[misc] # noqa: PYI024

    def values(self, params: Params) -> tuple[Any, ...]:
        """The parameters in the order of their question marks."""
        given = {**self._constants, **params}
        return tuple(given[name] for name in self._order)

    def rows(self, found: Sequence[Sequence[Any]]) -> Sequence[Any]:
        """With their columns' names."""
        return [self._row(*row) for row in found]


class Driver:
    """Runs an inbox's statements on SQLAlchemy's connections, by the driver's own methods."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prepared: dict[Executable, Prepared] = {}

    async def read(
        self, connection: AsyncConnection, statement: Any, params: Params
    ) -> Sequence[Any]:
        """All rows of a query."""
        prepared = self._prepare(statement)
        driver = _driver_of(connection)
        return prepared.rows(await driver.execute_fetchall(prepared.sql, prepared.values(params)))

    async def change(self, connection: AsyncConnection, statement: Any, params: Params) -> int:
        """Run a statement; how many rows it changed."""
        prepared = self._prepare(statement)
        driver = _driver_of(connection)
        before = driver.total_changes
        await driver.execute_fetchall(prepared.sql, prepared.values(params))
        return int(driver.total_changes - before)

    async def commit(self, connection: AsyncConnection) -> None:
        """Commit what :meth:`change` did; nothing where the connection commits by itself."""
        await _driver_of(connection).commit()

    def _prepare(self, statement: Any) -> Prepared:
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = self._prepared[statement] = Prepared(statement, self._dialect)
        return prepared


async def make_durable(connection: AsyncConnection) -> None:
    """Once a connection: a commit is on the disk when it returns."""
    info = _sync(connection).info
    if info.get(_READY):
        return
    if int(await pragma(connection, "synchronous")) < _FULL:
        await pragma(connection, "synchronous", "FULL")
        if int(await pragma(connection, "synchronous")) < _FULL:
            raise UsageError(
                "this engine's connections run with PRAGMA synchronous below FULL, and inside a"
                " transaction from the start, so it cannot be changed: a payment could be lost"
            )
    info[_READY] = True


async def pragma(connection: AsyncConnection, name: str, value: str | None = None) -> Any:
    """Past SQLAlchemy, which would begin a transaction: SQLite wants none around these."""
    driver = _driver_of(connection)
    setting = "" if value is None else f"={value}"
    rows = list(await driver.execute_fetchall(f"PRAGMA {name}{setting}"))
    return rows[0][0] if rows else None


def _driver_of(connection: AsyncConnection) -> Any:
    """The aiosqlite connection; SQLAlchemy has nothing to wait for here, it is checked out."""
    return _sync(connection).connection.driver_connection


def _sync(connection: AsyncConnection) -> Any:
    return connection.sync_connection
