"""stdout and stderr as a command has them: writing to them never fails.

How a command ends follows from what it did, never from whether somebody could be told: a reader
that has left (``| head``), a full disk, a closed stream, an encoding that lacks a character, a pipe
that is stuck. What cannot go to stdout goes to stderr; what cannot go there either is lost, and the
exit code is left to tell it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from chaoying_async.cli.interrupts import Interrupts


class Outlet(io.TextIOBase):
    """A stream that takes everything; ``spare`` takes over what it cannot pass on."""

    def __init__(
        self, stream: TextIO | None, interrupts: Interrupts, spare: Outlet | None = None
    ) -> None:
        super().__init__()
        self._stream = stream
        self._interrupts = interrupts
        self._spare = spare
        #: A write has failed, and no other is tried.
        self.given_up = False

    @property
    def lost(self) -> bool:
        """Whether what is written here reaches nobody."""
        return self._stream is None and (self._spare is None or self._spare.lost)

    # typeshed has plain attributes here
    @property
    def encoding(self) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of the stream; UTF-8 where it has none."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """What an encoding lacks is written as its number."""
        return "backslashreplace"

    def writable(self) -> bool:
        """See :class:`io.TextIOBase`."""
        return True

    def isatty(self) -> bool:
        """See :class:`io.TextIOBase`; False where nothing is left of it."""
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """See :class:`io.TextIOBase`."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write and flush; what fails is written to the spare stream, whole."""
        if not isinstance(text, str):
            raise TypeError("only text is written here")
        if not self._passed(text) and self._spare is not None:
            self._spare.write(text)
        return len(text)

    def _passed(self, text: str) -> bool:
        if self._stream is None:
            return False
        encoding = self.encoding
        try:
            with self._interrupts.writing(self._stream):
                self._stream.write(text.encode(encoding, self.errors).decode(encoding))
                self._stream.flush()
        except (OSError, ValueError):
            self._give_up(self._stream)
            return False
        except KeyboardInterrupt:
            if not self._interrupts.handled:
                raise
            self._give_up(self._stream)
            return False
        return True

    def _give_up(self, stream: TextIO) -> None:
        """Let nothing more be written there; by the interpreter at its end neither.

        What is still in the buffer would fail once more then, with an exit code of its own (120).
        """
        self._stream, self.given_up = None, True
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def takes(text: str) -> bool:
    """Whether stdout, and stderr in its place, have every character of a text."""
    try:
        for stream in (sys.stdout, sys.stderr):
            text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def never_failing(interrupts: Interrupts) -> Generator[None]:
    """Put an :class:`Outlet` in the place of both; a stdin that was closed is an empty one."""
    before = sys.stdin, sys.stdout, sys.stderr
    closed = None in before
    if closed:
        _fill_descriptors()
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - as stdin is
    stderr = Outlet(sys.stderr, interrupts)
    sys.stdout, sys.stderr = Outlet(sys.stdout, interrupts, stderr), stderr
    try:
        yield
    finally:
        if before[0] is None:
            sys.stdin.close()
        sys.stdin, sys.stdout, sys.stderr = before


def _fill_descriptors() -> None:
    """Leave no descriptor of the three free: the next socket would be taken for stdout."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - stderr
        pass
    os.close(opened)
