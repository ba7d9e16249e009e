"""An inbox that a user wrote for another database: a handler works with it as with ours (M-16).

It is held against the whole contract too: ``test_contract``, ``test_contract_asides``,
``test_bounds``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest_asyncio

from chaoying_async import PaidOrder
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import OrderKey, SeenState
from tests.factories import MCH_ID, ORDER
from tests.inbox.own_inbox import AsyncpgInbox, own_inbox_at
from tests.servers import Servers
from tests.shop import FAIL, SUCCESS, Shop, said

D = Decision
KEY = OrderKey(MCH_ID, ORDER)
EFFECT = "INSERT INTO effects VALUES ($1)"


@pytest_asyncio.fixture
async def inbox(servers: Servers) -> AsyncGenerator[AsyncpgInbox]:
    url = servers.postgresql_url("asyncpg").replace("+asyncpg", "")
    async with own_inbox_at(url, connections=1) as made:  # no lock waits for a second one
        await made.pool.execute("CREATE TABLE effects (number text)")
        yield made


async def deliver(order: PaidOrder, connection: Any) -> None:
    await connection.execute(EFFECT, order.out_trade_no)


async def effects(inbox: AsyncpgInbox) -> int:
    count: int = await inbox.pool.fetchval("SELECT count(*) FROM effects")
    return count


async def state(inbox: AsyncpgInbox) -> SeenState | None:
    record = await inbox.look(KEY)
    return None if record is None else record.state


async def let_it_be_due(inbox: AsyncpgInbox) -> None:
    """As if the time of every retry had come."""
    await inbox.pool.execute("UPDATE paid_orders SET due = clock_timestamp()")
    await inbox.pool.execute("UPDATE set_aside SET due = clock_timestamp()")


async def test_an_order_takes_effect_once_however_often_it_is_delivered(
    inbox: AsyncpgInbox,
) -> None:
    """M-16: by two handlers at once, then again."""
    shop, clock = Shop(), SystemClock()
    body = shop.body(time_end=clock.now())
    handlers = [shop.handler(inbox, on_paid=deliver, clock=clock) for _ in range(2)]
    answers = await asyncio.gather(*(one.handle(body) for one in handlers * 4))
    assert {said(answer)[0] for answer in answers} <= {D.APPLY, D.DUPLICATE, D.IN_PROGRESS}
    assert await effects(inbox) == 1
    assert await state(inbox) is SeenState.DONE
    assert said(await handlers[0].handle(body)) == (D.DUPLICATE, SUCCESS)


async def test_work_that_fails_is_rolled_back_and_tried_again(inbox: AsyncpgInbox) -> None:
    """M-16, M-17: its effect and its record are one; run_due takes it up."""
    shop, failing = Shop(), True

    async def on_paid(order: PaidOrder, connection: Any) -> None:
        await deliver(order, connection)
        if failing:
            raise RuntimeError("no stock")

    handler = shop.handler(inbox, on_paid=on_paid)
    assert said(await handler.handle(shop.body())) == (D.APPLY, FAIL)
    record = await inbox.look(KEY)
    assert record is not None
    assert (record.state, record.failures, await effects(inbox)) == (SeenState.HELD, 1, 0)
    assert await handler.run_due() == 0
    failing = False
    await let_it_be_due(inbox)
    assert await handler.run_due() == 1
    assert (await state(inbox), await effects(inbox)) == (SeenState.DONE, 1)


async def test_work_that_ends_its_transaction_is_quarantined(inbox: AsyncpgInbox) -> None:
    """M-16: nobody can tell what took effect; never run again by itself."""
    shop, runs = Shop(), list[PaidOrder]()

    async def on_paid(order: PaidOrder, connection: Any) -> None:
        runs.append(order)
        await connection.execute("COMMIT")

    handler = shop.handler(inbox, on_paid=on_paid)
    assert said(await handler.handle(shop.body()))[1] == FAIL
    assert await state(inbox) is SeenState.QUARANTINED
    assert said(await handler.handle(shop.body())) == (D.CONFLICT, FAIL)
    await let_it_be_due(inbox)
    await handler.run_due()
    assert len(runs) == 1


async def test_an_order_that_becomes_known_takes_effect(inbox: AsyncpgInbox) -> None:
    """M-15, M-17: its message waits in the user's table until then."""
    shop = Shop()
    known = shop.orders.pop(ORDER)
    handler = shop.handler(inbox, on_paid=deliver)
    assert said(await handler.handle(shop.body())) == (D.UNKNOWN_ORDER, FAIL)
    assert len(await inbox.asides(KEY)) == 1
    assert shop.reasons() == [D.UNKNOWN_ORDER]
    shop.orders[ORDER] = known
    assert await handler.order_known(MCH_ID, ORDER) == 1
    assert (await state(inbox), await effects(inbox)) == (SeenState.DONE, 1)
    assert not await inbox.asides(KEY)
