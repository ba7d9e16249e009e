"""What a shop sees after a crash: never sent, under way, left behind, or ended and not done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chaoying_async import (
    AttemptState,
    StoreError,
    StoreInUseError,
    StoreTrouble,
    SystemClock,
    open_attempts,
    open_refunds,
    refund_and_track,
    resume,
)
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.payments.intent import ORDER as ORDERS
from chaoying_async.sansio.payments.intent import OrderRecord
from tests.owners import OwnStore
from tests.pollstore.test_lost import another_process, moved, refund
from tests.pollstores import until
from tests.tills import ORDER, TillOnSandbox, a_till, pay


async def states(store: Any) -> dict[str, str]:
    return {each.out_trade_no: str(each.state) for each in await open_attempts(store)}


async def left_behind(shop: TillOnSandbox, number: str) -> dict[tuple[str, str], str]:
    """The texts of a process that died while this payment was under way."""
    store = OwnStore({})
    running = asyncio.ensure_future(shop.charging(401, store=store, number=number))
    await shop.clock.advance(1)
    left = dict(store.texts)
    running.cancel()
    await asyncio.wait([running])
    return left


async def test_each_way_to_be_open_has_its_own_name() -> None:
    """M-23: and what was never written down, or is done, is not there at all."""
    async with a_till() as shop:
        store = OwnStore(await left_behind(shop, "L100011"))
        key = f'["{shop.sandbox.mch_id}", "N10001"]'
        record = OrderRecord(out_trade_no="N1000101", attempt=1, started=shop.clock.now())
        await store.put("checkout-order", {key: record.text()})
        await store.put("checkout", {f'["{shop.sandbox.mch_id}", "X100011"]': "?"})
        shop.till = another_process(shop)
        await shop.checkout(100, store=store, number="E100011")
        gone = await shop.checkout(100, store=store, number="D100011")
        await gone.done()
        running = asyncio.ensure_future(shop.charging(401, store=store, number="U100011"))
        await shop.clock.advance(1)
        assert await states(store) == {
            "L100011": "LEFT",
            "X100011": "UNREADABLE",
            "E100011": "ENDED",
            "U100011": "UNDER_WAY",
            "N1000101": "NEVER_SENT",
        }
        await shop.clock.run(running)


async def test_an_open_attempt_says_what_a_shop_has_to_know() -> None:
    """Plain values, frozen, with the advice for each."""
    async with a_till() as shop:
        store = OwnStore(await left_behind(shop, ORDER))
        started = shop.clock.now()
        shop.till = another_process(shop)
        (left,) = await open_attempts(store)
        assert (left.mch_id, left.out_trade_no, left.order_no) == (
            shop.sandbox.mch_id,
            ORDER,
            ORDER,
        )
        assert (left.total_fee, left.status, left.reason, left.sent) == (401, None, "", True)
        assert abs((left.started - started).total_seconds()) < 2  # type: ignore[operator]
        assert "resume()" in left.advice
        with pytest.raises(AttributeError):
            left.state = AttemptState.ENDED  # type: ignore[misc]
        await shop.clock.advance(60)
        found = resume(shop.till, store, clock=shop.clock)
        resumed = asyncio.ensure_future(anext(found))
        assert (await shop.clock.run(resumed)).status == "PAID"
        (ended,) = await open_attempts(store)
        assert (ended.state, ended.status) == ("ENDED", "PAID")
        async for _ in found:
            raise AssertionError("there is one")
        assert await open_attempts(store) == ()


async def test_a_payment_that_never_left_is_not_sent() -> None:
    """M-01: it ended FAILED, NOT_SENT, and it is certain."""
    async with a_till() as shop:
        store = OwnStore({})
        record = OrderRecord(out_trade_no="N1000101", attempt=1, started=shop.clock.now())
        await store.put("checkout-order", {'["1", "N10001"]': record.text()})
        (never,) = await open_attempts(store)
        assert (never.state, never.sent, never.order_no) == ("NEVER_SENT", False, "N10001")


async def test_an_order_that_ended_while_it_was_read_was_not_never_sent() -> None:
    """Read between two writes, an attempt that is done already would look as if it never left."""
    async with a_till() as shop:

        class Slow(OwnStore):
            async def load(self, kind: str) -> AsyncGenerator[tuple[str, str]]:
                found = [item async for item in super().load(kind)]
                if kind == "checkout-order":
                    outcome = await shop.clock.run(running)
                    await outcome.done()
                for item in found:
                    yield item

        store = Slow({})
        running = asyncio.ensure_future(shop.charging(401, store=store))
        await shop.clock.advance(1)
        assert await open_attempts(store) == ()


async def test_a_process_that_does_not_own_the_store_may_look(tmp_path: Path) -> None:
    """Beside a living owner, without taking it; what has not ended may be at work over there."""
    async with a_till() as shop:
        path = tmp_path / "polls.db"
        async with SqlPollStore(path) as owner:
            ended = shop.charging(100, store=owner, number="E100011")
            await moved(shop, asyncio.ensure_future(ended))
            running = asyncio.ensure_future(shop.charging(405, store=owner))
            await until(lambda: len(shop.till.at("pay")) == 2)
            found = await open_attempts(SqlPollStore(path))
            assert {each.out_trade_no: str(each.state) for each in found} == {
                ORDER: "UNDER_WAY",
                "E100011": "ENDED",
            }
            await owner.hold()
            running.cancel()
            await asyncio.wait([running])
        assert len(await open_attempts(SqlPollStore(path))) == 2
        assert await open_refunds(SqlPollStore(path)) == ()


async def test_looking_makes_nothing_and_says_where_it_looked(tmp_path: Path) -> None:
    """A wrong path must not read as "nothing is open": that would be charged again."""
    path = tmp_path / "nosuch.db"
    with pytest.raises(StoreError, match=r"nosuch\.db") as caught:
        await open_attempts(SqlPollStore(path))
    assert caught.value.kind is StoreTrouble.TABLE_MISSING
    assert not path.exists()
    path.touch()
    with pytest.raises(StoreError) as caught:
        await open_attempts(SqlPollStore(path))
    assert caught.value.kind is StoreTrouble.TABLE_MISSING
    assert str(path) in "".join(caught.value.__notes__)


async def test_an_owner_that_lost_its_store_knows_less() -> None:
    """M-23: nothing is LEFT or NEVER_SENT by its word: another process may be sending it."""
    async with a_till() as shop:
        store = OwnStore(await left_behind(shop, ORDER))
        store.unreadable = StoreInUseError("taken over")
        assert await states(store) == {ORDER: "UNDER_WAY"}
        store.unreadable = OSError("away")
        with pytest.raises(StoreError):
            await open_attempts(store)


async def test_a_store_in_memory_is_read_open_or_not() -> None:
    """As in tests."""
    store = MemoryPollStore()
    async with a_till() as shop:
        async with store:
            await shop.checkout(100, store=store)
            assert await states(store) == {ORDER: "ENDED"}
        assert await states(store) == {ORDER: "ENDED"}


@asynccontextmanager
async def paid(shop: TillOnSandbox) -> AsyncGenerator[None]:
    await shop.clock.run(shop.till.send(pay(100)))
    yield


async def test_refunds_are_listed_too() -> None:
    """M-25: by their own numbers, with what each applied for."""
    async with a_till() as shop, paid(shop):
        store = OwnStore({})
        tracking = refund_and_track(shop.till, refund(), store=store, clock=shop.clock)
        running = asyncio.ensure_future(tracking)
        await shop.clock.advance(1)
        (under_way,) = await open_refunds(store)
        assert (under_way.out_refund_no, under_way.out_trade_no) == ("R1", ORDER)
        assert (under_way.state, under_way.refund_fee, under_way.status) == ("UNDER_WAY", 100, None)
        assert under_way.sent
        outcome = await shop.clock.run(running)
        (ended,) = await open_refunds(store)
        assert (ended.state, ended.status) == ("ENDED", "REFUNDED")
        await outcome.done()
        assert await open_refunds(store) == ()
        await store.put("refund", {'["1", "R2"]': "?"})
        (unreadable,) = await open_refunds(store)
        assert (unreadable.out_refund_no, unreadable.state) == ("R2", "UNREADABLE")
        assert "by hand" in unreadable.advice


async def test_an_order_that_goes_between_two_looks_is_not_there() -> None:
    """M-23: its record was forgotten by the owner meanwhile; nothing raises over that."""
    store = MemoryPollStore()
    async with store:
        record = OrderRecord(out_trade_no=ORDER, attempt=0, started=SystemClock().now())
        await store.put(ORDERS, {'["m","O1"]': record.text()})
    looks = 0
    peek = store.peek

    async def losing(kind: str) -> list[tuple[str, str]]:
        nonlocal looks
        looks += kind == ORDERS
        return await peek(kind) if looks < 2 else []

    store.peek = losing  # type: ignore[method-assign]
    assert await open_attempts(store) == ()
