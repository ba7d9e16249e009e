"""The event log of ``chaoying listen``: what was received and what was passed on, over restarts.

One JSON object a line. A ``received`` line holds the whole verified body, which has the buyer's
numbers in it, so the file is made for its owner alone; it is on the disk before the gateway is
answered (M-14). A ``forwarded`` line closes it. Nothing unverified is ever stored (M-15).
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import attrs

_OWNER_ONLY = 0o600
_BEGINNING = b'{"event": "'


@attrs.frozen
class Entry:
    """One notification: its number in the log, and its body as it came."""

    number: int
    out_trade_no: str
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
        try:
            self._resume(self._file)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def received(self, body: bytes, at: str, out_trade_no: str) -> Entry:
        """Note a notification; on the disk when this returns."""
        entry = Entry(self._last + 1, out_trade_no, body)
        about = {"number": entry.number, "at": at, "out_trade_no": out_trade_no}
        self._add({"event": "received", **about, "body": base64.b64encode(body).decode()})
        self._last, self.open[entry.number] = entry.number, entry
        return entry

    def forwarded(self, entry: Entry, at: str, status: int) -> None:
        """Note that it was passed on and taken."""
        self._add({"event": "forwarded", "number": entry.number, "at": at, "status": status})
        self.open.pop(entry.number, None)

    def _resume(self, file: IO[bytes]) -> None:
        file.seek(0)
        *lines, rest = file.read().split(b"\n")
        for line in lines:
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise self._foreign() from error
        if not rest:
            return
        if not rest.startswith(_BEGINNING[: len(rest)]):
            raise self._foreign()
        # A crash in the middle of a line: nobody was answered "success" for it, so it comes again.
        file.truncate(file.tell() - len(rest))

    def _foreign(self) -> OSError:
        return OSError(f"{self._path} is no event log of `chaoying listen`")

    def _take(self, line: dict[str, Any]) -> None:
        number, event = int(line["number"]), line["event"]
        self._last = max(self._last, number)
        if event == "received":
            body = base64.b64decode(line["body"])
            self.open[number] = Entry(number, str(line["out_trade_no"]), body)
        else:
            self.open.pop(number, None)

    def _add(self, record: dict[str, Any]) -> None:
        if self._file is None:
            raise OSError("the event log is closed")
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
