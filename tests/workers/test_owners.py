"""Which process serves a shard: stalls, kills, lost commits and rolling replacements."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import make_url, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.exceptions import StoreInUseError
from chaoying_async.pollstore.sql.ownership import Ownership
from chaoying_async.sansio.payments.intent import REFUND
from chaoying_async.workers import Fleet, served_shard
from chaoying_async.workers.senders_store import SendersStore
from chaoying_async.workers.shard import Shard
from chaoying_async.workers.tables import fleet_tables
from tests.cutting import Cutting
from tests.pollers import order, orders
from tests.servers import Servers
from tests.workers import troubled_tasks
from tests.workers.fleets import DATABASES, ENDED, GIVEN, SOON, FleetWorld, until

ROWS = fleet_tables("chaoying_").rows


@pytest.fixture(autouse=True)
def fresh_tasks() -> None:
    GIVEN.clear()
    troubled_tasks.LET_GO.clear()


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> FleetWorld:
    return FleetWorld(DATABASES[request.param](servers, tmp_path))


@pytest.fixture
def on_sqlite(tmp_path: Path) -> FleetWorld:
    return FleetWorld(f"sqlite:///{tmp_path}/fleet.db")


async def take_away(fleet: Fleet, *, seconds: float) -> None:
    """Another process takes all shards, and dies: nothing renews them.

    With less than no seconds it has given them back at once.
    """
    async with fleet._engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE chaoying_fleet_shards"
                " SET token = token + 1, held_until = held_until + :more"
            ),
            {"more": round(seconds * 1_000_000)},
        )


def all_served(fleet: Fleet, count: int) -> bool:
    assert fleet._worker is not None
    served = fleet._worker.served.values()
    return len(served) == count and all(each.is_open for each in served)


@pytest.mark.parametrize("seconds", [1, -3600])
async def test_a_shard_that_was_taken_away_is_let_go_of_and_taken_again_when_it_is_free(
    world: FleetWorld, seconds: float
) -> None:
    """Even where it had nothing to ask about: else a process waits for ever for its own shard."""
    async with world.open(1) as (fleet,):
        await until(lambda: all_served(fleet, 4))
        served = {*fleet._worker.served.values()} if fleet._worker else set()
        await take_away(fleet, seconds=seconds)
        await until(lambda: fleet._worker and served.isdisjoint(fleet._worker.served.values()))
        await until(lambda: all_served(fleet, 4))
        await fleet.watch(order(), then=ENDED, schedule=SOON)
        await until(lambda: GIVEN)
    assert len(GIVEN["A100011"]) == 1


async def test_a_late_write_does_not_touch_what_was_handed_over_again(world: FleetWorld) -> None:
    """The order ended, and is waited for once more: its new row is nobody's yet."""
    async with world.open(1, look=60.0, lease=30) as (fleet,):
        await until(lambda: all_served(fleet, 4))
        async with world.fleet().handing_over() as other:
            await other.watch(order("A1"), then=ENDED, schedule=SOON)
        assert fleet._worker is not None
        async with fleet._engine.connect() as connection:
            row = (await connection.execute(select(ROWS))).one()
        for served in fleet._worker.served.values():
            await served.shard.put(row.kind, {row.item: "late"})
        async with fleet._engine.connect() as connection:
            after = (await connection.execute(select(ROWS))).one()
    assert after.body == row.body


async def test_an_order_committed_after_younger_ones_is_seen(world: FleetWorld) -> None:
    """Its row was written first: whoever looks for higher numbers alone never sees it."""
    if world.url.startswith("sqlite"):
        pytest.skip("one transaction writes at a time")
    async with world.open(1, lease=30) as (fleet,):
        engine = create_async_engine(world.url)
        async with engine.connect() as connection:
            await fleet.watch(order("EARLY"), then=ENDED, schedule=SOON, connection=connection)
            await fleet.watch(order("LATE"), then=ENDED, schedule=SOON)
            await until(lambda: "LATE" in GIVEN)
            await connection.commit()
        await engine.dispose()
        await until(lambda: "EARLY" in GIVEN)
    assert {number: len(given) for number, given in GIVEN.items()} == {"EARLY": 1, "LATE": 1}


async def test_a_rolling_replacement_overlaps_without_an_error(
    world: FleetWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """All start at once on an empty database, and are replaced one by one while orders come."""
    caplog.set_level(logging.INFO, "chaoying_async")
    running = [world.fleet(lease=20) for _ in range(2)]
    await asyncio.gather(*(fleet.__aenter__() for fleet in running))
    handed_over = 0
    for _ in range(2):
        for number in range(handed_over, handed_over + 5):
            await running[-1].watch(order(f"A{number}"), then=ENDED, schedule=SOON)
        handed_over += 5
        fresh = world.fleet(lease=20)
        await fresh.__aenter__()
        await running.pop(0).__aexit__(None, None, None)
        running.append(fresh)
    await until(lambda: len(GIVEN) == handed_over)
    await asyncio.gather(*(fleet.__aexit__(None, None, None) for fleet in running))
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line for line in said if "executing" not in line] == []
    assert {len(given) for given in GIVEN.values()} == {1}


@pytest.mark.parametrize("delivered", [True, False])
async def test_an_order_whose_mark_was_committed_unheard_is_asked_about(
    servers: Servers, *, delivered: bool
) -> None:
    """The connection broke at the COMMIT: nobody else would ever ask, since the mark is there."""
    url = make_url(servers.postgresql_url("psycopg"))
    line = Cutting(url.port or 0, delivered=delivered)
    async with line.listening() as port:
        world = FleetWorld(url.set(port=port).render_as_string(hide_password=False))
        async with world.open(1, shards=1, lease=20) as (fleet,):
            await until(lambda: all_served(fleet, 1))
            mark = Shard.mark

            async def cut(self: Shard, bodies: Any) -> None:
                Shard.mark = mark  # type: ignore[method-assign]
                line.armed = True
                await mark(self, bodies)

            Shard.mark = cut  # type: ignore[method-assign]
            try:
                await fleet.watch_many(orders(5), then=ENDED, schedule=SOON)
                await until(lambda: len(GIVEN) == 5, 10)
            finally:
                Shard.mark = mark  # type: ignore[method-assign]
            assert line.cut
    assert {len(given) for given in GIVEN.values()} == {1}


async def test_a_payment_that_is_taken_up_keeps_what_its_sender_wrote_meanwhile(
    world: FleetWorld,
) -> None:
    """M-24: not what the owner of the shard read before; and what was withdrawn is not seen to."""
    async with world.open(1, shards=1, look=60.0, lease=30) as (fleet,):
        await until(lambda: all_served(fleet, 1))
        assert fleet._worker is not None
        (served,) = fleet._worker.served.values()
        refunds = [SendersStore(fleet._database, REFUND, name) for name in "AB"]
        for store in refunds:
            await store.begin("begun", 0, ENDED)
        async with world.fleet(shards=1).handing_over() as other:
            await other.watch(order("C"), then=ENDED, schedule=SOON)
        read = [*await rows_of(fleet)]
        await refunds[0].put(REFUND, {"A": "learnt"})
        await refunds[1].forget(REFUND, ["B"])
        taken: list[tuple[str, str, str]] = []
        with mock.patch.object(served._payments, "take_up", lambda *given: taken.append(given)):
            await served.take_up(read)
        assert taken == [(REFUND, "A", "learnt")]
        (kept,) = [row for row in await rows_of(fleet) if row.kind == REFUND]
        assert (kept.shard, kept.body) == (served.shard.number, "learnt")
        with pytest.raises(StoreInUseError):
            await refunds[0].put(REFUND, {"A": "too late"})
        await until(lambda: GIVEN)
    assert [*GIVEN] == ["C"]


async def rows_of(fleet: Fleet) -> Sequence[Any]:
    async with fleet._engine.connect() as connection:
        return (await connection.execute(select(ROWS))).all()


async def test_a_late_renewal_does_not_take_what_was_given_back(on_sqlite: FleetWorld) -> None:
    """Else a shard belonged to nobody for a whole lease after each replacement."""
    async with on_sqlite.open(1, lease=60) as (fleet,):
        await until(lambda: all_served(fleet, 4))
        assert fleet._worker is not None
        owned: list[Ownership] = [*fleet._worker._leases.values()]
    for each in owned:
        with pytest.raises(Exception, match="taken this store over"):
            await each.renew()
    await fleet._engine.dispose()
    began = time.monotonic()
    async with on_sqlite.open(1, lease=60) as (fleet,):
        await until(lambda: all_served(fleet, 4))
    assert time.monotonic() - began < 50


@pytest.mark.slow
async def test_shards_that_are_handed_back_do_not_wait_for_one_that_is_not(
    on_sqlite: FleetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task takes long when its process ends; the other process has the rest long before."""
    monkeypatch.setattr(served_shard, "GRACE", 60)
    first = on_sqlite.fleet(lease=120)
    await first.__aenter__()
    await until(lambda: all_served(first, 4))
    await first.watch(order("HANGS-9"), then="tests.workers.troubled_tasks:ended", schedule=SOON)
    assert first._worker is not None
    deliveries = [each._delivery for each in first._worker.served.values()]
    await until(lambda: any(each._on_their_way for each in deliveries))
    async with on_sqlite.open(1, lease=120) as (second,):
        leaving = asyncio.create_task(first.__aexit__(None, None, None))
        await until(lambda: len(second.stats().shards) == 3, 40)
        assert not leaving.done()
        troubled_tasks.LET_GO.set()
        await leaving
        await until(lambda: all_served(second, 4))


async def test_a_fleet_that_was_stopped_while_it_opened_does_not_run(on_sqlite: FleetWorld) -> None:
    """A signal may come at any time; once it ran, the fleet may run again."""
    fleet = on_sqlite.fleet()
    fleet.stop()
    async with asyncio.timeout(20):
        await fleet.run()
    running = asyncio.create_task(fleet.run())
    await until(lambda: fleet._worker is not None and all_served(fleet, 4))
    assert not running.done()
    fleet.stop()
    await running


async def test_a_second_cancellation_ends_what_takes_long_and_hands_all_back(
    on_sqlite: FleetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by Ctrl-C pressed twice: nothing goes on without an owner, on a pool that is closed."""
    monkeypatch.setattr(served_shard, "GRACE", 60)
    fleet = on_sqlite.fleet(lease=120)
    running = asyncio.create_task(fleet.run())
    await until(lambda: fleet._worker is not None and all_served(fleet, 4))
    worker = fleet._worker
    assert worker is not None
    await fleet.watch(order("HANGS-8"), then="tests.workers.troubled_tasks:ended", schedule=SOON)
    deliveries = [each._delivery for each in worker.served.values()]
    await until(lambda: any(each._on_their_way for each in deliveries))
    running.cancel()
    await until(lambda: not any(each.is_open for each in worker.served.values()))
    assert not running.done()
    running.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - began < 40  # the task would have gone on for 60
    assert not worker.served
    async with on_sqlite.open(1, lease=120) as (second,):
        await until(lambda: all_served(second, 4))
