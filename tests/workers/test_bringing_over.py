"""What a store of one owner holds is brought over into the fleet, as it stands."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from sqlalchemy import select

from chaoying_async import AttemptInProgressError, CheckoutStatus, Pay, Poller, PollSchedule
from chaoying_async.clock import SystemClock
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.payments.intent import CHECKOUT, ORDER, OrderRecord, key_of
from chaoying_async.workers import bringing_over
from chaoying_async.workers.bringing_over import OldStore
from chaoying_async.workers.tables import fleet_tables
from chaoying_async.workers.watching import slot_of
from tests.pollers import PENDING, order
from tests.pure.stored_values import INTENTS
from tests.servers import Servers
from tests.workers.fleets import DATABASES, ENDED, GIVEN, LEASE, FleetWorld, until

LATER = PollSchedule(first=0.5, every=0.2, until=20, jitter=0)


@pytest.fixture(params=["sqlite", "psycopg", "mariadb"])
def world(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> FleetWorld:
    GIVEN.clear()
    return FleetWorld(DATABASES[request.param](servers, tmp_path))


async def test_orders_of_the_old_store_reach_the_task_of_orders_that_name_none(
    world: FleetWorld,
) -> None:
    """Those that are waited for, and those that ended and whose outcome nobody took."""
    store = SqlPollStore(world.url, lease=LEASE)
    world.gateway.script = lambda number, _: {} if number == "A100001" else PENDING
    async with store, Poller(world.gateway, LATER, store=store) as poller:
        poller.track(order("A100001"), 100)
        poller.track(order("A100002"), 100)
        await until(lambda: poller.stats().unread)
        await poller.kept()
    world.gateway.script = lambda number, _: {}
    async with world.open(1, then=ENDED):
        await until(lambda: len(GIVEN) == 2)
    assert {given[0]["status"] for given in GIVEN.values()} == {"PAID"}
    assert world.gateway.times("A100001")[1:] == []  # it had ended
    async with store:
        assert [item async for item in store.load("poll")] == []


async def test_an_order_that_was_waited_for_again_brings_both_waits_over(
    world: FleetWorld,
) -> None:
    """The outcome that nobody took is told, and the wait begun after it goes on (M-23)."""
    world.gateway.script = lambda *_: PENDING
    store = SqlPollStore(world.url, lease=LEASE)
    brief = PollSchedule(first=0.05, every=0.05, until=0.2, jitter=0)
    async with store, Poller(world.gateway, LATER, store=store) as poller:
        poller.track(order("A100001"), 100, schedule=brief)
        await until(lambda: poller.stats().unread)
        poller.track(order("A100001"), 100)
        await poller.kept()
    world.gateway.script = lambda number, _: {}
    async with world.open(1, then=ENDED):
        await until(lambda: len(GIVEN.get("A100001", ())) == 2)
    assert {outcome["status"] for outcome in GIVEN["A100001"]} == {"EXPIRED", "PAID"}


async def test_what_is_brought_over_has_the_slot_that_a_new_one_would_have(
    world: FleetWorld,
) -> None:
    """Else one order could be waited for by two shards at a time, once here and once there."""
    world.gateway.script = lambda *_: PENDING
    store = SqlPollStore(world.url, lease=LEASE)
    async with store, Poller(world.gateway, LATER, store=store) as poller:
        poller.track(order("A100001"), 100)
        await poller.kept()
    async with world.open(1) as (fleet,):
        await until(lambda: fleet.stats().pending)
        async with fleet._engine.connect() as connection:
            (row,) = await connection.execute(select(fleet_tables("chaoying_").rows))
    assert row.slot == slot_of("00000001", "out_trade_no", "A100001")


async def test_an_older_process_keeps_its_orders_until_it_has_ended(
    world: FleetWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """A rolling replacement: both run for a while, and nobody asks for the other."""
    store = SqlPollStore(world.url, lease=LEASE)
    async with store, Poller(world.gateway, LATER, store=store) as poller:
        poller.track(order("A100001"), 100)
        await poller.kept()
        async with world.open(1, then=ENDED):
            await until(lambda: "still owns the poll store" in caplog.text)
            outcome = await anext(poller.outcomes())
    assert outcome.status == "PAID"
    assert not GIVEN


async def test_an_order_comes_with_its_attempt(
    world: FleetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red without it: between two pages the order passed for one whose payment was never sent."""
    monkeypatch.setattr(bringing_over, "_TOGETHER", 1)
    intent = attrs.evolve(INTENTS["just begun"], order_no="A10001")
    record = OrderRecord(out_trade_no=intent.out_trade_no, attempt=1, started=intent.started)
    store = SqlPollStore(world.url, lease=LEASE)
    async with store:
        await store.put(ORDER, {intent.order_key: record.text()})
        await store.put(CHECKOUT, {intent.key: intent.text()})
    fleet = world.fleet()
    async with fleet.handing_over():
        await fleet._database.open(fleet._sharding)
        old = OldStore(
            *(fleet._database, "chaoying_", fleet._sharding), clock=SystemClock(), lease=LEASE
        )
        assert await old._owned.take_if_free()
        last, brought = await old._bring_page(-1)
        assert (last is not None, brought) == (True, 2)
        async with fleet._engine.connect() as connection:
            found = await connection.execute(select(fleet_tables("chaoying_").rows.c.kind))
            assert {*found.scalars()} == {ORDER, CHECKOUT}
        assert await old._bring_page(last or 0) == (None, 0)
        await old._owned.release()


async def test_an_order_that_was_not_brought_over_yet_is_not_charged(world: FleetWorld) -> None:
    """M-24, red before: it passed for a new one here, although the old store had it PAID."""
    record = OrderRecord(
        out_trade_no="A1000101",
        attempt=1,
        started=datetime(2026, 1, 1, tzinfo=UTC),
        status=CheckoutStatus.PAID,
    )
    again = Pay(
        out_trade_no="A1000102",
        mch_id="00000001",
        body="tea",
        total_fee=100,
        auth_code="130000000000000001",
        mch_create_ip="127.0.0.1",
        op_user_id="cashier01",
    )
    async with SqlPollStore(world.url, lease=LEASE) as store:
        await store.put(ORDER, {key_of("00000001", "A10001"): record.text()})
        async with world.open(1) as (fleet,):
            for _ in range(2):
                with pytest.raises(AttemptInProgressError, match="A10001 is in the poll store"):
                    await fleet.checkout(again, then=ENDED, order_no="A10001")
    assert world.gateway.times("A1000102") == []
