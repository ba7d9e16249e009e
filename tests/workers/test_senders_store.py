"""Who sends a refund, where several processes could: decided by its row, on every database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chaoying_async import StoreInUseError
from chaoying_async.sansio.payments.intent import REFUND
from chaoying_async.workers import Fleet
from chaoying_async.workers.senders_store import SendersStore
from tests.servers import Servers
from tests.workers.fleets import DATABASES, ENDED, FleetWorld


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> FleetWorld:
    return FleetWorld(DATABASES[request.param](servers, tmp_path))


def stores(fleet: Fleet, count: int = 1) -> list[SendersStore]:
    return [SendersStore(fleet._database, REFUND, "R1") for _ in range(count)]


async def test_of_several_senders_one_may_send(world: FleetWorld) -> None:
    """M-25: whoever changes the row's text first; the others find another text."""
    async with world.open(1) as (fleet,):
        several = stores(fleet, 4)
        assert await several[0].begin("waits", 0, ENDED)
        texts = [f"leaves {number}" for number in range(4)]
        won = await asyncio.gather(
            *(store.swap("waits", text) for store, text in zip(several, texts, strict=True))
        )
        assert sum(won) == 1
        assert await several[0].get(REFUND, "R1") == texts[won.index(True)]


async def test_whether_its_sender_said_that_it_leaves_stands_in_the_row(world: FleetWorld) -> None:
    """M-25: "under way" is said of a refund that left, and of no other."""
    async with world.open(1) as (fleet,):
        (store,) = stores(fleet)
        assert await store.found() is None
        await store.begin("waits", 0, ENDED)
        assert await store.found() == ("waits", False)
        await store.leaves()
        assert await store.found() == ("waits", True)


async def test_what_another_process_wrote_is_not_taken_back(world: FleetWorld) -> None:
    """M-23: a process that does not know whether its COMMIT was made takes back its own alone."""
    async with world.open(1) as (fleet,):
        (store,) = stores(fleet)
        await store.begin("another's", 0, ENDED)
        await store.take_back("mine", "mine too")
        assert await store.get(REFUND, "R1") == "another's"
        await store.take_back("mine", "another's")
        assert await store.get(REFUND, "R1") is None
        with pytest.raises(StoreInUseError):
            await store.forget(REFUND, ["R1"])
