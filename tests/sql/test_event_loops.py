"""One engine used from several event loops: it works, or one clear error says what to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from sqlalchemy import NullPool, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async import NotificationHandler, PaidOrder
from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.sql import SqlInbox
from tests.factories import CREDENTIALS
from tests.hanging import effects_at
from tests.hard.inbox_workers import expected, notification
from tests.servers import Servers
from tests.sql_shop import DATABASES, metadata, take_effect

#: Their connections work in their own loop only.
BOUND = ("asyncpg", "mariadb")
NUMBERS = ("L1", "L2", "L3")


async def on_paid(order: PaidOrder, connection: Any) -> None:
    await take_effect(connection, order.out_trade_no)


async def handled(engine: AsyncEngine, number: str, *, dispose: bool = False) -> bytes:
    """One notification, as a worker that is called once for each does it."""
    handler = NotificationHandler(CREDENTIALS, SqlInbox(engine), on_paid, expected=expected)
    answer = await handler.handle(notification(number))
    if dispose:
        await engine.dispose()
    return answer.body


@contextmanager
def _url(kind: str, servers: Servers) -> Iterator[str]:
    with ExitStack() as stack:
        url = DATABASES[kind](servers, stack)
        asyncio.run(_made(url))
        yield url


async def _made(url: str) -> None:
    engine = create_async_engine(url)
    await SqlInbox(engine).create_tables()
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()


def _effects(url: str) -> list[int]:
    return [asyncio.run(effects_at(url, number)) for number in NUMBERS]


@pytest.mark.parametrize("kind", BOUND)
def test_a_pool_of_another_loop_is_named_and_nothing_is_lost(
    servers: Servers, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-14: `fail`, and the log says whose pool it is and what to do; the next engine does it."""
    with _url(kind, servers) as url, asyncio.Runner() as first:
        engine = create_async_engine(url)
        assert first.run(handled(engine, NUMBERS[0])) == b"success"
        assert asyncio.run(handled(engine, NUMBERS[1])) == b"fail"
        (told,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
        assert told.exc_info is not None
        error = told.exc_info[1]
        assert isinstance(error, UsageError)
        for words in ("another event loop", "dispose()", "NullPool"):
            assert words in str(error)
        # The loop that it belongs to can go on.
        assert first.run(handled(engine, NUMBERS[1])) == b"success"
        first.run(engine.dispose())
        assert _effects(url) == [1, 1, 0]


@pytest.mark.parametrize("kind", DATABASES)
def test_an_engine_that_was_disposed_of_works_in_the_next_loop(servers: Servers, kind: str) -> None:
    """A new loop for each notification, and an engine that keeps nothing from the last one."""
    with _url(kind, servers) as url:
        engine = create_async_engine(url)
        for number in NUMBERS:
            assert asyncio.run(handled(engine, number, dispose=True)) == b"success"
        assert _effects(url) == [1, 1, 1]


@pytest.mark.parametrize("kind", DATABASES)
def test_an_engine_without_a_pool_works_in_every_loop(servers: Servers, kind: str) -> None:
    """Each connection is made in the loop that uses it."""
    with _url(kind, servers) as url:
        engine = create_async_engine(url, poolclass=NullPool)
        for number in NUMBERS:
            assert asyncio.run(handled(engine, number)) == b"success"
        assert _effects(url) == [1, 1, 1]


@pytest.mark.parametrize("kind", [kind for kind in DATABASES if kind not in BOUND])
def test_connections_that_belong_to_no_loop_work_in_every_loop(servers: Servers, kind: str) -> None:
    """psycopg's and aiosqlite's do, so nobody is bothered."""
    with _url(kind, servers) as url:
        engine = create_async_engine(url)
        for number in NUMBERS:
            assert asyncio.run(handled(engine, number)) == b"success"
        asyncio.run(engine.dispose())
        assert _effects(url) == [1, 1, 1]


@pytest.mark.parametrize("kind", BOUND)
def test_a_loop_that_came_to_no_connection_leaves_the_pool_to_the_next(
    servers: Servers, kind: str
) -> None:
    """The database was not there yet: an empty pool belongs to nobody."""
    with _url(kind, servers) as url:
        there = [False]
        engine = create_async_engine(url)

        @event.listens_for(engine.sync_engine, "do_connect")
        def connecting(*_given: Any) -> None:
            if not there[0]:
                raise ConnectionRefusedError

        assert asyncio.run(handled(engine, NUMBERS[0])) == b"fail"
        there[0] = True
        assert asyncio.run(handled(engine, NUMBERS[0], dispose=True)) == b"success"
        assert _effects(url) == [1, 0, 0]
