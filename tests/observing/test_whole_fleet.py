"""``WholeFleet``: a fleet's tables are read every so often, and never by whoever scrapes."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from chaoying_async import ParameterError, SessionClosedError
from chaoying_async.observing.watched import Watched
from chaoying_async.observing.whole_fleet import AGAIN, WholeFleet
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.testing import FakeClock
from tests.pollers import PENDING, always, order
from tests.workers.fleets import ENDED, FleetWorld


async def seen(whole: WholeFleet, pending: int) -> None:
    """Wait until a look has brought this number: a look works in SQLite's own thread."""
    while True:
        status = whole.stats().status
        if status is not None and status.pending == pending:
            return
        await asyncio.sleep(0.01)


async def handed_over(world: FleetWorld, names: list[str]) -> None:
    world.gateway.script = always(PENDING)
    outside = world.fleet()
    await outside.watch_many([order(name) for name in names], then=ENDED)
    await outside._store.dispose(outside._engine)


async def test_it_looks_every_so_often_and_not_when_it_is_asked(tmp_path: Path) -> None:
    """Between two looks the numbers stand still and their age grows."""
    path, clock = tmp_path / "fleet.db", FakeClock(databases=True)
    world = FleetWorld(str(path))
    async with world.open(1):
        pass  # which makes the tables
    await handed_over(world, ["A1", "A2"])
    async with WholeFleet(SqlPollStore(path), every=30.0, clock=clock) as whole:
        assert (whole.stats().status, whole.stats().age) == (None, 0.0)
        await seen(whole, 2)
        await handed_over(world, ["A3"])
        await clock.advance(29)
        assert whole.stats().age == 29.0
        await seen(whole, 2)
        await clock.advance(1)
        await seen(whole, 3)
        assert whole.stats().age == 0.0
        with pytest.raises(SessionClosedError, match="open already"):
            await whole.__aenter__()
    with pytest.raises(SessionClosedError):
        whole.stats()


async def test_a_look_that_fails_is_made_again_and_the_last_numbers_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No table yet; a warning without the address, and sooner than usual another look."""
    path, clock = tmp_path / "fleet.db", FakeClock(databases=True)
    with caplog.at_level(logging.WARNING, "chaoying_async.workers"):
        async with WholeFleet(SqlPollStore(path), every=600.0, clock=clock) as whole:
            while not caplog.records:
                await asyncio.sleep(0.01)
            world = FleetWorld(str(path))
            async with world.open(1):
                pass
            await handed_over(world, ["A1"])
            await clock.advance(AGAIN)
            await seen(whole, 1)
    assert caplog.messages == [
        "the numbers of the whole fleet could not be read (StoreError): tried again in 5 s"
    ]


async def test_tables_that_could_never_be_read_are_told_by_their_age(tmp_path: Path) -> None:
    """Another prefix after a deployment: ChaoyingFleetNumbersOld fires, and nothing is made up."""
    path, clock = tmp_path / "fleet.db", FakeClock(databases=True)
    async with FleetWorld(str(path)).open(1):
        pass
    store = SqlPollStore(path, table_prefix="wrong_")
    whole = WholeFleet(store, every=30.0, clock=clock)
    watched = Watched(whole_fleet=whole)
    assert watched.readings() == {}
    async with whole:
        await clock.advance(610)
        (metric,) = watched.readings()
        (reading,) = watched.readings()[metric].values()
        assert (metric, reading.value) == ("chaoying_fleet_whole_read_seconds", 610.0)
    assert watched.readings() == {}


@pytest.mark.parametrize("every", [0, -1, float("nan")])
def test_seconds_that_are_none_are_refused(every: float) -> None:
    """When it is made, not in a task that nobody reads."""
    with pytest.raises(ParameterError, match="every"):
        WholeFleet(SqlPollStore("fleet.db"), every=every)
