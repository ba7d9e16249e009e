"""A COMMIT that fails leaves nothing behind, whyever it failed: no DONE, no lock, no dirty read.

Each way to fail on one pool, one of them on two; ``FULL=1``: all on both.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import psycopg
import pymysql  # type: ignore[import-untyped]
import pytest
from sqlalchemy import (
    AsyncAdaptedQueuePool,
    NullPool,
    TableClause,
    event,
    func,
    make_url,
    select,
    table,
    text,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async.notifications import NotificationHandler
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import OrderKey
from chaoying_async.testing import sign_notification
from tests.cancelling import cancelled_at
from tests.factories import CREDENTIALS, MCH_ID, ORDER
from tests.pollstores import everything
from tests.servers import Servers
from tests.shop import FAIL, PRICE, SUCCESS, message
from tests.sizes import cases
from tests.sql_shop import DATABASES, SqlShop, effects, sql_shop, take_effect

#: Pools as users set them up; the last one never rolls back what is given back to it.
POOLS: dict[str, dict[str, Any]] = {
    "queue": {"poolclass": AsyncAdaptedQueuePool, "pool_size": 3},
    "no reset": {"poolclass": AsyncAdaptedQueuePool, "pool_reset_on_return": None},
}
#: Of the largest file that this process may write; its own logs are shorter than that.
FULL = 1 << 20
OURS = "listener"


# ----------------------------------------------------------------------- why a COMMIT fails


class Obstacle:
    """Something that makes the COMMIT of every payment fail until it is taken away."""

    #: Whether it fails for the sake of somebody else: then the order is looked at again (M-16).
    for_others = False
    #: After how many deliveries at most the failure is counted.
    counted_after = 1

    async def prepare(self, shop: SqlShop) -> None:
        """Before the first payment."""

    async def on_paid(self, connection: Any) -> None:
        await take_effect(connection, ORDER)

    def committing(self, shop: SqlShop, raw: Any) -> AbstractContextManager[None]:
        """Around the COMMIT itself, with the driver's connection."""
        return nullcontext()

    async def take_away(self, shop: SqlShop) -> None:
        """What to do so that the next payment succeeds."""


class Reference(Obstacle):
    """A row whose DEFERRABLE INITIALLY DEFERRED reference is missing."""

    async def prepare(self, shop: SqlShop) -> None:
        async with shop.engine.begin() as connection:
            await connection.execute(text("CREATE TABLE goods (name VARCHAR(9) PRIMARY KEY)"))
            await connection.execute(
                text(
                    "CREATE TABLE sold (name VARCHAR(9) REFERENCES goods (name)"
                    " DEFERRABLE INITIALLY DEFERRED)"
                )
            )

    async def on_paid(self, connection: Any) -> None:
        await super().on_paid(connection)
        await connection.execute(text("INSERT INTO sold VALUES ('tea')"))

    async def take_away(self, shop: SqlShop) -> None:
        async with shop.engine.begin() as connection:
            await connection.execute(text("INSERT INTO goods VALUES ('tea')"))


class Trigger(Obstacle):
    """PostgreSQL: a deferred constraint trigger, which runs inside COMMIT."""

    def __init__(self, body: str) -> None:
        self.body = body

    async def prepare(self, shop: SqlShop) -> None:
        async with shop.engine.begin() as connection:
            await connection.execute(
                text(
                    "CREATE FUNCTION obstacle() RETURNS trigger LANGUAGE plpgsql AS"
                    f" $$ BEGIN {self.body}; RETURN NULL; END $$"
                )
            )
            await connection.execute(
                text(
                    "CREATE CONSTRAINT TRIGGER obstacle AFTER INSERT ON effects"
                    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION obstacle()"
                )
            )

    async def take_away(self, shop: SqlShop) -> None:
        async with shop.engine.begin() as connection:
            await connection.execute(text("DROP TRIGGER obstacle ON effects"))


class Conflict(Trigger):
    """PostgreSQL: COMMIT ends as that of the loser of two SERIALIZABLE transactions does."""

    for_others, counted_after = True, 20

    def __init__(self) -> None:
        super().__init__("RAISE EXCEPTION 'no' USING ERRCODE = '40001'")


class Reader(Obstacle):
    """SQLite with a rollback journal: somebody reads, and COMMIT is SQLITE_BUSY."""

    for_others, counted_after = True, 20

    async def prepare(self, shop: SqlShop) -> None:
        await shop.engine.dispose()
        self.reader = sqlite3.connect(shop.url.partition("///")[2], isolation_level=None)
        self.reader.execute("PRAGMA journal_mode=DELETE")

    @contextmanager
    def committing(self, shop: SqlShop, raw: Any) -> Generator[None]:
        self.reader.execute("BEGIN")
        self.reader.execute("SELECT count(*) FROM effects").fetchall()
        try:
            yield
        finally:
            self.reader.execute("ROLLBACK")

    async def take_away(self, shop: SqlShop) -> None:
        self.reader.close()


class FullDisk(Obstacle):
    """SQLite: what COMMIT writes does not fit any more."""

    async def on_paid(self, connection: Any) -> None:
        await super().on_paid(connection)
        for _ in range(20):
            await take_effect(connection, "x" * 100_000)

    @contextmanager
    def committing(self, shop: SqlShop, raw: Any) -> Generator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Lost(Obstacle):
    """The server ends the connection just before COMMIT arrives."""

    @contextmanager
    def committing(self, shop: SqlShop, raw: Any) -> Generator[None]:
        url = make_url(shop.url)
        if shop.kind == "mariadb":
            with pymysql.connect(host=url.host, port=url.port or 0, user="root") as killer:
                killer.cursor().execute(f"KILL {raw.thread_id()}")
        else:
            pid = raw.get_server_pid() if shop.kind == "asyncpg" else raw.info.backend_pid
            address = url.set(drivername="postgresql").render_as_string()
            with psycopg.connect(address, autocommit=True) as session:
                session.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        yield


class Listener(Obstacle):
    """The user's own code around COMMIT raises, and COMMIT never leaves.

    The connection is closed then. Until a server has noticed that, the order is still locked there,
    and a failure that comes as early is not counted.
    """

    counted_after = 20

    @contextmanager
    def committing(self, shop: SqlShop, raw: Any) -> Generator[None]:
        raise ZeroDivisionError
        yield


OBSTACLES: dict[str, tuple[Callable[[], Obstacle], tuple[str, ...]]] = {
    "reference": (Reference, ("sqlite", "psycopg", "asyncpg")),
    "serialization": (Conflict, ("psycopg", "asyncpg")),
    "full disk of a server": (
        lambda: Trigger("RAISE EXCEPTION 'no' USING ERRCODE = '53100'"),
        ("psycopg", "asyncpg"),
    ),
    "lost inside": (
        lambda: Trigger("PERFORM pg_terminate_backend(pg_backend_pid())"),
        ("psycopg", "asyncpg"),
    ),
    "lost before": (Lost, ("psycopg", "asyncpg", "mariadb")),
    "reader": (Reader, ("sqlite",)),
    "full disk": (FullDisk, ("sqlite",)),
    "listener": (Listener, tuple(DATABASES)),
}
PAIRS = [(kind, name) for name, (_, kinds) in OBSTACLES.items() for kind in kinds]
#: Each on the pool that never rolls back, and where our own code is in the way on the other one.
ON_POOLS = cases(
    [(*pair, pool) for pair in PAIRS for pool in POOLS if pool == "no reset" or pair[1] == OURS],
    more=[(*pair, "queue") for pair in PAIRS if pair[1] != OURS],
)


# --------------------------------------------------------------------------- the whole journey


def _options(kind: str, pool: str) -> dict[str, Any]:
    more = {"connect_args": {"timeout": 0.05}} if kind == "sqlite" else {}
    return POOLS[pool] | more


def _keeping_references(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA foreign_keys=ON")


def _around_commits(shop: SqlShop, around: Callable[[Any], AbstractContextManager[None]]) -> None:
    """SQLAlchemy's own hook for dialects: nothing else is there at the moment of a COMMIT."""
    dialect: Any = shop.engine.dialect
    commit = dialect.do_commit

    def do_commit(connection: Any) -> None:
        with around(connection.driver_connection):
            commit(connection)

    dialect.do_commit = do_commit


async def _used(engine: AsyncEngine, rows: TableClause = effects) -> list[int]:
    """How many rows four connections at once read: all that the pool has, and they see traffic."""
    connections = [await engine.connect() for _ in range(4)]
    try:
        question = select(func.count()).select_from(rows)
        return [(await one.execute(question)).scalar_one() for one in connections]
    finally:
        for one in connections:
            await one.close()


async def _can_write(shop: SqlShop, change: str = "chaoying_orders SET reason = reason") -> None:
    """Somebody with a connection of his own, who does not wait for any lock."""
    if shop.kind == "sqlite":
        with closing(sqlite3.connect(shop.url.partition("///")[2], timeout=0)) as raw:
            raw.execute("BEGIN IMMEDIATE")
        return
    other = create_async_engine(shop.url, poolclass=NullPool)
    no_waiting = {"mariadb": "SET innodb_lock_wait_timeout = 1"}.get(
        shop.kind, "SET LOCAL lock_timeout = '1s'"
    )
    async with other.begin() as connection:
        await connection.execute(text(no_waiting))
        await connection.execute(text(f"UPDATE {change}"))


async def _expected(_mch_id: str, _out_trade_no: str) -> ExpectedOrder:
    return ExpectedOrder(PRICE, MCH_ID)


async def _unused_soon(engine: AsyncEngine) -> bool:
    """Whether no connection is left in a transaction; an answer does not wait for a slow one."""
    for _ in range(100):
        if await _used(engine) == [0] * 4:
            return True
        await asyncio.sleep(0.05)
    return False


@pytest.mark.parametrize(("kind", "obstacle", "pool"), ON_POOLS)
async def test_an_order_whose_commit_fails_is_no_order_that_was_done(
    servers: Servers, kind: str, obstacle: str, pool: str
) -> None:
    """M-14, M-16: `fail` each time, nobody reads what was not committed, and it applies later.

    The failure is counted; where somebody else's transaction was in the way, as soon as there is
    time to write that down when the budget has ended.
    """
    hurdle = OBSTACLES[obstacle][0]()
    armed: list[bool] = []

    async def on_paid(_order: Any, connection: Any) -> None:
        await hurdle.on_paid(connection)
        armed.append(True)

    def around(raw: Any) -> AbstractContextManager[None]:
        return hurdle.committing(shop, raw) if armed and armed.pop() else nullcontext()

    async with sql_shop(kind, servers, **_options(kind, pool)) as shop:
        if kind == "sqlite":
            _keeping_references(shop.engine)
            await shop.engine.dispose()
        await hurdle.prepare(shop)
        await _used(shop.engine)
        _around_commits(shop, around)
        handler = NotificationHandler(
            CREDENTIALS, shop.inbox, on_paid, expected=_expected, budget=1.0
        )
        body = sign_notification(CREDENTIALS, **message(datetime.now(UTC)))
        for failures in (1, 2):
            for _ in range(hurdle.counted_after):
                answer = await handler.handle(body)
                assert answer.body == FAIL
                assert answer.decision is Decision.APPLY or hurdle.for_others
                assert await _unused_soon(shop.engine)
                await _can_write(shop)
                record = await shop.inbox.look(OrderKey(MCH_ID, ORDER))
                counted = 0 if record is None else record.failures
                if counted == failures:
                    break
            assert record is not None
            assert (record.state, counted) == ("HELD", failures)
        hurdle.committing = lambda *_: nullcontext()  # type: ignore[method-assign]
        await hurdle.take_away(shop)
        answer = await handler.handle(body)
        assert (answer.decision, answer.body) == (Decision.APPLY, SUCCESS)
        assert await shop.effects(ORDER) == 1
        answer = await handler.handle(body)
        assert (answer.decision, answer.body) == (Decision.DUPLICATE, SUCCESS)


# ------------------------------------------------------------------------------- cancelled


@pytest.mark.parametrize("later", [0, 2])
@pytest.mark.parametrize("kind", DATABASES)
async def test_work_cancelled_at_any_await_is_all_or_nothing_in_a_pool_that_never_resets(
    servers: Servers, kind: str, later: int
) -> None:
    """M-16: in the middle of COMMIT too; whoever gets the connection next has no transaction."""
    async with sql_shop(kind, servers, **_options(kind, "no reset")) as shop:

        async def work(key: OrderKey) -> None:
            async with shop.working(key) as connection:
                await take_effect(connection, key.out_trade_no)

        at, reached = 0, True
        while reached:
            key = OrderKey(MCH_ID, f"{at}")
            end = await cancelled_at(at, work(key), later=later)
            reached = end.reached
            assert end.error is None
            at += 1
            assert await _as_many_as_done_soon(shop, at)
            await _can_write(shop)
        assert at > 3
        assert await shop.state(key) == "DONE"


async def _as_many_as_done_soon(shop: SqlShop, orders: int) -> bool:
    """Whether each effect has its record; a server ends a COMMIT that was cut off when it likes."""
    for _ in range(60):
        used = await _used(shop.engine)
        states = [await shop.state(OrderKey(MCH_ID, f"{order}")) for order in range(orders)]
        if used == [states.count("DONE")] * 4:
            return True
        await asyncio.sleep(0.05)
    return False


# ---------------------------------------------------------------------------- the poll store


@pytest.mark.parametrize(
    ("kind", "obstacle", "pool"),
    [each for each in ON_POOLS if each[1] in ("listener", "lost before", "reader")],
)
async def test_a_poll_store_whose_commit_fails_holds_nothing(
    servers: Servers, kind: str, obstacle: str, pool: str
) -> None:
    """M-23: what could not be kept is nowhere, nothing stays locked, and the next one is kept."""
    hurdle = OBSTACLES[obstacle][0]()
    armed: list[bool] = []

    def around(raw: Any) -> AbstractContextManager[None]:
        return hurdle.committing(shop, raw) if armed and armed.pop() else nullcontext()

    async with sql_shop(kind, servers, **_options(kind, pool)) as shop:
        await hurdle.prepare(shop)
        _around_commits(shop, around)
        async with SqlPollStore(shop.engine, lease=600.0) as store:
            await store.put("poll", {"a": "1"})
            await _used(shop.engine)
            for _ in range(2):
                armed.append(True)
                with pytest.raises(Exception, match=r".*"):  # whatever it is called
                    await store.put("poll", {"b": "1"})
                assert await _used(shop.engine, table("chaoying_polls")) == [1] * 4
                await _can_write(shop, "chaoying_polls_owner SET lease = lease")
            await store.put("poll", {"c": "1"})
            assert await everything(store, "poll") == [("a", "1"), ("c", "1")]
