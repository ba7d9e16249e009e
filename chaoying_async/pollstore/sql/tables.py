"""The two tables of a store, as alike as they can be on every database."""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, UniqueConstraint

from chaoying_async.sql.columns import DEFAULT_PREFIX, TABLE_OPTIONS, exact_text, long_text

#: Characters; both together stand in MariaDB's index, which takes 3072 bytes.
LONGEST_KIND, LONGEST_KEY = 32, 512


def texts_table(metadata: MetaData, prefix: str) -> Table:
    """One row for each text; ``seq`` is the order in which they first came."""
    return Table(
        f"{prefix}polls",
        metadata,
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("kind", exact_text(LONGEST_KIND), nullable=False),
        Column("item", exact_text(LONGEST_KEY), nullable=False),
        Column("body", long_text(), nullable=False),
        UniqueConstraint("kind", "item", name=f"{prefix}polls_item"),
        **TABLE_OPTIONS,
    )


def owners_table(metadata: MetaData, name: str) -> Table:
    """Who owns what: one row for a store, or one for each shard of a fleet.

    Moments are microseconds since 1970 (UTC).
    """
    return Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        #: Fencing: grows with every change of hands, and every write names it.
        Column("token", BigInteger, nullable=False),
        #: When the lease ends; 0: nobody has it.
        Column("held_until", BigInteger, nullable=False),
        Column("lease", BigInteger, nullable=False),
        **TABLE_OPTIONS,
    )


def _made(prefix: str) -> tuple[MetaData, Table, Table]:
    metadata = MetaData()
    return metadata, texts_table(metadata, prefix), owners_table(metadata, f"{prefix}polls_owner")


#: Both tables, the same ones for every store of a prefix: what was compiled for one serves the
#: next.
store_tables = lru_cache(maxsize=16)(_made)


def pollstore_metadata(table_prefix: str = DEFAULT_PREFIX) -> MetaData:
    """The tables alone, without an engine: for ``target_metadata`` in Alembic's ``env.py``."""
    return _made(table_prefix)[0]
