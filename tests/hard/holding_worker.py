"""A process of a shop that is in the middle of on_paid for several orders, until it is killed.

python -m tests.hard.holding_worker URL NUMBER...

It says "working" as soon as on_paid has written for all of them.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import PaidOrder
from chaoying_async.inbox.sql import SqlInbox
from tests.hard.inbox_workers import handler_on, notification
from tests.sql_shop import take_effect


async def hold(url: str, numbers: list[str]) -> None:
    engine = create_async_engine(url, pool_size=len(numbers))
    begun: set[str] = set()

    async def on_paid(order: PaidOrder, connection: Any) -> None:
        await take_effect(connection, order.out_trade_no)
        begun.add(order.out_trade_no)
        if len(begun) == len(numbers):
            sys.stdout.write("working\n")
            sys.stdout.flush()
        await asyncio.Event().wait()

    async with handler_on(SqlInbox(engine), on_paid) as handler:
        await asyncio.gather(*(handler.handle(notification(number)) for number in numbers))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], sys.argv[2:]))
