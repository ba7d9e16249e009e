"""Connections of the handed-in engine, made fit for an inbox, and single-statement transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Executable, MetaData, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.inbox.sql.lending import Guards, Nested
from chaoying_async.inbox.sql.loops import OfLoop
from chaoying_async.inbox.sql.rows import Params, microseconds
from chaoying_async.inbox.sql.sqlite import Driver, is_in_transaction, make_durable, pragma
from chaoying_async.sql.autocommit import outside
from chaoying_async.sql.dialects import (
    NOW,
    Dialect,
    dialect_of,
    is_duplicate,
    may_be_tried_again,
)
from chaoying_async.sql.transactions import connected

#: A statement that lost a deadlock, and processes that make the tables at the same moment.
ATTEMPTS = 4
#: SQLite: seconds to wait for others of this process that write.
TURN = 30.0

#: An INSERT's count is thrown away otherwise.
_COUNTED = {"preserve_rowcount": True}


class Access:
    """How an inbox reaches its database; the engine is the caller's and is never closed."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self.dialect: Dialect = dialect_of(engine)
        self._engine = engine
        #: Single statements decide by what is there now, and not by an older snapshot. Not as the
        #: engine's option: cancelled there, SQLAlchemy would lose the connection to the pool.
        self._sets_level = self.dialect.name == "postgresql"
        self._clock = clock
        self._driver = Driver(engine.dialect) if self.dialect.one_writer else None
        self.guards: Guards = self._driver or Nested()
        self._turns = OfLoop(asyncio.Lock) if self.dialect.one_writer else None

    @asynccontextmanager
    async def connect(self, *, lent: bool = False) -> AsyncGenerator[AsyncConnection]:
        """A connection; what was not committed when the block is left is rolled back.

        ``lent``: with the isolation that its user asked for.
        """
        async with connected(self._engine) as connection:
            if self._sets_level and not lent:
                await connection.execution_options(isolation_level="READ COMMITTED")
            if self._driver is not None:
                await make_durable(connection)
            yield connection

    @asynccontextmanager
    async def connect_to_write(self, *, lent: bool = False) -> AsyncGenerator[AsyncConnection]:
        """The same, at this connection's turn: SQLite's own queue is by chance, and slow."""
        if self._turns is None:
            async with self.connect(lent=lent) as connection:
                yield connection
            return
        turn = self._turns.get()
        async with self._clock.timeout(TURN):
            await turn.acquire()
        mine = True
        try:
            async with self.connect(lent=lent) as connection:
                yield connection
                if not is_in_transaction(connection):
                    turn.release()  # the next one need not wait until the pool has it back
                    mine = False
        finally:
            if mine:
                turn.release()

    async def read(self, statement: Executable, params: Params) -> Sequence[Any]:
        """All rows of a query; where it is SERIALIZABLE, MariaDB's readers deadlock as well."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self.connect() as connection:
                    return await self.rows(connection, statement, params)
            except DBAPIError as error:
                if attempt == ATTEMPTS or not may_be_tried_again(error):
                    raise
        raise AssertionError

    async def rows(
        self, connection: AsyncConnection, statement: Executable, params: Params
    ) -> Sequence[Any]:
        """All rows of a query, inside a transaction."""
        if self._driver is not None:
            return await self._driver.read(connection, statement, self._timed(params))
        return (await connection.execute(statement, params)).all()

    async def change(
        self, connection: AsyncConnection, statement: Executable, params: Params
    ) -> int:
        """How many rows a statement changed, inside a transaction."""
        if self._driver is not None:
            return await self._driver.change(connection, statement, self._timed(params))
        result = await connection.execute(statement, params, execution_options=_COUNTED)
        return int(getattr(result, "rowcount"))  # noqa: B009 - Result's type does not know it

    async def write(self, statement: Executable, params: Params) -> int:
        """Run a statement and commit; how many rows it changed."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self.connect_to_write() as connection:
                    if self._driver is not None:
                        return await self._driver.write(connection, statement, self._timed(params))
                    changed = await self.change(connection, statement, params)
                    await connection.commit()
                    return changed
            except DBAPIError as error:
                if attempt == ATTEMPTS or not may_be_tried_again(error):
                    raise
        raise AssertionError

    async def insert_all(
        self, connection: AsyncConnection, statement: Executable, rows: Sequence[Params]
    ) -> set[Any]:
        """SQLite: insert them all at once; the keys of those that are new."""
        if self._driver is None:
            raise AssertionError
        timed = [self._timed(row) for row in rows]
        return await self._driver.write_all(connection, statement, timed)

    async def insert(self, statement: Executable, params: Params) -> bool:
        """Whether the row is new; what was there is left alone."""
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
        """Make what is not there yet; others may be doing the same."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self.connect() as connection:
                    if self._driver is not None:
                        async with outside(connection):
                            await pragma(connection, "journal_mode", "WAL")
                    await connection.run_sync(metadata.create_all)
                    await connection.commit()
                    return
            except DBAPIError:
                if attempt == ATTEMPTS:
                    raise

    def _timed(self, params: Params) -> Params:
        return {NOW: microseconds(self._clock.now()), **params}
