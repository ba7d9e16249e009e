"""Each queue with its real broker, as the contract's tests use it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import redis.asyncio
from pgqueuer import Queries
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from chaoying_async.workers.queues.celery import CeleryQueue
from chaoying_async.workers.queues.pgqueuer import PgQueuerQueue
from chaoying_async.workers.queues.protocol import OutcomeQueue
from tests.servers import Servers
from tests.workers.queues import celery_app, procrastinate_worker, shop_task
from tests.workers.queues.procrastinate_queue import ProcrastinateQueue

ROOT = Path(__file__).parents[3]
PATIENCE = 40.0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.02)


def outcome(number: int, **more: Any) -> dict[str, Any]:
    """An outcome as the fleet hands it over."""
    return {
        "id": f"shop:A{number:05}:1",
        "mch_id": "100000000000001",
        "out_trade_no": f"A{number:05}",
        "status": "PAID",
        "payable": 1230,
        "paid": 1200,
        "transaction_id": f"T{number:05}",
        "seq": 1,
        **more,
    }


class Kit(ABC):
    """One queue, one fresh database or broker, and worker processes of the shop."""

    #: Seconds after which another worker takes up the job of one that was killed, as set here.
    taken_up_after: float

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.servers = servers
        self.folder = folder
        self.queue = self.make_queue()

    @abstractmethod
    def make_queue(self) -> OutcomeQueue: ...

    @abstractmethod
    def worker_command(self) -> tuple[str, ...]: ...

    @abstractmethod
    def settings(self) -> Mapping[str, str]: ...

    @abstractmethod
    async def prepare(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def jobs(self) -> int:
        """How many wait or are in hand."""

    async def send(self, *outcomes: Mapping[str, Any], then: str = shop_task.NAME) -> None:
        """As the fleet does it after a commit."""
        for each in outcomes:
            await self.queue.send(then, each, None)

    async def finished(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.jobs():
                await asyncio.sleep(0.05)

    @property
    def effects(self) -> list[dict[str, Any]]:
        return shop_task.noted(self.folder / "effects")

    @property
    def began(self) -> list[dict[str, Any]]:
        return shop_task.noted(self.folder / "began")

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    @asynccontextmanager
    async def worker(self, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A worker process; killed with its children when the block is left."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "FOLDER": str(self.folder),
            **self.settings(),
            **more,
        }
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *self.worker_command()),
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                kill(process)
            await process.wait()


def kill(process: asyncio.subprocess.Process) -> None:
    """With kill -9, and its children too, as when a machine loses its power."""
    os.killpg(process.pid, signal.SIGKILL)


class Joining(Kit):
    """Queues in PostgreSQL: their jobs are written in the shop's own transaction."""

    driver: str = "psycopg"
    counting: str

    def __init__(self, servers: Servers, folder: Path) -> None:
        url = make_url(servers.postgresql_url("psycopg"))
        self.url = url.set(drivername=f"postgresql+{self.driver}")
        self.database = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self.engine = create_async_engine(self.url)
        super().__init__(servers, folder)

    def settings(self) -> Mapping[str, str]:
        return {"DATABASE": self.database}

    async def close(self) -> None:
        await self.engine.dispose()

    async def send(self, *outcomes: Mapping[str, Any], then: str = shop_task.NAME) -> None:
        async with self.engine.begin() as connection:
            for each in outcomes:
                await self.queue.send(then, each, connection)

    async def jobs(self) -> int:
        async with self.engine.connect() as connection:
            return int(await connection.scalar(text(self.counting)) or 0)

    @abstractmethod
    async def break_tables(self, connection: AsyncConnection) -> None: ...


class PgQueuerByAsyncpg(Joining):
    driver = "asyncpg"
    counting = "SELECT count(*) FROM pgqueuer WHERE status IN ('queued', 'picked')"
    taken_up_after = 3.0

    def make_queue(self) -> OutcomeQueue:
        return PgQueuerQueue()

    def worker_command(self) -> tuple[str, ...]:
        return ("-m", "tests.workers.queues.pgqueuer_worker")

    async def prepare(self) -> None:
        import asyncpg  # type: ignore[import-untyped]

        connection = await asyncpg.connect(self.database)
        await Queries.from_asyncpg_connection(connection).install()
        await connection.close()

    async def break_tables(self, connection: AsyncConnection) -> None:
        await connection.execute(text("ALTER TABLE pgqueuer RENAME TO mislaid"))


class PgQueuerByPsycopg(PgQueuerByAsyncpg):
    driver = "psycopg"


class Procrastinate(Joining):
    counting = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
    taken_up_after = procrastinate_worker.STALLED_AFTER

    def make_queue(self) -> OutcomeQueue:
        return ProcrastinateQueue(procrastinate_worker.shop_app(self.database))

    def worker_command(self) -> tuple[str, ...]:
        return ("-m", "tests.workers.queues.procrastinate_worker")

    async def prepare(self) -> None:
        async with procrastinate_worker.shop_app(self.database).open_async() as app:
            await app.schema_manager.apply_schema_async()

    async def break_tables(self, connection: AsyncConnection) -> None:
        await connection.execute(text("ALTER TABLE procrastinate_jobs RENAME TO mislaid"))


class CeleryOverRedis(Kit):
    taken_up_after = float(celery_app.VISIBLE_AGAIN + 1)

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.broker = servers.redis_url()
        self.queues: list[CeleryQueue] = []
        super().__init__(servers, folder)

    def make_queue(self) -> OutcomeQueue:
        self.queues.append(CeleryQueue(celery_app.shop_app(self.broker), timeout=5.0))
        return self.queues[-1]

    def worker_command(self) -> tuple[str, ...]:
        return (
            *("-m", "celery", "-A", "tests.workers.queues.celery_app", "worker", "-c", "2"),
            *("-l", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"),
        )

    def settings(self) -> Mapping[str, str]:
        return {"BROKER": self.broker}

    async def prepare(self) -> None:
        """Celery makes its keys itself."""

    async def close(self) -> None:
        for queue in self.queues:
            queue.close()

    async def jobs(self) -> int:
        client: Any = redis.asyncio.from_url(self.broker)
        waiting = int(await client.llen("celery")) + int(await client.hlen("unacked"))
        await client.aclose()
        return waiting


KITS: dict[str, type[Kit]] = {
    "pgqueuer-asyncpg": PgQueuerByAsyncpg,
    "pgqueuer-psycopg": PgQueuerByPsycopg,
    "celery": CeleryOverRedis,
    "procrastinate": Procrastinate,
}


@asynccontextmanager
async def opened(kind: type[Kit], servers: Servers, folder: Path) -> AsyncIterator[Kit]:
    kit = kind(servers, folder)
    await kit.prepare()
    try:
        yield kit
    finally:
        await kit.close()


def engine_of(kit: Kit) -> AsyncEngine:
    assert isinstance(kit, Joining)
    return kit.engine
