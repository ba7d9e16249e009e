"""A poller's settle, run_due and the gateway race for orders whose holder dies (M-16, M-17)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text

from chaoying_async import Fen, NotificationHandler, PaidOrder
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import Aside
from chaoying_async.sansio.paid import PaidSource
from tests.factories import CREDENTIALS, MCH_ID
from tests.hanging import KINDS
from tests.hard.inbox_workers import FEE, expected, notification
from tests.servers import Servers
from tests.sizes import FULL
from tests.sql_shop import SqlShop, sql_shop, take_effect

pytestmark = pytest.mark.slow

NUMBERS = [f"R{n}" for n in range(40 if FULL else 6)]
AGED = text("UPDATE chaoying_asides SET due = due - 31000000")


def queried(number: str) -> PaidOrder:
    return PaidOrder(
        mch_id=MCH_ID,
        out_trade_no=number,
        transaction_id=f"T{number}",
        payable=Fen(FEE),
        paid=Fen(FEE),
        source=PaidSource.QUERY,
    )


def process_of(shop: SqlShop) -> NotificationHandler:
    async def on_paid(order: PaidOrder, connection: Any) -> None:
        await take_effect(connection, order.out_trade_no)
        await asyncio.sleep(0.01)

    inbox = SqlInbox(shop.engine)
    return NotificationHandler(CREDENTIALS, inbox, on_paid, expected=expected, budget=0.3)


@asynccontextmanager
async def held(shop: SqlShop) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Another process, in the middle of on_paid for every order."""
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hard.holding_worker", shop.url, *NUMBERS),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"working\n"
        yield holder
    finally:
        if holder.returncode is None:
            holder.kill()
            await holder.wait()


@pytest.mark.parametrize("kind", KINDS)
async def test_settle_keeps_what_somebody_else_holds_and_run_due_finishes_it(
    servers: Servers, kind: str
) -> None:
    """M-16: its caller forgets the order and the holder dies; two run_due and a gateway race."""
    async with sql_shop(kind, servers, pool_size=20) as shop:
        async with held(shop) as holder:
            poller = process_of(shop)
            found = await asyncio.gather(*(poller.settle(queried(each)) for each in NUMBERS))
            assert set(found) == {Decision.IN_PROGRESS}
            kept = await shop.inbox.listing(len(NUMBERS) + 1)
            assert {each.key.out_trade_no for each in kept} == set(NUMBERS)
            assert all(isinstance(each, Aside) for each in kept)
            assert await process_of(shop).run_due() == 0  # not yet
            holder.kill()
            await holder.wait()
        assert await shop.effects() == 0
        async with shop.engine.begin() as connection:
            await connection.execute(AGED)
        first, second, gateway = (process_of(shop) for _ in range(3))
        async with gateway:
            await asyncio.gather(
                first.run_due(),
                second.run_due(),
                *(gateway.handle(notification(number)) for number in NUMBERS[::2]),
            )
        for _ in range(20):  # the server may need a moment to see that the holder has gone
            async with shop.engine.begin() as connection:
                await connection.execute(AGED)
            if not await process_of(shop).run_due():
                break
        for number in NUMBERS:
            assert await shop.effects(number) == 1
        assert await shop.inbox.listing(1) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_run_due_beside_live_traffic(servers: Servers, kind: str) -> None:
    """M-17: failed orders are retried while new ones and their redeliveries come in."""
    failing = set(NUMBERS)

    async with sql_shop(kind, servers, pool_size=5, max_overflow=0) as shop:

        async def on_paid(order: PaidOrder, connection: Any) -> None:
            await take_effect(connection, order.out_trade_no)
            if order.out_trade_no in failing:
                failing.discard(order.out_trade_no)
                raise RuntimeError("no stock")

        handlers = [
            NotificationHandler(CREDENTIALS, SqlInbox(shop.engine), on_paid, expected=expected)
            for _ in range(2)
        ]
        more = [f"L{n}" for n in range(len(NUMBERS) * 3)]
        async with asyncio.timeout(50), handlers[0], handlers[1]:
            bodies = [notification(number) for number in NUMBERS]
            await asyncio.gather(*map(handlers[0].handle, bodies))
            async with shop.engine.begin() as connection:
                await connection.execute(text("UPDATE chaoying_orders SET due = 0"))
            await asyncio.gather(
                *(handler.run_due() for handler in handlers),
                *(handler.handle(notification(number)) for number in more for handler in handlers),
            )
        for number in (*NUMBERS, *more):
            assert await shop.effects(number) == 1, number
