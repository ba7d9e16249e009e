"""Tells an observer and the log of a piece of work, and keeps their own errors away from it."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any, Final

from chaoying_async.abc import Clock, Observer
from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.observed import ObservedWork


class SafeLog(logging.LoggerAdapter[logging.Logger]):
    """A logger that swallows whatever logging raises: it must not hide what happened to the money.

    A filter or a record factory of the program may refuse a record, or every record.
    """

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name), {})

    def log(self, level: int, msg: object, *args: object, **options: Any) -> None:
        """Log, or lose the line."""
        options.setdefault("stacklevel", 2)  # the line is its caller's
        with suppress(Exception):
            super().log(level, msg, *args, **options)


log: Final = SafeLog("chaoying_async")

_ENDS_THE_PROGRAM: Final = (SystemExit, KeyboardInterrupt)


class Observation:
    """A block in which some work is done while an observer looks on; without one it does nothing.

    Entering it says whether anybody looks on. The block's own errors go on as they are: the
    observer is told of their class alone. Nothing that the observer raises reaches the work, but
    for SystemExit and KeyboardInterrupt, which end the program wherever they are raised.
    """

    __slots__ = ("_block", "_clock", "_observer", "_work")

    def __init__(self, observer: Observer | None, work: ObservedWork, clock: Clock) -> None:
        self._observer = observer
        self._work = work
        self._clock = clock
        self._block: AbstractContextManager[object] | None = None

    def __enter__(self) -> bool:
        if self._observer is None:
            return False
        self._work.started = self._clock.monotonic()
        try:
            block = self._observer.observing(self._work)
            if block is None:
                return False
            block.__enter__()
        except _ENDS_THE_PROGRAM:
            raise
        # Nothing is awaited here, so a CancelledError comes from the observer too.
        except BaseException as raised:  # noqa: BLE001 - whatever it raises
            _tell(raised)
            return False
        self._block = block
        return True

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._block is None:
            return
        if error is not None:
            self._work.failed(error)
        self._work.elapsed = self._clock.monotonic() - self._work.started
        try:
            self._block.__exit__(None, None, None)
        except _ENDS_THE_PROGRAM:
            raise
        except BaseException as raised:  # noqa: BLE001 - the same
            _tell(raised)


def _tell(raised: BaseException) -> None:
    """Log it. Its text may be of the observer's own making, so it is left out (M-27)."""
    log.error("the observer raised %s, and was not told of some work", type(raised).__name__)


def check_observer(observer: object) -> None:
    """:class:`ParameterError` for what could not be told of anything."""
    told = getattr(observer, "observing", None)
    if observer is not None and (isinstance(observer, type) or not callable(told)):
        raise ParameterError({"observer": "must have a method observing(work)"})


def observer_of(gateway: Any) -> Observer | None:
    """Who is told of what is done with this gateway; a gateway of the user's may have nobody."""
    found: Observer | None = getattr(gateway, "observer", None)
    return found
