"""An order that a fleet charged and could not decide is released by a person, by nobody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from sqlalchemy import select, update

from chaoying_async import AttemptInProgressError, CheckoutStatus, StoreError, fen
from chaoying_async.exceptions import UsageError
from chaoying_async.sansio.payments.intent import (
    CHECKOUT,
    ORDER,
    OrderRecord,
    key_of,
    order_record_in,
)
from chaoying_async.testing.simulation.process import Process
from chaoying_async.workers import Fleet
from chaoying_async.workers.releasing import kept_order, release
from chaoying_async.workers.tables import FRESH, KEPT
from tests.pure.stored_values import INTENTS
from tests.servers import Servers
from tests.workers.fleets import DATABASES, FleetWorld
from tests.workers.test_fleet_payments import NEVER, PAID, pay
from tests.workers.virtual import THEN, TOLD, VirtualFleet

MERCHANT, NUMBER = "7551000001", "A10001"
KEY = key_of(MERCHANT, NUMBER)
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
UNDECIDED = OrderRecord(
    out_trade_no="A1000101", attempt=1, started=BEGUN, status=CheckoutStatus.UNKNOWN
)
UNDER_WAY = attrs.evolve(UNDECIDED, status=None)
INTENT = attrs.evolve(
    INTENTS["just begun"], mch_id=MERCHANT, out_trade_no="A1000101", order_no=NUMBER
)
#: A row as a version that is not written yet may leave it.
NEWER = '{"a_later_version": true}'


class Kept:
    """A fleet that serves nothing, and rows that a test writes into its tables."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.database: Any = fleet._database

    async def write(self, kind: str, key: str, body: str) -> None:
        """Write one row as an admission, or an owner, leaves it."""
        values = {"item": key, "slot": 1, "body": body, "then": ""}
        shard = KEPT if kind == ORDER else FRESH
        await self.database.write_rows(self.database.handing_over(kind, values, shard=shard))

    async def text(self, kind: str = ORDER, key: str = KEY) -> str | None:
        """What stands in a row; None where there is none."""
        columns = self.database.tables.rows.c
        reading = select(columns.body).where(columns.kind == kind, columns.item == key)
        rows = await self.database.read(reading, {})
        return rows[0].body if rows else None

    async def attempt(self, body: str, *, shard: int = FRESH, age: float = 3600.0) -> None:
        """The row of the last attempt, written so many seconds ago; a shard's mark may be on it."""
        await self.write(CHECKOUT, INTENT.key, body)
        rows = self.database.tables.rows
        of_attempt = update(rows).where(rows.c.kind == CHECKOUT)
        created = rows.c.created - round(age * 1_000_000)
        await self.database.write_rows(of_attempt.values(shard=shard, created=created))

    async def lease(self, shard: int, seconds: float) -> None:
        """Let somebody have a shard for so long from now on, by the database's clock."""
        shards, now = self.database.tables.shards, self.database._dialect.now
        await self.database.write_rows(shards.delete())
        values = {"id": shard, "token": 1, "lease": 10_000_000}
        held_until = now + round(seconds * 1_000_000)
        entry = shards.insert().values(**values, held_until=held_until)
        await self.database.write_rows(entry, self.database._time())

    async def release(self, number: str = NUMBER) -> bool:
        """As a user calls it."""
        return await self.fleet.release_order(number, mch_id=MERCHANT)


@pytest.fixture(params=["sqlite", "psycopg", "mariadb"])
async def kept(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Path
) -> AsyncGenerator[Kept]:
    """A fleet whose tables are made."""
    world = FleetWorld(DATABASES[request.param](servers, tmp_path))
    fleet = world.fleet()
    await fleet._database.open(fleet._sharding)
    yield Kept(fleet)
    await fleet.close()


@pytest.fixture
def world(tmp_path: Path) -> Generator[VirtualFleet]:
    found = VirtualFleet(tmp_path)
    yield found
    found.close()


async def test_an_undecided_order_is_free_after_its_release(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    """It keeps the attempt, what was known of it and when this was said; a line says it too."""
    await kept.write(ORDER, KEY, UNDECIDED.text())
    with caplog.at_level(logging.WARNING, "chaoying_async.workers"):
        assert await kept.release()
    record = order_record_in(await kept.text() or "")
    assert record.free
    assert (record.out_trade_no, record.was) == ("A1000101", CheckoutStatus.UNKNOWN)
    assert record.released is not None
    assert abs((record.released - datetime.now(UTC)).total_seconds()) < 300
    assert "its last attempt A1000101 ended UNKNOWN" in caplog.text
    caplog.clear()
    assert await kept.release()
    assert order_record_in(await kept.text() or "") == record
    assert not [each for each in caplog.records if each.name == "chaoying_async.workers"]


async def test_an_order_that_is_under_way_is_not_released(kept: Kept) -> None:
    """Also where its end is written and its outcome is not: nothing changes."""
    for record in (UNDER_WAY, UNDECIDED):
        await kept.write(ORDER, KEY, record.text())
        await kept.write(CHECKOUT, INTENT.key, INTENT.text())
        before = await kept.text()
        with pytest.raises(AttemptInProgressError, match="A1000101 is under way"):
            await kept.release()
        assert (await kept.text(), await kept.text(CHECKOUT, INTENT.key)) == (before, INTENT.text())
        await _forget_all(kept)


async def test_what_cannot_be_read_is_for_the_person_who_says_so(kept: Kept) -> None:
    """Nobody asks about an attempt that nobody can read: its row would bar the order for ever."""
    await kept.write(ORDER, KEY, UNDER_WAY.text())
    await kept.attempt('{"damaged":')
    assert await kept.release()
    assert await kept.text(CHECKOUT, INTENT.key) is None
    record = order_record_in(await kept.text() or "")
    assert (record.free, record.was) == (True, None)
    await _forget_all(kept)
    await kept.write(ORDER, KEY, "damaged")
    assert await kept.release()
    assert await kept.text() is None


@pytest.mark.parametrize("record", [UNDER_WAY.text(), NEWER], ids=["our record", "their record"])
@pytest.mark.parametrize("shard", [1, FRESH], ids=["marked", "not marked yet"])
async def test_what_a_newer_version_may_be_at_work_on_is_not_released(
    kept: Kept, record: str, shard: int
) -> None:
    """Two versions may serve side by side: what is unreadable here has an owner over there."""
    await kept.write(ORDER, KEY, record)
    await kept.attempt(NEWER, shard=shard)
    await kept.lease(1, 60.0)
    with pytest.raises(AttemptInProgressError, match=r"A1000101 .* serves shard 1 .* version"):
        await kept.release()
    assert (await kept.text(), await kept.text(CHECKOUT, INTENT.key)) == (record, NEWER)
    await kept.lease(0, 60.0)  # another shard
    assert await kept.release()
    assert await kept.text() != record


@pytest.mark.parametrize("record", [UNDER_WAY.text(), NEWER], ids=["our record", "their record"])
async def test_what_a_newer_version_may_be_sending_is_not_released(kept: Kept, record: str) -> None:
    """A till has no shard: its row is nobody's until it says that it leaves, or was silent."""
    await kept.write(ORDER, KEY, record)
    await kept.attempt(NEWER, age=500.0)
    with pytest.raises(AttemptInProgressError, match=r"A1000101 .* less than 10 minutes ago"):
        await kept.release()
    assert (await kept.text(), await kept.text(CHECKOUT, INTENT.key)) == (record, NEWER)


async def test_an_unreadable_attempt_of_a_shard_that_nobody_has_is_released(kept: Kept) -> None:
    """However young it is: a mark says that its sender is through with it."""
    await kept.write(ORDER, KEY, UNDER_WAY.text())
    await kept.attempt(NEWER, shard=1, age=0.0)
    await kept.lease(1, -1.0)
    assert await kept.release()
    assert await kept.text(CHECKOUT, INTENT.key) is None
    assert order_record_in(await kept.text() or "").free


async def test_an_unreadable_record_waits_for_attempts_of_its_order_alone(kept: Kept) -> None:
    """A readable attempt says whose it is; that of another order is in nobody's way."""
    await kept.write(ORDER, KEY, NEWER)
    await kept.attempt(INTENT.text(), shard=1)
    with pytest.raises(AttemptInProgressError, match="A1000101 is under way"):
        await kept.release()
    assert await kept.text() == NEWER
    await _forget_all(kept)
    await kept.write(ORDER, KEY, NEWER)
    other = attrs.evolve(INTENT, order_no="A10002").text()
    await kept.attempt(other, shard=1)
    assert await kept.release()
    assert (await kept.text(), await kept.text(CHECKOUT, INTENT.key)) == (None, other)


async def test_of_an_order_that_was_never_charged_nothing_is_made(kept: Kept) -> None:
    """A number that was typed wrongly is said to be none."""
    await kept.write(ORDER, KEY, UNDECIDED.text())
    assert not await kept.release("a10001")
    assert order_record_in(await kept.text() or "") == UNDECIDED


async def test_what_changed_since_it_was_shown_is_not_released(kept: Kept) -> None:
    """Else a person's word about one attempt would free the order after the next one."""
    engine, tables = kept.database.engine, kept.database.tables
    await kept.write(ORDER, KEY, UNDECIDED.text())
    seen = await kept_order(engine, tables, MERCHANT, NUMBER)
    assert seen is not None
    await _forget_all(kept)
    next_one = attrs.evolve(UNDECIDED, out_trade_no="A1000102", attempt=2)
    await kept.write(ORDER, KEY, next_one.text())
    clock = kept.fleet._clock.own
    with pytest.raises(UsageError, match="has changed since it was shown"):
        await release(engine, tables, clock, MERCHANT, NUMBER, seen=seen)
    assert order_record_in(await kept.text() or "") == next_one


async def test_tables_that_are_missing_are_an_error_of_ours(tmp_path: Path) -> None:
    """Not one of the database's."""
    fleet = FleetWorld(f"sqlite:///{tmp_path}/none.db").fleet()
    async with fleet.handing_over():
        with pytest.raises(StoreError, match="tables are missing"):
            await fleet.release_order(NUMBER, mch_id=MERCHANT)


def test_a_sender_that_died_leaves_an_order_that_a_person_can_free(
    world: VirtualFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the killed till to the sale: barred in every process, released in one, charged once."""
    sender, later = world.process("a"), world.process("b")

    async def dies() -> None:
        async with world.fleet(sender) as fleet:
            await fleet.checkout(pay(NEVER), then=THEN, order_no=NUMBER)

    async def sells() -> Any:
        async with world.fleet(later) as fleet:
            with pytest.raises(AttemptInProgressError):
                await fleet.release_order(NUMBER)
            while not TOLD:
                await asyncio.sleep(1)
            with pytest.raises(AttemptInProgressError, match=r"UNKNOWN: .* release_order\(\)"):
                await fleet.checkout(pay(PAID, "A1000102"), then=THEN, order_no=NUMBER)
            assert await fleet.release_order(NUMBER)
            return await fleet.checkout(pay(PAID, "A1000102"), then=THEN, order_no=NUMBER)

    world.transport = _KillsItsSender(world, sender)
    sender.start(dies(), lasts=True)
    world.until(lambda: not sender.alive)
    outcome = world.run(later, sells())
    assert [told["status"] for told in TOLD][:1] == ["UNKNOWN"]
    assert outcome.status is CheckoutStatus.PAID
    assert world.kept == fen(PAID)


def test_the_till_that_charged_it_learns_of_its_release(world: VirtualFleet) -> None:
    """The process that was told at once remembers no bar of its own beside the row's."""
    process, office = world.process("a"), world.process("b")

    async def work() -> list[Any]:
        async with world.fleet(process) as till:
            first = await till.checkout(pay(PAID), then=THEN, order_no=NUMBER)
            with pytest.raises(AttemptInProgressError):
                await till.checkout(pay(PAID, "A1000102"), then=THEN, order_no=NUMBER)
            while not TOLD:
                await asyncio.sleep(1)
            assert await world.fleet(office).release_order(NUMBER)
            with pytest.raises(AttemptInProgressError):  # the same number again
                await till.checkout(pay(PAID), then=THEN, order_no=NUMBER)
            return [first, await till.checkout(pay(PAID, "A1000102"), then=THEN, order_no=NUMBER)]

    outcomes = world.run(process, work())
    assert [outcome.out_trade_no for outcome in outcomes] == ["A1000101", "A1000102"]


class _KillsItsSender(httpx.AsyncBaseTransport):
    """Kills a process when the bank has its payment, before it hears the answer."""

    def __init__(self, world: VirtualFleet, sender: Process) -> None:
        self._world, self._sender = world, sender
        self._sandbox = world.sandbox.transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._sandbox.handle_async_request(request)
        if self._world.charged and self._sender.alive:
            self._sender.kill()
        return answer


async def _forget_all(kept: Kept) -> None:
    await kept.database.write_rows(kept.database.tables.rows.delete())
