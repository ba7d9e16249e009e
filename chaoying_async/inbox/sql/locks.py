"""How each database locks an order without waiting: its own lock is the claim (M-16).

The order's row is inserted unfinished, and is seen by nobody else before the COMMIT that also
records what the order came to. Nothing is committed before, so a process that dies leaves nothing.

- PostgreSQL: an advisory lock that ends with the transaction, taken by the statement that inserts.
- MariaDB: the lock of the row itself, asked for without waiting. A locking read of a row that may
  be missing would lock the gap in its place, and with that stop other orders.
- SQLite: the one write transaction that there can be. Other orders wait for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.inbox.sql.access import Access
from chaoying_async.inbox.sql.lending import ENDED, lend
from chaoying_async.inbox.sql.rows import Params, entry_params, key_params, span, to_record
from chaoying_async.inbox.sql.statements import OrderStatements
from chaoying_async.sansio.notifications.inbox_values import (
    Entry,
    LookAgainError,
    OrderKey,
    Record,
    SeenState,
    TransactionEndedError,
)
from chaoying_async.sql.autocommit import check_transaction
from chaoying_async.sql.dialects import is_duplicate, is_for_others
from chaoying_async.sql.idle import Limited, SessionLimit

_DONE = SeenState.DONE
#: States in which an order is nobody's, once no lease runs.
_FREE = (SeenState.HELD, SeenState.NOT_PAID)


class LockedRow:
    """An order whose lock our open transaction holds; see :class:`~chaoying_async.abc.LockedOrder`.

    An order that is DONE is one as well, though without a lock.
    """

    def __init__(
        self,
        locks: Locks,
        connection: Any,
        params: Params,
        before: Record | None,
        entry: Entry | None = None,
    ) -> None:
        self.before = before
        #: What its new row says of the payment.
        self._inserted = entry if before is None else None
        self.is_done = before is not None and before.state is _DONE
        self.is_saved = False
        self._locks = locks
        self._connection = connection
        self._params = params
        self._was_lent = False

    @property
    def is_to_be_committed(self) -> bool:
        """Whether the transaction ends by COMMIT: something was saved, or a DONE order only read.

        What was only read is committed too, since psycopg forgets what it has prepared on a
        connection when it rolls back.
        """
        return self.is_saved or (self.is_done and not self._was_lent)

    def lend(self) -> AbstractAsyncContextManager[AsyncConnection]:
        if self._connection is None:
            return self._locks.lend_to_read()
        if self._was_lent and self._locks.marks:
            return self._lend_again()
        self._was_lent = True
        return lend(self._connection, marked=self._locks.marks)

    @asynccontextmanager
    async def _lend_again(self) -> AsyncGenerator[AsyncConnection]:
        """Whoever had the connection before may have ended its transaction."""
        locks, connection = self._locks, self._connection
        (row,) = await locks.access.rows(connection, locks.statements.is_marked, self._params)
        if not row.is_marked:
            raise TransactionEndedError(ENDED)
        async with lend(connection, marked=True) as lent:
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
        statements = self._locks.statements
        if state is _DONE and entry == self._inserted:
            statement, params = statements.done, self._params
        else:
            statement, params = statements.save[state], self._params | entry_params(entry)
            params |= {"p_state": state, "p_failures": failures, "p_reason": reason}
            params["p_retry"] = span(retry_in)
        if not await self._locks.access.change(self._connection, statement, params):
            raise TransactionEndedError(ENDED)
        self.is_saved = True


class Locks:
    """Takes the locks of orders in one database."""

    def __init__(self, access: Access, statements: OrderStatements, idle: float) -> None:
        self.access = access
        self.statements = statements
        name = access.dialect.name
        #: Whether a mark in the transaction shows that it is the same one still.
        self.marks = name == "postgresql"
        self._take = _TAKE[name]
        #: Orders that callers of this object have locked.
        self._held: set[OrderKey] = set()
        self._idle = idle
        #: MariaDB has such a limit for a whole session only: it is put back.
        self.limit = SessionLimit(idle) if name == "mysql" else None
        if self.limit is not None:
            statements.lock = self.limit.added_to(statements.lock)

    @asynccontextmanager
    async def lock(self, key: OrderKey, entry: Entry) -> AsyncGenerator[LockedRow | None]:
        """As :meth:`~chaoying_async.abc.Inbox.lock`."""
        params = key_params(key) | entry_params(entry) | {"p_lease": span(self._idle)}
        if self.marks:
            number = _number(self.statements.table_name, key)
            params |= {"p_hash": number, "p_mark": str(number), "p_idle": f"{self._idle:.0f}s"}
        if self.access.dialect.one_writer and key in self._held:
            yield None  # else its holder's end would be waited for
            return
        try:
            if self.access.dialect.one_writer:
                rows = await self.access.read(self.statements.look, params)
                if rows and rows[0].state == _DONE:  # it waits for nobody who writes
                    yield LockedRow(self, None, params, to_record(rows[0]))
                    return
            async with (
                self.access.connect(lent=True, writes=True) as connection,
                self._limited(connection) as limited,
            ):
                self._held.add(key)
                order = await self._locked(connection, params, entry)
                limited.is_set = order is not None and not order.is_done
                yield order
                if order is not None and order.is_to_be_committed:
                    await connection.commit()
        except Exception as error:
            if is_for_others(error):
                raise LookAgainError("the database undid it for somebody else's sake") from error
            raise
        finally:
            self._held.discard(key)

    def _limited(self, connection: AsyncConnection) -> AbstractAsyncContextManager[Limited]:
        """A block at whose end a limit of the session is put back, where there is one."""
        return nullcontext(Limited()) if self.limit is None else self.limit.put_back(connection)

    async def _locked(
        self, connection: AsyncConnection, params: Params, entry: Entry
    ) -> LockedRow | None:
        try:
            is_ours, before = await self._take(self, connection, params)
        except DBAPIError as error:
            if is_for_others(error):
                return None
            raise
        if not is_ours:
            return None
        if before is not None and before.state in _FREE and before.lease <= 0:
            await self.access.change(connection, self.statements.take, params)
        order = LockedRow(self, connection, params, before, entry)
        if not order.is_done:
            check_transaction(connection)
        return order

    @asynccontextmanager
    async def lend_to_read(self) -> AsyncGenerator[AsyncConnection]:
        """A connection for what is asked about an order that is DONE, and not locked."""
        async with self.access.connect(lent=True) as connection:
            await connection.begin()
            async with lend(connection, marked=False) as lent:
                yield lent

    async def read(
        self, connection: AsyncConnection, statement: Any, params: Params
    ) -> Record | None:
        rows = await self.access.rows(connection, statement, params)
        return to_record(rows[0]) if rows else None


#: Whether the order is ours (or DONE), and its record.
Taken = tuple[bool, Record | None]


async def _take_in_postgresql(locks: Locks, connection: AsyncConnection, params: Params) -> Taken:
    """The lock and the INSERT in one statement; the record is read by a later one (M-16).

    An order that was DONE when the statement began is DONE for ever, lock or no lock.
    """
    (row,) = await locks.access.rows(connection, locks.statements.lock, params)
    if row.inserted:
        return True, None
    kept = json.loads(row.kept or "{}")
    if kept.get("state") == _DONE:
        return True, to_record(SimpleNamespace(left=0, **kept))
    if not row.locked:
        return False, None
    before = await locks.read(connection, locks.statements.read_locked, params)
    return before is not None, before


async def _take_in_mariadb(locks: Locks, connection: AsyncConnection, params: Params) -> Taken:
    try:
        await locks.access.change(connection, locks.statements.lock, params)
    except IntegrityError as error:
        if not is_duplicate(error):
            raise
    else:
        return True, None
    before = await locks.read(connection, locks.statements.look, params)
    if before is not None and before.state is _DONE:
        return True, before
    # The refused INSERT has locked the row for reading: two such locks would exclude each other.
    await connection.rollback()
    await connection.begin()
    before = await locks.read(connection, locks.statements.read_locked, params)
    if before is not None and before.state is not _DONE and locks.limit is not None:
        await locks.limit.begin(connection)
    return before is not None, before


async def _take_in_sqlite(locks: Locks, connection: AsyncConnection, params: Params) -> Taken:
    if await locks.access.change(connection, locks.statements.insert, params):
        return True, None
    before = await locks.read(connection, locks.statements.look, params)
    return before is not None, before


_TAKE: dict[str, Callable[[Locks, AsyncConnection, Params], Awaitable[Taken]]] = {
    "postgresql": _take_in_postgresql,
    "mysql": _take_in_mariadb,
    "sqlite": _take_in_sqlite,
}


def _number(table: str, key: OrderKey) -> int:
    """An order's number among the advisory locks; frozen for ever, since versions run side by side.

    Two orders with one number wait for each other, and that is all.
    """
    named = "\0".join((table, *key)).encode()
    return int.from_bytes(hashlib.sha256(named).digest()[:8], "big", signed=True)
