"""A fleet whose processes are killed and whose database is restarted, by the gateway's books.

    python -m tests.hard.fleet_killed sqlite|psycopg|asyncpg|mariadb [--mode effect|settle]
        [--kills 200] [--restarts 50] [--workers 3] [--json PATH]

The gateway is a sandbox in this process; each worker is a process of its own. Orders are handed
over all the time, in the transaction of their own row, and some of these are rolled back. At the
end each paid order took effect once, no other did, and each that was handed over was told of.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from sqlalchemy import Executable, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from chaoying_async import (
    Fen,
    GatewaySession,
    OrderQuery,
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
from tests.servers import Server, Servers
from tests.sql_shop import effects, metadata

ROOT = Path(__file__).parents[2]
#: Seconds between two blows, and between two orders.
BLOWS, ORDERS = (0.2, 2.0), 0.1
#: Seconds after the last blow until everything has come to its end.
PATIENCE = 180.0
#: Of 20 orders: so many are paid by the customer, and so many are rolled back by the shop.
PAID, ROLLED_BACK = 12, 1
#: So many kills do not wait until the killed worker's successor serves.
IN_A_HURRY = 0.2


@attrs.define
class World:
    """The shop's database, the gateway, and the processes of the fleet."""

    url: str
    mode: str
    server: Server | None
    sandbox: Sandbox
    gateway: str
    session: GatewaySession
    fleet: Fleet
    notify_url: str
    rng: random.Random
    workers: list[asyncio.subprocess.Process] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    over: bool = False

    async def start_worker(self, *, wait: bool) -> None:
        """One process more; ``wait`` until it serves, or has died of a database that is down."""
        command = (sys.executable, "-m", "tests.hard.fleet_worker")
        arguments = (self.url, self.gateway, self.mode)
        worker = await asyncio.create_subprocess_exec(
            *(*command, *arguments),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self.workers.append(worker)
        assert worker.stdout is not None
        if wait:
            await worker.stdout.readline()

    async def kill(self) -> None:
        """The end of one worker, and the beginning of another."""
        worker = self.workers.pop(self.rng.randrange(len(self.workers)))
        with suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()
        self.counts["kills"] += 1
        await self.start_worker(wait=self.rng.random() > IN_A_HURRY)

    async def replace_the_dead(self) -> None:
        """As a supervisor does: who starts while the database is down dies of that."""
        dead = [worker for worker in self.workers if worker.returncode is not None]
        for worker in dead:
            self.workers.remove(worker)
            self.counts["could not start"] += 1
            await self.start_worker(wait=False)

    async def restart(self) -> None:
        """The database's end, by a crash or by an order, and its return."""
        assert self.server is not None
        assert self.server.process is not None
        how = self.rng.choice([signal.SIGKILL, self.server.stop_signal])
        self.server.process.send_signal(how)
        await asyncio.to_thread(self.server.process.wait)
        self.server.serve()
        assert await asyncio.to_thread(self.server.wait)
        self.counts["restarts"] += 1

    async def hand_over(self) -> None:
        """Orders, as fast as they come, each in the transaction of its own row."""
        async with asyncio.TaskGroup() as orders:
            number = 0
            while not self.over:
                number += 1
                orders.create_task(self._order(f"K{number:06d}", number % 20))
                await asyncio.sleep(ORDERS)

    async def _order(self, number: str, kind: int) -> None:
        await self.session.send(
            WechatPreOrder(
                out_trade_no=number,
                body="coffee",
                total_fee=Fen(FEE),
                trade_type=TradeType.NATIVE,
                product_id="1",
                notify_url=self.notify_url,
            )
        )
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

    async def blows(self, kills: int, restarts: int) -> None:
        """All of them, in no order."""
        blows = [self.kill] * kills + [self.restart] * restarts
        self.rng.shuffle(blows)
        for blow in blows:
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
            if not await self.rows(select(waiting.c.seq).limit(1)):
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
async def world_on(kind: str, mode: str, seed: int) -> AsyncGenerator[World]:
    """Everything but the workers."""
    with Servers() as servers, tempfile.TemporaryDirectory() as directory:
        server: Server | None = None
        url = f"sqlite+aiosqlite:///{directory}/shop.db"
        if kind == "mariadb":
            url, server = servers.mariadb_url(), servers.mariadb
        elif kind != "sqlite":
            url = servers.postgresql_url("asyncpg" if kind == "asyncpg" else "psycopg")
            server = servers.postgresql
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
            world = World(*(url, mode, server, sandbox, gateway, session, fleet, notify_url, rng))
            try:
                yield world
            finally:
                for worker in world.workers:
                    with suppress(ProcessLookupError):
                        worker.kill()
                    await worker.wait()


async def campaign(
    kind: str, *, mode: str, kills: int, restarts: int, workers: int, seed: int = 1
) -> dict[str, Any]:
    """One campaign; its result has ``problems``, each of which is empty."""
    began = time.monotonic()
    async with world_on(kind, mode, seed) as world:
        await asyncio.gather(*(world.start_worker(wait=True) for _ in range(workers)))
        handing_over = asyncio.create_task(world.hand_over())
        try:
            await world.blows(kills, restarts if world.server is not None else 0)
        finally:
            world.over = True
            await handing_over
        finished = await world.finished()
        result = await world.verdict()
    return {
        "benchmark": "fleet_killed",
        "database": kind,
        "mode": mode,
        "queue": "none",
        "workers": workers,
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
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = vars(parser.parse_args())
    path: Path | None = options.pop("json")
    result = asyncio.run(campaign(options.pop("kind"), **options))
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    sys.stdout.write(text)
    if path is not None:
        path.write_text(text, "utf-8")
    return int(not is_right(result))


if __name__ == "__main__":
    sys.exit(main())
