"""A till and its workers: payments leave from here, and other processes see them to their end.

收银台与多个工作进程：支付从这里发出，由任意进程查询到最终结果；其中一个进程会被强制结束。

    pip install 'chaoying-async[sandbox,sql]'
    python examples/fleet_shop.py --workers 3        # exit status 0 if all adds up
    python examples/fleet_shop.py --workers 3 --database postgresql+asyncpg://user:pass@host/shop

The gateway is a sandbox in a process of its own. One worker is killed on the way, as a machine that
dies, and another takes its place. At the end each paid order is in the shop's books once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async import Fen, GatewaySession, Hosts, Pay, SystemClock, credentials_from_env
from chaoying_async.exceptions import StoreError
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sandbox.demo.remote_sandbox import RemoteSandbox, separate_sandbox
from chaoying_async.workers import Fleet

metadata = MetaData()
#: One row for each order that was delivered; the key keeps it at one.
delivered = Table(
    "delivered",
    metadata,
    Column("out_trade_no", String(32), primary_key=True),
    Column("total_fee", Integer, nullable=False),  # fen
)
ENDED = "fleet_shop:order_ended"
#: What the sandbox does with an amount that ends so, in fen: paid at once; after a password of 10
#: seconds; found by the second query; balance too low; an error, and paid; the reply is lost.
COURSES = (230, 401, 403, 406, 413, 422)
#: How many customers are served at a time.
TILLS = asyncio.Semaphore(6)


def database() -> str:
    return os.environ["SHOP_DATABASE"]


@cache
def shop_engine() -> AsyncEngine:
    return create_async_engine(database(), hide_parameters=True)


def fleet() -> Fleet:
    """The same in every process of the shop."""
    store = SqlPollStore(database(), lease=5.0, shards=8)
    return Fleet(store, session)


def session() -> GatewaySession:
    return GatewaySession(
        credentials_from_env(),
        mch_id=os.environ["CHAOYING_MCH_ID"],
        hosts=Hosts.single(os.environ["CHAOYING_URL"]),
        op_user_id="till01",
    )


async def order_ended(outcome: Mapping[str, Any]) -> None:
    """The shop's task, in whichever process: it may be called twice, and delivers once."""
    if outcome["status"] != "PAID":
        return
    row = {"out_trade_no": outcome["out_trade_no"], "total_fee": outcome["payable"]}
    try:
        async with shop_engine().begin() as connection:
            await connection.execute(insert(delivered).values(row))
    except IntegrityError:
        return  # it was delivered before


async def charge(till: Fleet, number: int) -> None:
    """Let one payment leave; its end is the fleet's work."""
    pay = Pay(
        out_trade_no=f"F{number:07d}",
        body="tea",
        total_fee=Fen(1000 * (1 + number % 9) + COURSES[number % len(COURSES)]),
        auth_code=f"13456789{number:010d}",
        mch_create_ip="127.0.0.1",
    )
    while True:
        try:
            async with TILLS:
                await till.checkout(pay, then=ENDED)
                return
        except StoreError as error:  # the database is busy, and nothing was sent
            if error.sent is not False:
                raise


@asynccontextmanager
async def workers(count: int) -> AsyncGenerator[list[asyncio.subprocess.Process]]:
    """Processes that serve, until the block is left."""
    processes = [await worker() for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))


async def worker() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, __file__, "--serve")


async def demo(count: int, payments: int) -> bool:
    """Sell, let a worker die, and hold the shop's books against the gateway's."""
    async with separate_sandbox() as sandbox:
        os.environ |= {
            "CHAOYING_AGENT_ID": sandbox.credentials.agent_id,
            "CHAOYING_KEY": sandbox.credentials.key,
            "CHAOYING_PID": sandbox.credentials.pid,
            "CHAOYING_MCH_ID": sandbox.mch_id,
            "CHAOYING_URL": sandbox.url,
        }
        async with shop_engine().begin() as connection:
            await connection.run_sync(metadata.create_all)
        async with workers(count) as processes:
            async with fleet() as till:
                await asyncio.gather(*(charge(till, number) for number in range(payments // 2)))
                print(f"{payments // 2} payments have left; a worker is killed")
                processes[0].kill()
                processes.append(await worker())
                await asyncio.gather(
                    *(charge(till, number) for number in range(payments // 2, payments))
                )
            print("the till is closed: the workers see the rest to its end")
            adds_up = await books_agree(sandbox, payments)
    await shop_engine().dispose()
    return adds_up


async def books_agree(sandbox: RemoteSandbox, payments: int) -> bool:
    """Wait until both books say the same, for two minutes at most."""
    clock = SystemClock()
    for _ in range(120):
        books = (await sandbox.books())["totals"]
        async with shop_engine().connect() as connection:
            statement = select(func.count(), func.coalesce(func.sum(delivered.c.total_fee), 0))
            ((orders, fen),) = (await connection.execute(statement)).all()
        if books["orders"] == payments and fen == books["kept"] and not books["standing"]["OPEN"]:
            print(f"{orders} of {payments} orders were paid and delivered, each once: {fen} fen")
            print("Everything adds up, to the fen.")
            return True
        await clock.sleep(1)
    print(f"The books differ: {orders} orders, {fen} fen; the gateway: {json.dumps(books)}")
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="fleet_shop.py")
    parser.add_argument("--workers", type=int, default=3, help="how many processes; 3")
    parser.add_argument("--payments", type=int, default=40, help="how many; 40")
    parser.add_argument("--database", help="an address; by default a new SQLite file")
    parser.add_argument("--demo", action="store_true", help="what is done anyway")
    parser.add_argument("--serve", action="store_true", help="be one of the workers")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(fleet().run())
        return 0
    with TemporaryDirectory() as folder:
        os.environ["SHOP_DATABASE"] = options.database or f"sqlite+aiosqlite:///{folder}/shop.db"
        return 0 if asyncio.run(demo(options.workers, options.payments)) else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
