"""A shop on taskiq: each worker is a process of the fleet; each outcome runs the shop's own task.

taskiq 商店: 每个 taskiq worker 同时是 fleet 的一个进程；任务确认生效之前，结果一直保留在数据库中。

    pip install 'chaoying-async[sandbox,sql]' taskiq taskiq-redis
    export REDIS_URL=redis://127.0.0.1 DATABASE_URL=sqlite+aiosqlite:///shop.db
    python examples/taskiq_shop.py --demo      # exit status 0 if all adds up

    export CHAOYING_KEY=...
    python examples/taskiq_shop.py             # makes the tables, once
    taskiq worker taskiq_shop:broker --workers 2 --shutdown-timeout 15    # in examples/

Whoever takes an order writes its row and hands it over in one transaction: see ``sell``.

Where a worker is killed, ``RedisStreamBroker`` looks for its messages only after a new message has
come, and ten minutes later: in a quiet shop nobody takes them up. ``ListQueueBroker`` loses them.
So here the fleet keeps an outcome until its task has said that it took effect (``TaskiqQueue``).
What does not say so in time is given again as another message, and the task takes effect once by
the outcome's id. Redis may lose everything: the rows are in the database.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import JSON, Column, Integer, MetaData, String, Table, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from taskiq import TaskiqEvents, TaskiqState
from taskiq.api import run_receiver_task
from taskiq.serializers import JSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

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


# ------------------------------------------------------------------------------------------ broker

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1")
_results: Any = RedisAsyncResultBackend(
    REDIS_URL,
    result_ex_time=3600,
    serializer=JSONSerializer(),  # not pickle, which runs what is in it
)
#: By default a group begins with what comes after the first worker; "0" is all that there is.
broker = RedisStreamBroker(REDIS_URL, consumer_id="0").with_result_backend(_results)


class TaskiqQueue:
    """Gives an outcome to taskiq's task of that name, and waits until the task has done its work.

    The fleet forgets an outcome when this returns.
    """

    joins = False

    async def send(
        self,
        then: str,
        outcome: Mapping[str, Any],
        connection: AsyncConnection | None,  # noqa: ARG002 - the interface's
    ) -> None:
        """Raises where the task raised, or gave no answer: then the fleet gives it again."""
        task = broker.find_task(then)
        if task is None:
            raise LookupError(f"taskiq has no task {then!r} here")
        sent = await task.kiq(outcome=dict(outcome))
        result = await sent.wait_result(timeout=PATIENCE)
        if result.is_err:
            raise RuntimeError("the task failed; taskiq's log says how")


# ------------------------------------------------------------------------------------------ worker


@broker.task(task_name=ORDER_ENDED)
async def order_ended(outcome: dict[str, Any]) -> None:
    """One transaction: that the outcome was seen, and what it does. Raising is trying again."""
    engine: AsyncEngine = broker.state.engine
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


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def startup(state: TaskiqState) -> None:
    """A worker begins: from now on it is a process of the fleet as well."""
    stack = state.stack = AsyncExitStack()
    state.engine = create_async_engine(database_url())
    stack.push_async_callback(state.engine.dispose)
    await stack.enter_async_context(make_fleet(session_of_environment))


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def shutdown(state: TaskiqState) -> None:
    """Hand the shards back; an outcome that is not confirmed yet is the next process's."""
    await state.stack.aclose()


# ------------------------------------------------------------------------------------------- fleet


def make_fleet(gateway: Any) -> Fleet:
    """One process of it; only workers open theirs, whoever sells just hands over."""
    lease = float(os.environ.get("FLEET_LEASE", "15"))
    return Fleet(SqlPollStore(database_url(), lease=lease), gateway, TaskiqQueue())


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
        working = asyncio.create_task(run_receiver_task(broker, run_startup=True))
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
        working.cancel()
        await asyncio.wait([working])
        await broker.shutdown()
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
