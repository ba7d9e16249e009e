"""Whether a call has left this process, through whatever gateway of the user's sends it (M-01).

Such a gateway may send through several sessions, or raise an error of one for a call of another:
so each session notes what it sent, and the error that arrives proves nothing by itself.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from chaoying_async.exceptions import RequestNotSentError
from chaoying_async.transport.event_hooks import RequestHookRaised


class Departures:
    """What became of the calls of one block."""

    def __init__(self) -> None:
        #: Whether one of them may have left.
        self.left = False
        #: What a request hook raised last.
        self.stopped_by: BaseException | None = None


_WATCHED: ContextVar[Departures | None] = ContextVar("chaoying_async.departures", default=None)


@contextmanager
def watched() -> Generator[Departures]:
    """Watch what the sessions send in this block."""
    calls = Departures()
    token = _WATCHED.set(calls)
    try:
        yield calls
    finally:
        _WATCHED.reset(token)


def note(problem: BaseException | None) -> None:
    """Note that an engine was given a call: it ended with this error, or with a reply."""
    calls = _WATCHED.get()
    if calls is None:
        return
    if isinstance(problem, RequestHookRaised):
        calls.stopped_by = problem.error
    elif not isinstance(problem, RequestNotSentError):
        calls.left = True
