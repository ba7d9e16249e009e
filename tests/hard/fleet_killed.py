"""A fleet whose processes are killed and whose database is restarted, by the gateway's books.

    python -m tests.hard.fleet_killed sqlite|psycopg|asyncpg|mariadb [--mode effect|settle]
        [--queue none|pgqueuer|celery] [--kills 200] [--restarts 50] [--workers 3]
        [--minutes 30] [--every 0.1] [--json PATH]

The gateway is a sandbox in this process; each worker is a process of its own, and with a queue its
workers are, which are killed as often. Orders are handed over all the time, in the transaction of
their own row, and some of these are rolled back. At the end each paid order took effect once, no
other did, and each that was handed over was told of. ``--minutes`` ends the blows before all of
them fell; the result says how many did.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from typing import Any, Self

import attrs
from sqlalchemy import Executable, func, insert, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from chaoying_async import (
    Fen,
    GatewaySession,
    OrderQuery,
    OutcomeUnknownError,
    PayType,
    SystemClock,
    TradeType,
    WechatPreOrder,
)
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.serving.server import listening
from chaoying_async.web.asgi import notification_app
from chaoying_async.workers import Fleet, fleet_metadata
from tests.factories import MCH_ID
from tests.hard.fleet_shop import (
    FEE,
    SCHEDULE,
    SEED,
    THEN,
    engine_of,
    fleet_on,
    handler_on,
    session_for,
    shop_orders,
    tellings,
)
from tests.servers import STARTING, Server, Servers
from tests.sql_shop import effects, metadata
from tests.stopped import family

ROOT = Path(__file__).parents[2]
#: Seconds between two blows.
BLOWS = (0.2, 2.0)
#: Seconds after the last blow until everything has come to its end.
PATIENCE = 180.0
#: Of 20 orders: so many are paid by the customer, and so many are rolled back by the shop.
PAID, ROLLED_BACK = 12, 1
#: So many kills do not wait until the killed worker's successor serves.
IN_A_HURRY = 0.2
#: So many kills of a queue's worker that has children hit one of these alone.
A_CHILD = 0.3


class Of(Enum):
    """What a worker is a process of."""

    FLEET = auto()
    QUEUE = auto()


@attrs.frozen(eq=False)
class Worker:
    """One process, with all its children."""

    of: Of
    process: asyncio.subprocess.Process

    async def kill(self) -> None:
        """With kill -9, as when a machine loses its power."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()


@attrs.frozen(kw_only=True)
class Crew:
    """The queue between the fleet and the shop's task: what runs it, and what it has to do yet."""

    queue: str
    #: The command of one of its workers; and what every process has in its environment.
    command: tuple[str, ...] = ()
    settings: dict[str, str]

    @classmethod
    async def of(cls, queue: str, url: str, servers: Servers) -> Self:
        """The queue of that name, ready for its workers."""
        settings = {**os.environ, "DATABASE_URL": url}
        if queue == "pgqueuer":
            from tests.hard.fleet_queue_worker import make_tables

            await make_tables(url)
            command: tuple[str, ...] = ("-m", "tests.hard.fleet_queue_worker")
            return cls(queue=queue, command=command, settings=settings)
        if queue == "celery":
            sync = make_url(url).set(drivername="postgresql+psycopg")
            settings["DATABASE_URL"] = sync.render_as_string(hide_password=False)
            settings["BROKER_URL"] = servers.redis_url()
            command = (
                *("-m", "celery", "-A", "tests.hard.fleet_celery", "worker", "-c", "2"),
                *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            )
            return cls(queue=queue, command=command, settings=settings)
        return cls(queue=queue, settings=settings)

    async def jobs(self, engine: AsyncEngine) -> int:
        """How many wait for a worker or are in the hands of one."""
        if self.queue == "celery":
            import redis.asyncio

            client: Any = redis.asyncio.from_url(self.settings["BROKER_URL"])
            waiting = int(await client.llen("celery")) + int(await client.hlen("unacked"))
            await client.aclose()
            return waiting
        if self.queue == "none":
            return 0
        question = "SELECT count(*) FROM pgqueuer WHERE status IN ('queued', 'picked')"
        async with engine.connect() as connection:
            return int(await connection.scalar(text(question)) or 0)


@attrs.define
class World:
    """The shop's database, the gateway, and the processes of the fleet and of its queue."""

    url: str
    mode: str
    crew: Crew
    server: Server | None
    sandbox: Sandbox
    gateway: str
    session: GatewaySession
    fleet: Fleet
    notify_url: str
    rng: random.Random
    #: Seconds between two orders.
    every: float
    workers: list[Worker] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    over: bool = False

    async def start_worker(self, of: Of, *, wait: bool) -> None:
        """One process more; ``wait`` until it serves, or has died of a database that is down."""
        if of is Of.FLEET:
            arguments = (self.url, self.gateway, self.mode, self.crew.queue)
            command: tuple[str, ...] = ("-m", "tests.hard.fleet_worker", *arguments)
        else:
            command = self.crew.command
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *command),
            cwd=ROOT,
            env=self.crew.settings,
            stdout=asyncio.subprocess.PIPE if of is Of.FLEET else asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        self.workers.append(Worker(of, process))
        if wait and process.stdout is not None:
            await process.stdout.readline()

    async def kill(self) -> None:
        """The end of one worker with all its children, or of one child; another takes its place."""
        worker = self.workers[self.rng.randrange(len(self.workers))]
        self.counts["kills"] += 1
        children = family(worker.process.pid)[1:]
        if worker.of is Of.QUEUE and children and self.rng.random() < A_CHILD:
            self.counts["of these, of a child alone"] += 1
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(children), signal.SIGKILL)
            return
        self.counts["of these, of the queue"] += worker.of is Of.QUEUE
        self.workers.remove(worker)
        await worker.kill()
        await self.start_worker(worker.of, wait=self.rng.random() > IN_A_HURRY)

    async def replace_the_dead(self) -> None:
        """As a supervisor does: who starts while the database is down dies of that."""
        dead = [worker for worker in self.workers if worker.process.returncode is not None]
        for worker in dead:
            self.workers.remove(worker)
            self.counts["ended by themselves"] += 1
            await worker.kill()  # what it had for children
            await self.start_worker(worker.of, wait=False)

    async def restart(self) -> None:
        """The database's end, by a crash or by an order, and its return."""
        assert self.server is not None
        assert self.server.process is not None
        how = self.rng.choice([signal.SIGKILL, self.server.stop_signal])
        self.server.process.send_signal(how)
        await asyncio.to_thread(self.server.process.wait)
        # PostgreSQL does not start beside children of a killed one that have not ended yet.
        async with asyncio.timeout(2 * STARTING):
            self.server.serve()
            while not await asyncio.to_thread(self.server.wait):
                self.server.serve()
        self.counts["restarts"] += 1

    async def hand_over(self) -> None:
        """Orders, as fast as they come, each in the transaction of its own row."""
        async with asyncio.TaskGroup() as orders:
            number = 0
            while not self.over:
                number += 1
                orders.create_task(self._order(f"K{number:06d}", number % 20))
                await asyncio.sleep(self.every)

    async def _order(self, number: str, kind: int) -> None:
        pre_order = WechatPreOrder(
            out_trade_no=number,
            body="coffee",
            total_fee=Fen(FEE),
            trade_type=TradeType.NATIVE,
            product_id="1",
            notify_url=self.notify_url,
        )
        try:
            await self.session.send(pre_order)
        except OutcomeUnknownError:  # a connection that was just being closed: no customer sees it
            self.counts["not known to be made"] += 1
            return
        query = OrderQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_trade_no=number)
        engine = self.fleet._engine
        try:
            async with engine.connect() as connection:
                await connection.execute(insert(shop_orders).values(number=number))
                await self.fleet.watch(
                    query, then=THEN, expected=FEE, schedule=SCHEDULE, connection=connection
                )
                if kind < ROLLED_BACK:
                    await connection.rollback()
                    return
                await connection.commit()
        except (SQLAlchemyError, OSError):
            self.counts["not known to be handed over"] += 1
            return
        if kind < ROLLED_BACK + PAID:
            await asyncio.sleep(self.rng.uniform(0, 4))
            self.sandbox.customer_pays(number)

    async def blows(self, kills: int, restarts: int, seconds: float) -> None:
        """All of them, in no order; or as many as fall in time."""
        blows = [self.kill] * kills + [self.restart] * restarts
        self.rng.shuffle(blows)
        end = time.monotonic() + seconds
        for blow in blows:
            if time.monotonic() > end:
                return
            await asyncio.sleep(self.rng.uniform(*BLOWS))
            await self.replace_the_dead()
            await blow()

    async def rows(self, question: Executable) -> list[Any]:
        """What the database holds; asked until it answers."""
        while True:
            try:
                async with self.fleet._engine.connect() as connection:
                    return list((await connection.execute(question)).all())
            except (SQLAlchemyError, OSError):
                await asyncio.sleep(0.2)

    async def finished(self) -> bool:
        """Wait until nothing is waited for; False where that takes too long."""
        waiting = self.fleet._database.tables.rows
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            left = await self.rows(select(waiting.c.seq).limit(1))
            if not left and not await self.crew.jobs(self.fleet._engine):
                return True
            await self.replace_the_dead()
            await asyncio.sleep(0.5)
        return False

    async def verdict(self) -> dict[str, Any]:
        """The books against each other."""
        handed_over = {row.number for row in await self.rows(select(shop_orders))}
        told = {row.number for row in await self.rows(select(tellings.c.number))}
        question = select(effects.c.number, func.count()).group_by(effects.c.number)
        found = {row[0]: row[1] for row in await self.rows(question)}
        orders = self.sandbox.ledger.orders.values()
        paid = {order.out_trade_no for order in orders if order.paid_at is not None}
        return {
            **self.counts,
            "orders handed over": len(handed_over),
            "of these paid": len(paid & handed_over),
            "problems": {
                "paid without effect": sorted(paid & handed_over - {*found}),
                "effects without payment": sorted({*found} - paid),
                "effects more than once": sorted(n for n, count in found.items() if count > 1),
                "never told of": sorted(handed_over - told),
                "told of, though rolled back": sorted(told - handed_over),
            },
        }


@asynccontextmanager
async def world_on(
    kind: str, mode: str, queue: str, seed: int, every: float
) -> AsyncGenerator[World]:
    """Everything but the workers."""
    with Servers() as servers, tempfile.TemporaryDirectory() as directory:
        server: Server | None = None
        url = f"sqlite+aiosqlite:///{directory}/shop.db"
        if kind == "mariadb":
            url, server = servers.mariadb_url(), servers.mariadb
        elif kind != "sqlite":
            url = servers.postgresql_url("asyncpg" if kind == "asyncpg" else "psycopg")
            server = servers.postgresql
        crew = await Crew.of(queue, url, servers)
        engine = engine_of(url)
        sandbox = Sandbox(clock=SystemClock(), seed=SEED)
        await SqlInbox(engine).create_tables()
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.run_sync(fleet_metadata().create_all)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(engine.dispose)
            await stack.enter_async_context(sandbox)
            gateway = await stack.enter_async_context(sandbox.serve())
            handler = await stack.enter_async_context(handler_on(engine, sandbox.credentials))
            shop = await stack.enter_async_context(listening(notification_app(handler)))
            session = session_for(gateway, sandbox.credentials)
            await stack.enter_async_context(session)
            notify_url = f"{shop}/notify" if mode == "settle" else f"{gateway}/nobody"
            fleet, rng = fleet_on(engine, session), random.Random(seed)
            world = World(
                *(url, mode, crew, server, sandbox, gateway, session, fleet, notify_url, rng, every)
            )
            try:
                yield world
            finally:
                for worker in world.workers:
                    await worker.kill()


async def campaign(
    kind: str,
    *,
    mode: str = "effect",
    queue: str = "none",
    kills: int,
    restarts: int,
    workers: int = 3,
    minutes: float = math.inf,
    seed: int = 1,
    every: float = 0.1,
) -> dict[str, Any]:
    """One campaign; its result has ``problems``, each of which is empty."""
    began = time.monotonic()
    async with world_on(kind, mode, queue, seed, every) as world:
        team = [Of.FLEET] * workers + [Of.QUEUE] * (2 if queue != "none" else 0)
        await asyncio.gather(*(world.start_worker(of, wait=True) for of in team))
        handing_over = asyncio.create_task(world.hand_over())
        try:
            of_database = restarts if world.server is not None else 0
            await world.blows(kills, of_database, 60 * minutes)
        finally:
            world.over = True
            await handing_over
        finished = await world.finished()
        result = await world.verdict()
    return {
        "benchmark": "fleet_killed",
        "database": kind,
        "mode": mode,
        "queue": queue,
        "workers": workers,
        "wanted": {"kills": kills, "restarts": restarts},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 1),
        "came to its end": finished,
        **result,
    }


def is_right(result: dict[str, Any]) -> bool:
    """Whether nothing is wrong in the books, and there was something in them."""
    ended = result["came to its end"] and result["of these paid"]
    return bool(ended and not any(result["problems"].values()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.hard.fleet_killed")
    parser.add_argument("kind", choices=["sqlite", "psycopg", "asyncpg", "mariadb"])
    parser.add_argument("--mode", choices=["effect", "settle"], default="effect")
    parser.add_argument("--queue", choices=["none", "pgqueuer", "celery"], default="none")
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=0.1, help="seconds between two orders")
    parser.add_argument("--json", type=Path)
    options = vars(parser.parse_args())
    path: Path | None = options.pop("json")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # no worker outlives us
    result = asyncio.run(campaign(options.pop("kind"), **options))
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    sys.stdout.write(text)
    if path is not None:
        path.write_text(text, "utf-8")
    return int(not is_right(result))


if __name__ == "__main__":
    sys.exit(main())
