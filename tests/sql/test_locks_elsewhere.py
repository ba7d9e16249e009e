"""A lock that the user's function meets elsewhere is its own failure, not the database's (M-16)."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import SeenState
from tests.factories import MCH_ID
from tests.servers import Servers
from tests.shop import FAIL, PRICE, SUCCESS
from tests.sql.shops import delivery, handler_of, key_of, on_paid
from tests.sql_shop import DATABASES, SqlShop, singles, sql_shop

every_database = pytest.mark.parametrize("kind", DATABASES)
Work = Callable[[Any, Any], Awaitable[None]]

#: Lets a connection wait for no lock.
IMPATIENCE = {
    "psycopg": "SET LOCAL lock_timeout = '20ms'",
    "asyncpg": "SET LOCAL lock_timeout = '20ms'",
    "mariadb": "SET innodb_lock_wait_timeout = 0",
}


class SoldOutError(Exception):
    """The shop's own final word."""


async def _write(connection: AsyncConnection, number: str) -> None:
    await connection.execute(insert(singles).values(number=number))


async def _meet_its_own_lock(
    shop: SqlShop, elsewhere: AsyncEngine, number: str, connection: Any
) -> None:
    """Write on the lent connection, and the same by a helper that has a connection of its own."""
    await _write(connection, number)
    async with elsewhere.begin() as other:
        if shop.kind in IMPATIENCE:
            await other.execute(text(IMPATIENCE[shop.kind]))
        await _write(other, number)


@asynccontextmanager
async def _shop(kind: str, servers: Servers) -> AsyncGenerator[tuple[SqlShop, AsyncEngine]]:
    """A shop, and the engine of its helpers."""
    options = {"connect_args": {"timeout": 0.02}} if kind == "sqlite" else {}
    async with sql_shop(kind, servers) as shop:
        elsewhere = create_async_engine(shop.url, **options)
        try:
            yield shop, elsewhere
        finally:
            await elsewhere.dispose()


@asynccontextmanager
async def _other_database(directory: Path) -> AsyncGenerator[AsyncEngine]:
    """Another database, which a stopped backup has locked."""
    stock = create_async_engine(
        f"sqlite+aiosqlite:///{directory / 'stock.db'}", connect_args={"timeout": 0.02}
    )
    async with stock.begin() as connection:
        await connection.run_sync(singles.create)
    async with stock.connect() as holder:
        await holder.exec_driver_sql("BEGIN IMMEDIATE")
        yield stock
    await stock.dispose()


async def _is_heard_of(
    shop: SqlShop, work: Work, caplog: pytest.LogCaptureFixture, **options: Any
) -> None:
    """Each delivery runs it once; one line at ERROR for all of them; then it works, and counts."""
    begun, is_over = 0, False

    async def effect(order: Any, connection: Any) -> None:
        nonlocal begun
        begun += 1
        if not is_over:
            await work(order, connection)
        await on_paid(order, connection)

    handler = handler_of(shop, effect, **options)
    for failures in (1, 2):
        answer = await handler.handle(delivery("1"))
        assert (answer.decision, answer.body) == (Decision.APPLY, FAIL)
        record = await shop.inbox.look(key_of("1"))
        assert record is not None
        assert (record.state, record.failures) == (SeenState.HELD, failures)
        assert (begun, handler.stats().failed) == (failures, failures)
    (line,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert line.levelno == logging.ERROR
    assert not await shop.effects()
    is_over = True
    assert (await handler.handle(delivery("1"))).body == SUCCESS
    assert await shop.effects() == 1


@every_database
async def test_a_helper_that_waits_for_the_very_order_has_failed(
    servers: Servers, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-16: nobody else is there for whose sake it could be undone."""
    async with _shop(kind, servers) as (shop, elsewhere):

        async def work(order: Any, connection: Any) -> None:
            await _meet_its_own_lock(shop, elsewhere, order.out_trade_no, connection)

        await _is_heard_of(shop, work, caplog)


@every_database
async def test_the_shops_own_word_counts_whatever_it_was_doing_when_it_said_it(
    servers: Servers, kind: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """M-16: a lock of another database, met and caught, makes no deadlock of "sold out"."""
    async with sql_shop(kind, servers) as shop, _other_database(tmp_path) as stock:

        async def work(order: Any, _connection: Any) -> None:
            try:
                async with stock.begin() as other:
                    await _write(other, order.out_trade_no)
            except DBAPIError:
                raise SoldOutError from None

        await _is_heard_of(shop, work, caplog)


@every_database
async def test_a_lookup_that_meets_a_lock_elsewhere_has_failed(
    servers: Servers, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-14: under the order's lock too, what ``expected`` raises is a line at ERROR each time."""
    async with _shop(kind, servers) as (shop, elsewhere):

        async def expected(_mch_id: str, number: str, connection: Any) -> ExpectedOrder:
            await _meet_its_own_lock(shop, elsewhere, number, connection)
            return ExpectedOrder(PRICE, MCH_ID)

        handler = handler_of(shop, expected=expected)
        for times in (1, 2):
            answer = await handler.handle(delivery("1"))
            assert (answer.decision, answer.body) == (None, FAIL)
            assert handler.stats().troubled == times
            loud = [one.levelno for one in caplog.records if one.levelno >= logging.WARNING]
            assert loud == [logging.ERROR] * times


@pytest.mark.parametrize("kind", ["psycopg", "asyncpg", "mariadb"])
async def test_an_order_that_is_always_undone_on_its_own_connection_is_heard_of(
    servers: Servers, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-16: the helper holds the row, so the loser is the order itself, until the budget ends."""
    async with _shop(kind, servers) as (shop, elsewhere):

        async def effect(order: Any, connection: Any) -> None:
            async with elsewhere.connect() as other:
                await _write(other, order.out_trade_no)
                await connection.execute(text(IMPATIENCE[kind]))
                await _write(connection, order.out_trade_no)

        for failures in (1, 2):
            async with handler_of(shop, effect, budget=0.4) as handler:
                assert (await handler.handle(delivery("1"))).body == FAIL
            record = await shop.inbox.look(key_of("1"))
            assert record is not None
            assert (record.state, record.failures) == (SeenState.HELD, failures)
            assert handler.stats().failed == 1
        (line,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
        assert line.levelno == logging.ERROR
