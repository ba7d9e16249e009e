"""Walks from an error to everything that led to it: what is wrong is rarely said by the outermost.

Engines, drivers and SQLAlchemy wrap the error that knows. Three of Python's own links lead there,
and the ``orig`` of SQLAlchemy's errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress


def error_chain(
    error: BaseException | None, *, handled: BaseException | None = None
) -> Iterator[BaseException]:
    """The error and all that led to it, the nearest first, each once.

    ``handled`` is the error in whose ``except`` the caller was when the call was made
    (``sys.exception()``). Python puts it behind every error that comes then, though it has nothing
    to do with them: it is left out, and so is what only it leads to. An unclear payment must not
    borrow "connection refused" from it (M-01).
    """
    # Contexts count even where `raise ... from` hides them: httpcore drops causes only.
    seen = set() if handled is error else {id(handled)}
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [_link(each, name) for name in ("orig", "__cause__", "__context__")]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions


def _link(error: BaseException, name: str) -> object:
    """What a link leads to; None where there is none, or where an error's own property raises."""
    with suppress(Exception):
        return getattr(error, name, None)
    return None
