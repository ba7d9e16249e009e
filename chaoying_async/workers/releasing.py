"""Lets a business order of a fleet be charged again, when a person found that it is unpaid.

A checkout that ended UNKNOWN, PAID, PAID_EARLIER or PAID_AFTER_CANCEL bars its order in every
process. Records are read and written here beside whoever serves: nothing is taken from anybody.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.exceptions import AttemptInProgressError, UsageError
from chaoying_async.sansio.payments.intent import (
    CHECKOUT,
    ORDER,
    OrderRecord,
    intent_in,
    key_of,
    order_record_in,
)
from chaoying_async.sql.dialects import EPOCH, dialect_of
from chaoying_async.sql.transactions import connected, limited
from chaoying_async.workers.log_texts import log
from chaoying_async.workers.tables import KEPT, FleetTables

#: Seconds for which the transaction may be idle: its lock keeps the tills of this order waiting.
_IDLE = 10.0


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
    down. Where the record is not the one that was ``seen``: :class:`UsageError`.
    """
    dialect, key = dialect_of(engine), key_of(mch_id, order_no)
    rows, columns = tables.rows, tables.rows.c
    mine = columns.kind == ORDER, columns.item == key, columns.shard == KEPT
    async with limited(engine, _IDLE) as connection:
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
            await connection.execute(delete(rows).where(*mine))
        else:
            await _end_attempt(connection, tables, key_of(mch_id, found.record.out_trade_no))
            clocks = select(dialect.now)
            micros = (await connection.execute(clocks, dialect.timed(clock))).scalar_one()
            now = EPOCH + timedelta(microseconds=int(micros))
            released = found.record.release(now).text()
            await connection.execute(update(rows).where(*mine).values(body=released))
    log.warning("order %s may be charged again: a person released it (%s)", key, found.how)
    return found


async def _end_attempt(connection: AsyncConnection, tables: FleetTables, key: str) -> None:
    """See that the last attempt is over; one that nobody can read ends here, since a person knows.

    Its row would stay for ever: no process asks about what it cannot read.
    """
    text = await _text(connection, tables, CHECKOUT, key)
    if text is None:
        return
    try:
        number = intent_in(text).out_trade_no
    except ValueError:
        columns = tables.rows.c
        same = columns.kind == CHECKOUT, columns.item == key, columns.body == text
        await connection.execute(delete(tables.rows).where(*same))
        return
    raise AttemptInProgressError(
        f"{number} is under way: the fleet finds out how it ended, and tells its task, before "
        "anybody can say more"
    )


async def _text(
    connection: AsyncConnection, tables: FleetTables, kind: str, key: str
) -> str | None:
    columns = tables.rows.c
    reading = select(columns.body).where(columns.kind == kind, columns.item == key)
    text: Any = (await connection.execute(reading)).scalar_one_or_none()
    return text or None  # an empty one is being made
