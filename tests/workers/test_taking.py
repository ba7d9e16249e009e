"""Outcomes that the fleet keeps until their task has taken them, whatever the queue loses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Connection, create_engine, make_url, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async import ParameterError, UsageError
from chaoying_async.workers import CeleryQueue, delivery, took_effect
from chaoying_async.workers.tables import fleet_tables
from tests.pollers import order
from tests.servers import Servers
from tests.workers.fleets import DATABASES, ENDED, GIVEN, SOON, FleetWorld, until
from tests.workers.queues.celery_app import shop_app
from tests.workers.queues.kits import CeleryOverRedis, opened
from tests.workers.queues.shop_task import NAME

ROWS = fleet_tables("chaoying_").rows


class LosingQueue:
    """It says that it has the outcome, and nobody ever gets it, ``lost`` times."""

    def __init__(self, lost: int, patience: float) -> None:
        self.joins = False
        self.patience = patience
        self.lost = lost
        self.sent: list[Mapping[str, Any]] = []

    async def send(self, _then: str, outcome: Mapping[str, Any], _connection: object) -> None:
        self.sent.append(outcome)

    @property
    def latest(self) -> str:
        """The number of the order that was sent last."""
        return number_of(self.sent[-1]) if self.sent else ""

    @property
    def given(self) -> list[Mapping[str, Any]]:
        """What reached a worker."""
        return self.sent[self.lost :]


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> FleetWorld:
    GIVEN.clear()
    return FleetWorld(DATABASES[request.param](servers, tmp_path))


async def took(engine: AsyncEngine, outcome: Mapping[str, Any]) -> bool:
    """The task: whether it acted."""
    async with engine.begin() as connection:
        return bool((await connection.execute(took_effect(outcome))).rowcount)


async def kept(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return len((await connection.execute(select(ROWS.c.seq))).all())


async def test_what_the_queue_lost_is_sent_again_until_it_is_taken_once(world: FleetWorld) -> None:
    """A worker that is killed while it takes a message; the copies take no effect again."""
    queue = LosingQueue(lost=1, patience=0.5)
    async with world.open(1, queue=queue, lease=15) as (fleet,):
        engine = create_async_engine(fleet._engine.url)
        await fleet.watch(order("A1"), then=ENDED, schedule=SOON)
        await until(lambda: queue.given)
        first, again = queue.sent[:2]
        assert first == again
        assert await took(engine, again)
        assert not await took(engine, first)
        assert await kept(engine) == 0
        sent = len(queue.sent)
        await asyncio.sleep(1.0)  # twice its patience, by the database's clock
        assert len(queue.sent) == sent
        await engine.dispose()


async def test_a_task_that_is_rolled_back_gets_it_again(world: FleetWorld) -> None:
    """Its effects are undone, and so is that it took the outcome."""
    queue = LosingQueue(lost=0, patience=0.5)
    async with world.open(1, queue=queue, lease=15) as (fleet,):
        engine = create_async_engine(fleet._engine.url)
        await fleet.watch(order("A1"), then=ENDED, schedule=SOON)
        await until(lambda: queue.given)
        async with engine.connect() as connection:
            await connection.execute(took_effect(queue.sent[0]))
            await connection.rollback()
        sent = len(queue.sent)
        await until(lambda: len(queue.sent) > sent)
        assert await took(engine, queue.sent[-1])
        await engine.dispose()


#: What a number of another program's, or of the gateway's, may hold.
ODD_NUMBERS = ["POS7:A1", "7:7", "订单1", "😀" * 30, 'A"1"', "A\\1", "A'1", "%_", "L" * 420]


async def test_an_outcome_is_taken_once_whatever_its_number_holds(world: FleetWorld) -> None:
    """One that no row is found for would look as if it had taken effect before: nobody acts."""
    queue = LosingQueue(lost=0, patience=60)
    async with world.open(1, queue=queue, lease=15) as (fleet,):
        engine = create_async_engine(fleet._engine.url)
        for number in ODD_NUMBERS:
            await fleet.watch(order(number), then=ENDED, schedule=SOON)
        await until(lambda: len(queue.sent) == len(ODD_NUMBERS))
        for outcome in queue.sent:
            travelled = json.loads(json.dumps(outcome))
            assert await took(engine, travelled), number_of(outcome)
            assert not await took(engine, travelled), number_of(outcome)
        assert await kept(engine) == 0
        await engine.dispose()


async def test_an_outcome_says_which_fleets_it_is(tmp_path: Path) -> None:
    """Looked for in another fleet's tables, it would look as if it had taken effect before."""
    queue = LosingQueue(lost=0, patience=60)
    world = FleetWorld(f"sqlite:///{tmp_path}/fleet.db")
    async with world.open(1):
        pass  # the tables of another fleet, in the same database
    async with world.open(1, queue=queue, lease=15, table_prefix="shop_") as (fleet,):
        engine = create_async_engine(fleet._engine.url)
        await fleet.watch(order("A1"), then=ENDED, schedule=SOON)
        await until(lambda: queue.sent)
        (outcome,) = queue.sent
        with pytest.raises(UsageError, match="shop_"):
            took_effect(outcome, table_prefix="chaoying_")
        with pytest.raises(ParameterError, match="table_prefix"):
            took_effect({**outcome, "table_prefix": 7})
        assert str(took_effect(outcome)) == str(took_effect(outcome, table_prefix="shop_"))
        assert await took(engine, outcome)
        await engine.dispose()


@pytest.mark.parametrize("kind", ["psycopg", "asyncpg", "mariadb"])
async def test_a_task_longer_than_the_patience_stops_nobody(servers: Servers, kind: str) -> None:
    """It has the row in its open transaction: it is not sent again, and others are."""
    GIVEN.clear()
    world = FleetWorld(DATABASES[kind](servers, Path()))
    queue = LosingQueue(lost=0, patience=0.3)
    async with world.open(1, queue=queue, lease=15, shards=1) as (fleet,):
        engine = create_async_engine(fleet._engine.url)
        await fleet.watch(order("A1"), then=ENDED, schedule=SOON)
        await until(lambda: queue.given)
        async with engine.connect() as connection:
            await connection.execute(took_effect(queue.sent[0]))
            begun = len(queue.sent)
            for number in ("A2", "A3", "A4"):
                await fleet.watch(order(number), then=ENDED, schedule=SOON)
                await until(lambda n=number: queue.latest == n)  # type: ignore[misc]
                assert await took(engine, queue.sent[-1])
            await asyncio.sleep(1.0)
            assert {number_of(each) for each in queue.sent[begun:]} == {"A2", "A3", "A4"}
            await connection.commit()
        assert await kept(engine) == 0
        await engine.dispose()


class UnsureQueue(LosingQueue):
    """A worker has the outcome, and is at work on it, when the broker's word gets lost."""

    engine: AsyncEngine

    def __init__(self, patience: float) -> None:
        super().__init__(lost=0, patience=patience)
        self.working: list[Any] = []

    async def send(self, _then: str, outcome: Mapping[str, Any], _connection: object) -> None:
        await super().send(_then, outcome, _connection)
        if outcome["out_trade_no"] == "A1":
            connection = await self.engine.connect()
            self.working.append(connection)
            await connection.execute(took_effect(outcome))
            raise ConnectionResetError


@pytest.mark.parametrize("kind", ["psycopg", "asyncpg", "mariadb"])
async def test_a_task_at_work_whose_sending_seemed_to_fail_stops_nobody(
    servers: Servers, kind: str
) -> None:
    """Its failure is not counted: that would wait for the task's transaction, with the lease."""
    world = FleetWorld(DATABASES[kind](servers, Path()))
    queue = UnsureQueue(patience=30)
    async with world.open(1, queue=queue, lease=15, shards=1) as (fleet,):
        queue.engine = create_async_engine(fleet._engine.url)
        await fleet.watch(order("A1"), then=ENDED, schedule=SOON)
        await until(lambda: queue.working)
        await fleet.watch(order("A2"), then=ENDED, schedule=SOON)
        await until(lambda: queue.latest == "A2", 8)
        assert fleet.stats().errors == 0
        for connection in queue.working:
            await connection.commit()
            await connection.close()
        await queue.engine.dispose()


async def test_tasks_at_work_take_nobodys_place(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them outlast the patience than may be on their way at a time: the next is sent."""
    monkeypatch.setattr(delivery, "_AT_ONCE", 3)
    world = FleetWorld(DATABASES["psycopg"](servers, Path()))
    queue = LosingQueue(lost=0, patience=0.3)
    async with world.open(1, queue=queue, lease=15, shards=1) as (fleet,):
        engine = create_async_engine(fleet._engine.url)
        async with engine.connect() as connection:
            for number in range(4):
                await fleet.watch(order(f"A{number}"), then=ENDED, schedule=SOON)
                await until(lambda n=number: queue.latest == f"A{n}")  # type: ignore[misc]
                await connection.execute(took_effect(queue.sent[-1]))
            await fleet.watch(order("B1"), then=ENDED, schedule=SOON)
            await until(lambda: queue.latest == "B1", 8)
            await connection.rollback()
        await engine.dispose()


def number_of(outcome: Mapping[str, Any]) -> str:
    return str(outcome["out_trade_no"])


async def test_the_same_order_waited_for_again_has_another_id(world: FleetWorld) -> None:
    """Where an id came twice, a task that looks at it would drop the second end."""
    async with world.open(1, lease=15) as (fleet,):
        for times in (1, 2, 3):
            await fleet.watch(order("A1"), then=ENDED, schedule=SOON)
            await until(lambda n=times: len(GIVEN.get("A1", ())) == n)  # type: ignore[misc]
    assert len({each["id"] for each in GIVEN["A1"]}) == 3


OUTCOME = {"id": "m1:A7:7", "seq": 7, "kept": True}


def test_it_is_a_statement_for_code_that_is_not_async(tmp_path: Path) -> None:
    """A Celery task's own session; another prefix is another fleet's table."""
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    with engine.begin() as connection:
        for prefix in ("chaoying_", "other_"):
            fleet_tables(prefix).metadata.create_all(connection)
        _put(connection, "other_", 7, '{"id":"m1:A7:7","seq":7,"of":"orderquery"}')
        assert connection.execute(took_effect(OUTCOME)).rowcount == 0
        assert connection.execute(took_effect(OUTCOME, table_prefix="other_")).rowcount == 1
    engine.dispose()


@pytest.mark.parametrize(
    ("seq", "body"),
    [
        (7, '{"version":1,"query":{"of":"orderquery","mch_id":"m1","out_trade_no":"A7"}}'),
        (7, '{"id":"m1:a7:7","seq":7,"of":"orderquery"}'),
        (7, '{"id":"m1:A77:7","seq":7,"of":"orderquery"}'),
        (7, '{"id":"m1:A7:7","seq":77,"of":"orderquery"}'),
        (77, '{"id":"m1:A7:7","seq":7,"of":"orderquery"}'),
        (7, '{"id":"m1:B8:7","seq":7,"msg":"{\\"id\\":\\"m1:A7:7\\",\\"seq\\":7,"}'),
    ],
)
def test_another_rows_number_takes_nothing(tmp_path: Path, seq: int, body: str) -> None:
    """A table that was restored or made anew: a payment under way, another order's outcome."""
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    with engine.begin() as connection:
        fleet_tables("chaoying_").metadata.create_all(connection)
        _put(connection, "chaoying_", seq, body)
        assert connection.execute(took_effect(OUTCOME)).rowcount == 0
    engine.dispose()


def _put(connection: Connection, prefix: str, seq: int, body: str) -> None:
    values = {"shard": 0, "slot": 0, "kind": "", "item": "", "then": "", "created": 0, "due": 0}
    row = {"seq": seq, "body": body, "tries": 0, **values}
    connection.execute(fleet_tables(prefix).rows.insert().values(**row))


def test_an_outcome_whose_row_was_not_kept_is_an_error() -> None:
    """Else it would look as if it had taken effect before, and nobody would act on it."""
    with pytest.raises(UsageError, match="patience"):
        took_effect({**OUTCOME, "kept": False})


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        (None, ["outcome"]),
        ("7", ["outcome"]),
        ({}, ["id", "seq"]),
        ({**OUTCOME, "seq": True}, ["seq"]),
        ({**OUTCOME, "seq": "7"}, ["seq"]),
        ({**OUTCOME, "id": ["m1:A7:7"]}, ["id"]),
        ({**OUTCOME, "id": "m1:A7:77"}, ["id"]),
    ],
    ids=repr,
)
def test_what_is_no_outcome_is_named(wrong: Any, fields: list[str]) -> None:
    """Before anything is deleted."""
    with pytest.raises(ParameterError) as caught:
        took_effect(wrong)
    assert [*caught.value.problems] == fields


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan"), True, "7"], ids=repr)
def test_a_patience_that_is_none_is_refused(wrong: Any, tmp_path: Path) -> None:
    """When the fleet is made, and not with the first outcome."""
    world = FleetWorld(f"sqlite:///{tmp_path}/shop.db")
    with pytest.raises(ParameterError) as caught:
        world.fleet(queue=CeleryQueue(shop_app("memory://"), patience=wrong))
    assert [*caught.value.problems] == ["queue.patience"]


def test_a_queue_that_joins_has_no_patience(tmp_path: Path) -> None:
    """It gets the outcome in the transaction that forgets the row: there is none to take."""
    queue = LosingQueue(lost=0, patience=1)
    queue.joins = True
    with pytest.raises(UsageError, match="joins"):
        FleetWorld(f"sqlite:///{tmp_path}/shop.db").fleet(queue=queue)


@pytest.mark.outside
async def test_celery_gets_again_what_its_broker_lost(servers: Servers, tmp_path: Path) -> None:
    """As after a worker that was killed between BRPOP and its note of what it had taken."""
    url = DATABASES["psycopg"](servers, tmp_path)
    async with opened(CeleryOverRedis, servers, tmp_path) as kit:
        assert isinstance(kit, CeleryOverRedis)
        queue = CeleryQueue(shop_app(kit.broker), patience=0.5)
        async with FleetWorld(url).open(1, queue=queue, lease=15) as (fleet,):
            await fleet.watch(order("A1"), then=NAME, schedule=SOON)
            with redis.from_url(kit.broker) as client:
                await until(lambda: client.llen("celery"))
                while client.lpop("celery"):
                    pass
            async with kit.worker(TAKES_FROM=_sync(url)):
                await until(lambda: kit.effects)
                await kit.finished()
                engine = create_async_engine(fleet._engine.url)
                assert await kept(engine) == 0
                await engine.dispose()
        queue.close()
    assert len(kit.effects) == 1


def _sync(url: str) -> str:
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
