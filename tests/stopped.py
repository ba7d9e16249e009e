"""Servers that stand still (SIGSTOP) and go on (SIGCONT): nothing is closed, nothing answers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.servers import Server


def family(pid: int) -> list[int]:
    """A process and all its descendants: PostgreSQL has one for each connection."""
    found = [pid]
    for parent in found:
        with suppress(OSError):  # it has just ended
            for task in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, task.read_text().split())
    return found


def is_still(pid: int) -> bool:
    """Whether each of its threads is stopped: the signal reaches those on another core later."""
    states = []
    for task in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # it has just ended
            states.append(task.read_text().rpartition(")")[2].split()[0])
    return set(states) <= {"T", "t", "Z", "X"}


class Standstill:
    """Stops a server when it is told to, however often."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def _send(self, which: signal.Signals) -> None:
        process = self._server.process
        assert process is not None
        os.kill(process.pid, which)  # first: it makes no more of them
        for pid in family(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, which)

    def begin(self) -> None:
        """On return no thread of the server does anything more."""
        self._send(signal.SIGSTOP)
        process = self._server.process
        assert process is not None
        while not all(map(is_still, family(process.pid))):
            os.sched_yield()

    def end(self) -> None:
        self._send(signal.SIGCONT)


@contextmanager
def standstill(server: Server) -> Iterator[Standstill]:
    """In the end the server goes on in any case."""
    still = Standstill(server)
    try:
        yield still
    finally:
        still.end()
