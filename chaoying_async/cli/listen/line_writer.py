"""What ``chaoying listen`` says, without holding up what it answers.

A thread writes the lines, so a terminal that stands still, or a pipe that nobody reads, stops no
answer. What strangers can cause at will is said so many times a minute, and then counted.
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

#: So many lines a minute about what strangers send, and about repetitions.
A_MINUTE: Final = 60
#: So many lines wait for a slow reader; more are counted.
WAITING: Final = 1000
_SECONDS_TO_END: Final = 2.0


class Teller:
    """Use with ``with``; ``summary`` says how many lines were left out, ``gone`` that nobody reads.

    Whoever has one calls :meth:`a_minute_passed` once a minute.
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
            return  # it stands still: what is left is not said
        self._thread.join(_SECONDS_TO_END)

    def say(self, line: Line, *, bounded: bool) -> None:
        """Have a line written soon; ``bounded`` where strangers decide how often."""
        if bounded and self._room <= 0:
            self._left_out += 1
            return
        self._room -= bounded
        self._put(line)

    def a_minute_passed(self) -> None:
        """Say how many lines were left out, and begin to count anew."""
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
