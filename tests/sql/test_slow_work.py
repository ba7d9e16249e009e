"""Work that took too long: which connections are used again, and which are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import attrs
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async.clock import SystemClock
from chaoying_async.sql.engines import engine_at
from chaoying_async.sql.turns import Turns
from tests.hanging import KINDS
from tests.servers import Servers
from tests.workers.fleets import DATABASES

#: How many connections are open when something is slow.
OPEN = 4


@attrs.define
class Using:
    """Somebody uses an engine in turns."""

    engine: AsyncEngine
    turns: Turns
    made: int = 0

    def _made(self, *_: Any) -> None:
        self.made += 1

    async def slow(self) -> None:
        async with self.engine.connect() as connection:
            sleep = "sleep" if self.engine.dialect.name == "mysql" else "pg_sleep"
            await connection.execute(text(f"SELECT {sleep}(20)"))

    async def quick(self) -> None:
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def all_at_once(self) -> int:
        """How many new connections are made for so many at a time."""
        before = self.made
        connections = await asyncio.gather(*(self.engine.connect().start() for _ in range(OPEN)))
        for each in connections:
            await each.close()
        return self.made - before

    async def too_slow(self) -> None:
        with pytest.raises(TimeoutError):
            await self.turns.take(self.slow)


@pytest.fixture(params=KINDS)
async def url(request: pytest.FixtureRequest, servers: Servers) -> str:
    return DATABASES[request.param](servers, Path())


async def _using(engine: AsyncEngine) -> AsyncGenerator[Using]:
    using = Using(engine, Turns(engine, SystemClock(), seconds=0.5, at_once=2))
    event.listen(engine.sync_engine, "connect", using._made)
    assert await using.all_at_once() == OPEN
    yield using
    await engine.dispose()


@pytest.fixture
async def users(url: str) -> AsyncGenerator[Using]:
    """An engine of the user's."""
    async for using in _using(create_async_engine(url, pool_size=OPEN, max_overflow=0)):
        yield using


@pytest.fixture
async def ours(url: str) -> AsyncGenerator[Using]:
    """An engine that was made for an address."""
    async for using in _using(engine_at(url)):
        yield using


async def test_one_slow_statement_costs_a_user_one_connection(users: Using) -> None:
    """The user's requests keep theirs; and what went well between two of them counts."""
    await users.too_slow()
    assert await users.all_at_once() == 1
    await users.turns.take(users.quick)
    await users.too_slow()
    assert await users.all_at_once() == 1


async def test_two_in_a_row_cost_all_connections(users: Using) -> None:
    """The network may have gone: each of the others would have to be waited for once."""
    await users.too_slow()
    await users.too_slow()
    assert await users.all_at_once() == OPEN


async def test_of_an_engine_of_ours_one_is_enough(ours: Using) -> None:
    """Nobody else uses it, and a lease may depend on the next connection."""
    await ours.too_slow()
    assert await ours.all_at_once() == OPEN
