"""Machines whose clocks differ: what is stored is the database's time (M-26)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from chaoying_async import PollSchedule
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.payments.intent import REFUND
from chaoying_async.testing import FakeClock
from chaoying_async.workers import Fleet
from chaoying_async.workers.database import HEAD_START
from chaoying_async.workers.database_clock import DatabaseClock
from tests.hanging import KINDS
from tests.pollers import PENDING, always, order
from tests.servers import Servers
from tests.sizes import cases
from tests.workers.fleets import DATABASES, ENDED, FleetWorld, until
from tests.workers.virtual import VirtualFleet

#: How far the stored deadline may lie from the one that was asked for: taking up is not instant.
NEAR = timedelta(seconds=5)


class Wrong(SystemClock):
    """A clock that somebody set by hand."""

    def __init__(self, hours: int) -> None:
        self._off = timedelta(hours=hours)

    def now(self) -> datetime:
        return super().now() + self._off


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_pre_order_ends_when_it_was_to_end_whatever_the_watchers_clock_says(
    servers: Servers, kind: str, hours: int
) -> None:
    """An hour fast it would end unasked; an hour slow it would be asked about for an hour more."""
    world = FleetWorld(DATABASES[kind](servers, Path()), always(PENDING))
    expires = datetime.now(UTC) + timedelta(minutes=10)
    async with world.open(1) as (serving,):
        watcher = world.fleet(clock=Wrong(hours))
        await watcher.watch(order(), then=ENDED, schedule=PollSchedule.preorder(expires))
        await until(lambda: serving.stats().pending)
        async with serving._engine.connect() as connection:
            rows = "SELECT body FROM chaoying_fleet WHERE kind = 'watch'"
            body = (await connection.execute(text(rows))).scalar_one()
        await watcher._engine.dispose()
    deadline = datetime.fromisoformat(json.loads(body)["deadline"])
    assert abs(deadline - (expires + timedelta(minutes=2))) < NEAR


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_clock_is_right_as_soon_as_the_fleet_is_open(
    servers: Servers, kind: str, hours: int
) -> None:
    """M-24, M-26: the start of a payment that is made before the first look is stored by it."""
    fleet = FleetWorld(DATABASES[kind](servers, Path())).fleet(clock=Wrong(hours))
    async with fleet:
        assert abs(fleet._clock.now() - datetime.now(UTC)) < NEAR


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("step", cases((2, 9, 13, 14), more=range(40)))
def test_a_process_that_is_stopped_while_it_asks_keeps_its_clock(tmp_path: Path, step: int) -> None:
    """M-24: by a clock that is 200 s slow, a payment that was just made is old enough to cancel."""
    world = VirtualFleet(tmp_path)
    process = world.process("a")
    fleet = world.fleet(process)
    process.start(fleet.run(), lasts=True)
    world.until(lambda: world.loop.time() > 61)
    fleet._wake()  # look now
    process.arm(step, process.stop)
    world.until(lambda: process.stopped)
    world.until(lambda: world.loop.time() > 461)
    process.resume()
    wrong: list[timedelta] = []

    def looked() -> bool:
        wrong.append(abs(fleet._clock.now() - world.clock.now()))
        return world.loop.time() > 471

    world.until(looked)
    world.close()
    assert max(wrong) < timedelta(seconds=1)


@pytest.mark.parametrize("hours", [-1, 0, 1])
async def test_a_clock_becomes_right_where_no_query_is_quick(hours: int) -> None:
    """M-26: as right as a query takes time, after it was set by hand too."""
    machine = FakeClock()
    clock = DatabaseClock(machine)
    for off in (timedelta(hours=hours), timedelta(), timedelta(minutes=hours)):
        asked = machine.now()
        await machine.advance(2)
        theirs = machine.now() + off
        await machine.advance(1)
        clock.compare(theirs, asked)
        assert abs(clock.now() - machine.now() - off) < timedelta(seconds=3)


async def test_a_quick_query_is_believed_after_a_slow_one() -> None:
    """M-26: the clock is as right as the quicker of them took time."""
    machine = FakeClock()
    clock = DatabaseClock(machine)
    off = timedelta(hours=1)
    for seconds in (400.0, 0.25, 400.0):
        asked = machine.now()
        await machine.advance(seconds / 5)
        theirs = machine.now() + off
        await machine.advance(seconds * 4 / 5)
        clock.compare(theirs, asked)
    assert abs(clock.now() - machine.now() - off) <= timedelta(seconds=0.25)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_dead_process_had_is_taken_soon_after_a_clock_was_set_back(tmp_path: Path) -> None:
    """M-26: else nobody would ask about its orders for as long as the clock was set back."""
    world = VirtualFleet(tmp_path)

    def serves(fleet: Fleet) -> bool:
        return fleet._worker is not None and len(fleet._worker.served) == 2

    try:
        world.clock.ahead = 3600.0
        dead, heir = world.process("a"), world.process("b")
        before, after = world.fleet(dead), world.fleet(heir)
        dead.start(before.run(), lasts=True)
        world.until(lambda: serves(before))
        dead.kill()
        world.clock.ahead = 0.0
        heir.start(after.run(), lasts=True)
        assert world.until(lambda: serves(after)) < 180
    finally:
        world.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_payment_is_not_left_alone_for_as_long_as_a_clock_was_set_back(
    servers: Servers, kind: str
) -> None:
    """M-26: its sender died, and before that its clock was an hour ahead; a little is no sign."""
    world = FleetWorld(DATABASES[kind](servers, Path()))
    async with world.fleet() as fleet:
        database = fleet._database
        values = {"slot": 0, "body": "{}", "then": ENDED}
        async with fleet._engine.begin() as connection:
            for item, due in (
                ("of its sender", HEAD_START),
                ("seen by who waited for its turn", HEAD_START + 10),
                ("of nobody", HEAD_START + 3600),
            ):
                row = database.handing_over_new(REFUND, {"item": item, **values}, due=due)
                await connection.execute(row)
        found = await database.fresh([0], 1)
    assert [row.item for row in found] == ["of nobody"]
