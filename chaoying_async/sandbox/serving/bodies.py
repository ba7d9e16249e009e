"""Reads the body of a request from ASGI, within a limit of bytes and a limit of seconds.

Strangers may reach the sandbox, its console and ``chaoying listen``: they send half a body and
wait, or a body that does not end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from chaoying_async.abc import Clock
from chaoying_async.clock import within

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

#: Seconds that a body may take to arrive, as on a shop's own notification route.
BODY_SECONDS: Final = 2.0
#: The header of the answer to a client that was too slow: nothing more is read from it.
CLOSE: Final = (b"connection", b"close")
_DIGITS: Final = 18


class BodyNotReadError(Exception):
    """There is no whole body. ``status`` says why; None: nobody is left to be answered."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


_TOO_LARGE: Final = 413
_TOO_SLOW: Final = 408


async def read_body(scope: Scope, receive: Receive, *, limit: int, clock: Clock) -> bytes:
    """The whole body of a request, or :class:`BodyNotReadError`.

    The error's status is 413 where it is, or says that it is, larger than ``limit``, and 408 where
    it takes longer than two seconds of ``clock``, which has to be a real one behind a socket.
    """
    if _announced(scope) > limit:
        raise BodyNotReadError(_TOO_LARGE)
    parts: list[bytes] = []
    try:
        await within(clock, BODY_SECONDS, _read(receive, parts, limit))
    except TimeoutError:
        raise BodyNotReadError(_TOO_SLOW) from None
    return b"".join(parts)


async def _read(receive: Receive, parts: list[bytes], room: int) -> None:
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise BodyNotReadError(None)
        if part := message.get("body", b""):  # empty ones could come without end
            parts.append(part)
            room -= len(part)
        if room < 0:
            raise BodyNotReadError(_TOO_LARGE)
        more = message.get("more_body", False)


def _announced(scope: Scope) -> int:
    length: bytes = dict(scope["headers"]).get(b"content-length", b"")
    if not length.isdigit():
        return 0  # in chunks, or nothing; what is no number the server has refused
    return int(length) if len(length) <= _DIGITS else 10**_DIGITS
