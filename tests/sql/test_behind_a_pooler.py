"""A SQL inbox behind PgBouncer in transaction mode: nothing of a lock outlives its transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import SeenState
from tests.pooler import options, pooled
from tests.servers import Servers
from tests.shop import FAIL, SUCCESS, said
from tests.sql.shops import delivery, handler_of, key_of, on_paid
from tests.sql.test_asked_inside import Books
from tests.sql_shop import SqlShop, metadata

Driver = Literal["psycopg", "asyncpg"]
DRIVERS: tuple[Driver, ...] = ("psycopg", "asyncpg")
D = Decision


@asynccontextmanager
async def shop_behind(servers: Servers, driver: Driver) -> AsyncGenerator[SqlShop]:
    with pooled(servers, driver) as (_direct, url):
        engine = create_async_engine(url, **options(driver))
        inbox = SqlInbox(engine)
        await inbox.create_tables()
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        yield SqlShop(driver, url, engine, inbox)
        await engine.dispose()


async def _settings_left(shop: SqlShop) -> list[tuple[str, str]]:
    """What the pooler's connections still say of an order, and how long they may idle."""
    question = text(
        "SELECT coalesce(current_setting('chaoying.locked', true), ''),"
        " current_setting('idle_in_transaction_session_timeout'), pg_sleep(0.05)"
    )

    async def one() -> tuple[str, str]:
        async with shop.engine.connect() as connection:
            row = (await connection.execute(question)).one()
            return row[0], row[1]

    return [*await asyncio.gather(one(), one())]


@pytest.mark.parametrize("driver", DRIVERS)
async def test_payments_failures_and_retries(servers: Servers, driver: Driver) -> None:
    """M-16: each transaction on another connection; nothing that was set for one is left on it."""
    async with shop_behind(servers, driver) as shop:
        broken = [True]

        async def effect(order: Any, connection: Any) -> None:
            await on_paid(order, connection)
            if broken[0]:
                raise RuntimeError("no stock")

        handler = handler_of(shop, effect)
        assert said(await handler.handle(delivery("1"))) == (D.APPLY, FAIL)
        record = await shop.inbox.look(key_of("1"))
        assert record is not None
        assert (record.state, record.failures) == (SeenState.HELD, 1)
        broken[0] = False
        assert said(await handler.handle(delivery("1"))) == (D.APPLY, SUCCESS)
        assert said(await handler.handle(delivery("1"))) == (D.DUPLICATE, SUCCESS)
        assert await shop.effects() == 1
        assert await _settings_left(shop) == [("", "0")] * 2


@pytest.mark.parametrize("driver", DRIVERS)
async def test_many_at_once_from_two_processes(servers: Servers, driver: Driver) -> None:
    """M-16: thirty orders, four deliveries each, in turns on two connections of the server's."""
    async with shop_behind(servers, driver) as shop:
        second = create_async_engine(shop.url, **options(driver))
        beside = SqlShop(driver, shop.url, second, SqlInbox(second))
        handlers = [handler_of(shop, budget=20.0), handler_of(beside, budget=20.0)]
        numbers = [f"{n}" for n in range(30)]
        answers = await asyncio.gather(
            *(
                handler.handle(delivery(number))
                for _ in range(2)
                for handler in handlers
                for number in numbers
            )
        )
        assert {answer.body for answer in answers} == {SUCCESS}
        assert [await shop.effects(number) for number in numbers] == [1] * 30
        assert await _settings_left(shop) == [("", "0")] * 2
        await second.dispose()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_an_order_is_locked_by_its_transaction_and_no_longer(
    servers: Servers, driver: Driver
) -> None:
    """M-16: IN_PROGRESS for the others; a connection that is handed on has no lock of it."""
    async with shop_behind(servers, driver) as shop:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow(order: Any, connection: Any) -> None:
            await on_paid(order, connection)
            begun.set()
            await go_on.wait()
            raise RuntimeError("no stock")

        working = asyncio.create_task(handler_of(shop, slow).handle(delivery("1")))
        await begun.wait()
        other = handler_of(shop, budget=0.4)
        assert said(await other.handle(delivery("1"))) == (D.IN_PROGRESS, FAIL)
        go_on.set()
        assert said(await working) == (D.APPLY, FAIL)
        for _ in range(3):
            assert await shop.is_free(key_of("1"))
        assert said(await other.handle(delivery("1"))) == (D.APPLY, SUCCESS)
        assert await shop.effects() == 1


@pytest.mark.parametrize("driver", DRIVERS)
async def test_an_on_paid_that_commits_is_noticed(servers: Servers, driver: Driver) -> None:
    """M-16: after a raw COMMIT the pooler may go on with another connection; still a misuse."""
    async with shop_behind(servers, driver) as shop:

        async def effect(order: Any, connection: Any) -> None:
            await on_paid(order, connection)
            await connection.execute(text("COMMIT"))
            await connection.execute(text("SELECT 1"))

        handler = handler_of(shop, effect)
        assert (await handler.handle(delivery("1"))).body == FAIL
        assert await shop.state(key_of("1")) == "QUARANTINED"
        assert (await handler.handle(delivery("1"))).body == FAIL
        assert await shop.effects() == 1


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_lookup_on_the_connection(servers: Servers, driver: Driver) -> None:
    """M-16: the shop's row is locked in the same transaction, whichever connection that is on."""
    async with shop_behind(servers, driver) as shop:
        books = Books(shop)
        books.go_on.set()
        await books.make()
        await books.order("1", mch_id="SHOP")
        handler = books.handler()
        assert said(await handler.handle(delivery("1"))) == (D.APPLY, SUCCESS)
        assert said(await handler.handle(delivery("1"))) == (D.DUPLICATE, SUCCESS)
        assert said(await handler.handle(delivery("2"))) == (D.UNKNOWN_ORDER, FAIL)
        assert await books.paid() == 1


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_client_that_vanishes_leaves_no_lock_behind(
    servers: Servers, driver: Driver
) -> None:
    """M-16: the pooler ends the transaction of a client that has gone; the next one works."""
    async with shop_behind(servers, driver) as shop:

        async def vanishing(order: Any, connection: Any) -> None:
            await on_paid(order, connection)
            raw = (await connection.get_raw_connection()).driver_connection
            if driver == "asyncpg":
                raw.terminate()
            else:
                await raw.close()

        answer = await handler_of(shop, vanishing).handle(delivery("1"))
        assert said(answer) == (D.APPLY, FAIL)
        record = await shop.inbox.look(key_of("1"))
        assert record is not None
        assert (record.state, record.failures) == (SeenState.HELD, 1)
        assert said(await handler_of(shop).handle(delivery("1"))) == (D.APPLY, SUCCESS)
        assert await shop.effects() == 1
