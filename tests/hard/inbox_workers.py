"""A process of a shop with one inbox, whose handler is hammered beside those of others.

python -m tests.hard.inbox_workers KIND URL ORDERS REPEATS SEED
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async import ExpectedOrder, Fen, NotificationHandler, PaidOrder
from chaoying_async.abc import Inbox
from chaoying_async.inbox.redis import RedisInbox
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.testing import sign_notification
from tests.factories import CREDENTIALS, MCH_ID
from tests.sql_shop import effects, take_effect

FEE = 100
#: One process at a time, on one machine: what did not get through by then is stuck.
PATIENCE = 240.0


def notification(number: str, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "mch_id": MCH_ID,
        "out_trade_no": number,
        "transaction_id": f"T{number}",
        "total_fee": FEE,
        "time_end": datetime.now(UTC),
    }
    return sign_notification(CREDENTIALS, **fields | changes)


def expected(mch_id: str, out_trade_no: str) -> ExpectedOrder:
    return ExpectedOrder(total_fee=Fen(FEE), mch_id=MCH_ID)


def engine_for(kind: str, url: str) -> AsyncEngine:
    options: dict[str, Any] = {"connect_args": {"timeout": 30}} if kind == "sqlite" else {}
    return create_async_engine(url, **options)


async def count(kind: str, url: str, number: str) -> int:
    """How often an order took effect."""
    engine = engine_for(kind, url)
    question = select(func.count()).select_from(effects).where(effects.c.number == number)
    async with engine.connect() as connection:
        found = (await connection.execute(question)).scalar_one()
    await engine.dispose()
    return int(found)


@asynccontextmanager
async def sql_handler(kind: str, url: str) -> AsyncGenerator[NotificationHandler]:
    async def on_paid(order: PaidOrder, connection: Any) -> None:
        await take_effect(connection, order.out_trade_no)

    engine = engine_for(kind, url)
    try:
        yield handler_on(SqlInbox(engine), on_paid)
    finally:
        await engine.dispose()


@asynccontextmanager
async def redis_handler(url: str) -> AsyncGenerator[NotificationHandler]:
    """Its effects are counted in Redis too, and whether two ever ran at a time."""
    async with Redis.from_url(url) as client:
        counters: Any = client

        async def on_paid(order: PaidOrder) -> None:
            number = order.out_trade_no
            if await counters.incr(f"running:{number}") > 1:
                await counters.incr("two at a time")
            await counters.hincrby("effects", number, 1)
            await asyncio.sleep(0.002)
            await counters.decr(f"running:{number}")

        yield handler_on(RedisInbox(client), on_paid)


def handler_on(inbox: Inbox, on_paid: Any) -> NotificationHandler:
    return NotificationHandler(CREDENTIALS, inbox, on_paid, expected=expected)


async def hammer(kind: str, url: str, orders: int, repeats: int, seed: int) -> dict[str, Any]:
    """Post every order's notification ``repeats`` times, shuffled, until each was acknowledged."""
    rng = random.Random(seed)
    todo = [f"H{n}" for n in range(orders)] * repeats
    rng.shuffle(todo)
    posted = refused = 0
    async with redis_handler(url) if kind == "redis" else sql_handler(kind, url) as handler:
        async with handler, asyncio.timeout(PATIENCE):
            while todo:
                round_, todo = todo, []

                async def post(numbers: list[str], again: list[str]) -> None:
                    while numbers:
                        number = numbers.pop()
                        if (await handler.handle(notification(number))).body != b"success":
                            again.append(number)

                posted += len(round_)
                await asyncio.gather(*(post(round_, todo) for _ in range(8)))
                refused += len(todo)
                rng.shuffle(todo)
        stats = handler.stats()
    decisions = {str(name): count for name, count in stats.decisions.items()}
    return {"posted": posted, "refused": refused, "failed": stats.failed, "decisions": decisions}


def main() -> None:
    kind, url, *numbers = sys.argv[1:]
    orders, repeats, seed = map(int, numbers)
    sys.stdout.write(json.dumps(asyncio.run(hammer(kind, url, orders, repeats, seed))))


if __name__ == "__main__":
    main()
