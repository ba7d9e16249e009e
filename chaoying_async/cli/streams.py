"""Makes stdout and stderr streams to which writing never fails.

A command's exit code says what the command did, even if nobody could be told: the reader has left
(``| head``), the disk is full, the stream is closed, the encoding lacks a character, the pipe is
stuck. Text that cannot go to stdout goes to stderr; text that cannot go there either is lost, and
only the exit code tells.
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


class SafeStream(io.TextIOBase):
    """A stream that takes every text; text that it cannot write goes to ``spare``."""

    def __init__(
        self, stream: TextIO | None, interrupts: Interrupts, spare: SafeStream | None = None
    ) -> None:
        super().__init__()
        self._stream = stream
        self._interrupts = interrupts
        self._spare = spare
        #: Whether a write has failed, after which no other is tried.
        self.given_up = False

    @property
    def lost(self) -> bool:
        """Whether text written here reaches nobody."""
        return self._stream is None and (self._spare is None or self._spare.lost)

    # typeshed has plain attributes here
    @property
    def encoding(self) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """A character that the encoding lacks is written as its number."""
        return "backslashreplace"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        """False too once writing has failed."""
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write and flush; a text that fails is written to the spare stream, whole."""
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
        """Write nothing more there, and keep the interpreter from doing so at its end.

        Otherwise its flush of the buffer fails then, and sets an exit code of its own (120).
        """
        self._stream, self.given_up = None, True
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def takes(text: str) -> bool:
    """Whether stdout, and stderr in its place, can encode every character of a text."""
    try:
        for stream in (sys.stdout, sys.stderr):
            text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def never_failing(interrupts: Interrupts) -> Generator[None]:
    """Replace both by a :class:`SafeStream`, and a stdin that was closed by an empty one."""
    before = sys.stdin, sys.stdout, sys.stderr
    closed = None in before
    if closed:
        _fill_descriptors()
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - as stdin is
    stderr = SafeStream(sys.stderr, interrupts)
    sys.stdout, sys.stderr = SafeStream(sys.stdout, interrupts, stderr), stderr
    try:
        yield
    finally:
        if before[0] is None:
            sys.stdin.close()
        sys.stdin, sys.stdout, sys.stderr = before


def _fill_descriptors() -> None:
    """Occupy all three descriptors: the next socket would become stdout otherwise."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - stderr
        pass
    os.close(opened)
