"""The inbox in a SQL database: claims, work in its record's transaction, messages set aside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Insert, MetaData, inspect
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.sql.access import Access
from chaoying_async.inbox.sql.batched_inserts import BatchedInserts
from chaoying_async.inbox.sql.lending import LentConnection, lend
from chaoying_async.inbox.sql.pruning import prune, prune_raw
from chaoying_async.inbox.sql.rowlocks import needs_row_lock
from chaoying_async.inbox.sql.rows import (
    Params,
    aside_params,
    entry_params,
    key_params,
    message_params,
    span,
    to_aside,
    to_record,
)
from chaoying_async.inbox.sql.statements import FOREIGN, AsideStatements, OrderStatements
from chaoying_async.inbox.sql.tables import asides_table, orders_table
from chaoying_async.sansio.notifications.inbox_values import (
    MOST_FOREIGN,
    MOST_MESSAGES,
    Aside,
    Claim,
    ClaimLostError,
    Entry,
    Mark,
    OrderKey,
    Record,
    SeenState,
    check_room,
)
from chaoying_async.sql.autocommit import check_transaction
from chaoying_async.sql.batching import PerLoop
from chaoying_async.sql.columns import DEFAULT_PREFIX
from chaoying_async.sql.engines import engine_at

_WINDOW = timedelta(days=35)
_NO_OPTION = "the driver of this address does not know one of the options after its question mark"
_LOST = "the claim was taken over before its work was recorded: the work is rolled back"


class SqlInbox:
    """Keeps everything in a SQL database; see :class:`~chaoying_async.abc.Inbox`.

    Exactly once: ``on_paid(order, connection)`` gets an ``AsyncConnection`` in the transaction that
    records the order as done, so what it writes there is committed with the record or not at all.
    What it does elsewhere (mail, another database) happens at least once.

    ``engine`` is SQLAlchemy's ``AsyncEngine`` on SQLite (a file), PostgreSQL (psycopg, asyncpg) or
    MariaDB (aiomysql). It stays yours: it is never closed, and may be used for anything else.
    Any number of processes may share the database. Call :meth:`create_tables` once, or keep the
    tables with Alembic (:attr:`metadata`).

    On SQLite there is one writer at a time: while ``on_paid`` runs, every other writer waits, no
    longer than the engine's ``connect_args={"timeout": ...}`` (5 s). Keep ``on_paid`` short there.
    ``clock`` gives SQLite its time; every other database has its own. Orders are remembered until
    :meth:`prune` is told to forget them, for ``window`` (35 days) in any case.
    """

    lends_connection = True

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        table_prefix: str = DEFAULT_PREFIX,
        clock: Clock | None = None,
    ) -> None:
        self._prefix = table_prefix
        self._access = Access(engine, clock or SystemClock())
        dialect = self._access.dialect
        #: The two tables, for Alembic.
        self.metadata = MetaData()
        self._orders = OrderStatements(orders_table(self.metadata, table_prefix), dialect)
        self._asides = AsideStatements(asides_table(self.metadata, table_prefix), dialect)

        #: Claims of ours whose rows are locked for their work: key and token.
        self._locked: set[tuple[OrderKey, int]] = set()
        batched = BatchedInserts(self._access, self._orders.claim_new)
        self._batched = batched if dialect.one_writer else None
        self._room = PerLoop(asyncio.Lock)

    def __repr__(self) -> str:
        return f"<SqlInbox {self._prefix}>"

    @property
    def window(self) -> timedelta:
        return _WINDOW

    @property
    def renews(self) -> bool:
        """On SQLite the open write transaction is the lease."""
        return not self._access.dialect.one_writer

    async def create_tables(self) -> None:
        """Make the tables where they are not there yet; any number of processes may, at once.

        It changes nothing about tables that are there. SQLite is put into WAL mode, which the file
        keeps.
        """
        await self._access.create(self.metadata)

    async def look(self, key: OrderKey) -> Record | None:
        row = await self._row(key)
        return None if row is None else to_record(row)

    async def claim(self, key: OrderKey, entry: Entry, *, lease: float) -> Claim | Record:
        params = key_params(key) | entry_params(entry) | {"p_lease": span(lease)}
        while True:
            if await self._insert_claim(key, params):
                return Claim(key=key, token=1)
            row = await self._row(key)
            if row is None:
                continue  # pruned at this very moment
            before = to_record(row)
            if before.state not in (SeenState.HELD, SeenState.NOT_PAID) or before.lease > 0:
                return before
            again = params | {"p_token": row.token}
            if await self._access.write(self._orders.claim_again, again):
                return Claim(key=key, token=row.token + 1, failures=before.failures, before=before)

    async def renew(self, claim: Claim, *, lease: float) -> bool:
        if (claim.key, claim.token) in self._locked:
            return True
        params = self._ours(claim) | {"p_lease": span(lease)}
        return bool(await self._access.write(self._orders.renew, params))

    @asynccontextmanager
    async def work(self, claim: Claim) -> AsyncGenerator[LentConnection]:
        ours = self._ours(claim)
        access = self._access
        async with access.connect_to_write(lent=True) as connection:
            await connection.begin()
            try:
                held = await self._holds(connection, claim)
                check_transaction(connection)
                if not held:
                    raise ClaimLostError(_LOST)
                async with lend(connection, access.savepoints) as lent:
                    yield lent
                if not await access.change(connection, self._orders.complete, ours):
                    raise ClaimLostError(_LOST)
                await connection.commit()
            finally:
                self._locked.discard((claim.key, claim.token))

    async def release(self, claim: Claim, *, retry_in: float, failed: bool) -> bool:
        params = {"p_retry": span(retry_in), "p_failed": int(failed)}
        released = await self._access.write(self._orders.release, self._ours(claim) | params)
        return bool(released) and failed and claim.failures == 0

    async def quarantine(self, claim: Claim, reason: str) -> bool:
        params = self._ours(claim) | {"p_reason": reason}
        return bool(await self._access.write(self._orders.quarantine, params))

    async def give_up(self, claim: Claim) -> bool:
        return bool(await self._access.write(self._orders.give_up, self._ours(claim)))

    async def not_paid(self, key: OrderKey, entry: Entry) -> bool:
        params = key_params(key) | entry_params(entry)
        if await self._access.insert(self._orders.not_paid, params):
            return True
        return bool(await self._access.write(self._orders.not_paid_given_up, params))

    async def set_aside(self, aside: Aside, *, retry_in: float | None) -> bool:
        timed, due = _due(retry_in)
        params = aside_params(aside) | due
        while True:
            row = await self._aside_row(aside.key, aside.fingerprint)
            if row is None:
                if await self._set_aside_new(aside, self._asides.new[timed], params):
                    return True
                continue  # set aside by somebody else at this very moment
            if row.closed:
                return False
            seen = {"p_seen": row.decision}
            if await self._access.write(self._asides.again[timed], params | seen):
                return to_aside(row).decision != aside.decision

    async def _set_aside_new(self, aside: Aside, statement: Insert, params: Params) -> bool:
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
            return await self._access.insert(statement, params)

    async def postpone(self, aside: Aside, *, retry_in: float | None) -> None:
        timed, due = _due(retry_in)
        this = message_params(aside.key, aside.fingerprint)
        await self._access.write(self._asides.postpone[timed], this | due)

    async def close(self, aside: Aside) -> None:
        this = message_params(aside.key, aside.fingerprint)
        await self._access.write(self._asides.close, this)

    async def asides(self, key: OrderKey) -> Sequence[Aside]:
        rows = await self._access.read(self._asides.of_order, key_params(key))
        return [to_aside(row) for row in rows]

    async def aside(self, key: OrderKey, fingerprint: str) -> Aside | None:
        row = await self._aside_row(key, fingerprint)
        return None if row is None else to_aside(row)

    async def unfinished(self, limit: int) -> Sequence[Record | Aside]:
        orders = await self._access.read(self._orders.unfinished, {"p_limit": limit})
        asides = await self._access.read(self._asides.unfinished, {"p_limit": limit})
        return _merged(orders, asides)[:limit]

    async def listing(self, limit: int) -> Sequence[Record | Aside]:
        orders = await self._access.read(self._orders.listing, {"p_limit": limit})
        asides = await self._access.read(self._asides.listing, {"p_limit": limit})
        return _merged(orders, asides)[:limit]

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

    def _ours(self, claim: Claim) -> Params:
        return key_params(claim.key) | {"p_token": claim.token}

    async def _holds(self, connection: AsyncConnection, claim: Claim) -> bool:
        """Whether the claim is still ours; on SQLite nobody else can write from here on."""
        ours = self._ours(claim)
        if self._access.dialect.one_writer:
            held = await self._access.change(connection, self._orders.hold, ours)
            return bool(held)
        if not await needs_row_lock(connection):
            return bool(await self._access.rows(connection, self._orders.still_ours, ours))
        rows = await self._access.rows(connection, self._orders.lock, ours)
        if rows:
            self._locked.add((claim.key, claim.token))
        return bool(rows)

    async def _insert_claim(self, key: OrderKey, params: Params) -> bool:
        if self._batched is not None:
            return await self._batched.insert(tuple(key), params)
        return await self._access.insert(self._orders.claim_new, params)

    async def _row(self, key: OrderKey) -> Any:
        rows = await self._access.read(self._orders.look, key_params(key))
        return rows[0] if rows else None

    async def _aside_row(self, key: OrderKey, fingerprint: str) -> Any:
        this = message_params(key, fingerprint)
        rows = await self._access.read(self._asides.look, this)
        return rows[0] if rows else None


@asynccontextmanager
async def sql_inbox_at(url: str, *, table_prefix: str = DEFAULT_PREFIX) -> AsyncGenerator[SqlInbox]:
    """The inbox at an address, for the command line; its engine is closed with the block.

    :class:`~chaoying_async.exceptions.UsageError` for an address that is none, and where it has no
    inbox's tables: none are made.
    """
    engine = engine_at(url)
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


def _merged(orders: Iterable[Any], asides: Iterable[Any]) -> list[Record | Aside]:
    items: list[tuple[int, Record | Aside]] = [
        *((row.first_seen, to_record(row)) for row in orders),
        *((row.first_seen, to_aside(row)) for row in asides),
    ]
    return [item for _, item in sorted(items, key=lambda pair: pair[0])]


def _due(retry_in: float | None) -> tuple[bool, Params]:
    return (False, {}) if retry_in is None else (True, {"p_retry": span(retry_in)})
