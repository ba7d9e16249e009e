"""A web service that finds out by asking: it tracks each order and reads how it ended.

只靠查询得知结果的网站: 下单前先 track，一个消费者在 lifespan 里读 outcomes；
崩溃重启后接着查询，不漏单。

    pip install 'chaoying-async[sandbox,sql]' fastapi
    python examples/asking_shop.py --demo       # exit status 0 if all adds up

    export CHAOYING_URL=... CHAOYING_KEY=... CHAOYING_MCH_ID=... POLL_STORE=polls.db
    uvicorn --factory asking_shop:create_app    # in examples/; one process for each POLL_STORE

No notification has to reach it, as in a shop behind a firewall. (Where they do, see fastapi_shop:
there a notification and a query have one effect together.)

- An order is tracked, and durable as such, **before** the gateway hears of it. So there is no order
  that somebody could pay and nobody asks about, wherever the process dies.
- One consumer reads ``poller.outcomes()`` from the start of the service to its end. It begins with
  what the last process left, and waits for what is tracked later.
- An outcome is forgotten when the consumer asks for the next one. So it comes again where recording
  it failed, and the change of the row says ``WHERE status = 'OPEN'`` to be harmless to repeat.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import httpx
from fastapi import FastAPI, HTTPException, Request
from serving import free_port, served, until
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select, update
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import (
    ChaoyingError,
    GatewaySession,
    Hosts,
    OrderQuery,
    PayType,
    Poller,
    PollOutcome,
    PollSchedule,
    PollStatus,
    SessionClosedError,
    SystemClock,
    TradeType,
    UsageError,
    WechatPreOrder,
    credentials_from_env,
)
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sandbox import Sandbox

log = logging.getLogger("asking_shop")

PRICE = 1230  # fen
#: How long a code can be paid.
VALID = timedelta(minutes=30)
#: Seconds until the consumer goes on after the shop's own database failed.
PAUSE = 5.0
#: What the row says of an order that was not paid. Everything else is for a person: it may be paid.
NOT_PAID = {
    PollStatus.CLOSED: "LAPSED",
    PollStatus.FAILED: "LAPSED",
    PollStatus.NOT_FOUND: "LAPSED",
    PollStatus.REVOKED: "LAPSED",
}

metadata = MetaData()
orders = Table(
    "orders",
    metadata,
    Column("out_trade_no", String(32), primary_key=True),
    Column("total_fee", Integer, nullable=False),
    Column("status", String(16), nullable=False, default="OPEN"),
    Column("shipments", Integer, nullable=False, default=0),
)


def session_from_env() -> GatewaySession:
    """For the gateway of ``CHAOYING_URL``; without one, for the document's."""
    url = os.environ.get("CHAOYING_URL")
    return GatewaySession(
        credentials_from_env(),
        mch_id=os.environ["CHAOYING_MCH_ID"],
        hosts=Hosts.single(url) if url else Hosts.document(),
    )


@attrs.frozen
class Settings:
    """What differs between the demo and the real thing."""

    session: Callable[[], GatewaySession] = session_from_env
    store: str = os.environ.get("POLL_STORE", "polls.db")
    database: str = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///shop.db")
    schedule: Callable[[datetime], PollSchedule] = PollSchedule.preorder


class Shop:
    """Everything that lives as long as the service."""

    gateway: GatewaySession
    poller: Poller

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = create_async_engine(settings.database)

    @asynccontextmanager
    async def opened(self, _app: FastAPI) -> AsyncGenerator[None]:
        """The consumer's group is *around* the poller: leaving the poller ends the consumer."""
        async with self._engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        async with (
            self._settings.session() as self.gateway,
            SqlPollStore(self._settings.store) as store,
            asyncio.TaskGroup() as group,
            Poller(self.gateway, store=store) as self.poller,
        ):
            group.create_task(self._consume())
            yield
        await self._engine.dispose()

    async def order(self) -> tuple[str, str | None]:
        """A new order, and the code that a customer scans to pay it."""
        now = datetime.now(UTC)
        order = WechatPreOrder(
            out_trade_no=f"{now:%y%m%d%H%M%S}{secrets.token_hex(4)}",
            body="coffee",
            total_fee=PRICE,
            trade_type=TradeType.NATIVE,
            product_id="coffee",
            time_start=now,
            time_expire=now + VALID,
            notify_url="https://shop.example/nobody-listens",
        )
        number = str(order.out_trade_no)
        async with self._engine.begin() as connection:
            await connection.execute(insert(orders).values(out_trade_no=number, total_fee=PRICE))
        self.poller.track(
            OrderQuery(paytype=PayType.WECHAT, out_trade_no=number),
            expected=PRICE,
            schedule=self._settings.schedule(now + VALID),
        )
        await self.poller.kept()  # from here on it is asked about, whatever happens to this process
        return number, (await self.gateway.send(order)).unwrap().code_url

    async def _consume(self) -> None:
        """Read how orders ended, from the start of the service to its end."""
        while True:
            try:
                async for outcome in self.poller.outcomes():
                    await self._record(outcome)
            except SessionClosedError:  # the service ended while this one paused
                return
            except UsageError:  # another process has the store: this one has to end
                raise
            except Exception:
                log.exception("an outcome could not be recorded: it comes again")
                await asyncio.sleep(PAUSE)
            else:
                return  # the poller's block was left

    async def _record(self, outcome: PollOutcome[Any]) -> None:
        """Ship it, once; or close it, or leave it to a person."""
        query: Any = outcome.query  # an OrderQuery: nothing else is tracked here
        number = query.out_trade_no
        change = update(orders).where(orders.c.out_trade_no == number, orders.c.status == "OPEN")
        if outcome.status is PollStatus.PAID:
            paid = outcome.unwrap()
            change = change.where(orders.c.total_fee == int(paid.payable or 0))
            change = change.values(status="PAID", shipments=orders.c.shipments + 1)
        else:
            change = change.values(status=NOT_PAID.get(outcome.status, "LOOK"))
        async with self._engine.begin() as connection:
            changed = (await connection.execute(change)).rowcount
        if changed:
            log.info("%s: %s", number, outcome.status)
        else:
            log.warning("%s: %s again, or its row is not as it was", number, outcome.status)

    async def books(self) -> dict[str, Any]:
        """How many orders there are of each status, and what was shipped."""
        query = select(orders.c.status, func.count(), func.sum(orders.c.shipments))
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query.group_by(orders.c.status))).all()
        return {status: {"orders": count, "shipped": shipped} for status, count, shipped in rows}


def create_app(settings: Settings | None = None) -> FastAPI:
    """For ``uvicorn --factory asking_shop:create_app``."""
    shop = Shop(settings or Settings())
    app = FastAPI(title="asking shop", lifespan=shop.opened)

    @app.post("/orders", status_code=201)
    async def order(request: Request) -> dict[str, Any]:  # noqa: ARG001
        try:
            number, code_url = await shop.order()
        except ChaoyingError as error:  # whatever it was: the order is asked about
            raise HTTPException(502, "not possible now: please order again") from error
        return {"out_trade_no": number, "code_url": code_url}

    @app.get("/books")
    async def books() -> dict[str, Any]:
        return await shop.books()

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """For the monitoring: ``unread`` only grows where nobody reads outcomes."""
        return attrs.asdict(shop.poller.stats())

    return app


# ----------------------------------------------------------- from here on: the demo, no service


async def demo(folder: Path) -> bool:
    """Ten customers order. The service ends; they pay meanwhile; another one finds out."""
    async with Sandbox(clock=SystemClock()) as sandbox:

        def session() -> GatewaySession:
            return GatewaySession(
                sandbox.credentials, mch_id=sandbox.mch_id, transport=sandbox.transport
            )

        settings = Settings(
            session,
            str(folder / "polls.db"),
            f"sqlite+aiosqlite:///{folder / 'shop.db'}",
            lambda _: PollSchedule(first=0.5, every=0.5, until=60.0),
        )
        async with _customer_of(settings) as customer:
            numbers = [(await customer.post("/orders")).json()["out_trade_no"] for _ in range(10)]
            sandbox.customer_pays(numbers[0])
            await until(lambda: _all_are_shipped(customer, 1))
        for number in numbers[1:]:
            sandbox.customer_pays(number)
        async with _customer_of(settings) as customer:
            await until(lambda: _all_are_shipped(customer, len(numbers)))
            books, health = [(await customer.get(path)).json() for path in ("/books", "/health")]
    print(f"the shop's books: {books}; outcomes that nobody has read: {health['unread']}")
    paid = sum(order.payable for order in sandbox.ledger.orders.values())
    print(f"shipped for {books['PAID']['shipped'] * PRICE} fen; the gateway's books: {paid} fen")
    return bool(
        books == {"PAID": {"orders": 10, "shipped": 10}}
        and paid == 10 * PRICE
        and health["unread"] == 0
    )


@asynccontextmanager
async def _customer_of(settings: Settings) -> AsyncGenerator[httpx.AsyncClient]:
    bound, url = free_port()
    async with (
        served(create_app(settings), bound),
        httpx.AsyncClient(base_url=url, trust_env=False) as customer,
    ):
        yield customer


async def _all_are_shipped(customer: httpx.AsyncClient, count: int) -> bool:
    books = (await customer.get("/books")).json()
    return bool(books.get("PAID", {}).get("shipped") == count)


def main() -> int:
    """0: everything adds up."""
    if sys.argv[1:] != ["--demo"]:
        print(__doc__)
        return 2
    with TemporaryDirectory() as folder:
        right = asyncio.run(demo(Path(folder)))
    print("Everything adds up." if right else "Something is WRONG.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
