"""The rules that every adapter keeps, whichever framework it translates for.

- The handler gets the body's bytes as they came, and nothing else: no header decides (M-14).
- Never more than :data:`MAX_BODY` bytes and a chunk are held, and where the framework lets us,
  a body has :data:`BODY_SECONDS` to arrive.
- The handler alone says ``success``. An adapter by itself says ``fail``.
- Where the service has read the body before us, the adapter raises
  :class:`~chaoying_async.exceptions.BodyAlreadyConsumedError` into the framework, which answers 500
  and reports it as it reports any bug. It never hands on an empty body, which would look like a
  forgery. Where a stranger could be the cause, it writes a line to the log instead.
- Whatever strangers send, each kind of line is written once a minute (:mod:`.adapter_log`), and the
  answer is out in time, also where nobody opened the handler (:mod:`.timely`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from chaoying_async.exceptions import ParameterError
from chaoying_async.observation import SafeLog
from chaoying_async.sansio.notifications.facts import Wallet
from chaoying_async.sansio.notifications.message import FAIL
from chaoying_async.sansio.notifications.reading import MAX_BODY

log = SafeLog("chaoying_async.web")

#: ``int()`` refuses more than 4,300 digits; no body has a length of more than 18.
_DIGITS: Final = 18

#: Seconds that a body may take. The gateway gives up after 3 s, so it sends no slower one.
BODY_SECONDS: Final = 2.0
#: The content type of every answer, without a charset: a gateway may compare the header too.
CONTENT_TYPE: Final = "text/plain"


class HttpAnswer(Protocol):
    """What the sender gets: a ``NotificationAnswer``, or a :class:`Refusal` of an adapter."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def body(self) -> bytes:
        """The exact body."""
        ...


class Handles(Protocol):
    """The one method of a ``NotificationHandler`` that adapters call."""

    async def handle(self, body: bytes, /, *, kind: Wallet | None = None) -> HttpAnswer:
        """Answer a notification, whatever its body holds."""
        ...


class Refusal(NamedTuple):
    """The answer to a request whose body cannot be shown to a handler."""

    status: int
    allow: str | None = None
    body: bytes = FAIL


NOT_POST: Final = Refusal(405, allow="POST")
TOO_LARGE: Final = Refusal(413)
#: Only half of the body came: too slow or cut off, so unreadable (M-14).
INCOMPLETE: Final = Refusal(400)
#: Nothing of the body is there: something has read it, or it never came.
GONE: Final = Refusal(500)
#: The background loop gave no answer in time: ask for another delivery.
NO_ANSWER: Final = Refusal(200)


def check_handler(handler: object) -> None:
    """Refuse an object that is no handler when the route is made, not at the first notification."""
    if isinstance(handler, type) or not callable(getattr(handler, "handle", None)):
        raise ParameterError({"handler": "must be a NotificationHandler, or what answers like one"})


def headers_of(answer: HttpAnswer | Refusal) -> dict[str, str]:
    """The headers that belong to an answer, for frameworks that take a mapping."""
    allow = getattr(answer, "allow", None)
    return {"Content-Type": CONTENT_TYPE} | ({"Allow": allow} if allow else {})


def content_length(text: Any) -> int | None:
    """A Content-Length, or None where it cannot be read. Over 18 digits: ``sys.maxsize``."""
    if not isinstance(text, str) or not text.isascii() or not text.isdigit():
        return None
    return int(text) if len(text) <= _DIGITS else sys.maxsize


def refused(method: str, length: int | None) -> Refusal | None:
    """The answer to a request whose body is not read at all; None: read it."""
    if method != "POST":
        return NOT_POST
    return TOO_LARGE if length is not None and length > MAX_BODY else None


async def call(handler: Handles, body: bytes, kind: Wallet | None) -> HttpAnswer:
    """The handler's answer; a traceback shows this frame without the body (M-27)."""
    try:
        return await handler.handle(body, kind=kind)
    finally:
        del body


def drain(read: Callable[[int], bytes], body: bytearray) -> None:
    """Fill ``body`` from a blocking stream, to its end or until it is too large."""
    while len(body) <= MAX_BODY and (part := read(MAX_BODY + 1 - len(body))):
        body += part
