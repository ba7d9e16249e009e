"""The owner of shards is stopped, blocked or killed: another takes over, and it changes nothing.

Each process of the fleet is a real one, and the bank that they ask is the test's.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async.clock import SystemClock
from chaoying_async.sansio.payments.intent import CHECKOUT, Intent
from chaoying_async.workers import Fleet
from chaoying_async.workers.senders_store import SendersStore
from chaoying_async.workers.tables import fleet_tables
from chaoying_async.workers.watching import slot_of
from tests.factories import MCH_ID
from tests.hard.owner_process import LEASE, SOON, THEN, Bank, fleet_of, metadata, tellings
from tests.pollers import order, orders
from tests.servers import Servers
from tests.sizes import cases
from tests.stopped import is_still
from tests.workers.fleets import DATABASES, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
SHARDS = fleet_tables("chaoying_").shards
#: The owner, and who takes over. A new process is given shards in the order of names: the owner is
#: the last of them, or it would be given its shard back when it wakes.
OWNER, NEXT = "z-owner", "a-next"
WATCHED, CHARGED = "W10001", "C10001"
#: Seconds: a payment so old is cancelled as soon as one more query has shown it open (M-24).
AGE = 185


@attrs.frozen
class World:
    """A database, a bank, and one process that owns all shards."""

    url: str
    bank: Bank
    owner: asyncio.subprocess.Process
    engine: AsyncEngine
    shards: int

    def next(self) -> Fleet:
        """The process that takes over: this one."""
        return fleet_of(self.url, NEXT, self.bank.port, shards=self.shards)

    async def line(self) -> str:
        """The next that the owner says."""
        assert self.owner.stdout is not None
        async with asyncio.timeout(40):
            return (await self.owner.stdout.readline()).decode().strip()

    def write(self) -> None:
        assert self.owner.stdin is not None
        self.owner.stdin.write(b"\n")

    async def hand_over_a_charge(self, fleet: Fleet) -> None:
        """A payment that its sender left to the fleet."""
        intent = Intent(
            mch_id=MCH_ID,
            out_trade_no=CHARGED,
            order_no=CHARGED,
            total_fee=100,
            op_user_id="till1",
            started=datetime.now(UTC) - timedelta(seconds=AGE),
            paytype="WECHAT",
            certain=True,
            seen=True,
            answered=True,
        )
        store = SendersStore(fleet._database, CHECKOUT, intent.key)
        assert await store.begin(intent.text(), slot_of(MCH_ID, CHARGED), THEN)
        await store.leaves()

    async def told(self) -> list[tuple[str, str, str]]:
        """Process, number and status of everything that a task was told."""
        columns = tellings.c
        question = select(columns.process, columns.number, columns.status).order_by(columns.id)
        async with self.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(question)]

    async def nobody_writes(self) -> bool:
        """Whether the owner keeps nobody out: it may stand in the middle of a renewal."""
        locking: Any = select(SHARDS.c.id).with_for_update(nowait=True)
        if self.engine.dialect.name == "sqlite":
            locking = update(SHARDS).values(lease=SHARDS.c.lease)
        try:
            async with self.engine.connect() as connection:
                await connection.execute(locking)
        except DBAPIError:
            return False
        return True


@asynccontextmanager
async def owned(kind: str, servers: Servers, directory: Path, shards: int) -> AsyncGenerator[World]:
    url = DATABASES[kind](servers, directory)
    options = {"connect_args": {"timeout": 0.2}} if kind == "sqlite" else {}
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"), **options)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    async with Bank().open() as bank:
        owner = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.hard.owner_worker"),
            *(url, OWNER, str(bank.port), str(shards)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        world = World(url, bank, owner, engine, shards)
        try:
            assert await world.line() == "serving"
            yield world
        finally:
            if owner.returncode is None:
                owner.kill()
            await owner.wait()
            await engine.dispose()


@attrs.frozen
class Stopped:
    """SIGSTOP, as of a machine that is suspended."""

    world: World

    async def begin(self) -> None:
        self.world.owner.send_signal(signal.SIGSTOP)
        while not is_still(self.world.owner.pid):
            os.sched_yield()

    def end(self) -> None:
        self.world.owner.send_signal(signal.SIGCONT)


@attrs.frozen
class Blocked:
    """Some function of the shop's blocks the event loop: only threads go on."""

    world: World

    async def begin(self) -> None:
        self.world.write()
        assert await self.world.line() == "standing still"

    def end(self) -> None:
        self.world.write()


STANDS_STILL: dict[str, type[Stopped | Blocked]] = {"stopped": Stopped, "blocked": Blocked}
HOWS = [("stopped", "sqlite"), ("blocked", "psycopg")]
MORE = [
    *[("stopped", kind) for kind in ("psycopg", "asyncpg", "mariadb")],
    *[("blocked", kind) for kind in ("sqlite", "asyncpg", "mariadb")],
]


@pytest.mark.parametrize(("how", "kind"), cases(HOWS, more=MORE))
async def test_an_owner_that_stood_still_past_its_lease_tells_cancels_and_writes_nothing(
    servers: Servers, tmp_path: Path, how: str, kind: str
) -> None:
    """M-23: what it asked is answered while it stands still, by words that end an order.

    One order is paid, and another is open so late that its owner cancels it. The next owner has
    told of the one and cancelled the other when the first wakes and reads its answers.
    """
    async with owned(kind, servers, tmp_path, 1) as world:
        bank = world.bank
        bank.kept_back.add(OWNER)
        async with world.next().handing_over() as fleet:
            await fleet.watch(order(WATCHED), then=THEN, schedule=SOON)
            await world.hand_over_a_charge(fleet)
        await until(lambda: {*bank.of(OWNER, "orderquery")} == {WATCHED, CHARGED})
        standstill = STANDS_STILL[how](world)
        await standstill.begin()
        while not await world.nobody_writes():
            standstill.end()
            await asyncio.sleep(0.05)
            await standstill.begin()
        since = SystemClock().monotonic()
        bank.answers[WATCHED] = "PAID"
        bank.answers_now()
        async with world.next():
            await until(lambda: bank.of(NEXT, "cancel"))
            await _until_told(world, WATCHED)
            standstill.end()
            said, _, wrote = (await world.line()).partition(" ")
            assert said == "lost"
        assert [statement for moment, statement in json.loads(wrote) if moment > since] == []
        assert await world.told() == [(NEXT, WATCHED, "PAID")]
        assert bank.of(OWNER, "cancel") == []
        assert bank.of(NEXT, "cancel") == [CHARGED]


async def _until_told(world: World, number: str) -> None:
    async with asyncio.timeout(40):
        while number not in {told for _, told, _ in await world.told()}:
            await asyncio.sleep(0.05)


def _served(fleet: Fleet, shards: int) -> Callable[[], bool]:
    def served() -> bool:
        assert fleet._worker is not None
        open_ones = [each for each in fleet._worker.served.values() if each.is_open]
        return len(open_ones) == shards

    return served


@pytest.mark.parametrize("kind", cases(["psycopg"], more=["sqlite", "asyncpg", "mariadb"]))
async def test_what_a_killed_process_had_is_asked_about_within_a_lease_and_three_seconds(
    servers: Servers, tmp_path: Path, kind: str
) -> None:
    """kill -9: nothing was handed back, and nobody tells the others."""
    shards = 4
    async with owned(kind, servers, tmp_path, shards) as world:
        bank = world.bank
        async with world.next() as fleet:
            await until(_served(fleet, shards // 2))
            numbers = {str(query.out_trade_no) for query in orders(12)}

            def asked(process: str) -> set[str]:
                return {*bank.of(process, "orderquery")}

            await fleet.watch_many(orders(12), then=THEN, schedule=SOON)
            await until(lambda: asked(OWNER) | asked(NEXT) == numbers)
            had = asked(OWNER)
            assert had
            world.owner.kill()
            clock = SystemClock()
            began = clock.monotonic()
            await until(lambda: had <= asked(NEXT) and _served(fleet, shards)())
            assert clock.monotonic() - began < LEASE + 3
            for number in numbers:
                bank.answers[number] = "PAID"
            rows = fleet._database.tables.rows
            async with asyncio.timeout(40):
                while await _count(world, rows):
                    await asyncio.sleep(0.05)
        assert {(number, status) for _, number, status in await world.told()} == {
            (number, "PAID") for number in numbers
        }


async def _count(world: World, rows: object) -> int:
    async with world.engine.connect() as connection:
        question = select(func.count()).select_from(rows)  # type: ignore[arg-type]
        return int((await connection.execute(question)).scalar_one())
