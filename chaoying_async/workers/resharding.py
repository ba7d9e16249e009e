"""Cuts a fleet's orders into another number of shards, while nobody serves them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs
from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.exceptions import StoreError, StoreTrouble, UsageError
from chaoying_async.pollstore.failures import told
from chaoying_async.sql.dialects import dialect_of
from chaoying_async.sql.transactions import limited, whole
from chaoying_async.workers.database import FLEET, Sharding
from chaoying_async.workers.tables import FleetTables
from chaoying_async.workers.watching import slot_in

#: How many rows get another slot at a time.
_PAGE = 2000
#: Seconds for which the transaction may be idle: its locks keep every process from serving.
_IDLE = 60.0
#: How many workers are named where they are in the way.
_NAMED = 5


async def reshard(
    engine: AsyncEngine,
    tables: FleetTables,
    clock: Clock,
    shards: int,
    *,
    by_merchant: bool | None = None,
) -> tuple[Sharding, Sharding]:
    """Cut the fleet anew, in one transaction; returns how it was cut, and how it is.

    :class:`UsageError` while somebody serves: it names who. ``by_merchant`` None leaves that as it
    is. Every row keeps its mark, in the new numbers, so nothing is waited for twice or by nobody.
    Every shard's token grows, so an owner that was stopped meanwhile writes nothing when it wakes.
    """
    with told():
        return await whole(
            engine, _reshard(engine, tables, dialect_of(engine).timed(clock), shards, by_merchant)
        )


async def _reshard(
    engine: AsyncEngine,
    tables: FleetTables,
    time: dict[str, int],
    shards: int,
    by_merchant: bool | None,  # noqa: FBT001 - as it was given
) -> tuple[Sharding, Sharding]:
    rows, columns, owners = tables.rows, tables.rows.c, tables.shards
    workers = tables.workers
    now = dialect_of(engine).now
    async with limited(engine, _IDLE) as connection:
        # A write comes first: it waits for workers that are entering, and keeps others out.
        of_fleet = workers.c.name == FLEET
        await connection.execute(update(workers).where(of_fleet).values(held_until=0))
        found = (await connection.execute(select(workers.c.body).where(of_fleet))).first()
        if found is None:
            raise StoreError("there is no fleet in this database", kind=StoreTrouble.TABLE_MISSING)
        before = Sharding(**json.loads(found.body))
        changed = before.by_merchant if by_merchant is None else by_merchant
        after = Sharding(shards, changed)
        await _check_nobody_serves(connection, tables, now, time)
        if after.by_merchant is not before.by_merchant:
            await _new_slots(connection, tables, by_merchant=after.by_merchant)
        mine = columns.shard >= 0
        await connection.execute(update(rows).where(mine).values(shard=columns.slot % shards))
        await connection.execute(update(owners).values(token=owners.c.token + 1, held_until=0))
        text = json.dumps(attrs.asdict(after))
        await connection.execute(update(workers).where(of_fleet).values(body=text))
    return before, after


async def _check_nobody_serves(
    connection: AsyncConnection, tables: FleetTables, now: Any, time: dict[str, int]
) -> None:
    workers, owners = tables.workers.c, tables.shards.c
    live = select(workers.name).where(workers.name != FLEET, workers.held_until > now)
    names: Sequence[str] = (await connection.execute(live, time)).scalars().all()
    held = select(owners.id).where(owners.held_until > now)
    taken = (await connection.execute(held, time)).scalars().all()
    if names or taken:
        who = ", ".join(sorted(names)[:_NAMED]) or "a process that was just killed"
        if len(names) > _NAMED:
            who = f"{who} and {len(names) - _NAMED} more"
        raise UsageError(
            f"{who} serves {len(taken)} shards: end all pollers of this fleet first (what was"
            " killed counts until its lease has run out)"
        )


async def _new_slots(
    connection: AsyncConnection, tables: FleetTables, *, by_merchant: bool
) -> None:
    rows, columns = tables.rows, tables.rows.c
    # What has another key stays where it is: some newer version wrote it.
    page = select(columns.seq, columns.item).order_by(columns.seq).limit(_PAGE)
    change = update(rows).where(columns.seq == bindparam("p_seq")).values(slot=bindparam("p_slot"))
    last = -1
    while found := (await connection.execute(page.where(columns.seq > last))).all():
        last = found[-1].seq
        slots = [
            {"p_seq": row.seq, "p_slot": slot}
            for row in found
            if (slot := slot_in(row.item, by_merchant=by_merchant)) is not None
        ]
        if slots:
            await connection.execute(change, slots)
