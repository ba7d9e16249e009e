"""Connections that end: uvicorn's HTTP/1.1 with a bound on every wait for the other side.

uvicorn itself waits for ever for the end of a header, for the rest of a body that nobody reads any
more, and for a client that does not read its answer; and it holds as many connections as the
operating system allows. An application cannot see any of this, so it is bounded here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds from one request's end (or the connection's start) to the end of the next one's header.
#: Longer than a session keeps a connection that it does not use (``DEFAULT_LIMITS``): nobody knows
#: the outcome of a request that leaves on one that is just being closed.
HEADER_SECONDS: Final = 15.0
#: Seconds for which an answer may be stuck because the other side does not read.
ANSWER_SECONDS: Final = 30.0
#: At most this many connections are held: the one that has waited longest is closed first.
MOST: Final = 500
#: Bytes of a request line and its headers; the longest of ours have 2 KiB.
HEADER_BYTES: Final = 16 * 1024
_PIECE: Final = HEADER_BYTES // 2
_A_MINUTE: Final = 60.0


class Connection(H11Protocol):
    """One connection of a client's; give it to uvicorn as ``http=``."""

    _overdue: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See :class:`asyncio.Protocol`."""
        super().connection_made(transport)
        self._since = self.loop.time()
        if len(self.connections) > MOST:
            _make_room(self.connections, self)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        # Piece by piece: a header that is complete when it arrives would be taken at any length.
        for start in range(0, len(data), _PIECE):
            if not self.transport.is_closing():
                super().data_received(data[start : start + _PIECE])
        self._watch()

    def on_response_complete(self) -> None:
        """See ``H11Protocol``."""
        self._since = self.loop.time()
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """See ``H11Protocol``: answers what is no HTTP, with a length as every answer has."""
        body = msg.encode("ascii", "replace")
        length = str(len(body)).encode()
        headers = [
            (b"content-type", b"text/plain"),
            (b"content-length", length),
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`: the other side does not read."""
        super().pause_writing()
        if self._stuck is None:
            self._stuck = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        super().resume_writing()
        self._stuck = _cancel(self._stuck)

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._overdue = _cancel(self._overdue)
        self._stuck = _cancel(self._stuck)
        super().connection_lost(exc)

    @property
    def urgency(self) -> tuple[int, float] | None:
        """The connection with the lowest value is closed first; None: it is being answered."""
        if self.transport.is_closing():
            return None
        if self._is_asked():
            # A body that is still to come may never come; whole requests are always answered.
            return (1, self._since) if self.cycle.more_body else None
        return (0, self._since)

    def _is_asked(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _watch(self) -> None:
        if self._is_asked():
            self._overdue = _cancel(self._overdue)
        elif self._overdue is None and not self.transport.is_closing():
            self._overdue = self.loop.call_later(HEADER_SECONDS, self.transport.abort)


def _cancel(handle: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancels a timer and returns None, to take the timer's place."""
    if handle is not None:
        handle.cancel()
    return None


def _make_room(connections: Iterable[Any], newest: Connection) -> None:
    """Closes the connection that has kept us waiting longest, or else the newest."""
    waiting = [
        (each.urgency, number, each)
        for number, each in enumerate(connections)
        if isinstance(each, Connection) and each is not newest and each.urgency is not None
    ]
    victim = min(waiting)[2] if waiting else newest
    victim.transport.abort()


@contextmanager
def sparing_warnings() -> Generator[None]:
    """Let every warning of uvicorn through once a minute: strangers may not fill a log."""
    log, spare = logging.getLogger("uvicorn.error"), _Sparing(asyncio.get_running_loop().time)
    log.addFilter(spare)
    try:
        yield
    finally:
        log.removeFilter(spare)


class _Sparing(logging.Filter):
    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        now, text = self._monotonic(), str(record.msg)  # a constant of uvicorn's
        if now - self._said.get(text, -_A_MINUTE) < _A_MINUTE:
            return False
        self._said[text] = now
        return True
