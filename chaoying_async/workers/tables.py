"""The tables of a fleet: its rows, its shards, its workers; as alike as they can be everywhere.

A row is one of three things, told by its ``kind``: what is waited for (an order, a payment, a
refund), an outcome that is still to be delivered, or the record of a business order.
"""

from __future__ import annotations

from functools import lru_cache

import attrs
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, UniqueConstraint

from chaoying_async.pollstore.sql.tables import LONGEST_KEY, LONGEST_KIND, owners_table
from chaoying_async.sql.columns import DEFAULT_PREFIX, TABLE_OPTIONS, exact_text, long_text

#: In place of a shard: nobody's mark is on the row yet, so the owner of its slot takes it up.
FRESH = -1
#: In place of a shard: nobody takes the row up; it is read by its key.
KEPT = -2

#: The kind of the row of one watch: each has a row of its own, under the number in its key. Rows of
#: the kind ``poll`` have no such number: an earlier version wrote them, one for each order.
WATCH = "watch"

#: In place of a task's name: the order names none, so the process that serves it does.
NO_TASK = ""

#: Characters of a task's name and of a worker's.
LONGEST_NAME = 255


@attrs.frozen
class FleetTables:
    """The tables of one prefix."""

    prefix: str
    metadata: MetaData
    rows: Table
    shards: Table
    workers: Table


def rows_table(metadata: MetaData, prefix: str) -> Table:
    """What is waited for, and what is to be delivered. Moments are microseconds since 1970."""
    return Table(
        f"{prefix}fleet",
        metadata,
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        #: Whose mark is on the row: a shard's number, FRESH or KEPT.
        Column("shard", Integer, nullable=False),
        #: The order's place among all orders; modulo the number of shards it is a shard.
        Column("slot", Integer, nullable=False),
        Column("kind", exact_text(LONGEST_KIND), nullable=False),
        Column("item", exact_text(LONGEST_KEY), nullable=False),
        Column("body", long_text(), nullable=False),
        #: The name of the task that gets the outcome.
        Column("then", exact_text(LONGEST_NAME), nullable=False),
        #: When the row was written, and when something is to be done about it at the earliest.
        Column("created", BigInteger, nullable=False),
        Column("due", BigInteger, nullable=False),
        #: How often its delivery has failed.
        Column("tries", Integer, nullable=False),
        UniqueConstraint("kind", "item", name=f"{prefix}fleet_item"),
        Index(f"{prefix}fleet_shard", "shard", "kind", "seq"),
        # SQLite would give a number out again, and with it the id of an outcome that was told.
        sqlite_autoincrement=True,
        **TABLE_OPTIONS,
    )


def workers_table(metadata: MetaData, prefix: str) -> Table:
    """A row for each process that serves shards; and one, without a name, for the whole fleet."""
    return Table(
        f"{prefix}fleet_workers",
        metadata,
        Column("name", exact_text(LONGEST_NAME), primary_key=True),
        #: Until when the process is taken to live.
        Column("held_until", BigInteger, nullable=False),
        #: JSON: what the process says of itself. Of the fleet: how it is cut into shards.
        Column("body", long_text(), nullable=False),
        **TABLE_OPTIONS,
    )


def _made(prefix: str) -> FleetTables:
    metadata = MetaData()
    return FleetTables(
        prefix,
        metadata,
        rows_table(metadata, prefix),
        owners_table(metadata, f"{prefix}fleet_shards"),
        workers_table(metadata, prefix),
    )


#: The same tables for every fleet of a prefix: what was compiled for one serves the next.
fleet_tables = lru_cache(maxsize=16)(_made)


def fleet_metadata(table_prefix: str = DEFAULT_PREFIX) -> MetaData:
    """The tables alone, without an engine: for ``target_metadata`` in Alembic's ``env.py``."""
    return _made(table_prefix).metadata
