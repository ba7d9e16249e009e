"""A fleet: orders that any process hands over come to their end, whoever serves them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import ParameterError, UsageError
from tests.pollers import order, orders
from tests.servers import Servers
from tests.workers.fleets import DATABASES, ENDED, GIVEN, SOON, FleetWorld, until


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> FleetWorld:
    GIVEN.clear()
    return FleetWorld(DATABASES[request.param](servers, tmp_path))


async def test_an_order_that_was_handed_over_reaches_its_task(world: FleetWorld) -> None:
    """Amounts are whole fen, and the id is the same every time it is told."""
    async with world.open(1) as (fleet,):
        await fleet.watch(order(), then=ENDED, expected=100, schedule=SOON)
        await until(lambda: GIVEN)
    (outcome,) = GIVEN["A100011"]
    assert outcome["status"] == "PAID"
    assert outcome["payable"] == 100
    assert outcome["id"].endswith(f":A100011:{outcome['seq']}")


async def test_an_order_that_is_watched_twice_is_waited_for_once(world: FleetWorld) -> None:
    """A customer who presses twice, or two processes: the first task and amount count."""
    async with world.fleet().handing_over() as web:
        async with world.open(1):  # it makes the tables
            pass
        await web.watch(order(), then=ENDED, expected=100, schedule=SOON)
        await web.watch(order(), then="nobody:nothing", expected=7, schedule=SOON)
        assert await web.watch_many([order(), order()], then="nobody:nothing") == 2
    async with world.open(2, lease=30):
        await until(lambda: GIVEN)
    ((outcome,),) = GIVEN.values()
    assert outcome["status"] == "PAID"


async def test_what_was_rolled_back_never_happened(world: FleetWorld) -> None:
    """The watch is part of the shop's own transaction, as its order's row is."""
    async with world.open(1) as (fleet,):
        engine = create_async_engine(world.fleet()._engine.url)
        async with engine.connect() as connection:
            await fleet.watch(order("A1"), then=ENDED, schedule=SOON, connection=connection)
            await connection.rollback()
            await fleet.watch(order("A2"), then=ENDED, schedule=SOON, connection=connection)
            await connection.commit()
        await engine.dispose()
        await until(lambda: GIVEN)
    assert [*GIVEN] == ["A2"]
    assert {number for _, number in world.gateway.asked} == {"A2"}


async def test_three_processes_share_the_shards_and_each_order_is_told_once(
    world: FleetWorld,
) -> None:
    """Each shard has one owner, and nobody is left without one."""
    async with world.open(3) as fleets:
        await until(lambda: all(fleet.stats().shards for fleet in fleets))
        await fleets[0].watch_many(orders(12), then=ENDED, schedule=SOON)
        await until(lambda: len(GIVEN) == 12)

        def served() -> list[int]:
            return sorted(number for fleet in fleets for number in fleet.stats().shards)

        # On a busy machine a lease may run out: who lost it learns that at its next look.
        await until(lambda: served() == [0, 1, 2, 3])
    assert {given[0]["id"] for given in GIVEN.values()} == {
        one["id"] for given in GIVEN.values() for one in given
    }


async def test_another_number_of_shards_is_refused(world: FleetWorld) -> None:
    """It is kept in the database: two numbers would be two owners for one order."""
    async with world.open(1):
        with pytest.raises(UsageError, match="4 shards by order, not 8 shards by order"):
            await world.fleet(shards=8).__aenter__()


async def test_an_order_that_names_no_task_goes_to_the_one_of_who_serves_it(
    world: FleetWorld,
) -> None:
    """Where nobody has one for it, its outcome waits: nothing is lost, and the log says why."""
    async with world.open(1) as (fleet,):
        await fleet.watch(order(), schedule=SOON)
        await until(lambda: world.gateway.asked)
    async with world.open(1, then=ENDED):
        await until(lambda: GIVEN)
    assert [*GIVEN] == ["A100011"]


async def test_queries_under_way_end_before_the_shards_are_handed_back(world: FleetWorld) -> None:
    """A process that is told to stop hears what it asked, and asks nothing more."""
    asked, answer = asyncio.Event(), asyncio.Event()
    send = world.gateway.send

    async def slow(request: Any, **more: Any) -> Any:
        reply = await send(request, **more)
        asked.set()
        await answer.wait()
        return reply

    world.gateway.send = slow  # type: ignore[method-assign]
    fleet = world.fleet(lease=30)
    async with fleet:
        await fleet.watch(order(), then=ENDED, schedule=SOON)
        await asked.wait()
        asyncio.get_running_loop().call_later(0.3, answer.set)
    world.gateway.send = send  # type: ignore[method-assign]
    assert len(world.gateway.asked) == 1
    async with world.open(1, lease=30):
        await until(lambda: GIVEN)
    assert len(world.gateway.asked) == 1, "the answer was written down by the first process"


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), True, "5"])
def test_numbers_with_which_nothing_would_be_asked_are_all_named(
    wrong: Any, tmp_path: Path
) -> None:
    """When the fleet is made: else each shard would fail at every look, told by the log alone."""
    world = FleetWorld(f"sqlite:///{tmp_path}/fleet.db")
    with pytest.raises(ParameterError) as caught:
        world.fleet(rate=wrong, merchant_rate=wrong, look=wrong, concurrency=wrong)
    assert {*caught.value.problems} == {"rate", "merchant_rate", "look", "concurrency"}
