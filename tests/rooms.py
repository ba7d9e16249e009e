"""The rooms of the tests, and what may run where.

``make quick`` runs what is marked ``quick``: tests that start no process, no database and no
server. :func:`mark` puts it on; a quick test that starts a process all the same fails.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent

#: Each folder, and why its tests are in one place. Those with the longest files come first, since a
#: worker of ``make test`` takes whole files in this order, and the last ones should be short.
ROOMS = {
    "hard": "kills, hammers, soaks, exhaustive walks, and browsers: minutes and processes",
    "cli": "the command `chaoying`, called as a user calls it",
    "examples": "the programs of examples/ and of the READMEs, run as their readers would",
    "testing": "what the tests of our users stand on",
    "sandbox": "the gateway on one's own machine, its console and its demo",
    "descriptions": "calls as OpenAPI, notifications as AsyncAPI, and others' tools on them",
    "web": "what frameworks hand on, behind their own servers",
    "workers": "fleets of pollers, and the queues that take outcomes into the user's own tasks",
    "observing": "what a program shows of itself: numbers, alerts, a dashboard, traces",
    "inbox": "what was notified already: one contract, and what each engine promises beyond it",
    "pollstore": "what is still waited for: one contract, and what each engine promises beyond it",
    "sql": "what an inbox and a poll store in a database share: drivers, commits, addresses",
    "house": "rules for the code as a whole: names, rooms, the law book, what users hand in",
    "transport": "HTTP engines: what they write, keep and tell",
    "notifications": "the engine that answers notifications",
    "payments": "checkouts, refunds, and what a shop sees after a crash",
    "polling": "the engine that asks until it is decided",
    "session": "calls of one session, and what it shows of them",
    "pure": "what decides without doing anything: runs with pytest, hypothesis and the base alone",
    "fuzz": "bytes from outside, mutated towards code that they have not reached yet",
    "typing": "what type checkers see",
    "data": "the gateway's document as data",
}
#: Nearly all of these start servers or processes.
NEVER_QUICK = ("hard", "cli", "examples")
#: Marks of tests that are not quick.
SLOW_MARKS = ("outside", "slow", "tools")


@cache
def room(path: Path) -> str:
    """The name of the folder that this file is in."""
    return path.relative_to(TESTS).parts[0]


#: A whole file is marked so: at the head of the list, or alone.
_SLOW_FILE = re.compile(
    rf"^pytestmark = (?:\[\s*)?pytest\.mark\.(?:{'|'.join(SLOW_MARKS)})\b", re.MULTILINE
)


def is_left_out(path: Path) -> bool:
    """Whether no test of this folder or file is quick, so that ``make quick`` need not read it."""
    if path.is_dir():
        return path.parent == TESTS and path.name in NEVER_QUICK
    return path.suffix == ".py" and _SLOW_FILE.search(path.read_text("utf-8")) is not None


def mark(items: list[pytest.Item]) -> None:
    """Put the mark ``quick`` on those that are, and the longest rooms first."""
    order = {name: place for place, name in enumerate(ROOMS)}
    items.sort(key=lambda item: order.get(room(item.path), len(order)))
    for item in items:
        if is_quick(item):
            item.add_marker("quick")


def is_quick(item: pytest.Item) -> bool:
    fixtures: Iterable[str] = getattr(item, "fixturenames", ())
    return (
        room(item.path) not in NEVER_QUICK
        and "servers" not in fixtures
        and {mark.name for mark in item.iter_markers()}.isdisjoint(SLOW_MARKS)
    )


class NoProcesses:
    """Fails whatever starts a process while a quick test runs."""

    def __init__(self) -> None:
        self.watching = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen" and args[0] == "file":
            return  # platform.architecture(), which croniter asks when PgQueuer is imported
        if self.watching and event in {"subprocess.Popen", "os.fork", "os.posix_spawn"}:
            raise AssertionError("a quick test starts a process: mark it with `outside`")

    def during(self, item: pytest.Item) -> None:
        self.watching = item.get_closest_marker("quick") is not None
