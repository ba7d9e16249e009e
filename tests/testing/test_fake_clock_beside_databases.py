"""A FakeClock beside a real database: it waits for answers, and nobody has to sleep."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from chaoying_async import Poller, PollStatus
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.testing import FakeClock
from tests.pollers import EXACT, PAID, PENDING, Scripted, after, always, order
from tests.servers import Servers

DATABASES: dict[str, Callable[[Servers, Path], str]] = {
    "sqlite": lambda _, directory: f"sqlite+aiosqlite:///{directory}/polls.db",
    "psycopg": lambda servers, _: servers.postgresql_url("psycopg"),
    "asyncpg": lambda servers, _: servers.postgresql_url("asyncpg"),
}


@pytest.fixture(params=DATABASES)
def address(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> str:
    return DATABASES[request.param](servers, tmp_path)


async def test_an_order_that_is_kept_in_a_database_is_asked_about_at_exact_moments(
    address: str,
) -> None:
    """As with a store in memory, although each record is written to a real database."""
    clock = FakeClock(databases=True)
    gateway = Scripted(clock, after(3, PENDING, PAID))

    async def sold() -> PollStatus:
        async with (
            SqlPollStore(address, clock=clock) as store,
            Poller(gateway, EXACT, store=store, clock=clock) as poller,
        ):
            poller.track(order(), 100)
            await poller.kept()
            (outcome,) = [outcome async for outcome in poller.drain()]
            return outcome.status

    assert await clock.run(sold()) is PollStatus.PAID
    assert [moment for moment, _ in gateway.asked] == [5, 10, 15, 20]


async def test_what_an_earlier_process_left_is_asked_about_to_its_end(address: str) -> None:
    """Three minutes, with every renewal of the lease, in the time that the database takes."""
    clock = FakeClock(databases=True)
    gateway = Scripted(clock, always(PENDING))

    async def tracked() -> None:
        async with (
            SqlPollStore(address, clock=clock) as store,
            Poller(gateway, EXACT, store=store, clock=clock) as poller,
        ):
            poller.track(order())
            await poller.kept()

    async def asked_to_the_end() -> PollStatus:
        async with (
            SqlPollStore(address, clock=clock) as store,
            Poller(gateway, EXACT, store=store, clock=clock) as poller,
        ):
            (outcome,) = [outcome async for outcome in poller.drain()]
            return outcome.status

    await clock.run(tracked())
    assert await clock.run(asked_to_the_end()) is PollStatus.EXPIRED
    assert gateway.asked[-1][0] == 180


async def test_statements_in_tasks_of_the_shop_are_waited_for_too(address: str) -> None:
    """In a coroutine, a generator or a context manager: a time-out there counts fake seconds."""
    clock = FakeClock(databases=True)
    engine = create_async_engine(address)
    slow = "SELECT pg_sleep(0.05)" if "postgresql" in address else _COUNTED

    @asynccontextmanager
    async def connected() -> AsyncGenerator[AsyncConnection]:
        async with engine.connect() as connection:
            await connection.execute(text(slow))
            yield connection

    async def answers() -> AsyncGenerator[object]:
        async with connected() as connection:
            yield (await connection.execute(text(slow))).scalar()
            yield (await connection.execute(text("SELECT 7"))).scalar()

    async def shop() -> object:
        async with clock.timeout(1):
            *_, last = [answer async for answer in answers()]
            return last

    task = asyncio.create_task(shop())
    await clock.advance(3600)
    assert await task == 7
    await engine.dispose()


async def test_without_it_the_clock_does_not_wait() -> None:
    """It says so when nothing else is left to move, as it always did."""
    clock, answered = FakeClock(), threading.Event()
    with pytest.raises(RuntimeError, match="this clock does not move"):
        await clock.run(asyncio.to_thread(answered.wait))
    answered.set()


async def test_a_wait_that_does_not_end_is_named() -> None:
    """Rather than a test that hangs until somebody ends it."""
    clock, answered = FakeClock(databases=True, patience=0.05), threading.Event()
    task = asyncio.create_task(asyncio.to_thread(answered.wait))
    with pytest.raises(RuntimeError, match=r"asyncio\.threads\.to_thread did not end within 0\.05"):
        await clock.advance(1)
    answered.set()
    await task


async def test_a_sleep_on_the_clock_is_no_wait_for_a_database() -> None:
    """The clock has to move for it."""
    clock = FakeClock(databases=True, patience=0.05)

    async def patient() -> float:
        await clock.sleep(60)
        return clock.monotonic()

    assert await clock.run(patient()) == 60


#: SQLite has no sleep; this takes some milliseconds.
_COUNTED = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
    "SELECT max(i) FROM n"
)
