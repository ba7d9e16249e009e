"""The rows of a fleet that name one order, read beside whoever serves it: nothing is taken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.pollstore.failures import told
from chaoying_async.sansio.stored import spellings
from chaoying_async.sql.dialects import EPOCH, dialect_of
from chaoying_async.sql.transactions import rows_of, whole
from chaoying_async.workers.tables import FleetTables

#: An order has a handful; of more, the first ones.
_MOST = 500


@attrs.frozen(kw_only=True)
class FleetRow:
    """One row: what is waited for, an outcome on its way, or a business order's record."""

    kind: str
    item: str = attrs.field(repr=False)
    body: str = attrs.field(repr=False)
    written: datetime
    """When the row was written, on the database's clock."""
    tries: int
    """How often its delivery has failed."""


async def rows_naming(
    engine: AsyncEngine, tables: FleetTables, clock: Clock, number: str
) -> Sequence[FleetRow]:
    """Every row in which that number stands, oldest first; it may be another order's too.

    Each row of the fleet is looked at, by the database. A
    :class:`~chaoying_async.exceptions.StoreError` where there is no fleet.
    """
    columns = tables.rows.c
    named = (
        each.contains(spelt, autoescape=True)
        for each in (columns.item, columns.body)
        for spelt in spellings(number)
    )
    naming = (
        select(columns.kind, columns.item, columns.body, columns.created, columns.tries)
        .where(or_(*named))
        .order_by(columns.seq)
        .limit(_MOST)
    )

    async def read() -> Sequence[FleetRow]:
        found = await rows_of(engine, naming, dialect_of(engine).timed(clock))
        return [
            FleetRow(
                kind=row.kind,
                item=row.item,
                body=row.body,
                written=EPOCH + timedelta(microseconds=int(row.created)),
                tries=int(row.tries),
            )
            for row in found
        ]

    with told():
        return await whole(engine, read())
