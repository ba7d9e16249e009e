"""A process whose network goes away in mid-transaction: PostgreSQL lets go of what it locked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from sqlalchemy import event, func, make_url, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import StoreError
from chaoying_async.clock import SystemClock
from chaoying_async.pollstore.sql import ownership, pollstore
from chaoying_async.sansio.payments.intent import CHECKOUT
from chaoying_async.sql.dialects import dialect_of
from chaoying_async.workers import Fleet, database, senders_store
from chaoying_async.workers.database import Sharding
from chaoying_async.workers.resharding import reshard
from chaoying_async.workers.senders_store import SendersStore
from chaoying_async.workers.tables import fleet_tables
from tests.hanging import KINDS, server_of
from tests.pollers import order
from tests.servers import Servers
from tests.sql.swallowing import Network, network_to
from tests.workers.fleets import DATABASES, ENDED, GIVEN, SOON, FleetWorld, until

LEASE = 3.0
#: Of a lease whose renewal dies: time for a transaction to be ended, and for another try.
RENEWED = 6.0
#: Seconds for which a transaction may be idle here, instead of five and more.
IDLE = 1.0
#: How long somebody tries again.
TRIES = 12


@attrs.frozen
class Far:
    """A world behind a network."""

    world: FleetWorld
    network: Network

    def lose_after(self, fleet: Fleet, what: str) -> list[bool]:
        """The network goes when this fleet has executed such a statement; whether it has."""
        lost: list[bool] = []

        def executed(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if not lost and statement.startswith(what):
                self.network.lose()
                lost.append(True)

        event.listen(fleet._engine.sync_engine, "after_cursor_execute", executed)
        return lost


@pytest.fixture(params=KINDS)
async def far(
    request: pytest.FixtureRequest, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Far]:
    GIVEN.clear()
    for module in (database, pollstore):
        monkeypatch.setattr(module, "longest_idle", lambda _lease: IDLE)
    for module in (database, senders_store):
        monkeypatch.setattr(module, "PATIENCE", 1.5)
    server = server_of(request.param, servers)
    async with network_to(server.port) as network:
        url = make_url(DATABASES[request.param](servers, Path())).set(port=network.port)
        world = FleetWorld(url.render_as_string(hide_password=False))
        async with world.open(1):
            pass  # the tables are made
        yield Far(world, network)


async def test_a_worker_whose_own_row_was_locked_looks_again(far: Far) -> None:
    """Its connection died after it had written that it lives: new orders are found all the same."""
    async with far.world.open(1, lease=LEASE, look=0.2) as (fleet,):
        await until(lambda: len(fleet.stats().shards) == 4)
        lost = far.lose_after(fleet, "UPDATE chaoying_fleet_workers")
        await until(lambda: lost)
        await until(lambda: fleet.stats().looked > 1, TRIES)
        await until(lambda: fleet.stats().looked < 1, TRIES)
        async with far.world.fleet(lease=LEASE).handing_over() as other:
            await other.watch(order("A1"), then=ENDED, schedule=SOON)
        await until(lambda: "A1" in GIVEN)


async def _until_it_works(work: Callable[[], Awaitable[object]]) -> None:
    for _ in range(TRIES):
        with suppress(StoreError):
            await work()
            return
    raise TimeoutError


async def test_an_order_whose_row_was_locked_is_handed_over_in_the_end(far: Far) -> None:
    """A web process lost its network before the COMMIT, and tries the same order again."""
    async with (
        far.world.fleet(lease=LEASE).handing_over() as fleet,
        far.world.fleet(lease=LEASE).handing_over() as other,
    ):
        await other.watch(order("A0"), then=ENDED, schedule=SOON)
        await fleet.watch(order("A0"), then=ENDED, schedule=SOON)
        lost = far.lose_after(fleet, "INSERT")
        with pytest.raises(StoreError):
            await fleet.watch(order("A1"), then=ENDED, schedule=SOON)
        assert lost
        await _until_it_works(lambda: other.watch(order("A1"), then=ENDED, schedule=SOON))


async def test_a_payment_whose_rows_were_locked_is_begun_in_the_end(far: Far) -> None:
    """The record of a business order, and the payment's own row."""
    async with far.world.fleet(lease=LEASE).handing_over() as fleet:
        await fleet.watch(order("A0"), then=ENDED, schedule=SOON)

        async def begin() -> None:
            store = SendersStore(fleet._database, CHECKOUT, "P1")

            async def both() -> None:
                await store.lock_order("B1", 0)
                await store.begin("text", 0, ENDED)

            await store.together(both)

        lost = far.lose_after(fleet, "INSERT")
        with pytest.raises(StoreError):
            await begin()
        assert lost
        await _until_it_works(begin)


@pytest.mark.parametrize("kind", ["psycopg", "asyncpg"])
async def test_every_transaction_of_a_users_engine_is_limited_and_nothing_else(
    servers: Servers, kind: str
) -> None:
    """From the making of the tables to another number of shards; the session stays as it was."""
    GIVEN.clear()
    ask = "SHOW idle_in_transaction_session_timeout"
    engine = create_async_engine(DATABASES[kind](servers, Path()), pool_size=5, max_overflow=0)
    limits: list[str] = []

    def committing(connection: Any) -> None:
        limits.append(connection.exec_driver_sql(ask).scalar_one())

    event.listen(engine.sync_engine, "commit", committing)
    world = FleetWorld(engine)  # type: ignore[arg-type]
    async with world.open(2) as (fleet, _):
        await until(lambda: len(fleet.stats().shards) == 2)
        await fleet.watch(order("A1"), then=ENDED, schedule=SOON)
        store = SendersStore(fleet._database, CHECKOUT, "P1")
        await store.begin("", 0, ENDED)
        await store.leaves()
        await until(lambda: "A1" in GIVEN)
    tables = fleet_tables("chaoying_")
    assert await reshard(engine, tables, SystemClock(), 8) == (Sharding(4), Sharding(8))
    assert len(limits) > 10
    assert set(limits) == {"5s", "1min"}
    event.remove(engine.sync_engine, "commit", committing)
    connections = [await engine.connect() for _ in range(5)]
    left = await asyncio.gather(*(one.scalar(text(ask)) for one in connections))
    assert left == ["0"] * 5
    for one in connections:
        await one.close()
    await engine.dispose()


async def test_a_renewal_whose_connection_died_in_the_middle_costs_no_lease(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is locked for a third of a lease: another connection renews it in time."""
    monkeypatch.setattr(ownership, "_LEAST_IDLE", 0.5)
    near = create_async_engine(make_url(far.world.url).set(port=far.network.target))
    shards = fleet_tables("chaoying_").shards.c
    left = select(func.min(shards.held_until) - dialect_of(near).now)
    async with far.world.open(1, lease=RENEWED) as (fleet,):
        await until(lambda: len(fleet.stats().shards) == 4)
        lost = far.lose_after(fleet, "UPDATE chaoying_fleet_shards SET held_until")
        await until(lambda: lost)
        began = time.monotonic()
        seen = []
        while time.monotonic() - began < RENEWED:
            async with near.connect() as connection:
                seen.append((await connection.execute(left)).scalar_one() / 1_000_000)
            await asyncio.sleep(0.1)
        assert min(seen) > 0, "it ran out while nobody could renew it"
        assert max(seen[len(seen) // 2 :]) > RENEWED / 2
    await near.dispose()
