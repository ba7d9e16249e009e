"""A shop on arq: each worker is a process of the fleet, and each outcome runs the shop's own task.

arq 商店: 每个 arq worker 同时是 fleet 的一个进程；任务确认生效之前，结果一直保留在数据库中。

    pip install 'chaoying-async[sandbox,sql]' arq
    export REDIS_URL=redis://127.0.0.1 DATABASE_URL=sqlite+aiosqlite:///shop.db
    python examples/arq_shop.py --demo         # exit status 0 if all adds up

    export CHAOYING_KEY=...
    python examples/arq_shop.py                # makes the tables, once
    arq arq_shop.WorkerSettings                # in examples/; any number of them

Whoever takes an order writes its row and hands it over in one transaction: see ``sell``.

Where a worker is killed, arq holds its job back: for ``job_timeout`` and 10 seconds nobody takes it
up, and after the fifth time arq drops it. So here the fleet keeps an outcome until its task has
said that it took effect (``ArqQueue``). What does not say so in time is given again as another job,
and the task takes effect once by the outcome's id. Redis may lose everything: the rows are in the
database.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from arq.connections import (  # type: ignore[import-not-found,unused-ignore]
    ArqRedis,
    RedisSettings,
)
from arq.worker import (  # type: ignore[import-not-found,unused-ignore]
    create_worker,
    func,
)
from sqlalchemy import JSON, Column, Integer, MetaData, String, Table, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from chaoying_async import (
    GatewaySession,
    Hosts,
    OrderQuery,
    PayType,
    PollSchedule,
    SystemClock,
    TradeType,
    WechatPreOrder,
    credentials_from_env,
)
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sandbox import Sandbox
from chaoying_async.workers import Fleet, fleet_metadata

ORDER_ENDED = "shop.order_ended"
#: Seconds that a task may take to say that it took effect; then its outcome is given again.
PATIENCE = float(os.environ.get("TASK_PATIENCE", "10"))

metadata = MetaData()
orders = Table(
    "orders",
    metadata,
    Column("out_trade_no", String(32), primary_key=True),
    Column("total_fee", Integer, nullable=False),  # fen
    Column("status", String(32), nullable=False, default="OPEN"),
    Column("shipments", Integer, nullable=False, default=0),
)
#: What has taken effect already: an outcome may come twice.
outcomes = Table(
    "outcomes",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("outcome", JSON, nullable=False),
)


def database_url() -> str:
    """Where the orders are, and what the fleet waits for."""
    return os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///shop.db")


def session_of_environment() -> GatewaySession:
    """What ``chaoying sandbox`` says should be exported, or the real gateway."""
    url = os.environ.get("CHAOYING_URL", "")
    return GatewaySession(
        credentials_from_env(),
        mch_id=os.environ["CHAOYING_MCH_ID"],
        hosts=Hosts.single(url) if url else Hosts.document(),
    )


async def create_tables() -> None:
    """The shop's, and the fleet's, so that orders may come before a worker does."""
    engine = create_async_engine(database_url())
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.run_sync(fleet_metadata().create_all)
    await engine.dispose()


# ------------------------------------------------------------------------------------------- queue


class ArqQueue:
    """Gives an outcome to arq's task of that name, and waits until the task has done its work.

    The fleet forgets an outcome when this returns. Each try is a job of its own: under one job's id
    arq would take no other while that of a killed worker is held back.
    """

    joins = False

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis

    async def send(
        self,
        then: str,
        outcome: Mapping[str, Any],
        connection: AsyncConnection | None,  # noqa: ARG002 - the interface's
    ) -> None:
        """Raises what the task raised, or TimeoutError: then the fleet gives the outcome again."""
        job = await self._redis.enqueue_job(then, outcome=dict(outcome))
        if job is None:
            raise RuntimeError("arq has a job of this random name")
        await job.result(timeout=PATIENCE, poll_delay=0.2)


# ------------------------------------------------------------------------------------------ worker


async def order_ended(ctx: dict[str, Any], outcome: dict[str, Any]) -> None:
    """One transaction: that the outcome was seen, and what it does. Raising is trying again."""
    engine: AsyncEngine = ctx["engine"]
    this = update(orders).where(orders.c.out_trade_no == outcome["out_trade_no"])
    async with engine.begin() as connection:
        try:
            async with connection.begin_nested():
                await connection.execute(insert(outcomes).values(id=outcome["id"], outcome=outcome))
        except IntegrityError:
            return  # it took effect before
        if outcome["status"] != "PAID":
            await connection.execute(this.values(status=outcome["status"]))
            return
        ship = this.where(orders.c.total_fee == outcome["payable"], orders.c.shipments == 0)
        done = await connection.execute(ship.values(status="PAID", shipments=1))
        if done.rowcount != 1:
            raise LookupError(outcome["out_trade_no"])  # it changed meanwhile: judge it again


async def startup(ctx: dict[str, Any]) -> None:
    """arq calls this when a worker begins: from now on it is a process of the fleet as well."""
    # arq writes a task's arguments into its lines at INFO.
    logging.getLogger("arq.worker").setLevel(logging.WARNING)
    stack = ctx["stack"] = AsyncExitStack()
    ctx["engine"] = create_async_engine(database_url())
    stack.push_async_callback(ctx["engine"].dispose)
    await stack.enter_async_context(make_fleet(session_of_environment, ctx["redis"]))


async def shutdown(ctx: dict[str, Any]) -> None:
    """Hand the shards back; an outcome that is not confirmed yet is the next process's."""
    await ctx["stack"].aclose()


def as_json(job: Any) -> bytes:
    """Not pickle, which runs what is in it; of an error that a task raised, its name."""
    return json.dumps(job, default=lambda error: type(error).__name__).encode()


class WorkerSettings:
    """What the command ``arq`` reads."""

    functions = (func(order_ended, name=ORDER_ENDED),)
    redis_settings = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://127.0.0.1"))
    on_startup = startup
    on_shutdown = shutdown
    job_serializer = as_json
    job_deserializer = json.loads
    #: After SIGTERM, what runs has so many seconds to end.
    job_completion_wait = 10


# ------------------------------------------------------------------------------------------- fleet


def make_fleet(gateway: Any, redis: ArqRedis | None = None) -> Fleet:
    """One process of it. Without ``redis`` it only hands over, and must not be opened."""
    lease = float(os.environ.get("FLEET_LEASE", "15"))
    queue = None if redis is None else ArqQueue(redis)
    return Fleet(SqlPollStore(database_url(), lease=lease), gateway, queue)


async def sell(
    fleet: Fleet, connection: AsyncConnection, number: str, fee: int, schedule: PollSchedule
) -> None:
    """In the shop's own transaction: rolled back, nobody waits for the order."""
    await connection.execute(insert(orders).values(out_trade_no=number, total_fee=fee))
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=number)
    await fleet.watch(
        query, then=ORDER_ENDED, expected=fee, schedule=schedule, connection=connection
    )


# ------------------------------------------------------ from here on: the demo, no fleet, no worker


async def demo() -> bool:
    """Twenty orders and a worker in this event loop; one order is rolled back."""
    await create_tables()
    engine = create_async_engine(database_url())
    schedule = PollSchedule(first=0.1, every=0.2, until=20)
    sandbox = Sandbox(clock=SystemClock())
    numbers = [f"A{index:05}" for index in range(20)]
    async with sandbox, sandbox.serve() as url, asyncio.timeout(40):
        os.environ |= {
            "CHAOYING_AGENT_ID": sandbox.credentials.agent_id,
            "CHAOYING_KEY": sandbox.credentials.key,
            "CHAOYING_PID": sandbox.credentials.pid,
            "CHAOYING_MCH_ID": sandbox.mch_id,
            "CHAOYING_URL": url,
        }
        worker = create_worker(WorkerSettings, handle_signals=False)
        working = asyncio.create_task(worker.async_run())
        fleet = make_fleet(session_of_environment)
        async with session_of_environment() as gateway:
            for number in numbers:
                await gateway.send(pre_order(number))
                async with engine.begin() as connection:
                    await sell(fleet, connection, number, 1230, schedule)
                sandbox.customer_pays(number)
            async with engine.connect() as connection:
                await sell(fleet, connection, "NEVER", 1230, schedule)
                await connection.rollback()
            books = await until_shipped(engine, len(numbers))
        await worker.close()
        await asyncio.wait([working])
    await engine.dispose()
    once = all(row.shipments == 1 for row in books)
    worth = sum(row.total_fee * row.shipments for row in books)
    paid = sum(order.payable for order in sandbox.ledger.orders.values())
    print(f"{len(books)} orders, each shipped once: {once}")
    print(f"the shop's books: {worth} fen; the gateway's: {paid} fen")
    return once and worth == paid and len(books) == len(numbers)


def pre_order(number: str) -> WechatPreOrder:
    """What the customer scans."""
    return WechatPreOrder(
        out_trade_no=number,
        body="coffee",
        total_fee=1230,
        trade_type=TradeType.NATIVE,
        product_id="coffee",
        notify_url="https://shop.example/notify",
    )


async def until_shipped(engine: AsyncEngine, count: int) -> list[Any]:
    """Wait for the worker."""
    while True:
        async with engine.connect() as connection:
            books = list((await connection.execute(select(orders))).all())
        if sum(row.shipments for row in books) >= count:
            return books
        await asyncio.sleep(0.05)


def main() -> int:
    """0: everything adds up, or the tables are made."""
    if sys.argv[1:] != ["--demo"]:
        asyncio.run(create_tables())
        return 0
    with TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = f"sqlite+aiosqlite:///{Path(folder, 'shop.db')}"
        right = asyncio.run(demo())
    print("Everything adds up." if right else "Something is WRONG.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
