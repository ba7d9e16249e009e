"""The inbox in a SQL database: orders that are locked, and messages that were set aside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import ParameterError, UsageError
from chaoying_async.inbox.readable import ReadableRecords, oldest_first
from chaoying_async.inbox.sql.access import Access
from chaoying_async.inbox.sql.lending import tell_whose
from chaoying_async.inbox.sql.locks import LOCKS, LockedRow
from chaoying_async.inbox.sql.pruning import prune, prune_raw
from chaoying_async.inbox.sql.statements import AsideStatements, OrderStatements
from chaoying_async.inbox.sql.tables import (
    FOREIGN,
    Params,
    aside_params,
    asides_table,
    key_params,
    message_params,
    orders_table,
    span,
    to_aside,
    to_record,
)
from chaoying_async.sansio.notifications.inbox_values import (
    MOST_FOREIGN,
    MOST_MESSAGES,
    Aside,
    Entry,
    Mark,
    OrderKey,
    Record,
    check_room,
)
from chaoying_async.sansio.notifications.unreadable import InboxMissingError
from chaoying_async.sql.columns import DEFAULT_PREFIX
from chaoying_async.sql.creation import table_names
from chaoying_async.sql.engines import engine_at
from chaoying_async.sql.loops import PerLoop

_WINDOW = timedelta(days=35)
_NO_OPTION = "the driver of this address does not know one of the options after its question mark"
_DAY = 86_400
#: Seconds for which the transaction of an order may leave its connection unused.
_IDLE = 60.0


class SqlInbox:
    """Keeps everything in a SQL database; see :class:`~chaoying_async.abc.Inbox`.

    Exactly once: ``on_paid(order, connection)`` gets an ``AsyncConnection`` in the transaction that
    records the order as done, so what it writes there is committed with the record or not at all.
    What it does elsewhere (mail, another database) happens at least once.

    ``engine`` is SQLAlchemy's ``AsyncEngine`` on SQLite (a file), PostgreSQL (psycopg, asyncpg) or
    MariaDB (aiomysql); MySQL is not supported. It stays yours: it is never closed, and may be used
    for anything else.
    Any number of processes may share the database. Call :meth:`create_tables` once, or keep the
    tables with Alembic (:attr:`metadata`). Handlers that do different things in one database (two
    agents, or goods and top-ups) need a ``table_prefix`` each: each takes up whatever waits.

    On SQLite there is one writer at a time: while ``on_paid`` runs, every other writer waits, no
    longer than the engine's ``connect_args={"timeout": ...}`` (5 s). Keep ``on_paid`` short there.

    On the servers the order's transaction is rolled back, and the order is free for the next one,
    when nothing was sent on its connection for ``idle`` seconds (60): so a process that was stopped
    or whose network went away keeps an order no longer than that. An ``on_paid`` that waits longer
    for something else is rolled back too, and tried again. A stopped process on SQLite keeps the
    file.

    ``clock`` gives SQLite its time; every other database has its own. Orders are remembered until
    :meth:`prune` is told to forget them, for ``window`` (35 days) in any case.
    """

    lends_connection = True

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        table_prefix: str = DEFAULT_PREFIX,
        idle: float = _IDLE,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(idle, bool) or not isinstance(idle, (int, float)) or not 1 <= idle <= _DAY:
            raise ParameterError({"idle": "must be a number of seconds, from 1 to 86,400"})
        self._prefix = table_prefix
        self._access = Access(engine, clock or SystemClock())
        dialect = self._access.dialect
        #: The two tables, for Alembic.
        self.metadata = MetaData()
        self._orders = OrderStatements(orders_table(self.metadata, table_prefix), dialect, idle)
        self._asides = AsideStatements(asides_table(self.metadata, table_prefix), dialect)
        tell_whose(engine)
        self._locks = LOCKS[dialect.name](self._access, self._orders)
        self._room = PerLoop(asyncio.Lock)
        self._readable = ReadableRecords()

    def __repr__(self) -> str:
        return f"<SqlInbox {self._prefix}>"

    @property
    def window(self) -> timedelta:
        return _WINDOW

    async def create_tables(self) -> None:
        """Make the tables where they are not there yet; any number of processes may, at once.

        It changes nothing about tables that are there. SQLite is put into WAL mode, which the file
        keeps.
        """
        await self._access.create(self.metadata)

    async def look(self, key: OrderKey) -> Record | None:
        rows = await self._access.read(self._orders.look, key_params(key))
        return to_record(rows[0]) if rows else None

    def lock(self, key: OrderKey, entry: Entry) -> AbstractAsyncContextManager[LockedRow | None]:
        return self._locks.lock(key, entry)

    async def set_aside(self, aside: Aside, *, retry_in: float | None) -> bool:
        params = aside_params(aside) | {"p_retry": span(retry_in)}
        while True:
            rows = await self._access.read(self._asides.look, params)
            if not rows:
                if await self._set_aside_new(aside, params):
                    return True
                continue  # set aside by somebody else at this very moment
            if rows[0].closed:
                return False
            seen = {"p_seen": rows[0].decision}
            if await self._access.write(self._asides.again, params | seen):
                return to_aside(rows[0]).decision != aside.decision

    async def _set_aside_new(self, aside: Aside, params: Params) -> bool:
        """Inserts one at a time in this process, so that each counts those before it."""
        key = key_params(aside.key)
        async with self._room.get():
            limit = {"p_limit": MOST_MESSAGES}
            rows = await self._access.read(self._asides.messages, key | limit)
            others: Sequence[Any] = ()
            if aside.foreign:
                limit = {"p_limit": MOST_FOREIGN}
                others = await self._access.read(self._asides.foreign, key | limit)
            of_it = any(row.decision.endswith(FOREIGN) for row in rows)
            check_room(aside, messages=len(rows), of_it=of_it, orders=len(others))
            return await self._access.insert(self._asides.new, params)

    async def postpone(self, aside: Aside, *, retry_in: float | None) -> None:
        this = message_params(aside.key, aside.fingerprint)
        await self._access.write(self._asides.postpone, this | {"p_retry": span(retry_in)})

    async def close(self, aside: Aside) -> None:
        this = message_params(aside.key, aside.fingerprint)
        await self._access.write(self._asides.close, this)

    async def asides(self, key: OrderKey) -> Sequence[Aside]:
        rows = await self._access.read(self._asides.of_order, key_params(key))
        return [to_aside(row) for row in rows]

    async def aside(self, key: OrderKey, fingerprint: str) -> Aside | None:
        rows = await self._access.read(self._asides.look, message_params(key, fingerprint))
        return to_aside(rows[0]) if rows else None

    async def unfinished(self, limit: int) -> Sequence[Record | Aside]:
        return await self._oldest(self._orders.unfinished, self._asides.unfinished, limit)

    async def listing(self, limit: int) -> Sequence[Record | Aside]:
        return await self._oldest(self._orders.listing, self._asides.listing, limit)

    async def mark(self, key: OrderKey, mark: Mark, fingerprint: str | None = None) -> bool:
        dismissed = mark is Mark.DISMISS
        if fingerprint is not None:
            params = message_params(key, fingerprint)
            params |= {"p_mark": mark, "p_closed": dismissed}
            return bool(await self._access.write(self._asides.mark, params))
        return bool(await self._access.write(self._orders.mark[mark], key_params(key)))

    async def prune(self, before: datetime, *, keys: bool = False) -> int:
        """As every inbox's ``prune``: in short transactions, oldest first, so nobody waits long."""
        tables = (self._orders.pruning, self._asides.pruning)
        pruned = await prune(self._access, tables, before, window=_WINDOW, keys=keys)
        return pruned + await prune_raw(self._access, self._asides, before)

    async def _oldest(self, orders: Any, asides: Any, limit: int) -> Sequence[Record | Aside]:
        items: list[Record | Aside] = [
            *await self._readable.page(limit, partial(self._first, orders), to_record),
            *await self._readable.page(limit, partial(self._first, asides), to_aside),
        ]
        return oldest_first(items)[:limit]

    async def _first(self, statement: Any, most: int) -> Sequence[Any]:
        return await self._access.read(statement, {"p_limit": most})


@asynccontextmanager
async def sql_inbox_at(url: str, *, table_prefix: str = DEFAULT_PREFIX) -> AsyncGenerator[SqlInbox]:
    """The inbox at an address, for the command line; its engine is closed with the block.

    :class:`~chaoying_async.exceptions.UsageError` for an address that is none, and its
    ``InboxMissingError`` where it has no inbox's tables: none are made.
    """
    engine = engine_at(url)
    try:
        inbox = SqlInbox(engine, table_prefix=table_prefix)
        try:
            there = await table_names(engine)
        except TypeError:
            there = None
        if there is None:  # raised outside, since the driver's error has the options in its frames
            raise UsageError(_NO_OPTION)
        if not there.issuperset(inbox.metadata.tables):
            raise InboxMissingError(
                f"no inbox's tables named {table_prefix}... are there: is it the right address and "
                "prefix? A handler makes them with `await inbox.create_tables()`"
            )
        yield inbox
    finally:
        await engine.dispose()
