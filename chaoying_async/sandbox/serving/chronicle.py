"""What happened, kept in the file beside the books: the latest notes, deliveries and messages.

A restart then shows the life of an order as it was. It is for people who look on, not for the
money: written after the books, so the last moment before a crash may be missing, and bounded, so
the oldest is forgotten. Nothing personal is kept: whoever adds something has masked it (M-27).
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from typing import TypeVar

import attrs
from cattrs.preconf.json import make_converter

T = TypeVar("T", bound=attrs.AttrsInstance)

_CONVERTER = make_converter()

_SCHEMA = """
CREATE TABLE IF NOT EXISTS happened (
    kind TEXT NOT NULL, number INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, number)
) WITHOUT ROWID
"""
#: So many are added before the oldest are looked for.
_ROUND = 50


class Chronicle:
    """Lists in a SQLite file, one for each class of what is kept; ``kept`` bounds each of them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(_SCHEMA)
        last = connection.execute("SELECT kind, max(number) FROM happened GROUP BY kind")
        self._last: Counter[str] = Counter(dict(last))

    def add(self, thing: attrs.AttrsInstance, kept: int) -> None:
        """Keep one more of its kind; of more than ``kept``, the oldest are forgotten."""
        kind = type(thing).__name__
        self._last[kind] = number = self._last[kind] + 1
        value = json.dumps(_CONVERTER.unstructure(thing), ensure_ascii=False)
        self._connection.execute("INSERT INTO happened VALUES (?, ?, ?)", (kind, number, value))
        if number % _ROUND == 0:
            forget = "DELETE FROM happened WHERE kind = ? AND number <= ?"
            self._connection.execute(forget, (kind, number - kept))

    def load(self, kind: type[T], kept: int) -> list[T]:
        """The latest of a kind, oldest first."""
        query = "SELECT value FROM happened WHERE kind = ? ORDER BY number DESC LIMIT ?"
        rows = self._connection.execute(query, (kind.__name__, kept)).fetchall()
        return [_CONVERTER.structure(json.loads(value), kind) for (value,) in reversed(rows)]
