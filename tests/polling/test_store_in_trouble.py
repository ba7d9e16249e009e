"""A poller whose store fails, hangs or is taken by another process (M-23)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from chaoying_async import (
    PollStatus,
    SessionClosedError,
    StoreError,
    StoreInUseError,
)
from chaoying_async.polling.records import LAZY
from chaoying_async.pollstore import MemoryPollStore
from tests.pollers import (
    PAID,
    PENDING,
    always,
    collected,
    order,
    orders,
)
from tests.polling.store_world import World, troubled


async def test_outcomes_wait_for_a_store_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is given out that is not durable; it is tried again, ever more rarely."""
    world = troubled(always(PAID))
    async with world.store, world.poller() as poller:
        poller.track(order(), 100)
        await poller.kept()
        world.store.trouble = OSError("what the file system says")
        taking = asyncio.create_task(anext(poller.outcomes()))
        await world.clock.advance(100)
        assert not taking.done()
        stats = poller.stats()
        assert (stats.store_errors, stats.unwritten) == (7, 1)  # after 0, 1, 3, 7, 15, 31, 63 s
        world.store.trouble = None
        assert (await world.clock.run(taking)).status is PollStatus.PAID
        assert poller.stats().unwritten == 0
    assert "OSError" in caplog.text
    assert "file system" not in caplog.text


async def test_kept_waits_until_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """Through an outage; and leaving says so to whoever still waits."""
    world = troubled(always(PENDING))
    async with world.store:
        async with world.poller() as poller:
            await poller.kept()
            world.store.trouble = OSError()
            poller.track(order())
            waiting = asyncio.create_task(poller.kept())
            await world.clock.advance(2)
            assert not waiting.done()
            world.store.trouble = None
            await world.clock.run(waiting)
            world.store.trouble = OSError()
            poller.track(order(), 100)
            waiting = asyncio.create_task(poller.kept())
            await world.clock.advance(1)
        with pytest.raises(SessionClosedError):
            await waiting
    assert len(world.texts()) == 1
    assert "the poll store failed with OSError" in caplog.text


async def test_leaving_raises_when_orders_could_not_be_kept() -> None:
    """Else they would be forgotten silently; what the block itself raised comes first."""
    world = troubled(always(PENDING))
    async with world.store:
        world.store.trouble = OSError("the disk is full")
        with pytest.raises(StoreError, match="OSError"):
            async with world.poller() as poller:
                poller.track(order())
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - it is about the block
            async with world.poller() as poller:
                poller.track(order())
                raise ZeroDivisionError


async def test_a_store_that_hangs_does_not_hold_up_leaving() -> None:
    """Ten seconds of the clock, and then it is left; what was kept stays kept."""
    world = World(always(PENDING))

    class Hanging(MemoryPollStore):
        hang = False

        async def put(self, kind: str, items: Mapping[str, str]) -> None:
            if self.hang:
                await world.clock.sleep(1e6)
            await super().put(kind, items)

    world.store = store = Hanging()

    async def left() -> None:
        async with store, world.poller() as poller:
            poller.track(order())
            await poller.kept()
            store.hang = True
            await world.clock.sleep(6)

    await world.clock.run(left())
    assert world.clock.monotonic() == 16
    assert len(world.texts()) == 1


async def test_a_store_that_another_process_took_ends_the_poller() -> None:
    """Its new owner asks from now on: nothing more is asked, given out or taken here."""
    world = troubled(lambda number, _: PAID if number == "A000000" else PENDING)
    async with world.store, world.poller() as poller:
        taking = asyncio.create_task(collected(poller.drain()))
        running = asyncio.create_task(collected(poller.run([order("R1")])))
        waiting = asyncio.create_task(poller.wait(order("W1")))
        for query in orders(2):
            poller.track(query, 100)
        await world.clock.advance(4)
        world.store.trouble = StoreInUseError("taken over")
        await world.clock.advance(10)
        for task in (taking, running, waiting):
            with pytest.raises(StoreInUseError):
                await task
        asked = len(world.gateway.asked)
        for call in (poller.track, poller.wait):
            with pytest.raises(StoreInUseError):
                await call(order("B1"))  # type: ignore[misc]
        with pytest.raises(StoreInUseError):
            await collected(poller.drain())
        with pytest.raises(StoreInUseError):
            await poller.kept()
        await world.clock.advance(1000)
        assert len(world.gateway.asked) == asked
    assert len(asyncio.all_tasks()) == 1
    assert len(world.texts()) == 3


async def test_what_is_learnt_is_written_together_and_later() -> None:
    """One write in so many seconds for any number of queries, and the last one on leaving."""
    world = troubled(always(PENDING))
    async with world.store:
        async with world.poller() as poller:
            for query in orders(50):
                poller.track(query)
            await poller.kept()
            assert world.store.puts == [50]
            await world.clock.advance(5)
            assert len(world.gateway.asked) == 50
            assert world.store.puts == [50]
            await world.clock.advance(LAZY)
            assert world.store.puts == [50, 50]
            await world.clock.advance(5 - LAZY)
        assert world.store.puts == [50, 50, 50]
    assert {kept["attempts"] for kept in world.texts()} == {2}


@pytest.mark.slow
async def test_thousands_of_orders_are_written_in_parts() -> None:
    """So that neither the loop nor the database is held up by one write; none waits for long."""
    world = troubled(always(PENDING))
    async with world.store, world.poller() as poller:
        for query in orders(1100):
            poller.track(query)
        await poller.kept()
        assert world.store.puts == [1000, 100]
        await world.clock.advance(5.5 + LAZY)
        assert world.store.puts == [1000, 100] * 2
    assert {kept["attempts"] for kept in world.texts()} == {1}


async def test_a_stream_of_new_orders_does_not_keep_what_was_learnt_from_being_written() -> None:
    """Neither waits for the other to end."""
    world = troubled(always(PENDING))
    async with world.store, world.poller() as poller:
        for query in orders(30):
            poller.track(query)
            await world.clock.advance(0.5)
        assert world.texts()[0]["attempts"] >= 2
