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


def owner_table(metadata: MetaData, prefix: str) -> Table:
    """A single row: who owns the store. Moments are microseconds since 1970 (UTC)."""
    return Table(
        f"{prefix}polls_owner",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        #: Fencing: grows with every change of hands, and every write names it.
        Column("token", BigInteger, nullable=False),
        #: When the lease ends; 0: the owner gave the store back.
        Column("held_until", BigInteger, nullable=False),
        Column("lease", BigInteger, nullable=False),
        **TABLE_OPTIONS,
    )


@lru_cache(maxsize=16)
def store_tables(prefix: str) -> tuple[MetaData, Table, Table]:
    """Both tables, the same ones for every store: what was compiled for one serves the next."""
    metadata = MetaData()
    return metadata, texts_table(metadata, prefix), owner_table(metadata, prefix)


def pollstore_metadata(table_prefix: str = DEFAULT_PREFIX) -> MetaData:
    """The tables alone, without an engine: for ``target_metadata`` in Alembic's ``env.py``."""
    metadata = MetaData()
    texts_table(metadata, table_prefix)
    owner_table(metadata, table_prefix)
    return metadata
