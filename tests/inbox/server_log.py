"""What PostgreSQL itself says was executed: statements and commits, whoever sent them and how."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import attrs
from sqlalchemy import make_url

from tests.servers import Servers
from tests.sql_shop import effects

#: A line of the log that begins a statement; later lines of the same one begin with a tab.
_STATEMENT = re.compile(
    r"\S+ \S+ \S+ \[(?P<process>\d+)\] LOG:  (?:statement|execute [^:]+): (?P<text>.*)"
)
_BEGIN = re.compile(r"BEGIN|START TRANSACTION", re.IGNORECASE)
_COMMIT = re.compile(r"COMMIT|END", re.IGNORECASE)
_ROLLBACK = re.compile(r"ROLLBACK(?! TO)|ABORT", re.IGNORECASE)


@attrs.define
class Heard:
    """What was executed while somebody listened; the shop's own statements are left out."""

    all: list[str] = attrs.field(factory=list)
    """Every statement, in its order; with those that begin and end a transaction."""
    statements: int = 0
    """Without those that begin or end a transaction. Savepoints count."""
    commits: int = 0
    """A statement outside of a transaction is a commit of its own."""


@contextmanager
def listening(servers: Servers) -> Generator[Heard]:
    """Listen to everything that the accounts of :func:`talkative` do inside the block."""
    log, heard = servers.postgresql.log, Heard()
    start = log.stat().st_size
    yield heard
    with log.open("rb") as file:
        file.seek(start)
        _count(heard, file.read().decode())


def talkative(servers: Servers, url: str) -> str:
    """The address; what its account executes from the next connection on is logged."""
    with servers.postgresql.connect() as connection:
        connection.execute(
            f"ALTER ROLE {make_url(url).username} SET log_statement = 'all'".encode()
        )
    return url


def _count(heard: Heard, log: str) -> None:
    open_in: set[str] = set()
    for process, text in _statements(log):
        if re.search(rf"\b{effects.name}\b", text):
            continue
        heard.all.append(text)
        if _BEGIN.match(text):
            open_in.add(process)
        elif _COMMIT.match(text):
            open_in.discard(process)
            heard.commits += 1
        elif _ROLLBACK.match(text):
            open_in.discard(process)
        else:
            heard.statements += 1
            heard.commits += process not in open_in


def _statements(log: str) -> Iterator[tuple[str, str]]:
    """Process and text of each, a text in one line."""
    process, parts = "", [""]
    for line in [*log.splitlines(), ""]:
        if process and line.startswith("\t"):
            parts.append(line)
            continue
        if process:
            yield process, " ".join(" ".join(parts).split())
        found = _STATEMENT.match(line)
        process, parts = (found["process"], [found["text"]]) if found else ("", [])
