"""The two tables of a store, the same for every database, as far as they can be the same."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

#: SQLAlchemy calls MariaDB either, by how the address begins.
MYSQL_NAMES = ("mysql", "mariadb")

DEFAULT_PREFIX = "chaoying_"
#: Characters; both together stand in MariaDB's index, which takes 3072 bytes.
LONGEST_KIND, LONGEST_KEY = 32, 512

_TABLE: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def _exact(characters: int) -> TypeEngine[str]:
    """Text where every byte counts (M-18): MariaDB's usual collations ignore trailing blanks."""
    return (
        String(characters)
        .with_variant(postgresql.VARCHAR(characters, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(characters, collation="utf8mb4_nopad_bin"), *MYSQL_NAMES)
    )


def texts_table(metadata: MetaData, prefix: str) -> Table:
    """One row for each text; ``seq`` is the order in which they first came."""
    return Table(
        f"{prefix}polls",
        metadata,
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("kind", _exact(LONGEST_KIND), nullable=False),
        Column("item", _exact(LONGEST_KEY), nullable=False),
        Column("body", Text().with_variant(mysql.MEDIUMTEXT(), *MYSQL_NAMES), nullable=False),
        UniqueConstraint("kind", "item", name=f"{prefix}polls_item"),
        **_TABLE,
    )


def owner_table(metadata: MetaData, prefix: str) -> Table:
    """A single row: who owns the store. Moments are microseconds since 1970 (UTC)."""
    return Table(
        f"{prefix}polls_owner",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        #: Fencing: grows with every change of hands, and every write names it.
        Column("token", BigInteger, nullable=False),
        #: When the lease ends; 0: it was given back.
        Column("held_until", BigInteger, nullable=False),
        Column("lease", BigInteger, nullable=False),
        **_TABLE,
    )


def pollstore_metadata(table_prefix: str = DEFAULT_PREFIX) -> MetaData:
    """The tables alone, without an engine: for ``target_metadata`` in Alembic's ``env.py``."""
    metadata = MetaData()
    texts_table(metadata, table_prefix)
    owner_table(metadata, table_prefix)
    return metadata
