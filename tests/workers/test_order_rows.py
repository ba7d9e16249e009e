"""The rows of a fleet that name one order, on every database, beside whoever serves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoying_async import StoreError
from chaoying_async.clock import SystemClock
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.payments.intent import key_of
from chaoying_async.workers.order_rows import FleetRow, rows_naming
from chaoying_async.workers.tables import fleet_tables
from tests.pollers import order
from tests.servers import Servers
from tests.workers.fleets import DATABASES, ENDED, FleetWorld


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> FleetWorld:
    return FleetWorld(DATABASES[request.param](servers, tmp_path))


async def _rows(world: FleetWorld, number: str) -> list[FleetRow]:
    source = SqlPollStore(world.url)
    engine = source.new_engine()
    try:
        found = await rows_naming(engine, fleet_tables("chaoying_"), SystemClock(), number)
        return [*found]
    finally:
        await source.dispose(engine)


async def test_what_names_the_order_is_found_and_nothing_is_taken(world: FleetWorld) -> None:
    """By the row's key or its body; a number with a wildcard in it is looked for as it is."""
    async with world.fleet().handing_over() as web:
        async with world.open(1):  # it makes the tables
            pass
        for number in ("A100", "A1001", "B_00", "B100"):
            await web.watch(order(number), then=ENDED)
    assert len(await _rows(world, "A100")) == 2
    (found,) = await _rows(world, "B_00")
    assert (found.kind, found.tries) == ("watch", 0)
    assert "B_00" in found.item
    assert abs((SystemClock().now() - found.written).total_seconds()) < 600
    assert len(await _rows(world, "B_00")) == 1


async def test_a_number_of_any_characters_is_found(world: FleetWorld) -> None:
    """Though it is spelt another way inside JSON, and the key of a business order in another."""
    numbers = ["订单1", 'A"1"', "A\\1", "POS7:A1"]
    async with world.fleet().handing_over() as web:
        async with world.open(1):  # it makes the tables
            pass
        for number in numbers:
            await web.watch(order(number), then=ENDED)
        async with web._engine.begin() as connection:
            for number in numbers:
                key = key_of("00000001", number)
                row = {"kind": "checkout-order", "item": key, "body": "", "then": ""}
                more = {"shard": -2, "slot": 0, "created": 0, "due": 0, "tries": 0}
                rows = fleet_tables("chaoying_").rows
                await connection.execute(rows.insert().values(**row, **more))
    for number in numbers:
        assert {each.kind for each in await _rows(world, number)} == {"watch", "checkout-order"}


async def test_a_database_without_a_fleet_says_so(world: FleetWorld) -> None:
    """As an error of ours, whatever the driver raises."""
    with pytest.raises(StoreError) as caught:
        await _rows(world, "A100")
    assert caught.value.kind == "TABLE_MISSING"
