"""The numbers of a whole fleet, and its orders cut into another number of shards."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async import StoreError, UsageError
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.payments.intent import CHECKOUT, ORDER, REFUND, key_of
from chaoying_async.testing import FakeClock
from chaoying_async.workers import Fleet
from chaoying_async.workers.database import Sharding
from chaoying_async.workers.fleet_status import FleetStatus, fleet_status
from chaoying_async.workers.outcomes import OUTCOME
from chaoying_async.workers.resharding import reshard
from chaoying_async.workers.tables import KEPT, WATCH, fleet_tables
from chaoying_async.workers.watching import slot_of
from tests.pollers import PENDING, always, order, orders
from tests.servers import Servers
from tests.workers.fleets import DATABASES, ENDED, GIVEN, SOON, FleetWorld, until

TABLES = fleet_tables("chaoying_")
CLOCK = SystemClock()


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> FleetWorld:
    GIVEN.clear()
    return FleetWorld(DATABASES[request.param](servers, tmp_path))


async def status_of(fleet: Fleet, *, merchants: bool = False) -> FleetStatus:
    return await fleet_status(fleet._engine, TABLES, CLOCK, merchants=merchants)


async def test_a_fleet_shows_what_waits_where(world: FleetWorld) -> None:
    """By shard, worker and merchant; what nobody took up, and outcomes that nobody has."""
    world.gateway.script = always(PENDING)
    async with world.open(1, name="one", lease=60) as (fleet,):
        two = [order(f"B{n}", mch_id="00000002") for n in range(3)]
        await fleet.watch_many([*orders(5), *two], then=ENDED, schedule=SOON)
        await until(lambda: fleet.stats().pending == 8)
        found = await status_of(fleet, merchants=True)
        while sum(worker.says["pending"] for worker in found.workers) != 8:
            await asyncio.sleep(0.1)
            found = await status_of(fleet, merchants=True)
    assert (found.pending, found.undelivered, found.unserved) == (8, 0, [])
    assert {shard.owner for shard in found.shards if shard.number is not None} == {"one"}
    assert [(each.mch_id, each.pending) for each in found.merchants] == [
        ("00000001", 5),
        ("00000002", 3),
    ]
    outside = world.fleet()
    await outside.watch(order("late"), then=ENDED)
    found = await status_of(outside)
    assert (found.pending, found.workers, found.unserved) == (9, [], [0, 1, 2, 3])
    assert found.shards[-1].pending == 1
    assert found.lag >= 0
    await outside._store.dispose(outside._engine)


async def test_an_outcome_that_nobody_takes_is_seen_with_its_age(world: FleetWorld) -> None:
    """It is due again by itself; until then the numbers say so."""
    async with world.open(1) as (fleet,):
        await fleet.watch(order(), then="no.such.module:task", schedule=SOON)
        found = await status_of(fleet)
        while not found.undelivered:
            await asyncio.sleep(0.1)
            found = await status_of(fleet, merchants=True)
        early = FakeClock(CLOCK.now() - timedelta(hours=1))
        of_an_early_reader = (await fleet_status(fleet._engine, TABLES, early)).oldest_undelivered
    assert (found.pending, found.undelivered) == (0, 1)
    assert found.oldest_undelivered is not None
    assert found.oldest_undelivered >= 0
    assert of_an_early_reader is not None
    assert of_an_early_reader >= 0, "it was written after this reader's time was taken"
    assert [(each.mch_id, each.undelivered) for each in found.merchants] == [("00000001", 1)]


async def test_a_table_of_processes_that_a_hand_has_emptied_fills_again(world: FleetWorld) -> None:
    """Those who live go on taking orders up; what one says that cannot be read hides no other."""
    async with world.open(1, name="one") as (fleet,):
        await until(lambda: len(fleet.stats().shards) == 4)
        async with fleet._engine.begin() as connection:
            await connection.execute(delete(TABLES.workers))
            for name, body in (("two", "nonsense"), ("three", '{"of_shards": {"0": 1}}')):
                row = {"name": name, "body": body, "held_until": 1 << 62}
                await connection.execute(insert(TABLES.workers).values(row))
        await fleet.watch(order(), then=ENDED, schedule=SOON)
        await until(lambda: GIVEN)
        found = await status_of(fleet)
    assert found.sharding == Sharding(4)
    assert {worker.name: bool(worker.says) for worker in found.workers} == {
        "one": True,
        "two": False,
        "three": False,
    }


async def test_nothing_is_cut_anew_while_somebody_serves(world: FleetWorld) -> None:
    """It names who does."""
    async with world.open(1, name="till-7", lease=60) as (fleet,):
        await until(lambda: len(fleet.stats().shards) == 4)
        with pytest.raises(UsageError, match=r"till-7 serves 4 shards"):
            await reshard(fleet._engine, TABLES, CLOCK, 8)


@pytest.mark.parametrize("by_merchant", [None, True])
async def test_another_cut_loses_nothing_and_fences_old_owners(
    world: FleetWorld, by_merchant: bool | None
) -> None:
    """Each row has the mark of its new shard; no token goes back; all orders come to their ends."""
    world.gateway.script = always(PENDING)
    async with world.open(1) as (fleet,):
        await fleet.watch_many(orders(8), then=ENDED, schedule=SOON)
        await until(lambda: fleet.stats().pending == 8)
    outside = world.fleet()
    await outside.watch(order("fresh"), then=ENDED, schedule=SOON)
    engine = outside._engine
    async with engine.connect() as connection:
        tokens = await _tokens(connection)
    for shards in (5, 2, 5):
        _, now = await reshard(engine, TABLES, CLOCK, shards, by_merchant=by_merchant)
    assert now == Sharding(5, bool(by_merchant))
    async with engine.connect() as connection:
        after = await _tokens(connection)
        rows = (await connection.execute(select(TABLES.rows))).all()
    assert all(after[number] == token + 3 for number, token in tokens.items())
    assert {row.shard for row in rows} <= {-1, *range(5)}
    assert all(row.shard in (-1, row.slot % 5) for row in rows)
    if by_merchant:
        assert len({row.slot for row in rows}) == 1
    await outside._store.dispose(engine)
    with pytest.raises(UsageError, match="this fleet has 5 shards"):
        await world.fleet(by_merchant=bool(by_merchant)).__aenter__()
    world.gateway.script = always({})
    # A lost lease would give an outcome again, as it may; nothing here is about that.
    async with world.open(1, shards=5, by_merchant=bool(by_merchant), lease=30):
        await until(lambda: len(GIVEN) == 9)
    assert {len(outcomes) for outcomes in GIVEN.values()} == {1}


async def test_all_rows_of_a_merchant_change_their_slots(world: FleetWorld) -> None:
    """Payments too, and outcomes of payments: there and back, to where new ones would go."""
    world.gateway.script = always(PENDING)
    async with world.open(1):
        pass  # it makes the tables
    outside = world.fleet()
    await outside.watch(order("A1"), then=ENDED, schedule=SOON)
    payment = key_of("00000001", "A2")
    keys = {CHECKOUT: payment, REFUND: payment, ORDER: payment, OUTCOME: f"7 {payment}"}
    async with outside._engine.begin() as connection:
        for kind, item in keys.items():
            values = {"item": item, "slot": 5, "body": "{}", "then": ENDED}
            await connection.execute(outside._database.handing_over(kind, values, shard=KEPT))

    async def slots(*, by_merchant: bool) -> dict[str, int]:
        await reshard(outside._engine, TABLES, CLOCK, 4, by_merchant=by_merchant)
        async with outside._engine.connect() as connection:
            rows = await connection.execute(select(TABLES.rows.c.kind, TABLES.rows.c.slot))
            return {row.kind: row.slot for row in rows}

    assert set((await slots(by_merchant=True)).values()) == {slot_of("00000001")}
    watched = slot_of("00000001", "out_trade_no", "A1")
    paid = dict.fromkeys(keys, slot_of("00000001", "A2"))
    assert await slots(by_merchant=False) == {WATCH: watched, **paid}
    await outside.close()


async def _tokens(connection: AsyncConnection) -> dict[int, int]:
    found = await connection.execute(select(TABLES.shards.c.id, TABLES.shards.c.token))
    return {row.id: row.token for row in found}


async def test_a_process_that_finds_another_cut_serves_no_more(world: FleetWorld) -> None:
    """It was stopped for longer than its lease while the orders were cut anew."""
    fleet = world.fleet()
    running = asyncio.create_task(fleet.run())
    await until(lambda: fleet._worker and fleet.stats().shards)
    mine = TABLES.workers.c.name == ""
    changed = update(TABLES.workers).where(mine).values(body='{"shards":2,"by_merchant":false}')
    async with fleet._engine.begin() as connection:
        await connection.execute(changed)
    with pytest.raises(UsageError, match="this fleet has 2 shards by order now"):
        await running


async def test_where_no_fleet_was_made_there_is_nothing_to_show(
    servers: Servers, tmp_path: Path
) -> None:
    """The table that is missing is named, and none is made."""
    fleet = FleetWorld(f"sqlite:///{tmp_path}/none.db").fleet()
    with pytest.raises(StoreError):
        await status_of(fleet)
    await fleet._store.dispose(fleet._engine)
