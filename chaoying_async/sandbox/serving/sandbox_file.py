"""The sandbox's memory in a SQLite file: the books, and what people who look on may want to see.

Every step of the books is written before its reply leaves: what a client was told is there after a
crash of the process. One process at a time may have the file open, and only its owner may read it,
since orders name their buyers.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs
from cattrs.preconf.json import make_converter

from chaoying_async.sandbox.bank.entities import (
    BookedRefund,
    Ledger,
    Merchant,
    Order,
    SmsCode,
    Terminal,
)
from chaoying_async.sandbox.bank.table import Table

T = TypeVar("T", bound=attrs.AttrsInstance)

_CONVERTER = make_converter()

#: Part of the ledger to what it holds; keys are text, or pairs of text.
_PARTS: dict[str, Any] = {
    "orders": Order,
    "refunds": BookedRefund,
    "numbers": tuple[str, str],
    "merchants": Merchant,
    "bound": str,
    "sms": SmsCode,
    "js_codes": str,
    "terminals": Terminal,
}
_SETTINGS = "settings"
_OWNER_ONLY = 0o600

_SCHEMA = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS entry (
    part TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (part, key)
) WITHOUT ROWID;
"""
_HAPPENED = """
CREATE TABLE IF NOT EXISTS happened (
    kind TEXT NOT NULL, number INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, number)
) WITHOUT ROWID
"""
_PUT = "INSERT INTO entry VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"


#: The names in a file of classes that are called otherwise today.
_STORED_NAMES = {"JournalEntry": "Entry"}
#: After so many additions the oldest of a kind are looked for.
_ROUND = 50


class SandboxFile:
    """The books in a file. One that is unreadable, or busy for a second, is an :class:`OSError`."""

    def __init__(self, path: str) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, _OWNER_ONLY))
        self._connection = sqlite3.connect(path, timeout=1.0, isolation_level=None)
        try:
            self._connection.executescript(_SCHEMA)
            #: What happened, for people who look on.
            self.chronicle = Chronicle(self._connection)
            self._connection.execute("DELETE FROM entry WHERE part = 'nothing'")  # takes the lock
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise OSError(f"{path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def load(self) -> Ledger | None:
        """The books that the file holds; None for a new file."""
        rows = self._connection.execute("SELECT part, key, value FROM entry")
        found: dict[str, Table[Any, Any]] = {part: Table() for part in _PARTS}
        with _readable():
            for part, key, value in rows:
                if part in found:
                    held = _CONVERTER.structure(json.loads(value), _PARTS[part])
                    found[part] = found[part].put(_key(key), held)
            serial = self.setting("serial")
            return None if serial is None else Ledger(serial=int(serial), **found)

    def save(self, older: Ledger, newer: Ledger) -> None:
        """Write the changes between two ledgers, all or none of them."""
        changes = list(_changes(older, newer))
        if not changes:
            return
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(_PUT, changes)

    def setting(self, name: str) -> str | None:
        """A value that the sandbox keeps besides the books, such as its seed."""
        query = "SELECT value FROM entry WHERE part = ? AND key = ?"
        row = self._connection.execute(query, (_SETTINGS, name)).fetchone()
        return None if row is None else str(row[0])

    def set(self, name: str, value: str) -> None:
        """Keep a value under a name."""
        self._connection.execute(_PUT, (_SETTINGS, name, value))


class Chronicle:
    """What happened lately: notes, deliveries and messages, kept in the file beside the books.

    With it a restart shows the life of an order as it was. It is written after the books, so the
    last moment before a crash may be missing; ``kept`` bounds each kind. Whoever adds something has
    masked it: nothing personal is kept (M-27).
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(_HAPPENED)
        last = connection.execute("SELECT kind, max(number) FROM happened GROUP BY kind")
        self._last: Counter[str] = Counter(dict(last))

    def add(self, thing: attrs.AttrsInstance, kept: int) -> None:
        """Keep one more of its kind; of more than ``kept``, the oldest are deleted."""
        kind = _stored_name(type(thing))
        self._last[kind] = number = self._last[kind] + 1
        value = json.dumps(_CONVERTER.unstructure(thing), ensure_ascii=False)
        self._connection.execute("INSERT INTO happened VALUES (?, ?, ?)", (kind, number, value))
        if number % _ROUND == 0:
            forget = "DELETE FROM happened WHERE kind = ? AND number <= ?"
            self._connection.execute(forget, (kind, number - kept))

    def load(self, kind: type[T], kept: int) -> list[T]:
        """The latest of a kind, oldest first."""
        query = "SELECT value FROM happened WHERE kind = ? ORDER BY number DESC LIMIT ?"
        rows = self._connection.execute(query, (_stored_name(kind), kept)).fetchall()
        with _readable():
            return [_CONVERTER.structure(json.loads(value), kind) for (value,) in reversed(rows)]


@contextmanager
def _readable() -> Generator[None]:
    """An :class:`OSError` where another version wrote what is read inside, or a hand changed it."""
    try:
        yield
    except sqlite3.Error:
        raise
    except Exception as error:
        raise OSError(
            "the sandbox's file holds what this version cannot read: take the version that wrote"
            " it, or another file"
        ) from error


def _stored_name(kind: type[Any]) -> str:
    return _STORED_NAMES.get(kind.__name__, kind.__name__)


def _changes(older: Ledger, newer: Ledger) -> Iterator[tuple[str, str, str]]:
    for part in _PARTS:
        for key, value in getattr(newer, part).changed_since(getattr(older, part)):
            held = _CONVERTER.unstructure(value) if attrs.has(type(value)) else value
            yield part, json.dumps(key), json.dumps(held, ensure_ascii=False)
    if newer.serial != older.serial:
        yield _SETTINGS, "serial", str(newer.serial)


def _key(text: str) -> Any:
    key = json.loads(text)
    return tuple(key) if isinstance(key, list) else key
