"""A fleet whose database hears nothing any more: it gives up in time, and goes on with another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import attrs
import pytest
from sqlalchemy import make_url

from chaoying_async import StoreError
from chaoying_async.workers import database
from tests.hanging import KINDS, server_of
from tests.pollers import order, orders
from tests.servers import Servers
from tests.sql.swallowing import Network, network_to
from tests.stopped import standstill
from tests.workers.fleets import DATABASES, ENDED, GIVEN, SOON, FleetWorld, until

#: Seconds: of a lease that is kept, and of one that runs out meanwhile.
LEASE, SHORT = 9.0, 2.0
#: How long leaving may take with a database that stands still: a lease, and a few last tries, here
#: five seconds. Without an end of its own it would take as long as the database stands still.
LEAVES_IN = SHORT + 40


@attrs.frozen
class Far:
    """A world behind a network."""

    world: FleetWorld
    network: Network


@pytest.fixture(params=KINDS)
async def far(request: pytest.FixtureRequest, servers: Servers) -> AsyncGenerator[Far]:
    GIVEN.clear()
    server = server_of(request.param, servers)
    async with network_to(server.port) as network:
        url = make_url(DATABASES[request.param](servers, Path())).set(port=network.port)
        yield Far(FleetWorld(url.render_as_string(hide_password=False)), network)


async def test_a_network_that_goes_away_costs_no_lease(far: Far) -> None:
    """Every open connection is dead, and nobody is told; new ones work."""
    async with far.world.open(1, lease=LEASE, look=0.2) as (fleet,):
        await until(lambda: len(fleet.stats().shards) == 4)
        await fleet.watch_many(orders(8), then=ENDED, schedule=SOON)
        await until(lambda: len(GIVEN) == 8)
        served = {number: id(one) for number, one in fleet._worker.served.items()}  # type: ignore[union-attr]
        far.network.lose()
        lost = time.monotonic()
        await until(lambda: fleet.stats().looked > 1, LEASE)
        await until(lambda: fleet.stats().looked < 1, LEASE)
        await until(lambda: time.monotonic() - lost > LEASE, 2 * LEASE)
        kept = {number: id(one) for number, one in fleet._worker.served.items()}  # type: ignore[union-attr]
        assert kept == served, "its leases were renewed over other connections"
        await fleet.watch(order("A1"), then=ENDED, schedule=SOON)
        await until(lambda: "A1" in GIVEN)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fleet_ends_in_time_though_its_database_stands_still(
    servers: Servers, kind: str
) -> None:
    """SIGTERM comes when it comes: what was not written down is the next owner's."""
    world = FleetWorld(DATABASES[kind](servers, Path()))
    with standstill(server_of(kind, servers)) as still:
        fleet = world.fleet(lease=SHORT)
        async with fleet:
            await until(lambda: len(fleet.stats().shards) == 4)
            still.begin()
            began = time.monotonic()
        assert time.monotonic() - began < LEAVES_IN


@pytest.mark.parametrize("kind", KINDS)
async def test_handing_over_is_given_up_in_time(
    servers: Servers, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web request must not wait for ever; the order may be handed over all the same."""
    monkeypatch.setattr(database, "PATIENCE", 1.0)
    world = FleetWorld(DATABASES[kind](servers, Path()))
    with standstill(server_of(kind, servers)) as still:
        async with world.open(1, lease=SHORT) as (fleet,):
            await fleet.watch(order(), then=ENDED, schedule=SOON)
            still.begin()
            with pytest.raises(StoreError):
                async with asyncio.timeout(30):
                    await fleet.watch(order("A2"), then=ENDED, schedule=SOON)
            still.end()
