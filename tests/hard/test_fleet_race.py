"""Many workers and web processes on one database: each paid order is told of twice, from two sides.

A web process takes the order and its watch. When the customer has paid, the notification comes to
some web process and the poll's outcome to some worker, at the same moment.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from chaoying_async import (
    Fen,
    GatewaySession,
    RequestNotSentError,
    SystemClock,
    TradeType,
    WechatPreOrder,
)
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sandbox import Sandbox
from chaoying_async.workers import fleet_metadata
from tests.hard.fleet_shop import FEE, SEED, engine_of, session_for, tellings
from tests.servers import Servers
from tests.sizes import FULL, cases
from tests.sql_shop import DATABASES, effects, metadata

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800 if FULL else 180)]
ROOT = Path(__file__).parents[2]
#: How many processes of the fleet, web processes, orders, and customers at a time. More orders keep
#: this process busy, which is gateway and customers at once, and not the fleet.
WORKERS, WEBS, ORDERS, AT_ONCE = (8, 4, 500, 20) if FULL else (2, 2, 25, 10)
PATIENCE = 120.0

_fleet = fleet_metadata().tables
ROWS, PROCESSES = _fleet["chaoying_fleet"], _fleet["chaoying_fleet_workers"]


@attrs.frozen
class World:
    """The gateway, the shop's database, and a customer."""

    sandbox: Sandbox
    session: GatewaySession
    engine: AsyncEngine
    customer: httpx.AsyncClient
    notify_url: str

    async def sell(self, number: str) -> None:
        """An order that is paid as soon as a web process has taken it."""
        order = WechatPreOrder(
            out_trade_no=number,
            body="coffee",
            total_fee=Fen(FEE),
            trade_type=TradeType.NATIVE,
            product_id="1",
            notify_url=self.notify_url,
        )
        while True:
            try:
                await self.session.send(order)
                break
            except RequestNotSentError:  # on a busy machine; nothing left, so it may be sent again
                await asyncio.sleep(0.5)
        answer = await self.customer.post(f"/orders/{number}")
        assert answer.status_code == 201, answer.text
        self.sandbox.customer_pays(number)

    async def count(self, table: Any, *where: Any) -> int:
        async with self.engine.connect() as connection:
            question = select(func.count()).select_from(table).where(*where)
            return int((await connection.execute(question)).scalar_one())

    async def until(self, count: int, table: Any, *where: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.count(table, *where) != count:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def world_on(kind: str, servers: Servers) -> AsyncGenerator[World]:
    async with AsyncExitStack() as stack:
        url = DATABASES[kind](servers, stack)  # type: ignore[arg-type]
        engine = engine_of(url)
        stack.push_async_callback(engine.dispose)
        await SqlInbox(engine).create_tables()
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.run_sync(fleet_metadata().create_all)
        sandbox = await stack.enter_async_context(Sandbox(clock=SystemClock(), seed=SEED))
        gateway = await stack.enter_async_context(sandbox.serve())
        session = await stack.enter_async_context(session_for(gateway, sandbox.credentials))
        bound = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        fd = bound.fileno()
        web = ("-m", "uvicorn", "tests.hard.fleet_web:app", "--fd", str(fd))
        worker = ("-m", "tests.hard.fleet_worker", url, gateway, "settle", "none")
        environment = {**os.environ, "DATABASE_URL": url, "GATEWAY": gateway}
        for command in [web] * WEBS + [worker] * WORKERS:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *command),
                cwd=ROOT,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=[fd],
            )
            stack.push_async_callback(_end, process)
        # A connection that is kept may be closed by the server while an order is on its way.
        limits = httpx.Limits(max_keepalive_connections=0)
        customer = httpx.AsyncClient(
            base_url=address, timeout=PATIENCE, trust_env=False, limits=limits
        )
        await stack.enter_async_context(customer)
        world = World(sandbox, session, engine, customer, f"{address}/notify")
        await world.until(WORKERS, PROCESSES, PROCESSES.c.name != "")
        yield world


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest.mark.parametrize("kind", cases(["psycopg"], more=["asyncpg", "mariadb", "sqlite"]))
async def test_notifications_and_polls_of_many_processes_have_one_effect_for_each_order(
    servers: Servers, kind: str
) -> None:
    """Each order is told of by both: by the gateway's books and the shop's own."""
    numbers = [f"R{number:05}" for number in range(ORDERS)]
    async with world_on(kind, servers) as world:
        places = asyncio.Semaphore(AT_ONCE)

        async def sell(number: str) -> None:
            async with places:
                await world.sell(number)

        await asyncio.gather(*map(sell, numbers))
        await world.until(0, ROWS, ROWS.c.shard >= -1)
        async with asyncio.timeout(PATIENCE):
            while len(_acknowledged(world.sandbox)) < ORDERS:
                await asyncio.sleep(0.1)
        async with world.engine.connect() as connection:
            found = (await connection.execute(select(effects.c.number))).scalars().all()
            told = (await connection.execute(select(tellings.c.number))).scalars().all()
    assert sorted(found) == numbers
    assert {*told} == {*numbers}


def _acknowledged(sandbox: Sandbox) -> set[str]:
    """The orders whose notification was answered with success."""
    return {each.key[1] for each in sandbox.deliveries if each.answer == b"success"}
