"""A user's task that raises, hangs or is cancelled is tried again, and holds nobody up."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chaoying_async import StoreError
from chaoying_async.testing import FakeClock
from chaoying_async.testing.simulation.process import Process
from chaoying_async.workers import Fleet, served_shard
from chaoying_async.workers.delivery import OutcomeDelivery
from tests.pollers import PAID, Scripted, always, order
from tests.workers import troubled_tasks
from tests.workers.fleets import SOON, FleetWorld, until
from tests.workers.troubled_tasks import CALLS, HERE, TROUBLES
from tests.workers.virtual import VirtualFleet

ENDED, BLOCKED = f"{HERE}:ended", f"{HERE}:blocked"


@pytest.fixture
def world(tmp_path: Path) -> FleetWorld:
    return FleetWorld(f"sqlite:///{tmp_path}/fleet.db")


@pytest.fixture
def virtual(tmp_path: Path) -> Iterator[VirtualFleet]:
    found = VirtualFleet(tmp_path)
    found.shards = 1
    found.make_gateway = lambda: Scripted(found.clock, always(PAID))  # type: ignore[arg-type]
    yield found
    found.close()


def serving(virtual: VirtualFleet) -> tuple[Process, Fleet]:
    """A process whose tasks are in trouble, and its fleet."""
    process = virtual.process("a")
    fleet = virtual.fleet(process)
    process.start(fleet.run(), lasts=True)
    return process, fleet


@pytest.fixture(autouse=True)
def fresh_tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(served_shard, "GRACE", 0.1)
    CALLS.clear()
    troubled_tasks.GO_ON.clear()
    troubled_tasks.LET_GO.clear()
    yield
    troubled_tasks.GO_ON.set()


def test_a_task_in_trouble_is_called_again_after_a_pause_and_its_shard_is_kept(
    virtual: VirtualFleet, caplog: pytest.LogCaptureFixture
) -> None:
    """Its errors say nothing of the shard, though ours would; and nobody is called in a hurry.

    Tasks in each kind of trouble, beside each other, and one that is in none.
    """
    numbers = [f"{trouble}-1" for trouble in TROUBLES if trouble != "HANGS"]
    process, fleet = serving(virtual)
    virtual.run(process, fleet.watch_many(map(order, numbers), then=ENDED, schedule=SOON))
    virtual.until(lambda: all(CALLS[number] for number in numbers))
    began = virtual.loop.time()
    virtual.run(process, fleet.watch(order("FINE"), then=ENDED, schedule=SOON))
    virtual.until(lambda: CALLS["FINE"], 0.7)
    virtual.until(lambda: all(CALLS[number] > 1 for number in numbers))
    assert virtual.loop.time() - began > 0.8
    # A third call would come two seconds later.
    virtual.run(process, virtual.clock.sleep(10))
    assert [CALLS[number] for number in numbers] == [2] * len(numbers)
    assert not any("handed back" in line or "owner" in line for line in caplog.messages)
    assert "out of order" not in caplog.text  # M-27: an error of theirs may hold anything


def test_a_task_that_hangs_does_not_keep_others_from_their_next_try(virtual: VirtualFleet) -> None:
    """Nothing new comes meanwhile that would wake the delivery up."""
    numbers = ["HANGS-1", "RAISES-1"]
    process, fleet = serving(virtual)
    virtual.run(process, fleet.watch_many(map(order, numbers), then=ENDED, schedule=SOON))
    virtual.until(lambda: CALLS["RAISES-1"] == 2, 30)
    assert CALLS["HANGS-1"] == 1


async def test_tasks_that_hang_in_threads_hold_up_neither_others_nor_the_way_out(
    world: FleetWorld,
) -> None:
    """There are threads left for the web framework; the outcome comes again from the next owner."""
    async with world.open(1, shards=1) as (fleet,):
        await fleet.watch_many([order(f"B{n}") for n in range(25)], then=BLOCKED, schedule=SOON)
        await until(lambda: len(CALLS) == 20)
        await asyncio.wait_for(asyncio.to_thread(int), 30)  # the tasks hang for 60
        await fleet.watch(order("FINE"), then=ENDED, schedule=SOON)
        await until(lambda: CALLS["FINE"])
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 30
    troubled_tasks.GO_ON.set()
    async with world.open(1, shards=1):
        await until(lambda: len(CALLS) == 26)
        await until(lambda: CALLS["B0"] >= 2)


class _ReadOnlyShard:
    """As after a failover: an outcome can be read there, and nothing can be written down."""

    def __init__(self, number: str) -> None:
        body = json.dumps({"out_trade_no": number})
        self._row = SimpleNamespace(seq=1, then=ENDED, body=body, tries=0)

    async def hold(self) -> None:
        pass

    async def due(self, limit: int, busy: Collection[int]) -> list[Any]:
        return [] if self._row.seq in busy else [self._row][:limit]

    async def next_due(self, busy: Collection[int]) -> float | None:
        return None if self._row.seq in busy else 0.0

    async def deliver_later(self, seq: int, pause: float) -> None:
        raise StoreError("it may not be written")


async def test_a_task_in_trouble_is_called_in_no_hurry_where_its_pause_cannot_be_written_down() -> (
    None
):
    """It was called hundreds of times a second, with a line at ERROR each."""
    clock, shard = FakeClock(), cast("Any", _ReadOnlyShard("RAISES-1"))
    delivery = OutcomeDelivery(shard, None, clock, random.Random(7))
    running = asyncio.create_task(delivery.run())
    for _ in range(100):
        await clock.advance(0.1)
    delivery.stop()
    await running
    assert 5 <= CALLS["RAISES-1"] <= 11
