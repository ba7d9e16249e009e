"""How each database locks an order without waiting: its own lock is the claim (M-16).

The order's row is inserted unfinished, and is seen by nobody else before the COMMIT that also
records what the order came to. Nothing is committed before, so a process that dies leaves nothing.

- PostgreSQL: an advisory lock that ends with the transaction, taken by the statement that inserts.
- MariaDB: the lock of the row itself, asked for without waiting. A locking read of a row that may
  be missing would lock the gap in its place, and with that stop other orders.
- SQLite: the one write transaction that there can be. Other orders wait for it.

Each leaves a mark in the transaction. Where that is gone, ``on_paid`` has ended the transaction in
whatever way (a raw COMMIT, the driver's own method, a DDL statement on MariaDB).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.inbox.sql.access import Access, run_in_sqlite
from chaoying_async.inbox.sql.lending import ENDED, UNDONE, lend
from chaoying_async.inbox.sql.statements import SAVEPOINT, OrderStatements
from chaoying_async.inbox.sql.tables import Params, entry_params, key_params, span, to_record
from chaoying_async.sansio.notifications.inbox_values import (
    Entry,
    LookAgainError,
    OrderKey,
    Record,
    SeenState,
    TransactionEndedError,
)
from chaoying_async.sql.dialects import is_duplicate, is_for_others, is_savepoint_gone
from chaoying_async.sql.transactions import check_transaction, driver_of, to_its_end

_DONE = SeenState.DONE
#: States in which an order is nobody's, once no lease runs.
_FREE = (SeenState.HELD, SeenState.NOT_PAID)
#: SQLite: seconds for which an order waits for those that write before it; then it is looked up.
LOOK_AFTER = 0.1


class LockedRow:
    """An order whose lock our open transaction holds; see :class:`~chaoying_async.abc.LockedOrder`.

    An order that is DONE is one as well, though without a lock, nor a connection.
    """

    def __init__(
        self,
        locks: Locks,
        entry: Entry,
        params: Params,
        before: Record | None,
        connection: AsyncConnection | None = None,
    ) -> None:
        self.before = before
        #: What is executed to record the order, with its parameters.
        self.change: tuple[Any, Params] | None = None
        self._locks = locks
        self._entry = entry
        self._params = params
        self._connection = connection
        self._was_lent = False

    def lend(self) -> AbstractAsyncContextManager[AsyncConnection]:
        if self._connection is None:
            return self._locks.lend_to_read()
        if self._was_lent:
            return self._lend_again(self._connection)
        self._was_lent = True
        return lend(self._connection)

    @asynccontextmanager
    async def _lend_again(self, connection: AsyncConnection) -> AsyncGenerator[AsyncConnection]:
        """Whoever had the connection before may have ended its transaction."""
        if not await self._locks.is_marked(connection, self._params):
            raise TransactionEndedError(ENDED)
        async with lend(connection) as lent:
            yield lent

    async def save(
        self,
        state: SeenState,
        entry: Entry,
        *,
        failures: int = 0,
        reason: str = "",
        retry_in: float = 0.0,
    ) -> None:
        """It is written when the block is left, together with the COMMIT."""
        if state is _DONE and self.before is None and entry == self._entry:
            self.change = self._locks.statements.done, self._params
            return
        params = self._params | entry_params(entry)
        params |= {"p_state": state, "p_failures": failures, "p_reason": reason}
        params["p_retry"] = span(retry_in)
        self.change = self._locks.statements.save[state], params


#: Whether the order is ours (or DONE), and its record.
Taken = tuple[bool, Record | None]


class Locks:
    """Takes the locks of orders in one database."""

    def __init__(self, access: Access, statements: OrderStatements) -> None:
        self.statements = statements
        self._access = access

    def lock(self, key: OrderKey, entry: Entry) -> AbstractAsyncContextManager[LockedRow | None]:
        """As :meth:`~chaoying_async.abc.Inbox.lock`."""
        return self._lock(entry, self._params(key, entry), self._access.connect())

    def _params(self, key: OrderKey, entry: Entry) -> Params:
        return key_params(key) | entry_params(entry)

    @asynccontextmanager
    async def _lock(
        self,
        entry: Entry,
        params: Params,
        connecting: AbstractAsyncContextManager[AsyncConnection],
    ) -> AsyncGenerator[LockedRow | None]:
        of_the_block: Exception | None = None
        try:
            async with connecting as connection:
                is_ours, before = await self._taken(connection, params)
                if is_ours and (before is None or before.state is not _DONE):
                    order = LockedRow(self, entry, params, before, connection)
                    try:
                        check_transaction(connection)
                        await self._begin(connection, params, before)
                        try:
                            yield order
                        except Exception as error:
                            of_the_block = error  # lend() says whose it is
                            raise
                        if order.change is not None:
                            await self._commit(connection, *order.change)
                    finally:
                        await self._give_back(connection)
                    return
        except Exception as error:
            if error is not of_the_block and is_for_others(error, handled=of_the_block):
                raise LookAgainError(UNDONE) from error
            raise
        yield LockedRow(self, entry, params, before) if is_ours else None

    async def _taken(self, connection: AsyncConnection, params: Params) -> Taken:
        try:
            return await self._take(connection, params)
        except DBAPIError as error:
            if is_for_others(error):
                return False, None
            raise

    async def _begin(
        self, connection: AsyncConnection, params: Params, before: Record | None
    ) -> None:
        """Begin the work on an order that is ours."""
        if before is not None and before.state in _FREE and before.lease <= 0:
            await self._access.change(connection, self.statements.take, params)

    async def _take(self, connection: AsyncConnection, params: Params) -> Taken:
        raise NotImplementedError

    async def is_marked(self, connection: AsyncConnection, params: Params) -> bool:  # noqa: ARG002
        """Whether the transaction is still the one in which the order was locked."""
        try:
            for statement in (f"RELEASE SAVEPOINT {SAVEPOINT}", f"SAVEPOINT {SAVEPOINT}"):
                await connection.exec_driver_sql(statement)
        except DBAPIError as error:
            if not is_savepoint_gone(error):
                raise
            return False
        return True

    async def _commit(self, connection: AsyncConnection, change: Any, params: Params) -> None:
        """Record the order and commit, unless the transaction is another one by now."""
        try:
            changed = await self._change(connection, change, params)
        except DBAPIError as error:
            if not is_savepoint_gone(error):
                raise
            raise TransactionEndedError(ENDED) from error
        if not changed:
            raise TransactionEndedError(ENDED)
        await connection.commit()

    async def _change(self, connection: AsyncConnection, change: Any, params: Params) -> int:
        return await self._access.change(connection, change, params)

    async def _give_back(self, connection: AsyncConnection) -> None:
        """Put back what the session had before the order was locked."""

    @asynccontextmanager
    async def lend_to_read(self) -> AsyncGenerator[AsyncConnection]:
        """A connection for what is asked about an order that is DONE, and not locked."""
        async with self._access.connect() as connection:
            await connection.begin()
            async with lend(connection) as lent:
                yield lent

    async def _read(
        self, connection: AsyncConnection, statement: Any, params: Params
    ) -> Record | None:
        rows = await self._access.rows(connection, statement, params)
        return to_record(rows[0]) if rows else None


class _PostgresqlLocks(Locks):
    """The mark is a setting that lasts as long as the transaction; each change asks for it."""

    def _params(self, key: OrderKey, entry: Entry) -> Params:
        number = _number(self.statements.table_name, key)
        return super()._params(key, entry) | {"p_hash": number, "p_mark": str(number)}

    async def _take(self, connection: AsyncConnection, params: Params) -> Taken:
        """The lock and the INSERT in one statement; the record is read by a later one (M-16).

        An order that was DONE when the statement began is DONE for ever, lock or no lock.
        """
        (row,) = await self._access.rows(connection, self.statements.lock, params)
        if row.inserted:
            return True, None
        kept = json.loads(row.kept or "{}")
        if kept.get("state") == _DONE:
            # Nothing was written; but psycopg forgets what it has prepared when it rolls back.
            await connection.commit()
            return True, to_record(SimpleNamespace(left=0, **kept))
        if not row.locked:
            return False, None
        before = await self._read(connection, self.statements.read_locked, params)
        return before is not None, before

    async def is_marked(self, connection: AsyncConnection, params: Params) -> bool:
        (row,) = await self._access.rows(connection, self.statements.is_marked, params)
        return bool(row.is_marked)


class _MariadbLocks(Locks):
    """The mark is a savepoint. Each compound statement has all that is executed in a row."""

    async def _take(self, connection: AsyncConnection, params: Params) -> Taken:
        try:
            await self._access.change(connection, self.statements.lock, params)
        except IntegrityError as error:
            if not is_duplicate(error):
                raise
        else:
            return True, None
        before = await self._read(connection, self.statements.look, params)
        if before is not None and before.state is _DONE:
            return True, before
        # The refused INSERT has locked the row for reading: two such locks exclude each other.
        await connection.rollback()
        before = await self._read(connection, self.statements.read_locked, params)
        return before is not None, before

    async def _begin(
        self, connection: AsyncConnection, params: Params, before: Record | None
    ) -> None:
        if before is not None:  # what inserts a row has begun as well
            await connection.exec_driver_sql(self.statements.begin)
        await super()._begin(connection, params, before)

    async def _give_back(self, connection: AsyncConnection) -> None:
        """By the driver itself: SQLAlchemy would take longer than the server does."""
        if connection.closed or connection.invalidated:
            return
        try:
            await driver_of(connection).query(self.statements.put_back)
        except BaseException as error:  # nobody gets the connection then
            await to_its_end(connection.invalidate())
            if not isinstance(error, Exception):
                raise


class _SqliteLocks(Locks):
    """The mark is a savepoint."""

    def __init__(self, access: Access, statements: OrderStatements) -> None:
        super().__init__(access, statements)
        #: Orders that callers of this object have locked.
        self._held: set[OrderKey] = set()

    @asynccontextmanager
    async def lock(self, key: OrderKey, entry: Entry) -> AsyncGenerator[LockedRow | None]:
        if key in self._held:  # else its holder's end would be waited for
            yield None
            return
        params = self._params(key, entry)
        turn = None
        with suppress(TimeoutError):
            turn = await self._access.turn(LOOK_AFTER)
        if turn is None:
            rows = await self._access.read(self.statements.look, params)
            if rows and rows[0].state == _DONE:  # it waits for nobody who writes
                yield LockedRow(self, entry, params, to_record(rows[0]))
                return
            turn = await self._access.turn()
        self._held.add(key)
        try:
            async with self._lock(entry, params, self._access.connect(turn)) as order:
                yield order
        finally:
            self._held.discard(key)

    async def _take(self, connection: AsyncConnection, params: Params) -> Taken:
        if await self._access.change(connection, self.statements.lock, params):
            return True, None
        before = await self._read(connection, self.statements.look, params)
        return before is not None, before

    async def _begin(
        self, connection: AsyncConnection, params: Params, before: Record | None
    ) -> None:
        await run_in_sqlite(connection, f"SAVEPOINT {SAVEPOINT}")
        await super()._begin(connection, params, before)

    async def _change(self, connection: AsyncConnection, change: Any, params: Params) -> int:
        await run_in_sqlite(connection, f"RELEASE {SAVEPOINT}")
        return await super()._change(connection, change, params)


#: By the dialect's name.
LOCKS: Mapping[str, type[Locks]] = {
    "postgresql": _PostgresqlLocks,
    "mysql": _MariadbLocks,
    "sqlite": _SqliteLocks,
}


def _number(table: str, key: OrderKey) -> int:
    """An order's number among the advisory locks; frozen for ever, since versions run side by side.

    Two orders with one number wait for each other, and that is all.
    """
    named = "\0".join((table, *key)).encode()
    return int.from_bytes(hashlib.sha256(named).digest()[:8], "big", signed=True)
