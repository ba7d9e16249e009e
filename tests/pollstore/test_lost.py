"""Whoever lost its store tells nobody how anything ended (M-23): another process knows more."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from chaoying_async import (
    PayType,
    PollStatus,
    Refund,
    SessionClosedError,
    StoreError,
    StoreInUseError,
)
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.payments.refunds import refund_and_track, resume_refunds
from chaoying_async.payments.resume import resume
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus
from tests.owners import OWNERS, Owned, OwnStore
from tests.pollers import (
    PAID,
    PENDING,
    Scripted,
    after,
    always,
    collected,
    order,
    orders,
    poller_on,
)
from tests.pollstores import until
from tests.tills import ORDER, Counter, TillOnSandbox, a_till, pay

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=[*OWNERS])
async def owned(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Owned]:
    async with OWNERS[request.param](tmp_path) as found:
        yield found


async def moved(shop: TillOnSandbox, task: asyncio.Future[Any]) -> Any:
    """Wait for it second by second; a store may be busy in a thread in between."""
    while not task.done():
        await until(lambda: task.done() or shop.clock.waiting)
        await shop.clock.advance(1)
    return await task


def another_process(shop: TillOnSandbox) -> Counter:
    return Counter(shop.till.session, shop.clock)


# -------------------------------------------------------------------------------- payments


async def test_an_end_that_was_learnt_after_the_store_was_lost_is_not_told(owned: Owned) -> None:
    """M-23: closed, says the gateway; by the other process's cancel, of which nothing is known."""
    async with a_till() as shop:
        running = asyncio.ensure_future(shop.charging(405, store=owned.store))
        for _ in range(78):
            await until(lambda: shop.clock.waiting)
            await shop.clock.advance(1)
        async with owned.taken_over():
            shop.sandbox.customer_pays(ORDER)
            with pytest.raises(StoreInUseError) as caught:
                await moved(shop, running)
        assert caught.value.sent is True
        assert ORDER in str(caught.value)
        assert "may have been sent" in str(caught.value)


async def test_paid_at_once_but_the_store_was_lost_meanwhile(owned: Owned) -> None:
    """M-23: the pay call itself said PAID; whoever has the store now may have cancelled it."""
    async with a_till() as shop:
        taking = owned.taken_over()
        entered = asyncio.Event()

        class Till(Counter):
            mch_id = None

            async def send(self, request: Any, *, timeout: Any = None) -> Any:
                reply = await super().send(request)
                await taking.__aenter__()
                entered.set()
                return reply

        shop.till = Till(shop.till.session, shop.clock)
        with pytest.raises(StoreInUseError):
            await moved(shop, asyncio.ensure_future(shop.charging(100, store=owned.store)))
        assert entered.is_set()
        assert shop.status() == "PAID"
        with pytest.raises(ChaoyingError, match=r"do not charge again|taken|process has it"):
            await shop.charging(100, store=owned.store)
        await taking.__aexit__(None, None, None)


async def test_a_store_that_was_closed_under_a_checkout_ends_it_without_an_end() -> None:
    """M-23: the lease was given back, so another process may have it by now."""
    async with a_till() as shop:
        async with OWNERS["own"](ROOT) as owned:
            running = asyncio.ensure_future(shop.charging(401, store=owned.store))
            await shop.clock.advance(1)
        with pytest.raises(SessionClosedError, match="may have been sent"):
            await moved(shop, running)


async def test_a_lease_that_cannot_be_read_makes_no_end() -> None:
    """M-23: UNKNOWN, which leaves the record alone; resume tells it when the store works again."""
    async with a_till() as shop:
        store = OwnStore({})
        shop.till.after = lambda _request, reply: _breaks(store, reply)
        outcome = await shop.checkout(100, store=store)
        assert (outcome.status, outcome.reason) == ("UNKNOWN", CheckoutReason.STORE_FAILED)
        assert outcome.paid is None
        assert "resume()" in outcome.advice
        await outcome.done()
        shop.till.after = store.unreadable = None
        till = another_process(shop)
        again = [each async for each in resume(till, store, clock=shop.clock)]
        assert [(each.status, each.out_trade_no) for each in again] == [("PAID", ORDER)]
        assert shop.sandbox.requests["pay"] == 1


def _breaks(store: OwnStore, reply: Any, how: Exception | None = None) -> Any:
    store.unreadable = how or OSError("away")
    return reply


async def test_a_database_that_is_back_in_a_moment_costs_nothing() -> None:
    """The lease is read again for some seconds before anything is called unknown."""
    async with a_till() as shop:
        store = OwnStore({})
        shop.till.after = lambda _request, reply: _breaks(store, reply)
        running = asyncio.ensure_future(shop.charging(100, store=store))
        await shop.clock.advance(2)
        assert not running.done()
        store.unreadable = None
        assert (await shop.clock.run(running)).status is CheckoutStatus.PAID


async def test_resume_tells_nothing_once_the_store_is_lost(owned: Owned) -> None:
    """M-23: neither what had ended before nor what is asked about now."""
    async with a_till() as shop:
        charging = [shop.charging(100, store=owned.store, number=f"P{n}00011") for n in range(2)]
        for one in charging:
            assert (await moved(shop, asyncio.ensure_future(one))).status is CheckoutStatus.PAID
        found = resume(another_process(shop), owned.store, clock=shop.clock)
        async with aclosing(found):
            assert (await anext(found)).status is CheckoutStatus.PAID
            async with owned.taken_over():
                with pytest.raises(StoreInUseError):
                    await anext(found)


async def test_resume_tells_nothing_of_what_it_asked_after_the_store_was_lost() -> None:
    """M-23: the answer came, and then the store was another's."""
    async with a_till() as shop:
        store = OwnStore({})
        running = asyncio.ensure_future(shop.charging(402, store=store))
        await shop.clock.advance(1)
        left = dict(store.texts)
        running.cancel()
        await asyncio.wait([running])
        await shop.clock.advance(600)
        store = OwnStore(left)
        till = another_process(shop)

        def lost(_request: Any, reply: Any) -> Any:
            store.error = StoreInUseError("taken over")
            return reply

        till.after = lost
        with pytest.raises(StoreInUseError, match="may have been sent"):  # noqa: PT012
            async for _ in resume(till, store, clock=shop.clock):
                raise AssertionError("an end was told")


# --------------------------------------------------------------------------------- refunds


def refund() -> Refund:
    return Refund(
        paytype=PayType.WECHAT,
        out_trade_no=ORDER,
        out_refund_no="R1",
        total_fee=100,
        refund_fee=100,
        op_user_id="till",
    )


@pytest.mark.parametrize("how", [StoreInUseError("taken over"), OSError("away")], ids=type)
async def test_a_refund_has_no_end_without_its_store(how: Exception) -> None:
    """M-23, M-25: it raises, and says that the refund may have left; the next call only asks."""
    async with a_till() as shop:
        await shop.clock.run(shop.till.send(pay(100)))
        store = OwnStore({})
        shop.till.after = lambda _request, reply: _breaks(store, reply, how)
        tracking = refund_and_track(shop.till, refund(), store=store, clock=shop.clock)
        with pytest.raises((StoreInUseError, StoreError), match="may have been sent") as caught:
            await shop.clock.run(tracking)
        assert caught.value.sent is True
        store.unreadable = shop.till.after = None
        again = refund_and_track(shop.till, refund(), store=store, clock=shop.clock)
        assert (await shop.clock.run(again)).status is PollStatus.REFUNDED
        assert shop.sandbox.requests["refund"] == 1


async def test_resumed_refunds_have_no_end_without_their_store(owned: Owned) -> None:
    """M-23: the store is read again before each."""
    async with a_till() as shop:
        await shop.clock.run(shop.till.send(pay(100)))
        tracking = refund_and_track(shop.till, refund(), store=owned.store, clock=shop.clock)
        await moved(shop, asyncio.ensure_future(tracking))
        taking = owned.taken_over()

        class Till(Counter):
            mch_id = None

            async def send(self, request: Any, *, timeout: Any = None) -> Any:
                reply = await super().send(request)
                await taking.__aenter__()
                return reply

        till = Till(shop.till.session, shop.clock)
        found = resume_refunds(till, owned.store, clock=shop.clock)
        with pytest.raises(StoreInUseError):
            await moved(shop, asyncio.ensure_future(anext(found)))
        await taking.__aexit__(None, None, None)


# --------------------------------------------------------------------------------- polling


async def test_a_poller_gives_out_nothing_once_its_store_is_lost(owned: Owned) -> None:
    """M-23: what is ready stays; not even without any time between two outcomes."""
    async with a_till() as shop:
        gateway = Scripted(shop.clock, always(PAID))
        async with poller_on(gateway, store=owned.store) as poller:
            for query in orders(2):
                poller.track(query, 100)
            outcomes, running = poller.outcomes(), poller.run([order("R1"), order("R2")])
            first = asyncio.ensure_future(anext(outcomes))
            other = asyncio.ensure_future(anext(running))
            await moved(shop, first)
            await moved(shop, other)
            waiting = asyncio.ensure_future(poller.wait(order("W1")))
            await until(lambda: poller.stats().unwritten == 0)
            async with owned.taken_over():
                for one in (outcomes, running):
                    with pytest.raises(StoreInUseError):
                        await anext(one)
                with pytest.raises(StoreInUseError):
                    await moved(shop, waiting)
                with pytest.raises(StoreInUseError):
                    poller.track(order("T9"))
                await outcomes.aclose()
                await running.aclose()


async def test_who_waits_for_one_order_is_told_no_end_either(owned: Owned) -> None:
    """M-23: no store keeps it, but the poller that has the store may know of its payment."""
    async with a_till() as shop:
        gateway = Scripted(shop.clock, always(PAID))
        async with poller_on(gateway, store=owned.store) as poller, owned.taken_over():
            with pytest.raises(StoreInUseError):
                await moved(shop, asyncio.ensure_future(poller.wait(order("W1"))))


async def test_outcomes_wait_for_a_lease_that_cannot_be_read() -> None:
    """M-23: and a consumer who gives up waiting loses nothing by that."""
    async with a_till() as shop:
        gateway, store = Scripted(shop.clock, after(1, PENDING, PAID)), OwnStore({})
        async with poller_on(gateway, store=store) as poller:
            poller.track(order(), 100)
            await poller.kept()
            store.unreadable = OSError("away")
            taking = asyncio.ensure_future(anext(poller.outcomes()))
            await shop.clock.advance(30)
            assert not taking.done()
            assert poller.stats().store_errors > 1
            taking.cancel()
            await asyncio.wait([taking])
            store.unreadable = None
            outcomes = poller.outcomes()
            assert (await shop.clock.run(anext(outcomes))).status is PollStatus.PAID
            await outcomes.aclose()


async def test_the_lease_is_read_once_for_each_outcome() -> None:
    """M-23, and no more than that."""
    async with a_till() as shop:
        gateway, store = Scripted(shop.clock, always(PAID)), OwnStore({})
        async with poller_on(gateway, store=store) as poller:
            taken = await shop.clock.run(collected(poller.run(orders(20))))
            assert store.holds == len(taken) == 20


# ------------------------------------------------------------------------ a process, stopped


@pytest.mark.outside
async def test_a_process_that_was_stopped_wakes_up_and_tells_no_end(tmp_path: Path) -> None:
    """M-23: SIGSTOP, another process takes the store, SIGCONT; the gateway says PAID by then."""
    path = tmp_path / "polls.db"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.pollstore.stopped_process", str(path)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert await child.stdout.readline() == b"asking\n"
        child.send_signal(signal.SIGSTOP)
        async with SqlPollStore(path, lease=1.0):
            child.stdin.write(b"paid\n")
            child.send_signal(signal.SIGCONT)
            told = (await child.stdout.readline()).decode().split()
        assert told == ["StoreInUseError", "True"]
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
