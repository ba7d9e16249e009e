"""Hears what the library and SQLAlchemy log while a world happens, in place of the program."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Self

#: Whom it listens to, and from which level on.
_LOGS: Mapping[str, int] = {"chaoying_async": logging.DEBUG, "sqlalchemy": logging.WARNING}


class LogLines(logging.Handler):
    """A block in which every line of the log goes to ``hear``; afterwards all is as before."""

    def __init__(self, hear: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._hear = hear
        self._before: list[tuple[logging.Logger, int, bool]] = []
        self._warnings = warnings.catch_warnings()
        #: Whether the world is over: what its remains say concerns nobody.
        self.deaf = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.deaf:
            self._hear(record)

    def __enter__(self) -> Self:
        for name, level in _LOGS.items():
            log = logging.getLogger(name)
            self._before.append((log, log.level, log.propagate))
            log.addHandler(self)
            log.setLevel(level)
            log.propagate = False
        return self

    def hear_no_more(self) -> None:
        """The world is over: be silent about how its dead processes' tasks come to their end."""
        self.deaf = True
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *exc: object) -> None:
        if self.deaf:
            self._warnings.__exit__(None, None, None)
        for log, level, propagate in self._before:
            log.removeHandler(self)
            log.setLevel(level)
            log.propagate = propagate
