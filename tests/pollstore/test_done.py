"""What ``done()`` said is durable once the store was left, and can be awaited before (M-23)."""

from __future__ import annotations

import asyncio
import errno
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chaoying_async import SessionClosedError, StoreError, StoreInUseError, UsageError
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.refunds import refund_and_track, resume_refunds
from chaoying_async.payments.resume import resume
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.pollstore.errands import Errands, durable
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID
from tests.owners import OwnStore
from tests.pollers import PAID, Scripted, always, order, poller_on, reply_to
from tests.pollstore.test_lost import moved, refund
from tests.tills import a_till, pay


class AlwaysPaid:
    """A gateway that is fast, so that nothing but the store is waited for."""

    mch_id = None

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        return reply_to(request, PAID)


def kept_in(path: Path) -> list[str]:
    """The kinds of everything in a store's file, read past it."""
    with closing(sqlite3.connect(path)) as connection:
        return [kind for (kind,) in connection.execute("SELECT kind FROM chaoying_polls")]


def test_done_holds_when_the_block_was_left_as_in_a_task_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """M-23: five tasks, a loop and a store for each; none of the outcomes comes again."""
    path = tmp_path / "polls.db"

    async def task(number: str) -> None:
        async with SqlPollStore(path) as store:
            outcome = await checkout(AlwaysPaid(), pay(100, number, mch_id=MCH_ID), store=store)
            outcome.done()

    async def left() -> list[str]:
        async with SqlPollStore(path) as store:
            return [each.out_trade_no async for each in resume(AlwaysPaid(), store)]

    for n in range(5):
        asyncio.run(task(f"A{n}00011"))
        assert "checkout" not in kept_in(path)
    assert asyncio.run(left()) == []
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


async def test_whoever_awaits_done_knows_that_it_is_durable(tmp_path: Path) -> None:
    """While the store is open still; and twice does no harm."""
    path = tmp_path / "polls.db"
    async with SqlPollStore(path) as store:
        outcome = await checkout(AlwaysPaid(), pay(100, mch_id=MCH_ID), store=store)
        assert "checkout" in kept_in(path)
        await outcome.done()
        assert "checkout" not in kept_in(path)
        await outcome.done()


async def test_a_refund_and_a_resumed_outcome_that_are_done_stay_done(tmp_path: Path) -> None:
    """The same for what `refund_and_track`, `resume` and `resume_refunds` gave."""
    async with a_till() as shop:
        store: Any
        async with SqlPollStore(tmp_path / "polls.db") as store:
            charging = shop.charging(100, store=store)
            await moved(shop, asyncio.ensure_future(charging))
            refunding = refund_and_track(shop.till, refund(), store=store, clock=shop.clock)
            refunded = await moved(shop, asyncio.ensure_future(refunding))
            found = resume(shop.till, store, clock=shop.clock)
            outcome = await anext(found)
            outcome.done()
            refunded.done()
        await found.aclose()
        async with SqlPollStore(tmp_path / "polls.db") as store:
            assert [each async for each in resume(shop.till, store, clock=shop.clock)] == []
            assert [each async for each in resume_refunds(shop.till, store)] == []


@pytest.mark.parametrize("when", ["inside", "after the poller"])
async def test_a_polled_outcome_that_is_done_stays_done(tmp_path: Path, when: str) -> None:
    """Also where the poller was left before, as long as its store is open."""
    async with a_till() as shop:
        gateway, path = Scripted(shop.clock, always(PAID)), tmp_path / "polls.db"
        async with SqlPollStore(path) as store:
            async with poller_on(gateway, store=store) as poller:
                poller.track(order(), 100)
                outcomes = poller.outcomes()
                outcome = await moved(shop, asyncio.ensure_future(anext(outcomes)))
                if when == "inside":
                    await outcome.done()
                    assert kept_in(path) == []
                await outcomes.aclose()
            outcome.done()
        assert kept_in(path) == []


@pytest.mark.parametrize("when", ["inside", "after the poller"])
async def test_a_done_that_failed_can_be_said_again(when: str) -> None:
    """M-23: it never says durable while the outcome would come again."""
    async with a_till() as shop:
        gateway, store = Scripted(shop.clock, always(PAID)), OwnStore({})
        async with poller_on(gateway, store=store) as poller:
            poller.track(order(), 100)
            outcomes = poller.outcomes()
            outcome = await moved(shop, asyncio.ensure_future(anext(outcomes)))
            await outcomes.aclose()
            store.error = OSError(28, "full")
            if when == "inside":
                outcome.done()
        for _ in range(2):
            with pytest.raises(StoreError):
                await outcome.done()
        assert store.texts
        store.error = None
        for _ in range(2):
            await outcome.done()
            assert not store.texts


async def test_a_store_of_the_users_own_is_awaited() -> None:
    """It has no way to wait when it is left, and so `done()` is something to await."""
    store = OwnStore({})
    outcome = await checkout(AlwaysPaid(), pay(100, mch_id=MCH_ID), store=store)
    await outcome.done()
    assert [kind for kind, _ in store.texts] == ["checkout-order"]


async def test_whoever_awaits_is_told_that_it_is_not_durable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As an error of ours; whoever does not await finds it in the log, and the outcome again."""
    store = OwnStore({})
    outcome = await checkout(AlwaysPaid(), pay(100, mch_id=MCH_ID), store=store)
    store.error = OSError("away")
    with pytest.raises(StoreError):
        await outcome.done()
    assert "done() but comes again" in caplog.text
    store.error = StoreInUseError("taken over")
    with pytest.raises(StoreInUseError):
        await outcome.done()
    store.error = None
    await outcome.done()
    assert [kind for kind, _ in store.texts] == ["checkout-order"]


async def test_a_disk_that_is_full_forgets_nothing() -> None:
    """It can be read still; whoever awaits is told, of a payment and of a refund."""
    async with a_till() as shop:
        store = OwnStore({})
        outcome = await shop.checkout(100, store=store)
        tracking = refund_and_track(shop.till, refund(), store=store, clock=shop.clock)
        refunded = await shop.clock.run(tracking)

        async def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "no space left")

        setattr(store, "forget", full)  # noqa: B010
        for one in (outcome, refunded):
            with pytest.raises(StoreError, match="disk is full"):
                await one.done()


async def test_nothing_runs_on_once_the_store_was_left() -> None:
    """Where it stays away for longer than leaving it waits; who awaits `done()` is told."""
    clock, errands = FakeClock(), Errands()

    async def away() -> None:
        await clock.sleep(3600.0)

    task = errands.begin("a key", "checkout A1", away)
    await clock.run(errands.finish(clock))
    with pytest.raises(SessionClosedError, match="closed before that"):
        await durable(task)
    assert task.cancelled()


async def test_without_a_store_there_is_nothing_to_wait_for() -> None:
    """The same line of code works."""
    outcome = await checkout(AlwaysPaid(), pay(100, mch_id=MCH_ID))
    await outcome.done()
    outcome.done()
    assert outcome.paid is not None


def test_done_without_a_loop_says_where_to_call_it() -> None:
    """An error of ours, not asyncio's."""

    async def task() -> Any:
        async with MemoryPollStore() as store:
            return await checkout(AlwaysPaid(), pay(100, mch_id=MCH_ID), store=store)

    outcome = asyncio.run(task())
    with pytest.raises(UsageError, match=r"done\(\)"):
        outcome.done()


async def test_whoever_is_cancelled_while_awaiting_takes_nothing_back(tmp_path: Path) -> None:
    """The outcome is forgotten all the same."""
    path = tmp_path / "polls.db"
    async with SqlPollStore(path) as store:
        outcome = await checkout(AlwaysPaid(), pay(100, mch_id=MCH_ID), store=store)
        waiting = asyncio.ensure_future(outcome.done())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert "checkout" not in kept_in(path)
