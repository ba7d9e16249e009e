"""The numbers of one process of a fleet: what it counted stays counted, whoever serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chaoying_async import GatewaySession
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sandbox import Sandbox
from chaoying_async.workers import Fleet
from tests.pollers import PAID, Scripted, always, order, orders
from tests.workers.fleets import ENDED, GIVEN, LOOK, SOON, FleetWorld, until
from tests.workers.virtual import VirtualFleet

BROKEN = f"{__name__}:broken"


async def broken(outcome: Mapping[str, Any]) -> None:
    """A task of the user's that never works."""
    raise LookupError("no such table")


@pytest.fixture
def world(tmp_path: Path) -> FleetWorld:
    GIVEN.clear()
    return FleetWorld(f"sqlite:///{tmp_path}/fleet.db")


async def test_queries_of_a_shard_that_is_handed_back_stay_counted(world: FleetWorld) -> None:
    """Else the counter would fall, and Prometheus take the rest of it for new queries."""
    async with world.open(1, lease=30) as (first,):
        await first.watch_many(orders(8), then=ENDED, schedule=SOON)
        await until(lambda: len(GIVEN) == 8)
        await until(lambda: first.stats().polls == 8)
        assert sum(each.polls for each in first.stats().shards.values()) == 8
        async with world.open(1, lease=30):
            await until(lambda: len(first.stats().shards) == 2)
            stats = first.stats()
            assert sum(each.polls for each in stats.shards.values()) < 8
            assert (stats.polls, stats.errors, stats.all_shards) == (8, 0, 4)


def test_a_task_that_does_not_take_its_outcome_is_counted(tmp_path: Path) -> None:
    """Each try that failed, so that an alarm can tell a broken task from a quiet night."""
    virtual = VirtualFleet(tmp_path)
    virtual.make_gateway = lambda: Scripted(virtual.clock, always(PAID))  # type: ignore[arg-type]
    process = virtual.process("a")
    fleet = virtual.fleet(process)

    async def work() -> None:
        async with fleet:
            assert fleet.stats().failed_deliveries == 0
            await fleet.watch(order(), then=BROKEN, schedule=SOON)
            while fleet.stats().failed_deliveries < 2:
                await virtual.clock.sleep(0.1)

    virtual.run(process, work())
    virtual.close()


async def test_the_calls_of_its_session_are_told_and_none_where_there_is_no_session(
    world: FleetWorld, tmp_path: Path
) -> None:
    """A gateway of the user's own need not count."""
    async with world.open(1) as (fleet,):
        assert fleet.stats().session is None
    async with Sandbox() as sandbox:
        store = SqlPollStore(tmp_path / "other.db", shards=2)
        async with Fleet(
            store,
            lambda: GatewaySession(
                sandbox.credentials, mch_id=sandbox.mch_id, transport=sandbox.transport
            ),
            look=LOOK,
        ) as fleet:
            await fleet.watch(order(), then=ENDED, schedule=SOON)
            await until(lambda: fleet.stats().polls)
            told = fleet.stats().session
            assert told is not None
            assert sum(told.calls.values()) >= 1
            assert {endpoint for endpoint, _ in told.calls} == {"orderquery"}
