"""A shop on Celery: a fleet waits for the orders, and each outcome runs the shop's own task.

Celery 商店: 由 fleet 查询订单，每个结果进入你自己的 Celery 任务；每单恰好生效一次。

    pip install 'chaoying-async[celery,sandbox,sql]' redis
    python examples/celery_shop.py --demo      # no Redis needed; exit status 0 if all adds up

    export BROKER_URL=redis://127.0.0.1 DATABASE_URL=sqlite:///shop.db CHAOYING_KEY=...
    python examples/celery_shop.py             # a process of the fleet; any number of them
    celery -A celery_shop worker               # in examples/; any number of them too

Whoever takes an order writes its row and hands it over in one transaction: see ``sell``. Run Redis
with ``appendonly yes`` and without eviction. What is lost there all the same, with a worker that
was killed as it took its message, is sent again: the fleet keeps an outcome until the task has
taken it (``took_effect``), in the transaction of what it does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from celery import Celery  # type: ignore[import-untyped]
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

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
from chaoying_async.workers import Fleet, took_effect
from chaoying_async.workers.queues.celery import CeleryQueue, outcome_task

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
#: Seconds after which an outcome that no task took is sent again: longer than tasks wait and run.
PATIENCE = 600

app = Celery("celery_shop", broker=os.environ.get("BROKER_URL", "memory://"))
# A killed worker's message comes back after so long. No task of yours may run as long.
app.conf.broker_transport_options = {"visibility_timeout": 3600}
app.conf.broker_connection_retry_on_startup = True


def database_url() -> str:
    """Where the orders are, and what the fleet waits for."""
    return os.environ.get("DATABASE_URL", "sqlite:///shop.db")


def session_of_environment() -> GatewaySession:
    """What ``chaoying sandbox`` says should be exported, or the real gateway."""
    url = os.environ.get("CHAOYING_URL", "")
    return GatewaySession(
        credentials_from_env(),
        mch_id=os.environ["CHAOYING_MCH_ID"],
        hosts=Hosts.single(url) if url else Hosts.document(),
    )


@cache
def engine() -> Engine:
    """Made in the process that uses it: Celery's children are forks."""
    return create_engine(database_url())


# -------------------------------------------------------------------------------------------- task


@outcome_task(app, ORDER_ENDED)
def order_ended(outcome: dict[str, Any]) -> None:
    """One transaction: it takes the outcome, and acts on it. Raising is trying again."""
    with engine().begin() as connection:
        if connection.execute(took_effect(outcome)).rowcount == 0:
            return  # it took effect before: an outcome may come twice
        this = update(orders).where(orders.c.out_trade_no == outcome["out_trade_no"])
        if outcome["status"] != "PAID":
            connection.execute(this.values(status=outcome["status"]))
            return
        ship = this.where(orders.c.total_fee == outcome["payable"], orders.c.shipments == 0)
        if connection.execute(ship.values(status="PAID", shipments=1)).rowcount != 1:
            raise LookupError(outcome["out_trade_no"])  # it changed meanwhile: judge it again


# ------------------------------------------------------------------------------------------- fleet


def make_fleet(gateway: Any) -> Fleet:
    """One process of it: it serves its share of the orders, whoever handed them over."""
    return Fleet(SqlPollStore(database_url()), gateway, CeleryQueue(app, patience=PATIENCE))


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
    """A process of the fleet, until SIGTERM or SIGINT."""
    fleet = make_fleet(session_of_environment)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, fleet.stop)
    await fleet.run()


# ------------------------------------------------------ from here on: the demo, no fleet, no worker


async def demo() -> bool:
    """Twenty orders, a worker in a thread; one order is rolled back, one outcome comes again."""
    from celery.contrib.testing.worker import (  # type: ignore[import-untyped] # noqa: PLC0415
        start_worker,
    )

    metadata.create_all(engine())
    shop = create_async_engine(database_url().replace("sqlite:", "sqlite+aiosqlite:"))
    schedule = PollSchedule(first=0.1, every=0.2, until=20)
    sandbox = Sandbox(clock=SystemClock())

    def session() -> GatewaySession:
        return GatewaySession(
            sandbox.credentials, mch_id=sandbox.mch_id, transport=sandbox.transport
        )

    numbers = [f"A{index:05}" for index in range(20)]
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="ERROR"):
        async with sandbox, session() as gateway, make_fleet(session) as fleet, asyncio.timeout(40):
            for number in numbers:
                await gateway.send(pre_order(number))
                async with shop.begin() as connection:
                    await sell(fleet, connection, number, 1230, schedule)
                sandbox.customer_pays(number)
            async with shop.connect() as connection:
                await sell(fleet, connection, "NEVER", 1230, schedule)
                await connection.rollback()
            await until_shipped(len(numbers))
            again = {"id": f"{sandbox.mch_id}:{numbers[0]}:1", "seq": 1, "kept": True}
            again |= {"status": "PAID", "out_trade_no": numbers[0], "payable": 1230}
            await CeleryQueue(app).send(ORDER_ENDED, again, None)
            await asyncio.sleep(1)
    await shop.dispose()
    with engine().connect() as reading:
        books = reading.execute(select(orders)).all()
    engine().dispose()
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


async def until_shipped(count: int) -> None:
    """Wait for the worker."""
    shipped = select(func.count()).where(orders.c.shipments > 0)
    while True:
        with engine().connect() as connection:
            if connection.scalar(shipped) == count:
                return
        await asyncio.sleep(0.05)


def main() -> int:
    """0: everything adds up, or it was told to end."""
    if sys.argv[1:] != ["--demo"]:
        asyncio.run(serve())
        return 0
    with TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = f"sqlite:///{Path(folder, 'shop.db')}"
        right = asyncio.run(demo())
    print("Everything adds up." if right else "Something is WRONG.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
