"""What every adapter keeps to, whichever framework it translates for.

- The handler gets the body's bytes as they came, and nothing else: no header decides (M-14).
- Never more than :data:`MAX_BODY` bytes and a chunk are held, and where the framework lets us,
  a body has :data:`BODY_SECONDS` to arrive.
- ``success`` is said by the handler alone. What an adapter says by itself is ``fail``.
- A body that the service itself has read before us is a
  :class:`~chaoying_async.exceptions.BodyAlreadyConsumedError` that goes up into the framework,
  which answers 500 and reports it as it reports any bug; it is never handed on as an empty body,
  which would look like a forgery. Where a stranger could be the cause, it is a line in the log.
- Whatever strangers send, of each kind there is one line a minute (:mod:`.reports`), and the answer
  is out in time, also where nobody opened the handler (:mod:`.intime`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.notifications.message import FAIL, MAX_BODY, Wallet

log = logging.getLogger("chaoying_async.web")

_DIGITS: Final = 18

#: How long a body may take. The gateway itself gives up after 3 s, so a slower one is not its own.
BODY_SECONDS: Final = 2.0
#: Of every answer, and nothing after it: a gateway may compare the header too.
CONTENT_TYPE: Final = "text/plain"


class HttpAnswer(Protocol):
    """What goes back: ``NotificationAnswer``, or a :class:`Refusal` of an adapter."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def body(self) -> bytes:
        """The exact body."""
        ...


class Handles(Protocol):
    """All that an adapter asks of a ``NotificationHandler``."""

    async def handle(self, body: bytes, /, *, kind: Wallet | None = None) -> HttpAnswer:
        """HttpAnswer a notification's body, whatever it holds."""
        ...


class Refusal(NamedTuple):
    """An answer that needs no handler, because there is no body to show it."""

    status: int
    allow: str | None = None
    body: bytes = FAIL


NOT_POST: Final = Refusal(405, allow="POST")
TOO_LARGE: Final = Refusal(413)
#: Half a body, too slow or cut off: unreadable (M-14).
INCOMPLETE: Final = Refusal(400)
#: Nothing of the body is there: something has read it, or it never came.
GONE: Final = Refusal(500)
#: The background loop did not say anything in time: ask for another delivery.
NO_ANSWER: Final = Refusal(200)


def check_handler(handler: object) -> None:
    """Refuse what could answer no notification when the route is made, not at the first of them."""
    if isinstance(handler, type) or not callable(getattr(handler, "handle", None)):
        raise ParameterError({"handler": "must be a NotificationHandler, or what answers like one"})


def headers_of(answer: HttpAnswer | Refusal) -> dict[str, str]:
    """The headers that belong to an answer, for frameworks that take a mapping."""
    allow = getattr(answer, "allow", None)
    return {"Content-Type": CONTENT_TYPE} | ({"Allow": allow} if allow else {})


def content_length(text: Any) -> int | None:
    """A Content-Length, or None where there is none that can be read.

    What is longer than any length that could be meant becomes one that is too large: ``int`` takes
    4300 digits and no more.
    """
    if not isinstance(text, str) or not text.isascii() or not text.isdigit():
        return None
    return int(text) if len(text) <= _DIGITS else sys.maxsize


def refused(method: str, length: int | None) -> Refusal | None:
    """The answer to a request that is not read at all."""
    if method != "POST":
        return NOT_POST
    return TOO_LARGE if too_large(length) else None


def too_large(length: int | None) -> bool:
    """Whether the announcement alone is over the limit: such a body is not read at all."""
    return length is not None and length > MAX_BODY


def drain(read: Callable[[int], bytes], body: bytearray) -> None:
    """Fill ``body`` from a blocking stream, to its end or until it is too large.

    One ``read`` may return less than there is: what is behind it is the server's affair.
    """
    while len(body) <= MAX_BODY and (part := read(MAX_BODY + 1 - len(body))):
        body += part
