"""An order that is watched again: what was committed is asked about after that (M-23)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from chaoying_async import PollSchedule
from chaoying_async.exceptions import StoreInUseError
from chaoying_async.sansio.polling.record import POLL, record_key
from chaoying_async.workers import Fleet
from chaoying_async.workers.shard import Shard
from chaoying_async.workers.tables import FRESH, fleet_tables
from tests.factories import MCH_ID
from tests.pollers import PAID, PENDING, always, order
from tests.servers import Servers
from tests.workers.fleets import DATABASES, ENDED, GIVEN, SOON, FleetWorld, until

ROWS = fleet_tables("chaoying_").rows
BRIEF = PollSchedule(first=0.05, every=0.1, until=0.5, jitter=0)
ONCE = PollSchedule(first=0.05, every=0.1, until=0.1, jitter=0)
LONG = PollSchedule(first=0.05, every=0.1, until=600, jitter=0)


@pytest.fixture(autouse=True)
def fresh_task() -> None:
    GIVEN.clear()


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> FleetWorld:
    return FleetWorld(DATABASES[request.param](servers, tmp_path), always(PENDING))


@pytest.fixture
def on_sqlite(tmp_path: Path) -> FleetWorld:
    return FleetWorld(f"sqlite:///{tmp_path}/fleet.db", always(PENDING))


@asynccontextmanager
async def shops_own(fleet: Fleet) -> AsyncGenerator[AsyncConnection]:
    """A transaction of the shop's."""
    engine = create_async_engine(fleet._engine.url)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def shards(fleet: Fleet) -> list[int]:
    """Whose mark is on each row that is there."""
    async with fleet._engine.connect() as connection:
        return [*(await connection.execute(select(ROWS.c.shard).order_by(ROWS.c.seq))).scalars()]


async def until_rows(fleet: Fleet, count: int) -> None:
    """Wait until so many rows are there, and all are taken up."""
    while len(marks := await shards(fleet)) != count or FRESH in marks:
        await asyncio.sleep(0.01)


def told() -> list[str]:
    return sorted(outcome["status"] for outcome in GIVEN.get("A100011", []))


async def test_what_is_committed_after_the_earlier_wait_has_ended_is_asked_about(
    world: FleetWorld,
) -> None:
    """The customer pays when that wait is over, and the task hears of it."""
    async with world.open(1, lease=30, shards=1) as (fleet,):
        await fleet.watch(order(), then=ENDED, schedule=BRIEF)
        await until(lambda: world.gateway.asked)
        async with shops_own(fleet) as connection:
            await fleet.watch(order(), then=ENDED, schedule=LONG, connection=connection)
            await until(lambda: not fleet.stats().pending)
            world.gateway.script = always(PAID)
            await connection.commit()
        await until(lambda: told() == ["EXPIRED", "PAID"])
        await until_rows(fleet, 0)


async def test_what_is_rolled_back_after_the_earlier_wait_has_ended_leaves_nothing(
    world: FleetWorld,
) -> None:
    """The earlier wait's end is told, and nothing else."""
    async with world.open(1, lease=30, shards=1) as (fleet,):
        await fleet.watch(order(), then=ENDED, schedule=BRIEF)
        await until(lambda: world.gateway.asked)
        async with shops_own(fleet) as connection:
            await fleet.watch_many([order()], then=ENDED, connection=connection)
            await until(lambda: not fleet.stats().pending)
            await connection.rollback()
        await until(lambda: GIVEN)
        await until_rows(fleet, 0)
    assert told() == ["EXPIRED"]


async def test_an_order_that_is_watched_at_every_look_of_its_customer_is_told_once(
    world: FleetWorld,
) -> None:
    """Two rows stand for them all, and the first one's task gets the end."""
    async with world.open(1, lease=30, shards=1, look=0.05) as (fleet,):
        await fleet.watch(order(), then=ENDED, schedule=LONG)
        await until(lambda: world.gateway.asked)
        for _ in range(5):
            await fleet.watch(order(), then="nobody:nothing", schedule=LONG)
        await fleet.watch_many([order()] * 5, then="nobody:nothing", schedule=LONG)
        async with asyncio.timeout(30):
            await until_rows(fleet, 2)
            asked = len(world.gateway.asked)
            await until(lambda: len(world.gateway.asked) > asked + 2)
            world.gateway.script = always(PAID)
            await until_rows(fleet, 0)
        await until(lambda: GIVEN)
    assert told() == ["PAID"]


async def test_transactions_that_watch_the_same_orders_do_not_wait_for_each_other(
    world: FleetWorld,
) -> None:
    """Each watch is a row of its own, so there is nothing that both of them lock."""
    if world.url.startswith("sqlite"):
        pytest.skip("one transaction writes at a time")
    world.gateway.script = always(PAID)
    async with world.open(1, lease=30, shards=1) as (fleet,):
        async with shops_own(fleet) as one, shops_own(fleet) as other, asyncio.timeout(20):
            for number, connection in [("A1", one), ("A2", other), ("A2", one), ("A1", other)]:
                await fleet.watch(order(number), then=ENDED, connection=connection, schedule=SOON)
            await one.commit()
            await other.commit()
        await until(lambda: len(GIVEN) == 2)


async def test_a_wait_that_has_ended_and_is_not_told_yet_is_not_joined(
    on_sqlite: FleetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database hangs between the end of the wait before and its way to the task."""
    goes_on, ended, tell = asyncio.Event(), asyncio.Event(), Shard.tell

    async def hangs(self: Shard, *given: Any) -> None:
        ended.set()
        await goes_on.wait()
        await tell(self, *given)

    monkeypatch.setattr(Shard, "tell", hangs)
    async with on_sqlite.open(1, lease=30, shards=1) as (fleet,):
        await fleet.watch(order(), then=ENDED, schedule=ONCE)
        await ended.wait()
        on_sqlite.gateway.script = always(PAID)
        await fleet.watch(order(), then=ENDED, schedule=LONG)
        goes_on.set()
        await until(lambda: told() == ["EXPIRED", "PAID"])


async def test_a_wait_whose_process_died_before_it_was_told_is_not_joined(
    on_sqlite: FleetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies between the two, and the next one finds an end in the row."""
    tell = Shard.tell

    async def dies(self: Shard, *_: Any) -> None:
        monkeypatch.setattr(Shard, "tell", tell)
        async with on_sqlite.fleet(shards=1).handing_over() as web:
            await web.watch(order(), then=ENDED, schedule=LONG)
        on_sqlite.gateway.script = always(PAID)
        raise StoreInUseError("somebody else has it")

    monkeypatch.setattr(Shard, "tell", dies)
    async with on_sqlite.open(1, lease=30, shards=1) as (fleet,):
        await fleet.watch(order(), then=ENDED, schedule=ONCE)
        await until(lambda: told() == ["EXPIRED", "PAID"])


async def test_what_an_earlier_version_handed_over_is_seen_to_its_end(
    on_sqlite: FleetWorld,
) -> None:
    """It had one row for each order, under a key without a number; what is watched now joins it."""
    world = on_sqlite
    async with world.open(1, lease=30, shards=1) as (fleet,):
        watch = fleet._watch(order(), ENDED, 100, LONG)
        item = record_key(("orderquery", MCH_ID, "WECHAT", "out_trade_no", "A100011"), 0)
        earlier = {**watch, "item": item}
        await fleet._database.write_rows(fleet._database.handing_over(POLL, earlier))
        await until(lambda: world.gateway.asked)
        await fleet.watch(order(), then=ENDED, schedule=LONG)
        async with asyncio.timeout(30):
            await until_rows(fleet, 2)
    async with world.open(1, lease=30, shards=1) as (fleet,):
        await until(lambda: fleet.stats().pending)
        world.gateway.script = always(PAID)
        async with asyncio.timeout(30):
            await until_rows(fleet, 0)
        await until(lambda: GIVEN)
    assert told() == ["PAID"]
