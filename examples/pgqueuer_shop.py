"""A shop on PgQueuer: the outcome of an order and the job that handles it are committed together.

PgQueuer 商店: 订单结果与处理任务在同一个 PostgreSQL 事务中提交；任务可重复执行，每单恰好生效一次。

    pip install 'chaoying-async[pgqueuer,sandbox]' asyncpg
    export DATABASE_URL=postgresql+asyncpg://shop:...@127.0.0.1/shop
    python examples/pgqueuer_shop.py --demo    # in an empty schema; exit status 0 if all adds up

    export CHAOYING_KEY=...
    python examples/pgqueuer_shop.py           # serves the fleet and runs the task, until SIGTERM

Whoever takes an order writes its row and hands it over in one transaction: see ``sell``. PostgreSQL
is all that there is: no broker, and nothing that could know more or less than the database.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]
from pgqueuer import PgQueuer, Queries
from sqlalchemy import Column, Integer, MetaData, String, Table, func, make_url, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
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
from chaoying_async.workers import Fleet
from chaoying_async.workers.queues.pgqueuer import PgQueuerQueue, outcome_task

ORDER_ENDED = "shop.order_ended"

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
    Column("outcome", JSONB, nullable=False),
)


def database_url() -> str:
    """Where everything is: orders, what the fleet waits for, and PgQueuer's jobs."""
    return os.environ["DATABASE_URL"]


def session_of_environment() -> GatewaySession:
    """What ``chaoying sandbox`` says should be exported, or the real gateway."""
    url = os.environ.get("CHAOYING_URL", "")
    return GatewaySession(
        credentials_from_env(),
        mch_id=os.environ["CHAOYING_MCH_ID"],
        hosts=Hosts.single(url) if url else Hosts.document(),
    )


def driver_url() -> str:
    """The same, as asyncpg itself reads it."""
    url = make_url(database_url()).set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


# -------------------------------------------------------------------------------------------- task


async def order_ended(engine: AsyncEngine, outcome: dict[str, Any]) -> None:
    """One transaction: that the outcome was seen, and what it does. Raising is trying again."""
    seen = insert(outcomes).values(id=outcome["id"], outcome=outcome).on_conflict_do_nothing()
    this = update(orders).where(orders.c.out_trade_no == outcome["out_trade_no"])
    async with engine.begin() as connection:
        if (await connection.execute(seen)).rowcount == 0:
            return  # it took effect before
        if outcome["status"] != "PAID":
            await connection.execute(this.values(status=outcome["status"]))
            return
        ship = this.where(orders.c.total_fee == outcome["payable"], orders.c.shipments == 0)
        done = await connection.execute(ship.values(status="PAID", shipments=1))
        if done.rowcount != 1:
            raise LookupError(outcome["out_trade_no"])  # it changed meanwhile: judge it again


@asynccontextmanager
async def working(engine: AsyncEngine) -> AsyncIterator[PgQueuer]:
    """A worker of PgQueuer in this event loop; leaving the block finishes what it has in hand."""
    async with asyncpg.create_pool(driver_url(), min_size=2, max_size=5) as pool:
        worker = PgQueuer.from_asyncpg_pool(pool)

        @outcome_task(worker, ORDER_ENDED)
        async def run(outcome: dict[str, Any]) -> None:
            await order_ended(engine, outcome)

        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(shutdown_on_listener_failure=True))
            try:
                yield worker
            finally:
                worker.shutdown.set()


async def create_tables(engine: AsyncEngine) -> None:
    """Once, before the first start; the fleet makes its own."""
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    connection = await asyncpg.connect(driver_url())
    queries = Queries.from_asyncpg_connection(connection)
    if not await queries.schema_is_installed():
        await queries.install()
    await connection.close()


# ------------------------------------------------------------------------------------------- fleet


def make_fleet(gateway: Any) -> Fleet:
    """One process of it: it serves its share of the orders, whoever handed them over."""
    return Fleet(SqlPollStore(database_url()), gateway, PgQueuerQueue())


async def sell(
    fleet: Fleet, connection: AsyncConnection, number: str, fee: int, schedule: PollSchedule
) -> None:
    """In the shop's own transaction: rolled back, nobody waits for the order."""
    await connection.execute(insert(orders).values(out_trade_no=number, total_fee=fee))
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=number)
    await fleet.watch(
        query, then=ORDER_ENDED, expected=fee, schedule=schedule, connection=connection
    )


async def serve() -> None:
    """Fleet and worker in one process, until SIGTERM or SIGINT; they may be two as well."""
    engine = create_async_engine(database_url())
    await create_tables(engine)
    fleet = make_fleet(session_of_environment)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, fleet.stop)
    async with working(engine):
        await fleet.run()
    await engine.dispose()


# ------------------------------------------------------ from here on: the demo, no fleet, no worker


async def demo() -> bool:
    """Twenty orders and a worker; one order is rolled back, one outcome comes again."""
    engine = create_async_engine(database_url())
    await create_tables(engine)
    schedule = PollSchedule(first=0.1, every=0.2, until=20)
    sandbox = Sandbox(clock=SystemClock())

    def session() -> GatewaySession:
        return GatewaySession(
            sandbox.credentials, mch_id=sandbox.mch_id, transport=sandbox.transport
        )

    numbers = [f"A{index:05}" for index in range(20)]
    async with (
        sandbox,
        session() as gateway,
        working(engine),
        make_fleet(session) as fleet,
        asyncio.timeout(40),
    ):
        for number in numbers:
            await gateway.send(pre_order(number))
            async with engine.begin() as connection:
                await sell(fleet, connection, number, 1230, schedule)
            sandbox.customer_pays(number)
        async with engine.connect() as connection:
            await sell(fleet, connection, "NEVER", 1230, schedule)
            await connection.rollback()
        await until(engine, select(func.count()).where(orders.c.shipments > 0), len(numbers))
        async with engine.begin() as connection:
            again = await connection.scalar(select(outcomes.c.outcome).limit(1))
            await PgQueuerQueue().send(ORDER_ENDED, again or {}, connection)
        await until(engine, select(func.count()).select_from(jobs), 0)
    async with engine.connect() as connection:
        books = (await connection.execute(select(orders))).all()
    await engine.dispose()
    once = all(row.shipments == 1 for row in books)
    worth = sum(row.total_fee * row.shipments for row in books)
    paid = sum(order.payable for order in sandbox.ledger.orders.values())
    print(f"{len(books)} orders, each shipped once: {once}")
    print(f"the shop's books: {worth} fen; the gateway's: {paid} fen")
    return once and worth == paid and len(books) == len(numbers)


#: PgQueuer's own table.
jobs = Table("pgqueuer", MetaData())


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


async def until(engine: AsyncEngine, statement: Any, count: int) -> None:
    """Wait for the worker."""
    while True:
        async with engine.connect() as connection:
            if await connection.scalar(statement) == count:
                return
        await asyncio.sleep(0.05)


def main() -> int:
    """0: everything adds up, or it was told to end."""
    if sys.argv[1:] != ["--demo"]:
        asyncio.run(serve())
        return 0
    right = asyncio.run(demo())
    print("Everything adds up." if right else "Something is WRONG.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
