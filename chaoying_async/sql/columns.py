"""Columns and tables that mean the same in every database (M-18)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

from chaoying_async.sql.dialects import MYSQL_NAMES

DEFAULT_PREFIX = "chaoying_"

#: What ``Table`` is given beside its columns: MariaDB's engine and character set.
TABLE_OPTIONS: dict[str, Any] = {
    f"{name}_{option}": value
    for name in MYSQL_NAMES
    for option, value in (
        ("engine", "InnoDB"),
        ("charset", "utf8mb4"),
        ("collate", "utf8mb4_bin"),
    )
}


def exact_text(characters: int) -> TypeEngine[str]:
    """Text where every byte counts: MariaDB's usual collations ignore trailing blanks, or case."""
    return (
        String(characters)
        .with_variant(postgresql.VARCHAR(characters, collation="C"), "postgresql")
        .with_variant(
            mysql.VARCHAR(characters, charset="utf8mb4", collation="utf8mb4_nopad_bin"),
            *MYSQL_NAMES,
        )
    )


def long_text() -> TypeEngine[str]:
    """Text of more than MariaDB's 64 kB."""
    return Text().with_variant(mysql.MEDIUMTEXT(), *MYSQL_NAMES)
