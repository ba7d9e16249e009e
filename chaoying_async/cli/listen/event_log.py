"""Keeps verified notifications in a file until they are passed on, over restarts.

Each line is a JSON object. A ``received`` line holds the whole verified body, which has the buyer's
numbers in it, so only the file's owner may read it; the line is on the disk before the gateway is
answered (M-14). A ``forwarded`` line closes it. Nothing unverified is stored (M-15), and no
notification twice, even if somebody who has captured it sends it again in another spelling.

One process at a time may have the file open: two would give the same numbers, and the ``forwarded``
line of one would close what the other one still has to pass on.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, Final, Self

import attrs

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.wire.forms import parse_form

#: Bytes; a log of this size (some fifty thousand notifications) takes nothing more.
LARGEST: Final = 64 * 1024 * 1024
_OWNER_ONLY = 0o600

if sys.platform == "win32":
    import msvcrt

    def _lock(file: FileIO) -> None:
        """Keep other processes out until the file is closed, or raise PermissionError."""
        file.seek(2 * LARGEST)  # the bytes that are locked there cannot be read by others either
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: FileIO) -> None:
        """Keep other processes out until the file is closed, or raise BlockingIOError."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_BEGINNING = b'{"event": "'


@attrs.frozen
class LoggedNotification:
    """One notification: its number in the log, and its body as received."""

    number: int
    out_trade_no: str
    body: bytes = attrs.field(repr=False)


def mark_of(fields: Mapping[str, str]) -> bytes:
    """A digest of a notification's signed fields, however they were written.

    Order, escapes, and empty fields that anybody may add do not change it.
    """
    signed = sorted((name, text) for name, text in fields.items() if text and name != "sign")
    return hashlib.sha256(json.dumps(signed).encode()).digest()


class EventLog:
    """A file to which lines are added. Use with ``with``."""

    def __init__(self, path: Path, *, largest: int = LARGEST) -> None:
        self._path = path
        self._largest = largest
        self._file: FileIO | None = None
        self._last = 0
        self._marks: set[bytes] = set()
        #: Notifications that are not passed on yet, oldest first.
        self.open: dict[int, LoggedNotification] = {}

    def __enter__(self) -> Self:
        opener = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _OWNER_ONLY)
        self._file = os.fdopen(opener, "r+b", buffering=0)  # a failed line is not written later
        try:
            self._only_here(self._file)
            self._resume(self._file)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __contains__(self, mark: bytes) -> bool:
        """Whether the log has a notification with this :func:`mark_of`, passed on or not."""
        return mark in self._marks

    def received(self, body: bytes, at: str, out_trade_no: str) -> LoggedNotification:
        """Write a notification; it is on the disk when this returns, else :class:`OSError`."""
        entry = LoggedNotification(self._last + 1, out_trade_no, body)
        about = {"number": entry.number, "at": at, "out_trade_no": out_trade_no}
        line = {"event": "received", **about, "body": base64.b64encode(body).decode()}
        self._add(line, self._largest)
        self._last, self.open[entry.number] = entry.number, entry
        self._marks.add(_mark_in(body))
        return entry

    def forwarded(self, entry: LoggedNotification, at: str, status: int) -> None:
        """Write that the notification was passed on and accepted."""
        self._add({"event": "forwarded", "number": entry.number, "at": at, "status": status})
        self.open.pop(entry.number, None)

    def _only_here(self, file: FileIO) -> None:
        try:
            _lock(file)
        except (BlockingIOError, PermissionError) as error:
            raise OSError(
                f"{self._path} is in use by another `chaoying listen`: end that one, or name"
                " another file"
            ) from error

    def _resume(self, file: FileIO) -> None:
        file.seek(0)
        *lines, rest = file.read().split(b"\n")
        for line in lines:
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise self._foreign() from error
        if not rest:
            return
        if not rest.startswith(_BEGINNING[: len(rest)]):
            raise self._foreign()
        # A crash in the middle of a line: "success" was not answered yet, so it comes again.
        file.truncate(file.tell() - len(rest))

    def _foreign(self) -> OSError:
        return OSError(f"{self._path} is no event log of `chaoying listen`")

    def _take(self, line: dict[str, Any]) -> None:
        number, event = int(line["number"]), line["event"]
        self._last = max(self._last, number)
        if event == "received":
            body = base64.b64decode(line["body"])
            self.open[number] = LoggedNotification(number, str(line["out_trade_no"]), body)
            self._marks.add(_mark_in(body))
        else:
            self.open.pop(number, None)

    def _add(self, record: dict[str, Any], largest: float = math.inf) -> None:
        if self._file is None:
            raise OSError("the event log is closed")
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        if end + len(line) > largest:
            raise OSError(f"{self._path} is full, it has {end} bytes: name another file")
        try:
            _write_whole(self._file, line)
        except OSError:
            with suppress(OSError):
                self._file.truncate(end)  # no half line before the next one
            raise


def _write_whole(file: FileIO, line: bytes) -> None:
    if file.write(line) != len(line):
        raise OSError("the disk is full")
    os.fsync(file.fileno())


def _mark_in(body: bytes) -> bytes:
    try:
        return mark_of(parse_form(body))
    except MalformedMessageError:  # written by a version that accepted more
        return b""
