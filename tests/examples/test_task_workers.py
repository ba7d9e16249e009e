"""The shops on taskiq and arq: what these engines do not take up again, the fleet gives again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import redis.asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async import (
    GatewaySession,
    Hosts,
    OrderQuery,
    PayType,
    PollSchedule,
    SystemClock,
    TradeType,
    WechatPreOrder,
)
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sandbox import Sandbox
from chaoying_async.workers import Fleet
from tests.examples.folder_installs import folder_of
from tests.examples.shops import EXAMPLES, environment, told, until
from tests.servers import Servers
from tests.sizes import FULL

if find_spec("taskiq_redis") is None:  # importing it takes half a second
    pytest.skip("taskiq_redis is not installed", allow_module_level=True)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200 if FULL else 240)]

#: How many workers are killed, one after the other.
KILLS = 20 if FULL else 1
#: Seconds until another process has a killed one's shards, and until a task's word is not waited
#: for any longer.
LEASE = PATIENCE = "2"


async def _held_by_taskiq(client: Any) -> set[bytes]:
    """Messages that a worker has in hand. Nobody else looks for them while no new one comes."""
    if not await client.exists("taskiq"):
        return set()
    pending = await client.xpending_range("taskiq", "taskiq", "-", "+", 100)
    return {entry["message_id"] for entry in pending}


async def _held_by_arq(client: Any) -> set[bytes]:
    """Jobs that a worker has in hand. Nobody else takes them up for 5 minutes from then on."""
    return {key async for key in client.scan_iter("arq:in-progress:*")}


@attrs.frozen
class Engine:
    """A task engine: its example, its worker, and what its workers have in hand."""

    program: str
    worker: tuple[str, ...]
    held: Callable[[Any], Awaitable[set[bytes]]]
    folders: tuple[str, ...] = ()
    #: Its own warnings, which are no errors of ours.
    warnings: tuple[str, ...] = ()

    def environment(self, folder: Path, **settings: str) -> dict[str, str]:
        given = environment(folder, FLEET_LEASE=LEASE, TASK_PATIENCE=PATIENCE, **settings)
        found = [str(folder_of(name)) for name in self.folders]
        return {**given, "PYTHONPATH": os.pathsep.join([*found, given["PYTHONPATH"]])}

    def command(self, *arguments: str) -> tuple[str, ...]:
        return (sys.executable, "-W", "error", *self.warnings, *arguments)


ENGINES = {
    "taskiq": Engine(
        "taskiq_shop.py",
        ("-m", "taskiq", "worker", "taskiq_shop:broker", "--workers", "1"),
        _held_by_taskiq,
    ),
    "arq": Engine(
        "arq_shop.py",
        ("-m", "arq", "arq_shop.WorkerSettings"),
        _held_by_arq,
        ("arq",),
        ("-W", "ignore:Call to deprecated close:DeprecationWarning"),
    ),
}
each_engine = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)


@each_engine
def test_the_demo_of_each_engine_adds_up(engine: Engine, servers: Servers, tmp_path: Path) -> None:
    """It sells to twenty customers, and each outcome ran its task."""
    ran = subprocess.run(
        engine.command(str(EXAMPLES / engine.program), "--demo"),
        cwd=tmp_path,
        env=engine.environment(tmp_path, REDIS_URL=servers.redis_url()),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.endswith("Everything adds up.\n")


@attrs.frozen
class Shop:
    """The database of a shop, and what each of its workers is started with."""

    engine: Engine
    folder: Path
    settings: Mapping[str, str]
    database: AsyncEngine
    fleet: Fleet

    @asynccontextmanager
    async def worker(self) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
        """A worker; what is lent kills it with all its children."""
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self.engine.command(*self.engine.worker),
                cwd=EXAMPLES,
                env=self.settings,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        async def kill() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

        try:
            yield kill
        finally:
            await kill()

    async def sell(self, session: GatewaySession, number: str) -> None:
        """The order's row and its watch, in one transaction."""
        await session.send(
            WechatPreOrder(
                out_trade_no=number,
                body="coffee",
                total_fee=1230,
                trade_type=TradeType.NATIVE,
                product_id="coffee",
                notify_url="https://shop.example/notify",
            )
        )
        query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=number)
        schedule = PollSchedule(first=0.1, every=0.3, until=60)
        async with self.database.begin() as connection:
            await connection.execute(
                text("INSERT INTO orders VALUES (:number, 1230, 'OPEN', 0)"), {"number": number}
            )
            await self.fleet.watch(
                query,
                then="shop.order_ended",
                expected=1230,
                schedule=schedule,
                connection=connection,
            )

    async def number(self, question: str, **values: Any) -> int:
        async with self.database.connect() as connection:
            return int((await connection.execute(text(question), values)).scalar_one())

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8")


@asynccontextmanager
async def shop_on(
    engine: Engine, folder: Path, url: str, redis_url: str, session: GatewaySession, **told: str
) -> AsyncGenerator[Shop]:
    """Tables as its program makes them, and nobody who works."""
    settings = engine.environment(folder, DATABASE_URL=url, REDIS_URL=redis_url, **told)
    made = await asyncio.create_subprocess_exec(
        *engine.command(str(EXAMPLES / engine.program)), cwd=folder, env=settings
    )
    assert await made.wait() == 0
    database = create_async_engine(url)
    fleet = Fleet(SqlPollStore(url), lambda: session)
    try:
        yield Shop(engine, folder, settings, database, fleet)
    finally:
        await database.dispose()


@each_engine
async def test_an_outcome_whose_worker_was_killed_is_given_again(
    engine: Engine, servers: Servers, tmp_path: Path
) -> None:
    """The engine leaves the killed worker's job where it is; the fleet's row makes another one.

    The shop holds the order's row locked, so that the task cannot end before its worker is killed.
    """
    nobody = httpx.MockTransport(lambda _: httpx.Response(200, text="success"))
    sandbox = Sandbox(clock=SystemClock(), notify_transport=nobody)
    url, redis_url = servers.postgresql_url(), servers.redis_url()
    left: set[bytes] = set()

    async def in_hand() -> bool:
        return bool(await engine.held(client) - left)

    client: Any
    async with (
        redis.asyncio.from_url(redis_url) as client,
        sandbox,
        sandbox.serve() as gateway,
        GatewaySession(
            sandbox.credentials, mch_id=sandbox.mch_id, hosts=Hosts.single(gateway)
        ) as session,
        shop_on(engine, tmp_path, url, redis_url, session, **told(sandbox, gateway)) as shop,
    ):
        for kill in range(KILLS):
            number = f"KILLED{kill:03}"
            await shop.sell(session, number)
            async with shop.database.connect() as holding, shop.worker() as kill_it:
                await holding.execute(
                    text("SELECT 1 FROM orders WHERE out_trade_no = :number FOR UPDATE"),
                    {"number": number},
                )
                sandbox.customer_pays(number)
                await until(in_hand)
                mine = await engine.held(client) - left
                left |= mine
                await kill_it()
                assert mine <= await engine.held(client)

            async def shipped() -> bool:
                question = "SELECT shipments FROM orders WHERE out_trade_no = :number"
                return await shop.number(question, number=number) > 0  # noqa: B023

            async def told_of() -> bool:
                return await shop.number("SELECT count(*) FROM chaoying_fleet") == 0

            async with shop.worker():
                await until(shipped)
                await until(told_of)
            # What the killed worker had in hand lies there still: nobody took it up.
            assert mine <= await engine.held(client), shop.log()
        assert len(left) == KILLS
        assert await shop.number("SELECT count(*) FROM orders WHERE shipments = 1") == KILLS
        assert await shop.number("SELECT count(*) FROM outcomes") == KILLS
        paid = sum(order.payable for order in sandbox.ledger.orders.values())
        assert await shop.number("SELECT sum(total_fee * shipments) FROM orders") == paid
