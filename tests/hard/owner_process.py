"""A process of a fleet that is stopped, blocked or killed while it owns shards; and its bank.

The process says ``serving`` when it owns all shards, and ``lost`` when it has noticed that another
one owns one of them: with all that it wrote, each with the moment on the machine's monotonic clock.
Its event loop stands still after a line on its standard input, until the next line. What it asks
goes to the :class:`Bank` of the test.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
from sqlalchemy import Column, Integer, MetaData, String, Table, event, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from chaoying_async import PollSchedule
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.workers import Fleet
from tests.pollers import CLOSED, PAID, PENDING, reply_to

LEASE = 2.0
SOON = PollSchedule(first=0.05, every=0.2, until=120, jitter=0)
THEN = "tests.hard.owner_process:told"

metadata = MetaData()
#: What the shop's task was told, and in which process.
tellings = Table(
    "tellings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("process", String(64), nullable=False),
    Column("number", String(64), nullable=False),
    Column("status", String(32), nullable=False),
)

#: This process: its name and its engine.
_me: dict[str, Any] = {}

_SAYS = {"PAID": PAID, "PENDING": PENDING, "CLOSED": CLOSED}


def this_process(name: str, engine: AsyncEngine) -> None:
    """Whom :func:`told` belongs to from now on."""
    _me.update(name=name, engine=engine)


async def told(outcome: Mapping[str, Any]) -> None:
    """The shop's task."""
    row = {"number": outcome["out_trade_no"], "status": outcome["status"]}
    async with _me["engine"].begin() as connection:
        await connection.execute(insert(tellings).values(process=_me["name"], **row))


# -------------------------------------------------------------------------------------- the bank


@attrs.frozen
class Asked:
    """One request, as it came to the bank."""

    process: str
    endpoint: str
    number: str


@attrs.define
class Bank:
    """Answers by order, and keeps its answers to some processes back until it is told."""

    #: By number of the order; everything else is undecided.
    answers: dict[str, str] = attrs.field(factory=dict)
    asked: list[Asked] = attrs.field(factory=list)
    kept_back: set[str] = attrs.field(factory=set)
    port: int = 0
    _go_on: asyncio.Event = attrs.field(factory=asyncio.Event)

    def of(self, process: str, endpoint: str) -> list[str]:
        """The orders that a process sent such requests about."""
        return [
            each.number
            for each in self.asked
            if (each.process, each.endpoint) == (process, endpoint)
        ]

    def answers_now(self) -> None:
        """What was kept back is on its way."""
        self.kept_back.clear()
        self._go_on.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = Asked(**json.loads(await reader.readline()))
        self.asked.append(request)
        if request.process in self.kept_back:
            await self._go_on.wait()
        writer.write(self.answers.get(request.number, "PENDING").encode() + b"\n")
        writer.close()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Bank]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._go_on.set()
            server.close()
            await server.wait_closed()


@attrs.frozen
class ToBank:
    """A ``Gateway`` that asks the bank of the test."""

    process: str
    port: int
    mch_id = None

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        asked = Asked(self.process, request.endpoint.name, request.out_trade_no)
        writer.write(json.dumps(attrs.asdict(asked)).encode() + b"\n")
        said = (await reader.readline()).decode().strip()
        writer.close()
        if request.endpoint.name == "cancel":
            return reply_to(request, {"transaction_id": None})
        return reply_to(request, _SAYS[said])


def fleet_of(url: str, name: str, port: int, *, shards: int) -> Fleet:
    """One process of the fleet."""
    store = SqlPollStore(url, lease=LEASE, shards=shards)
    fleet = Fleet(store, lambda: ToBank(name, port), name=name, look=0.3)
    this_process(name, fleet._engine)
    return fleet


# -------------------------------------------------------------------------------------- a process


class _Lost(logging.Handler):
    """Hears that a shard is somebody else's."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "has another owner now" in record.getMessage():
            self.heard.set()


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def serve(url: str, name: str, port: int, shards: int) -> None:
    """One process, until it is killed."""
    fleet = fleet_of(url, name, port, shards=shards)
    wrote: list[tuple[float, str]] = []
    lost = _Lost()
    logging.getLogger("chaoying_async").addHandler(lost)

    def executed(_connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        # That it lives, a process may say at any time.
        reads = statement.startswith("SELECT") or "fleet_workers" in statement
        if cursor.rowcount > 0 and not reads:
            wrote.append((time.monotonic(), " ".join(statement.split())[:80]))

    event.listen(fleet._engine.sync_engine, "after_cursor_execute", executed)

    def stand_still() -> None:
        sys.stdin.readline()
        _say("standing still")
        sys.stdin.readline()

    asyncio.get_running_loop().add_reader(sys.stdin, stand_still)
    async with fleet:
        while len(fleet.stats().shards) < shards:
            await asyncio.sleep(0.02)
        _say("serving")
        await lost.heard.wait()
        await asyncio.sleep(0.5)  # whatever was under way
        _say("lost", json.dumps(wrote))
        await asyncio.Event().wait()
