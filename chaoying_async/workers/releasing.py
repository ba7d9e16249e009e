"""Lets a business order of a fleet be charged again, when a person found that it is unpaid.

A checkout that ended UNKNOWN, PAID, PAID_EARLIER or PAID_AFTER_CANCEL bars its order in every
process. Records are read and written here beside whoever serves: nothing is taken from anybody.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs
from sqlalchemy import ColumnElement, Executable, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.exceptions import AttemptInProgressError, UsageError
from chaoying_async.sansio.payments.intent import (
    CHECKOUT,
    ORDER,
    OrderRecord,
    intent_in,
    key_of,
    number_in,
    order_record_in,
)
from chaoying_async.sql.dialects import DIALECTS, EPOCH, SqlDialect
from chaoying_async.sql.transactions import connected, limited
from chaoying_async.workers.database import FLEET, Sharding
from chaoying_async.workers.log_texts import log
from chaoying_async.workers.tables import KEPT, FleetTables

#: Seconds for which the transaction may be idle: its lock keeps the tills of this order waiting.
_IDLE = 10.0
#: Seconds for which a till may be at work on an attempt that nobody has marked, and more.
_SENDING = 600.0


@attrs.frozen
class BarredOrder:
    """A fleet's record of one business order, as it was read."""

    text: str = attrs.field(repr=False)
    record: OrderRecord | None
    """None: this version cannot read it."""

    @property
    def free(self) -> bool:
        """Whether another attempt may be made without anybody's word."""
        return self.record is not None and self.record.free

    @property
    def how(self) -> str:
        """How its last attempt ended, for people."""
        if self.record is None:
            return "its record cannot be read"
        if self.record.status is None:
            return f"nobody knows how its last attempt {self.record.out_trade_no} ended"
        return f"its last attempt {self.record.out_trade_no} ended {self.record.status}"

    def members(self) -> dict[str, str | None]:
        """The last attempt and how it ended, for programs."""
        if self.record is None:
            return {"out_trade_no": None, "status": None}
        return {"out_trade_no": self.record.out_trade_no, "status": self.record.status}

    @classmethod
    def of(cls, text: str) -> BarredOrder:
        """The record in a row's text."""
        try:
            return cls(text, order_record_in(text))
        except ValueError:
            return cls(text, None)


async def kept_order(
    engine: AsyncEngine, tables: FleetTables, mch_id: str, order_no: str
) -> BarredOrder | None:
    """What the fleet keeps of a business order; None where it never charged one of that number."""
    async with connected(engine) as connection:
        text = await _text(connection, tables, ORDER, key_of(mch_id, order_no))
    return None if text is None else BarredOrder.of(text)


async def release(
    engine: AsyncEngine,
    tables: FleetTables,
    clock: Clock,
    mch_id: str,
    order_no: str,
    *,
    seen: BarredOrder | None = None,
) -> BarredOrder | None:
    """Let the order be charged again; what was kept of it before, None where nothing was.

    :class:`AttemptInProgressError` while its last attempt is under way, or its outcome not written
    down, or while another version may be at work on an attempt that this one cannot read. Where
    the record is not the one that was ``seen``: :class:`UsageError`.
    """
    key = key_of(mch_id, order_no)
    rows, columns = tables.rows, tables.rows.c
    mine = columns.kind == ORDER, columns.item == key, columns.shard == KEPT
    async with limited(engine, _IDLE) as connection:
        attempts = _Attempts(connection, tables, clock)
        # A write comes first: no attempt begins from here on, nor did one since the record was
        # read. Who charges an order writes its record and the attempt together.
        await connection.execute(update(rows).where(*mine).values(tries=0))
        text = await _text(connection, tables, ORDER, key)
        found = None if text is None else BarredOrder.of(text)
        if seen is not None and found != seen:
            raise UsageError(
                f"the record of order {order_no} has changed since it was shown: look at it again"
            )
        if found is None or found.free:
            return found
        if found.record is None:
            await attempts.check_none(mch_id, key)
            await connection.execute(delete(rows).where(*mine))
        else:
            await attempts.end(key_of(mch_id, found.record.out_trade_no))
            now = EPOCH + timedelta(microseconds=await attempts.now())
            released = found.record.release(now).text()
            await connection.execute(update(rows).where(*mine).values(body=released))
    log.warning("order %s may be charged again: a person released it (%s)", key, found.how)
    return found


@attrs.frozen
class _Attempts:
    """What a fleet is at work on, as the transaction sees it that releases an order."""

    connection: AsyncConnection
    tables: FleetTables
    clock: Clock

    async def now(self) -> int:
        """Microseconds since 1970, on the database's clock."""
        return int((await self._executed(select(self._dialect.now))).scalar_one())

    async def end(self, key: str) -> None:
        """See that an attempt is over; one that nobody can read ends here, since a person knows.

        Its row would stay for ever: no process asks about what it cannot read.
        """
        columns = self.tables.rows.c
        for row in await self._rows(columns.item == key):
            if _order_of(row) is not None:
                raise _under_way(row)
            await self._check_nobody_has(row)
            same = columns.seq == row.seq, columns.kind == CHECKOUT, columns.body == row.body
            await self._executed(delete(self.tables.rows).where(*same))

    async def check_none(self, mch_id: str, order_key: str) -> None:
        """See that no attempt of an order is under way, where its record does not name the last.

        One that cannot be read may be this order's, where the merchant is the same.
        """
        begins = key_of(mch_id, "")[:-2]
        for row in await self._rows(self.tables.rows.c.item.startswith(begins, autoescape=True)):
            of_order = _order_of(row)
            if of_order is None:
                await self._check_nobody_has(row)
            elif of_order == order_key:
                raise _under_way(row)

    async def _rows(self, which: ColumnElement[bool]) -> Sequence[Any]:
        columns = self.tables.rows.c
        reading = select(columns.seq, columns.shard, columns.slot, columns.item, columns.body)
        mine = columns.kind == CHECKOUT, columns.body != "", which
        age = (self._dialect.now - columns.created).label("age")
        found: Sequence[Any] = (await self._executed(reading.add_columns(age).where(*mine))).all()
        return found

    async def _check_nobody_has(self, row: Any) -> None:
        """Of an attempt that this version cannot read: see that no other version is at work on it.

        Two versions may serve side by side, and a newer one's till may be sending.
        """
        number = number_in(row.item)[1]
        shard = row.shard if row.shard >= 0 else await self._shard_of(row.slot)
        if shard is not None and await self._is_served(shard):
            raise AttemptInProgressError(
                f"{number} may be under way: this version cannot read it, and a process of the "
                f"fleet serves shard {shard} of it. Call this in the version that the fleet's "
                "processes have; where that cannot read it either, end those that serve this shard"
            )
        if row.shard < 0 and row.age < _SENDING * 1_000_000:
            raise AttemptInProgressError(
                f"{number} may be under way: this version cannot read it, and it began less than "
                "10 minutes ago. Call this in the version that the fleet's processes have; where "
                "that cannot read it either, wait until it is older"
            )

    async def _shard_of(self, slot: int) -> int | None:
        """The shard whose owner takes up what nobody has marked; None where there is no fleet."""
        workers = self.tables.workers.c
        reading = select(workers.body).where(workers.name == FLEET)
        text = (await self._executed(reading)).scalar_one_or_none()
        return None if text is None else slot % Sharding(**json.loads(text)).shards

    async def _is_served(self, shard: int) -> bool:
        """Whether a shard has an owner; where not, nobody takes it before the transaction ends."""
        columns = self.tables.shards.c
        left = select(columns.held_until - self._dialect.now).where(columns.id == shard)
        for reading in (left, left.with_for_update(read=True)):  # an owner's row is not locked
            found = (await self._executed(reading)).scalar_one_or_none()
            if found is not None and found > 0:
                return True
        return False

    @property
    def _dialect(self) -> SqlDialect:
        return DIALECTS[self.connection.dialect.name]

    async def _executed(self, statement: Executable) -> Any:
        return await self.connection.execute(statement, self._dialect.timed(self.clock))


def _order_of(row: Any) -> str | None:
    """The key of the order that an attempt is for; None where this version cannot read it."""
    try:
        return intent_in(row.body).order_key
    except ValueError:
        return None


def _under_way(row: Any) -> AttemptInProgressError:
    return AttemptInProgressError(
        f"{number_in(row.item)[1]} is under way: the fleet finds out how it ended, and tells its "
        "task, before anybody can say more"
    )


async def _text(
    connection: AsyncConnection, tables: FleetTables, kind: str, key: str
) -> str | None:
    columns = tables.rows.c
    reading = select(columns.body).where(columns.kind == kind, columns.item == key)
    text: Any = (await connection.execute(reading)).scalar_one_or_none()
    return text or None  # an empty one is being made
