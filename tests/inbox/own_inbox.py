"""An inbox of a user's own: PostgreSQL by asyncpg alone, in a shop that has no SQLAlchemy.

It was written from the docstrings of ``chaoying_async.abc`` and nothing else, in an afternoon.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import attrs

from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    Entry,
    LookAgainError,
    Mark,
    OrderKey,
    Record,
    SeenState,
    TransactionEndedError,
    check_room,
)

TABLES = """
CREATE TABLE IF NOT EXISTS paid_orders (
    mch_id text, out_trade_no text, state text NOT NULL, entry text NOT NULL,
    first_seen timestamptz NOT NULL, failures int NOT NULL, reason text NOT NULL,
    due timestamptz NOT NULL, token bigint NOT NULL, PRIMARY KEY (mch_id, out_trade_no));
CREATE TABLE IF NOT EXISTS set_aside (
    mch_id text, out_trade_no text, fingerprint text, decision text NOT NULL, reason text NOT NULL,
    payload text NOT NULL, first_seen timestamptz NOT NULL, "foreign" bool NOT NULL,
    due timestamptz, tries int NOT NULL DEFAULT 0, mark text, closed bool NOT NULL DEFAULT false,
    PRIMARY KEY (mch_id, out_trade_no, fingerprint));
"""
_SAVE = """
INSERT INTO paid_orders VALUES
    ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + $8 * interval '1 second', 1)
ON CONFLICT (mch_id, out_trade_no) DO UPDATE SET state = $3, entry = $4, first_seen = $5,
    failures = $6, reason = $7, due = excluded.due, token = paid_orders.token + 1"""
_SET_ASIDE = """
INSERT INTO set_aside VALUES
    ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp() + $9 * interval '1 second')
ON CONFLICT (mch_id, out_trade_no, fingerprint) DO UPDATE SET decision = $4, reason = $5,
    payload = $6, "foreign" = $8, due = excluded.due"""
_POSTPONE = """
UPDATE set_aside SET tries = tries + 1, mark = nullif(mark, 'RETRY'),
    due = clock_timestamp() + $4 * interval '1 second'
WHERE mch_id = $1 AND out_trade_no = $2 AND fingerprint = $3"""
_CLOSE = """
UPDATE set_aside SET closed = true WHERE mch_id = $1 AND out_trade_no = $2 AND fingerprint = $3"""
_ORDER = "SELECT * FROM paid_orders WHERE mch_id = $1 AND out_trade_no = $2"
_MESSAGE = "SELECT * FROM set_aside WHERE mch_id = $1 AND out_trade_no = $2 AND fingerprint = $3"
_OPEN = """
SELECT * FROM set_aside WHERE mch_id = $1 AND out_trade_no = $2 AND NOT closed
ORDER BY first_seen"""
_DUE_ORDERS = """
SELECT * FROM paid_orders WHERE state = 'HELD' AND due <= clock_timestamp()
ORDER BY first_seen LIMIT $1"""
_DUE_ASIDES = """
SELECT * FROM set_aside WHERE NOT closed AND (due <= clock_timestamp() OR mark IS NOT NULL)
ORDER BY first_seen LIMIT $1"""
_COUNT = """
SELECT (SELECT count(*) FROM set_aside WHERE mch_id = $1 AND out_trade_no = $2 AND NOT closed),
    count(DISTINCT out_trade_no), coalesce(bool_or(out_trade_no = $2), false)
FROM set_aside WHERE mch_id = $1 AND "foreign" AND NOT closed"""


class AsyncpgInbox:
    """Each order takes effect exactly once, where ``on_paid`` writes on the connection it gets."""

    window = timedelta(days=35)
    lends_connection = True

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    async def look(self, key: OrderKey) -> Record | None:
        return await _read(self.pool, key)

    @asynccontextmanager
    async def lock(self, key: OrderKey, _entry: Entry) -> AsyncGenerator[MyLockedOrder | None]:
        try:
            async with self.pool.acquire() as connection, connection.transaction():
                lock = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"
                is_mine = await connection.fetchval(lock, json.dumps(key))
                before = await _read(connection, key)
                is_done = before is not None and before.state is SeenState.DONE
                yield MyLockedOrder(connection, key, before) if is_mine or is_done else None
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as error:
            raise LookAgainError("PostgreSQL has rolled it back for somebody else") from error

    async def set_aside(self, aside: Aside, *, retry_in: float | None) -> bool:
        key = aside.key
        async with self.pool.acquire() as connection, connection.transaction():
            one_at_a_time = "SELECT pg_advisory_xact_lock(hashtextextended($1, 1))"
            await connection.execute(one_at_a_time, key.mch_id)
            before = await connection.fetchrow(_MESSAGE, *key, aside.fingerprint)
            if before is None:
                messages, orders, of_it = await connection.fetchrow(_COUNT, *key)
                check_room(aside, messages=messages, of_it=of_it, orders=orders)
            elif before["closed"]:
                return False
            told = (aside.decision, aside.reason, aside.payload, aside.first_seen, aside.foreign)
            await connection.execute(_SET_ASIDE, *key, aside.fingerprint, *told, retry_in)
            return before is None or before["decision"] != aside.decision

    async def postpone(self, aside: Aside, *, retry_in: float | None) -> None:
        await self.pool.execute(_POSTPONE, *aside.key, aside.fingerprint, retry_in)

    async def close(self, aside: Aside) -> None:
        await self.pool.execute(_CLOSE, *aside.key, aside.fingerprint)

    async def asides(self, key: OrderKey) -> Sequence[Aside]:
        return [_aside(row) for row in await self.pool.fetch(_OPEN, *key)]

    async def aside(self, key: OrderKey, fingerprint: str) -> Aside | None:
        row = await self.pool.fetchrow(_MESSAGE, *key, fingerprint)
        return None if row is None else _aside(row)

    async def unfinished(self, limit: int) -> Sequence[Record | Aside]:
        due = await self.pool.fetch(_DUE_ORDERS, limit) + await self.pool.fetch(_DUE_ASIDES, limit)
        oldest = sorted(due, key=lambda row: row["first_seen"])[:limit]
        return [_aside(row) if "fingerprint" in row else _record(row) for row in oldest]


class MyLockedOrder:
    """The order's advisory lock is held by the transaction that is open on the connection."""

    def __init__(self, connection: Any, key: OrderKey, before: Record | None) -> None:
        self._connection = connection
        self._key = key
        self.before = before

    @asynccontextmanager
    async def lend(self) -> AsyncGenerator[Any]:
        mine = await self._connection.fetchval("SELECT pg_current_xact_id()::text")
        yield self._connection
        if await self._connection.fetchval("SELECT pg_current_xact_id()::text") != mine:
            raise TransactionEndedError("on_paid has ended the transaction that it was lent")

    async def save(
        self,
        state: SeenState,
        entry: Entry,
        *,
        failures: int = 0,
        reason: str = "",
        retry_in: float = 0.0,
    ) -> None:
        text = json.dumps(attrs.asdict(entry) | {"first_seen": entry.first_seen.isoformat()})
        told = (state, text, entry.first_seen, failures, reason, retry_in)
        await self._connection.execute(_SAVE, *self._key, *told)


async def _read(connection: Any, key: OrderKey) -> Record | None:
    row = await connection.fetchrow(_ORDER, *key)
    return None if row is None else _record(row)


def _record(row: Any) -> Record:
    fields = json.loads(row["entry"])
    fields["first_seen"] = datetime.fromisoformat(fields["first_seen"])
    fields["other_numbers"] = tuple(fields["other_numbers"])
    return Record(
        key=OrderKey(row["mch_id"], row["out_trade_no"]),
        state=SeenState(row["state"]),
        entry=Entry(**fields),
        failures=row["failures"],
        reason=row["reason"],
        token=row["token"],
    )


def _aside(row: Any) -> Aside:
    fields = {name: row[name] for name in ("fingerprint", "decision", "reason", "payload")}
    return Aside(
        key=OrderKey(row["mch_id"], row["out_trade_no"]),
        **fields,
        first_seen=row["first_seen"],
        tries=row["tries"],
        mark=None if row["mark"] is None else Mark(row["mark"]),
        foreign=row["foreign"],
    )


@asynccontextmanager
async def own_inbox_at(url: str, *, connections: int = 5) -> AsyncGenerator[AsyncpgInbox]:
    async with asyncpg.create_pool(url, min_size=1, max_size=connections) as pool:
        await pool.execute(TABLES)
        yield AsyncpgInbox(pool)
