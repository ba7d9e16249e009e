"""A worker without a web server: notifications come from a queue, and leave it when they are done.

不带网站的工作进程: 从队列 (Redis) 取通知原文，处理成功才确认，否则稍后重来；每单恰好生效一次。

    pip install 'chaoying-async[redis,sandbox,sql]'
    python examples/queue_worker.py --demo      # no Redis needed; exit status 0 if all adds up

    export REDIS_URL=redis://127.0.0.1 DATABASE_URL=sqlite+aiosqlite:///shop.db CHAOYING_KEY=...
    python examples/queue_worker.py             # until SIGTERM; any number of them

Somebody else takes the gateway's POSTs and does one thing, with the body as it came, byte for byte:

    XADD chaoying:notifications * body <the raw body>

It answers ``success`` when that has returned, and ``fail`` when it has not. From then on the stream
is the only copy, because the gateway will not come again: run Redis with ``appendonly yes`` and
``appendfsync always``, and without eviction.

A delivery is acknowledged when the handler says ``success``: its effect is committed. Everything
else comes again after ``RETRY_AFTER``, also what a killed worker had taken; the inbox knows what
was done already. What is not accepted ``TRIES`` times (forgeries, mostly) goes to the stream
``chaoying:notifications:dead``, for a person. What is genuine but cannot take effect yet is kept by
the inbox as well, and the open handler takes it up by itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import attrs
import httpx
from redis.asyncio import from_url
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from chaoying_async import (
    Credentials,
    ExpectedOrder,
    GatewaySession,
    NotificationHandler,
    PaidOrder,
    SystemClock,
    TradeType,
    WechatPreOrder,
    credentials_from_env,
)
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sandbox import Sandbox

STREAM = "chaoying:notifications"
GROUP = "shop"
#: Seconds until a delivery that was not accepted comes again, from whoever had it.
RETRY_AFTER = float(os.environ.get("RETRY_AFTER", "15"))
TRIES = int(os.environ.get("TRIES", "12"))
AT_ONCE = 4

metadata = MetaData()
orders = Table(
    "orders",
    metadata,
    Column("out_trade_no", String(32), primary_key=True),
    Column("mch_id", String(32), nullable=False),
    Column("total_fee", Integer, nullable=False),  # fen
    Column("shipments", Integer, nullable=False, default=0),
)


# ------------------------------------------------------------------------------------------ queues


@attrs.frozen(kw_only=True)
class Delivery:
    """One notification as it came, and how often it has been handed to a worker, this included."""

    name: str
    body: bytes = attrs.field(repr=False)
    times: int


class Queue(Protocol):
    """A queue that gives everything again until it is told that it is done."""

    async def receive(self) -> Delivery | None:
        """The next one; None when there was nothing for a second."""
        ...

    async def done(self, delivery: Delivery) -> None:
        """It took effect."""
        ...

    async def again(self, delivery: Delivery) -> None:
        """It did not; it comes again after ``RETRY_AFTER``."""
        ...

    async def bury(self, delivery: Delivery) -> None:
        """It was tried often enough: kept for a person."""
        ...


class RedisStream:
    """A stream with a consumer group: what is not acknowledged stays in Redis, and is given again.

    ``consumer`` names this process; one that died is replaced by whoever asks next.
    """

    def __init__(self, client: Any, consumer: str) -> None:
        self._client = client
        self._consumer = consumer

    async def open(self) -> None:
        """Make the stream and its group where they are not there yet."""
        groups = await self._client.exists(STREAM) and await self._client.xinfo_groups(STREAM)
        if not any(group["name"] in (GROUP, GROUP.encode()) for group in groups or ()):
            await self._client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)

    async def receive(self) -> Delivery | None:
        """What nobody has finished comes before what is new."""
        _, taken, *_ = await self._client.xautoclaim(
            STREAM, GROUP, self._consumer, int(RETRY_AFTER * 1000), count=1
        )
        if not taken:
            fresh = await self._client.xreadgroup(
                GROUP, self._consumer, {STREAM: ">"}, count=1, block=1000
            )
            taken = fresh[0][1] if fresh else []
        for name, fields in taken:
            pending = await self._client.xpending_range(STREAM, GROUP, name, name, 1)
            times = pending[0]["times_delivered"] if pending else 1
            return Delivery(name=name.decode(), body=(fields or {}).get(b"body", b""), times=times)
        return None

    async def done(self, delivery: Delivery) -> None:
        """Acknowledged, and forgotten."""
        async with self._client.pipeline(transaction=True) as both:
            both.xack(STREAM, GROUP, delivery.name)
            both.xdel(STREAM, delivery.name)
            await both.execute()

    async def again(self, delivery: Delivery) -> None:
        """Nothing to do: it is pending, and XAUTOCLAIM gives it again."""

    async def bury(self, delivery: Delivery) -> None:
        """In one transaction, so that it is always in exactly one of the two streams."""
        async with self._client.pipeline(transaction=True) as all_three:
            all_three.xadd(f"{STREAM}:dead", {"body": delivery.body})
            all_three.xack(STREAM, GROUP, delivery.name)
            all_three.xdel(STREAM, delivery.name)
            await all_three.execute()


class MemoryQueue:
    """The same in this process, for the demo: what is in it dies with it."""

    def __init__(self, retry_after: float) -> None:
        self._retry_after = retry_after
        self._waiting: asyncio.Queue[Delivery] = asyncio.Queue()
        self.unfinished = 0
        self.buried: list[bytes] = []

    def put(self, body: bytes) -> None:
        """One more."""
        self.unfinished += 1
        self._waiting.put_nowait(Delivery(name="", body=body, times=1))

    async def receive(self) -> Delivery | None:
        """The next one."""
        try:
            return await asyncio.wait_for(self._waiting.get(), 1)
        except TimeoutError:
            return None

    async def done(self, delivery: Delivery) -> None:  # noqa: ARG002
        """One less."""
        self.unfinished -= 1

    async def again(self, delivery: Delivery) -> None:
        """Later."""
        later = attrs.evolve(delivery, times=delivery.times + 1)
        loop = asyncio.get_running_loop()
        loop.call_later(self._retry_after, self._waiting.put_nowait, later)

    async def bury(self, delivery: Delivery) -> None:
        """Kept apart."""
        self.unfinished -= 1
        self.buried.append(delivery.body)


# ------------------------------------------------------------------------------------------ worker


async def work(queue: Queue, handler: NotificationHandler, stop: asyncio.Event) -> None:
    """Take one after the other, until told to stop; what is in hand is finished."""
    while not stop.is_set():
        delivery = await queue.receive()
        if delivery is None:
            continue
        answer = await handler.handle(delivery.body)
        if answer.body == b"success":
            await queue.done(delivery)
        elif delivery.times < TRIES:
            await queue.again(delivery)
        else:
            await queue.bury(delivery)


async def work_together(queue: Queue, handler: NotificationHandler, stop: asyncio.Event) -> None:
    """Several at once; the first error ends them all, and whoever supervises the process."""
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work(queue, handler, stop))


@asynccontextmanager
async def opened_handler(
    credentials: Credentials, engine: AsyncEngine
) -> AsyncIterator[NotificationHandler]:
    """The shop's side: what an order costs, and what happens when it is paid."""

    async def expected(mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
        query = select(orders).where(
            orders.c.out_trade_no == out_trade_no, orders.c.mch_id == mch_id
        )
        async with engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else ExpectedOrder(row.total_fee, row.mch_id)

    async def on_paid(order: PaidOrder, connection: AsyncConnection) -> None:
        """Committed together with the record of the notification; only what is as expected."""
        this = update(orders).where(
            orders.c.out_trade_no == order.out_trade_no,
            orders.c.mch_id == order.mch_id,
            orders.c.total_fee == order.payable,
            orders.c.shipments == 0,
        )
        shipped = this.values(shipments=orders.c.shipments + 1)
        if (await connection.execute(shipped)).rowcount != 1:
            raise LookupError(order.out_trade_no)  # changed meanwhile: rolled back, judged again

    inbox = SqlInbox(engine)
    await inbox.create_tables()
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    async with NotificationHandler(credentials, inbox, on_paid, expected=expected) as handler:
        yield handler


async def serve() -> None:
    """Work on Redis until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    engine = create_async_engine(os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///shop.db"))
    client: Any = from_url(os.environ["REDIS_URL"])
    queue = RedisStream(client, consumer=f"{os.uname().nodename}-{os.getpid()}")
    await queue.open()
    async with opened_handler(credentials_from_env(), engine) as handler:
        await work_together(queue, handler, stop)
    await client.aclose()
    await engine.dispose()


# ------------------------------------------------------------ from here on: the demo, no worker


async def demo(folder: Path) -> bool:
    """Sell to twenty customers; each notification comes twice, and once forged."""
    queue = MemoryQueue(retry_after=0.05)

    async def receive(request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        for copy in (body, body.replace(b"total_fee=", b"total_fee=9"), body):
            queue.put(copy)
        return httpx.Response(200, text="success")

    engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'shop.db'}")
    async with (
        Sandbox(clock=SystemClock(), notify_transport=httpx.MockTransport(receive)) as sandbox,
        GatewaySession(
            sandbox.credentials, mch_id=sandbox.mch_id, transport=sandbox.transport
        ) as gateway,
        opened_handler(sandbox.credentials, engine) as handler,
        asyncio.timeout(30),
    ):
        numbers = [f"A{index:05}" for index in range(20)]
        for number in numbers:
            await _sell(gateway, engine, number)
            sandbox.customer_pays(number)
        stop = asyncio.Event()
        working = asyncio.create_task(work_together(queue, handler, stop))
        while queue.unfinished or len(sandbox.deliveries) < len(numbers):  # noqa: ASYNC110 - a demo
            await asyncio.sleep(0.05)
        stop.set()
        await working
    async with engine.connect() as connection:
        books = {row.out_trade_no: row for row in await connection.execute(select(orders))}
    await engine.dispose()
    worth = sum(row.total_fee * row.shipments for row in books.values())
    paid = sum(order.payable for order in sandbox.ledger.orders.values())
    once = all(row.shipments == 1 for row in books.values())
    print(f"{3 * len(numbers)} deliveries; {len(books)} orders, each shipped once: {once}")
    print(f"{len(queue.buried)} forgeries in the dead letters")
    print(f"the shop's books: {worth} fen; the gateway's: {paid} fen")
    return once and worth == paid and len(queue.buried) == len(books) == len(numbers)


async def _sell(gateway: GatewaySession, engine: AsyncEngine, number: str) -> None:
    order = WechatPreOrder(
        out_trade_no=number,
        body="coffee",
        total_fee=1230,
        trade_type=TradeType.NATIVE,
        product_id="coffee",
        notify_url="https://shop.example/notify",
    )
    row = {"out_trade_no": number, "mch_id": gateway.defaults.mch_id, "total_fee": order.total_fee}
    async with engine.begin() as connection:
        await connection.execute(insert(orders).values(row))
    (await gateway.send(order)).unwrap()


def main() -> int:
    """0: everything adds up, or it was told to end."""
    if sys.argv[1:] != ["--demo"]:
        asyncio.run(serve())
        return 0
    with TemporaryDirectory() as folder:
        right = asyncio.run(demo(Path(folder)))
    print("Everything adds up." if right else "Something is WRONG.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
