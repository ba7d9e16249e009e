"""How many connections a fleet takes: few enough for a shop's own requests beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async.workers.database import LEASES_AT_ONCE, WORK_AT_ONCE
from tests.hanging import KINDS
from tests.pollers import orders
from tests.servers import Servers
from tests.sizes import FULL
from tests.workers.fleets import DATABASES, ENDED, GIVEN, SOON, FleetWorld, until

OURS = LEASES_AT_ONCE + WORK_AT_ONCE
MANY = 30 if FULL else 10


class Shop:
    """A shop with one pool for its requests and its fleet: one connection more than ours."""

    def __init__(self, url: str) -> None:
        GIVEN.clear()
        self.engine: AsyncEngine = create_async_engine(
            url.replace("sqlite:", "sqlite+aiosqlite:"),
            pool_size=OURS + 1,
            max_overflow=0,
            pool_timeout=2.0,
        )
        self.world = FleetWorld(self.engine)  # type: ignore[arg-type]
        self.served = 0

    async def request(self) -> None:
        """A request of its own: it waits two seconds for a connection, and then fails."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        self.served += 1

    async def serve(self) -> None:
        while True:
            await self.request()
            await asyncio.sleep(0.01)


@pytest.fixture(params=DATABASES)
async def shop(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Path
) -> AsyncGenerator[Shop]:
    shop = Shop(DATABASES[request.param](servers, tmp_path))
    yield shop
    await shop.engine.dispose()


async def test_requests_of_the_shop_find_a_connection_whatever_the_fleet_does(shop: Shop) -> None:
    """Eight shards renew, deliver and write down beside each other."""
    async with shop.world.open(1, shards=8, lease=15, look=0.1) as (fleet,):
        requests = asyncio.create_task(shop.serve())
        await until(lambda: len(fleet.stats().shards) == 8)
        handing = [fleet.watch(each, then=ENDED, schedule=SOON) for each in orders(MANY)]
        await asyncio.gather(*handing)
        await until(lambda: len(GIVEN) == MANY, 60)
        assert not requests.done(), requests.exception()
        requests.cancel()
    assert shop.served > 10


@pytest.mark.parametrize("kind", KINDS)
async def test_a_pool_that_was_empty_for_long_costs_no_order(servers: Servers, kind: str) -> None:
    """Whoever keeps all connections lets the leases run out; afterwards everything goes on."""
    shop = Shop(DATABASES[kind](servers, Path()))
    async with shop.world.open(1, look=0.1) as (fleet,):
        await until(lambda: len(fleet.stats().shards) == 4)
        kept: list[Any] = []
        async with asyncio.timeout(10):
            while len(kept) <= OURS:
                try:
                    kept.append(await shop.engine.connect())
                except Exception:  # noqa: BLE001 - a pool that is empty for the moment
                    await asyncio.sleep(0.05)
        await until(lambda: fleet.stats().looked > 2)
        for connection in kept:
            await connection.close()
        await fleet.watch_many(orders(20), then=ENDED, schedule=SOON)
        await until(lambda: len(GIVEN) == 20)
    await shop.engine.dispose()


@pytest.mark.parametrize("kind", DATABASES)
async def test_who_only_hands_over_leaves_no_connection(
    servers: Servers, tmp_path: Path, kind: str
) -> None:
    """A script, or a web process beside pollers; what it handed over is served by others."""
    GIVEN.clear()
    world = FleetWorld(DATABASES[kind](servers, tmp_path))
    async with world.open(1):
        async with world.fleet().handing_over() as fleet:
            open_connections: Any = fleet._engine.pool
            await fleet.watch_many(orders(2), then=ENDED, schedule=SOON)
            assert open_connections.checkedin() == 1
        assert open_connections.checkedin() == 0
        await fleet.close()
        await until(lambda: len(GIVEN) == 2)
