"""Writes what an adapter has to say: at most one line of each kind a minute, whoever posts."""

from __future__ import annotations

import logging
import threading
from typing import Final

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import BodyAlreadyConsumedError
from chaoying_async.sansio.notifications.reading import MAX_BODY
from chaoying_async.web.contract import GONE, INCOMPLETE, TOO_LARGE, Refusal, log

#: Seconds between two lines of one kind.
PAUSE: Final = 60.0

_NOTHING = "nothing is left of the body that was announced"
_TAKEN = (
    "the notification cannot be verified: {found}. Something in front of it has read the request's"
    " body (or the sender never finished it). {fix}"
)
_NOT_OPEN = (
    "a notification came, but its NotificationHandler is not open: this server runs no lifespan for"
    " it, or nobody opened the handler there. It answers in time, but nobody owns work that takes"
    " longer, and what is set aside or fails is not taken up. %s"
)


class AdapterLog:
    """The log of one route. ``fix`` says what to change where something takes its bodies away."""

    def __init__(self, fix: str, clock: Clock | None = None) -> None:
        self._fix = fix
        self._clock: Clock = clock or SystemClock()
        self._lock = threading.Lock()
        #: For each kind: when its last line was written, and how many were left out since.
        self._last: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}
        self._told_not_open = False

    def judged(
        self, body: bytearray, length: int | None, *, chunked: bool, ours: bool
    ) -> bytearray | Refusal:
        """The body, or the answer to one that is too large or not as long as it was announced.

        ``ours``: only the service itself can have made it shorter. The bytearray is emptied before
        an error goes up: debug pages, mails to the admins and Sentry print the locals of every
        frame, and half a body is enough to name a buyer (M-27).
        """
        there = len(body)
        if there > MAX_BODY:
            return TOO_LARGE
        if chunked:  # then a length means nothing
            return body or self.gone(_NOTHING, INCOMPLETE)
        if length is None or there >= length:
            return body
        body.clear()
        found = f"{there} of the {length} bytes that were announced are left"
        if ours:
            return self.consumed(found)
        return self.incomplete(found) if there else self.gone(found)

    def incomplete(self, found: str) -> Refusal:
        """The answer to a body that was cut off or came too slowly; any stranger can send one."""
        self._say(
            "incomplete",
            logging.WARNING,
            f"a notification's body did not arrive whole ({found}): it is answered fail",
        )
        return INCOMPLETE

    def not_handed_on(self) -> Refusal:
        """The answer to chunks under a WSGI server that hands no application any."""
        return self.incomplete(
            "it came in chunks, which this server hands on to no application: let the proxy in"
            " front of it send a length, as nginx does by itself"
        )

    def gone(self, found: str = _NOTHING, answer: Refusal = GONE) -> Refusal:
        """The answer where nothing came of an announced body.

        Either something in front of us has read it, or a stranger never sent it; nobody can tell
        which. So this writes a line, but raises nothing: no stranger may fill the log with
        tracebacks.
        """
        self._say("gone", logging.ERROR, _TAKEN.format(found=found, fix=self._fix))
        return answer

    def consumed(self, found: str) -> Refusal:
        """Raise ``BodyAlreadyConsumedError``: a bug of the service that no stranger can feign.

        It is raised once a minute, so that no framework writes a traceback for each request; the
        other requests of that minute are answered with 500.
        """
        text = _TAKEN.format(found=found, fix=self._fix)
        if self._say("consumed", logging.ERROR, text):
            raise BodyAlreadyConsumedError(text).about("notification")
        return GONE

    def unseen(self, status: int, how_to_exempt: str) -> None:
        """Report that something in front of the route has answered instead of it."""
        self._say(
            "unseen",
            logging.ERROR,
            f"a notification was answered with {status} before it came to its route: something in"
            f" front (login, CSRF, a rate limit, a redirect) stopped it. {how_to_exempt}",
        )

    def unanswered(self, patience: float) -> None:
        """Report that a background loop gave no answer, although it is not closed."""
        self._say(
            "unanswered",
            logging.ERROR,
            f"a notification got no answer within {patience:g} s and is answered fail: something"
            " blocks the loop of its BackgroundHandler (on_paid, expected), or it does not open"
            " (make, its database)",
        )

    def not_open(self, how_to_open: str) -> None:
        """Report, once, that nobody opened the handler."""
        if not self._told_not_open:
            self._told_not_open = True
            log.error(_NOT_OPEN, how_to_open)

    def _say(self, kind: str, level: int, text: str) -> bool:
        """Write the line unless one of its kind was written this minute; whether it was written."""
        with self._lock:
            now = self._clock.monotonic()
            if kind in self._last and now - self._last[kind] < PAUSE:
                self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
                return False
            self._last[kind] = now
            more = self._unsaid.pop(kind, 0)
        log.log(level, "%s%s", text, f" ({more} more since the last such line)" if more else "")
        return True
