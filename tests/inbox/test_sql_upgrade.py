"""A process of the last version and one of this work on the same tables: one effect each."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import NotificationHandler, PaidOrder
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.inbox.sql.locks import _number
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import OrderKey, SeenState
from tests.factories import CREDENTIALS, MCH_ID
from tests.hard.inbox_workers import expected, notification
from tests.inbox.last_sql_statements import LastVersion
from tests.sizes import FULL
from tests.sql_shop import SqlShop, an_entry, take_effect

NUMBER = "U1"
ORDERS = [f"U{n}" for n in range(300 if FULL else 10)]
LEASE_IS_OVER = text("UPDATE chaoying_orders SET held_until = 1 WHERE state = 'HELD'")


def test_an_orders_lock_has_the_number_that_it_has_in_every_version() -> None:
    """M-16: frozen for ever, or two versions side by side would not keep each other out."""
    assert _number("chaoying_orders", OrderKey("00000001", "A100011")) == -3495779470301178234
    assert _number("shop_orders", OrderKey("1", "支付 ")) == -8854116773799341931


class Both:
    """The two processes, each with connections of its own."""

    def __init__(self, shop: SqlShop) -> None:
        self.shop = shop
        options = {"connect_args": {"timeout": 30}} if shop.kind == "sqlite" else {}
        self.engines = [create_async_engine(shop.url, **options) for _ in range(2)]
        self.last = LastVersion(self.engines[0])
        self.working, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()

    async def on_paid(self, order: PaidOrder, connection: Any) -> None:
        await take_effect(connection, order.out_trade_no)
        self.working.set()
        await self.go_on.wait()

    def handler(self, **options: Any) -> NotificationHandler:
        inbox = SqlInbox(self.engines[1])
        return NotificationHandler(CREDENTIALS, inbox, self.on_paid, expected=expected, **options)

    async def effect_of_last(self, number: str, token: int) -> bool:
        return await self.last.work(
            number, token, lambda connection: take_effect(connection, number)
        )

    async def close(self) -> None:
        for engine in self.engines:
            await engine.dispose()


async def test_a_claim_of_the_last_version_is_in_progress_and_is_taken_over(shop: SqlShop) -> None:
    """M-16: while its lease runs; afterwards the token is raised, so that its holder cannot end."""
    both = Both(shop)
    token = await both.last.claim(NUMBER)
    assert token == 1
    answer = await both.handler(budget=0.3).handle(notification(NUMBER))
    assert (answer.body, answer.decision) == (b"fail", Decision.IN_PROGRESS)
    async with shop.engine.begin() as connection:
        await connection.execute(LEASE_IS_OVER)
    answer = await both.handler().handle(notification(NUMBER))
    assert answer.body == b"success"
    assert not await both.effect_of_last(NUMBER, token)
    record = await shop.inbox.look(OrderKey(MCH_ID, NUMBER))
    assert record is not None
    assert record.token > token
    assert await shop.effects(NUMBER) == 1
    await both.close()


async def test_what_the_last_version_has_done_is_done(shop: SqlShop) -> None:
    """A duplicate for this one, and the other way round."""
    both = Both(shop)
    token = await both.last.claim(NUMBER)
    assert token is not None
    assert await both.effect_of_last(NUMBER, token)
    answer = await both.handler().handle(notification(NUMBER))
    assert (answer.body, answer.decision) == (b"success", Decision.DUPLICATE)
    await both.handler().handle(notification("U2"))
    assert await both.last.claim("U2") is None
    assert await shop.effects() == 2
    await both.close()


@pytest.mark.parametrize("fails", [False, True])
async def test_unfinished_work_is_not_taken_by_the_last_version(
    shop: SqlShop, *, fails: bool
) -> None:
    """It waits for the row, and then finds the order DONE; or free again where the work failed."""
    both = Both(shop)
    both.go_on.clear()
    if fails:  # it was tried before, so that there is a row
        async with shop.inbox.lock(OrderKey(MCH_ID, NUMBER), an_entry()) as order:
            assert order is not None
            await order.save(SeenState.HELD, an_entry(), failures=1)
    async with both.handler() as handler:
        delivery = asyncio.create_task(handler.handle(notification(NUMBER)))
        await both.working.wait()
        taking = asyncio.create_task(both.last.claim(NUMBER))
        await asyncio.wait([taking], timeout=0.3)
        both.go_on.set()
        assert (await delivery).body == b"success"
        try:
            assert await taking is None
        except DBAPIError:  # its database told it to look again: it answered `fail` then
            assert await both.last.claim(NUMBER) is None
    assert await shop.effects(NUMBER) == 1
    await both.close()


@pytest.mark.timeout(600 if FULL else 60)
async def test_both_are_hammered_with_the_same_orders(shop: SqlShop) -> None:
    """Each order is delivered to both until each has said that it is done."""
    both = Both(shop)
    rng = random.Random(7)

    async def to_last(number: str) -> None:
        while True:
            await asyncio.sleep(rng.random() / 50)
            try:
                token = await both.last.claim(number)
                if token is not None and await both.effect_of_last(number, token):
                    return
            except DBAPIError:  # a deadlock, or SQLite's busy: the gateway came again
                continue
            record = await shop.inbox.look(OrderKey(MCH_ID, number))
            if record is not None and record.state is SeenState.DONE:
                return

    async def to_this(handler: NotificationHandler, number: str) -> None:
        while True:
            await asyncio.sleep(rng.random() / 50)
            if (await handler.handle(notification(number))).body == b"success":
                return

    async with both.handler() as handler:
        await asyncio.gather(
            *(to_last(number) for number in ORDERS),
            *(to_this(handler, number) for number in ORDERS),
        )
    for number in ORDERS:
        assert await shop.effects(number) == 1
    await both.close()
