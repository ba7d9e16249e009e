"""Processes of a fleet on one SQLite file and one sandbox, in virtual time."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Coroutine, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from chaoying_async import GatewaySession
from chaoying_async.abc import Gateway
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.bank.ledger import books
from chaoying_async.testing.simulation.inline_sqlite import CalmDisk, SimulatedFiles
from chaoying_async.testing.simulation.loop import SimulatedLoop
from chaoying_async.testing.simulation.process import Process, SimulatedClock
from chaoying_async.testing.simulation.timeline import Timeline
from chaoying_async.workers import Fleet

#: What :func:`ended` was given, in the order in which it came.
TOLD: list[Mapping[str, Any]] = []
THEN = f"{__name__}:ended"


async def ended(outcome: Mapping[str, Any]) -> None:
    """The user's task."""
    TOLD.append(outcome)


class VirtualFleet:
    """A loop with processes, each of which may have a fleet; nothing waits for real."""

    def __init__(self, folder: Path, seed: int = 7) -> None:
        TOLD.clear()
        self.rng = random.Random(seed)
        self.loop = SimulatedLoop(self.rng)
        self.clock = SimulatedClock(self.loop)
        self.timeline = Timeline(self.loop.time)
        self.sandbox = Sandbox(clock=self.clock)
        self.transport: httpx.AsyncBaseTransport = self.sandbox.transport
        #: What each fleet makes its gateway with.
        self.make_gateway: Callable[[], Gateway] = self._session
        self.shards = 2
        #: Seconds between two looks of a process; each costs more than all else that it does.
        self.look = 15.0
        self.path = str(folder / "fleet.db")
        self._processes: list[Process] = []
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")

    def process(self, name: str) -> Process:
        """Another process."""
        process = Process(name, self.loop, self.timeline)
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End every process, so that no coroutine is thrown away."""
        while asyncio.all_tasks(self.loop):
            for process in self._processes:
                process.bury()
            for task in self.loop.tasks_of(None):
                task.cancel()
            self.loop.run_idle(20_000)
        self.loop.close()

    def fleet(self, process: Process, disk: CalmDisk | None = None, **options: Any) -> Fleet:
        """The fleet of one process, which is not open yet."""
        disk = disk or CalmDisk(self.rng)
        files = SimulatedFiles(process, self.timeline, disk)
        store = SqlPollStore(files.engine(self.path), shards=self.shards, clock=self.clock)
        return Fleet(store, self.make_gateway, look=self.look, rng=self.rng, **options)

    def _session(self) -> GatewaySession:
        return GatewaySession(
            self.sandbox.credentials,
            mch_id=self.sandbox.mch_id,
            transport=self.transport,
            clock=self.clock,
            rng=self.rng,
        )

    def serving(self, name: str, **options: Any) -> Process:
        """A process that serves until it is killed, or the test ends."""
        process = self.process(name)
        process.start(self.fleet(process, **options).run(), lasts=True)
        return process

    def run(self, process: Process, work: Coroutine[Any, Any, Any]) -> Any:
        """What the work returns in that process."""
        return self.loop.run_until_complete(process.start(work))

    def until(self, condition: Callable[[], object], seconds: float = 3600) -> float:
        """Let time go by until then; return how much went by."""
        began = self.loop.time()

        async def wait() -> None:
            while not condition():
                assert self.loop.time() - began < seconds, "it never came"
                await asyncio.sleep(0.5)

        self.loop.run_until_complete(self.loop.create_task(wait()))
        return self.loop.time() - began

    def file(self) -> bytes:
        """Everything that is in the database's files."""
        return b"".join(path.read_bytes() for path in Path(self.path).parent.glob("fleet.db*"))

    @property
    def is_locked(self) -> bool:
        """Whether somebody is writing into the database."""
        with closing(sqlite3.connect(self.path, timeout=0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    @property
    def charged(self) -> int:
        """How many orders the bank has."""
        return len(self.sandbox.ledger.orders)

    def rows(self) -> list[tuple[Any, ...]]:
        """What the fleet has to do still."""
        with closing(sqlite3.connect(self.path)) as connection:
            try:
                return connection.execute(
                    "SELECT kind, item, shard FROM chaoying_fleet WHERE shard > -2"
                ).fetchall()
            except sqlite3.OperationalError:  # nobody has made the tables yet
                return []

    @property
    def kept(self) -> int:
        """What the shop keeps by the bank's books, in fen."""
        return books(self.sandbox.ledger, self.clock.now()).kept
