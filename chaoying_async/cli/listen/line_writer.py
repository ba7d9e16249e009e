"""Writes the lines of ``chaoying listen`` in a thread, so that writing delays no answer.

A terminal that stands still, or a pipe that nobody reads, stops only that thread. Lines that
strangers can cause at will are limited in each minute, and the rest is counted.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from queue import Full, Queue
from typing import Final, Self

import click

Line = Callable[[], None]

#: How many lines a minute are written about messages of strangers and repetitions.
A_MINUTE: Final = 60
#: How many lines wait for a slow reader; more are only counted.
WAITING: Final = 1000
_SECONDS_TO_END: Final = 2.0


class LineWriter:
    """Use with ``with``, and call :meth:`a_minute_passed` once a minute.

    ``summary`` writes how many lines were left out; ``gone`` is called when nobody reads any more.
    """

    def __init__(self, summary: Callable[[int], None], gone: Callable[[], object]) -> None:
        self._summary = summary
        self._gone = gone
        self._lines: Queue[Line | None] = Queue(WAITING)
        self._room = A_MINUTE
        self._left_out = 0
        context = click.get_current_context(silent=True)
        self._thread = threading.Thread(target=self._write, args=(context,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.a_minute_passed()
        try:
            self._lines.put(None, timeout=_SECONDS_TO_END)
        except Full:
            return  # the reader stands still: drop the other lines
        self._thread.join(_SECONDS_TO_END)

    def say(self, line: Line, *, bounded: bool) -> None:
        """Queue a line; ``bounded``: strangers decide how often, so it counts against the limit."""
        if bounded and self._room <= 0:
            self._left_out += 1
            return
        self._room -= bounded
        self._put(line)

    def a_minute_passed(self) -> None:
        """Write how many lines were left out, and start a new minute."""
        self._room = A_MINUTE
        if self._left_out:
            number, self._left_out = self._left_out, 0
            self._put(lambda: self._summary(number))

    def _put(self, line: Line) -> None:
        try:
            self._lines.put_nowait(line)
        except Full:
            self._left_out += 1

    def _write(self, context: click.Context | None) -> None:
        with context.scope(cleanup=False) if context else nullcontext():
            while (line := self._lines.get()) is not None:
                try:
                    line()
                except OSError:
                    self._gone()
                    return
                if getattr(sys.stdout, "given_up", False):  # nobody reads any more
                    self._gone()
                    return
