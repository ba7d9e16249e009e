"""Reads an audit log line by line, however long its lines are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from chaoying_async.sansio.explanation.from_audit_log import LONGEST_LINE


def lines_of_log(path: str) -> Iterator[bytes | None]:
    """Each line of the file, without holding more than one; None for one that is too long."""
    with Path(path).open("rb") as file:
        while line := file.readline(LONGEST_LINE + 1):
            if len(line) <= LONGEST_LINE or line.endswith(b"\n"):
                yield line
            else:
                _skip_the_rest(file)
                yield None


def _skip_the_rest(file: BinaryIO) -> None:
    while (more := file.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
        pass
