"""The two tables of an inbox, the same for every database, as far as they can be the same.

Moments are whole microseconds since 1970 (UTC): they sort, subtract and survive every time zone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

#: SQLAlchemy calls MariaDB either, by how the address begins.
MYSQL_NAMES = ("mysql", "mariadb")

DEFAULT_PREFIX = "chaoying_"

#: Characters of a key; a MariaDB whose sql_mode is not strict would cut off the rest in silence.
LONGEST_MCH_ID, LONGEST_NUMBER = 64, 128

_TABLE: dict[str, Any] = {
    f"{name}_{option}": value
    for name in MYSQL_NAMES
    for option, value in (
        ("engine", "InnoDB"),
        ("charset", "utf8mb4"),
        ("collate", "utf8mb4_bin"),
    )
}


def _exact(characters: int) -> TypeEngine[str]:
    """Text where every byte counts (M-18): MariaDB's own texts ignore trailing blanks, or case."""
    return (
        String(characters)
        .with_variant(postgresql.VARCHAR(characters, collation="C"), "postgresql")
        .with_variant(
            mysql.VARCHAR(characters, charset="utf8mb4", collation="utf8mb4_nopad_bin"),
            *MYSQL_NAMES,
        )
    )


def _long() -> TypeEngine[str]:
    return Text().with_variant(mysql.MEDIUMTEXT(), *MYSQL_NAMES)


def orders_table(metadata: MetaData, prefix: str) -> Table:
    """One row for each order that was ever claimed, or failed."""
    return Table(
        f"{prefix}orders",
        metadata,
        Column("mch_id", _exact(LONGEST_MCH_ID), primary_key=True),
        Column("out_trade_no", _exact(LONGEST_NUMBER), primary_key=True),
        Column("state", String(16), nullable=False),
        #: Fencing: grows with every claim, release and quarantine.
        Column("token", BigInteger, nullable=False),
        #: When the claim's lease ends; 0: nobody holds it.
        Column("held_until", BigInteger, nullable=False),
        #: Not before then, after a failure; 0: at once.
        Column("due", BigInteger, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("reason", Text, nullable=False),
        Column("first_seen", BigInteger, nullable=False),
        Column("payload", _long(), nullable=False),
        Column("payable", BigInteger),
        Column("transaction_id", Text),
        Column("out_transaction_id", Text),
        Column("source", Text, nullable=False),
        Column("decision", Text, nullable=False),
        Index(f"{prefix}orders_state", "state", "first_seen"),
        **_TABLE,
    )


def asides_table(metadata: MetaData, prefix: str) -> Table:
    """One row for each message that could not take effect."""
    return Table(
        f"{prefix}asides",
        metadata,
        Column("mch_id", _exact(LONGEST_MCH_ID), primary_key=True),
        Column("out_trade_no", _exact(LONGEST_NUMBER), primary_key=True),
        Column("fingerprint", _exact(64), primary_key=True),
        Column("decision", String(64), nullable=False),
        Column("reason", Text, nullable=False),
        Column("payload", _long(), nullable=False),
        Column("first_seen", BigInteger, nullable=False),
        Column("tries", Integer, nullable=False),
        Column("mark", String(16)),
        #: When it is to be looked at again; NULL: not by itself.
        Column("due", BigInteger),
        Column("closed", Boolean, nullable=False),
        Index(f"{prefix}asides_closed", "closed", "first_seen"),
        **_TABLE,
    )


def inbox_metadata(table_prefix: str = DEFAULT_PREFIX) -> MetaData:
    """The tables alone, without an engine: for ``target_metadata`` in Alembic's ``env.py``."""
    metadata = MetaData()
    orders_table(metadata, table_prefix)
    asides_table(metadata, table_prefix)
    return metadata
