"""A store whose database hears nothing any more: it gives up in time, and goes on with another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import attrs
import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import StoreError
from chaoying_async.clock import SystemClock
from chaoying_async.pollstore.sql import SqlPollStore, ownership, pollstore
from chaoying_async.pollstore.sql.ownership import Ownership
from chaoying_async.pollstore.sql.tables import store_tables
from chaoying_async.sql.columns import DEFAULT_PREFIX
from tests.hanging import server_of
from tests.pollstores import everything
from tests.servers import Server, Servers
from tests.sizes import cases
from tests.sql.swallowing import Network, network_to
from tests.stopped import standstill
from tests.workers.fleets import DATABASES

pytestmark = pytest.mark.timeout(60)
#: Seconds: of a lease that is kept, of one that may run out, and of a use of the database.
LEASE, SHORT, PATIENCE = 6.0, 2.0, 1.0
#: Where two of these run out one after the other, and the machine is busy.
IN_TIME = 6.0


@attrs.frozen
class Far:
    """The address of a store, over a network that can go away, and its server."""

    url: str
    network: Network
    server: Server


@pytest.fixture(params=cases(["asyncpg"], more=["psycopg", "mariadb"]))
async def far(
    request: pytest.FixtureRequest, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Far]:
    monkeypatch.setattr(pollstore, "_PATIENCE", PATIENCE)
    monkeypatch.setattr(pollstore, "_MAKING_TABLES", PATIENCE)
    monkeypatch.setattr(ownership, "_TAKING", PATIENCE)
    server = server_of(request.param, servers)
    async with network_to(server.port) as network:
        url = make_url(DATABASES[request.param](servers, Path())).set(port=network.port)
        yield Far(url.render_as_string(hide_password=False), network, server)


async def _put(store: SqlPollStore, key: str) -> None:
    await store.put("poll", {key: "text"})


async def test_a_call_is_given_up_in_time_and_the_next_one_works(far: Far) -> None:
    """What was written may be there all the same; who waits is told, and asks again."""
    async with SqlPollStore(far.url, lease=SHORT) as store:
        await _put(store, "A1")
        with standstill(far.server) as still:
            still.begin()
            began = time.monotonic()
            works = (_put(store, "A2"), store.get("poll", "A1"), store.hold())
            raised = await asyncio.gather(*works, return_exceptions=True)
            assert [type(error) for error in raised] == [StoreError] * 3
            assert time.monotonic() - began < SHORT + IN_TIME
        await _put(store, "A3")
        assert {"A1", "A3"} <= {key for key, _ in await everything(store, "poll")}


async def test_a_network_that_goes_away_costs_no_lease(far: Far) -> None:
    """Every open connection is dead, and nobody is told; new ones work."""
    engine = create_async_engine(make_url(far.url).set(port=far.server.port))
    _, _, owner = store_tables(DEFAULT_PREFIX)
    async with SqlPollStore(far.url, lease=LEASE) as store:
        await _put(store, "A1")
        far.network.lose()
        await asyncio.sleep(LEASE + 1)  # the lease is on the server's clock
        assert not await Ownership(engine, owner, SystemClock(), LEASE).take_if_free()
        await _put(store, "A2")
    await engine.dispose()


async def test_opening_and_leaving_end_in_time(far: Far) -> None:
    """SIGTERM comes when it comes: the lease runs out by itself."""
    with standstill(far.server) as still:
        async with SqlPollStore(far.url, lease=SHORT) as store:
            await _put(store, "A1")
            still.begin()
            began = time.monotonic()
        assert time.monotonic() - began < SHORT + IN_TIME
        began = time.monotonic()
        with pytest.raises(StoreError):
            await SqlPollStore(far.url, lease=SHORT).__aenter__()
        assert time.monotonic() - began < IN_TIME
