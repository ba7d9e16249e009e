"""The event log of ``chaoying listen``: what was received and what was passed on, over restarts.

One JSON object a line. A ``received`` line holds the whole verified body, which has the buyer's
numbers in it, so the file is made for its owner alone; it is on the disk before the gateway is
answered (M-14). A ``forwarded`` line closes it. Nothing unverified is ever stored (M-15).
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import attrs

_OWNER_ONLY = 0o600


@attrs.frozen
class Entry:
    """One notification: its number in the log, and its body as it came."""

    number: int
    body: bytes = attrs.field(repr=False)


class EventLog:
    """A file that lines are added to. Use with ``with``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._last = 0
        #: Received and not yet passed on, oldest first.
        self.open: dict[int, Entry] = {}

    def __enter__(self) -> Self:
        opener = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _OWNER_ONLY)
        self._file = os.fdopen(opener, "r+b")
        for line in self._read():
            self._take(line)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def received(self, body: bytes, at: str, **about: str) -> Entry:
        """Note a notification; on the disk when this returns."""
        entry = Entry(self._last + 1, body)
        text = base64.b64encode(body).decode()
        self._add({"event": "received", "number": entry.number, "at": at, **about, "body": text})
        self._last, self.open[entry.number] = entry.number, entry
        return entry

    def forwarded(self, entry: Entry, at: str, status: int) -> None:
        """Note that it was passed on and taken."""
        self._add({"event": "forwarded", "number": entry.number, "at": at, "status": status})
        self.open.pop(entry.number, None)

    def _read(self) -> Iterator[dict[str, Any]]:
        if self._file is None:
            return
        self._file.seek(0)
        lines = self._file.read().split(b"\n")
        if lines[-1]:  # a crash in the middle of a line: it was never answered, and comes again
            self._file.truncate(self._file.tell() - len(lines[-1]))
        for line in lines[:-1]:
            try:
                found = json.loads(line)
            except ValueError as error:
                raise OSError(f"{self._path} is no event log of `chaoying listen`") from error
            if not isinstance(found, dict) or not isinstance(found.get("number"), int):
                raise OSError(f"{self._path} is no event log of `chaoying listen`")
            yield found

    def _take(self, line: dict[str, Any]) -> None:
        number = line["number"]
        self._last = max(self._last, number)
        if line.get("event") == "received":
            self.open[number] = Entry(number, base64.b64decode(line.get("body", "")))
        else:
            self.open.pop(number, None)

    def _add(self, record: dict[str, Any]) -> None:
        if self._file is None:
            raise OSError("the event log is closed")
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
