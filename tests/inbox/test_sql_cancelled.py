"""SqlInbox under cancellation at every await, odd engines, races, and hostile surroundings."""

from __future__ import annotations

import asyncio
import gc
import logging
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import AsyncAdaptedQueuePool, NullPool, select, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    Entry,
    Mark,
    OrderKey,
    SeenState,
)
from tests.cancelling import cancelled_at, eventually
from tests.servers import Servers
from tests.sizes import cases, sampled
from tests.sql_shop import (
    DATABASES,
    KEY,
    SqlShop,
    an_entry,
    effects,
    sql_shop,
    take_effect,
    working,
)

HELD = SeenState.HELD
#: A pool that soon shows what is not given back; older SQLAlchemys keep none for SQLite.
SMALL: dict[str, Any] = {
    "poolclass": AsyncAdaptedQueuePool,
    "pool_size": 2,
    "max_overflow": 0,
    "pool_timeout": 5,
}
#: What holds a lock or a snapshot of a database although nobody works on it.
_OPEN = {
    "psycopg": "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND state LIKE"
    " 'idle in transaction%'",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx t JOIN information_schema"
    ".processlist p ON p.id = t.trx_mysql_thread_id WHERE p.db = database()"
    " AND p.id <> connection_id()",
}
_OPEN["asyncpg"] = _OPEN["psycopg"]


def an_aside(key: OrderKey) -> Aside:
    return Aside(
        key=key,
        fingerprint="ab" * 32,
        decision="UNKNOWN_ORDER",
        reason="why",
        payload="{}",
        first_seen=datetime.now(UTC),
    )


# ------------------------------------------------------------------------ cancelled anywhere


async def is_clean(shop: SqlShop) -> bool:
    """Nothing is checked out of the pool, and no transaction is open anywhere."""
    pool: Any = shop.engine.pool
    if pool.checkedout():
        return False
    try:
        await shop.inbox.look(KEY)
        if shop.kind == "sqlite":
            return await asyncio.to_thread(_is_free, shop.url.partition("///")[2])
        async with shop.engine.connect() as connection:
            return not (await connection.execute(text(_OPEN[shop.kind]))).scalar_one()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        return False  # one that the cancellation cut off; older drivers find out when it is used


def _is_free(path: str) -> bool:
    with closing(sqlite3.connect(path, timeout=0.2, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
    return True


Call = Callable[[SqlShop, OrderKey], Awaitable[Callable[[], Any]]]


def _of_aside(call: Callable[[SqlShop, Aside], Any]) -> Call:
    async def prepare(shop: SqlShop, key: OrderKey) -> Callable[[], Any]:
        aside = an_aside(key)
        await shop.inbox.set_aside(aside, retry_in=0)
        return lambda: call(shop, aside)

    return prepare


def _plain(call: Callable[[SqlShop, OrderKey], Any]) -> Call:
    async def prepare(shop: SqlShop, key: OrderKey) -> Callable[[], Any]:
        return lambda: call(shop, key)

    return prepare


def _of_record(state: SeenState, call: Callable[[SqlShop, OrderKey], Any]) -> Call:
    async def prepare(shop: SqlShop, key: OrderKey) -> Callable[[], Any]:
        old = datetime.now(UTC) - timedelta(days=90)
        await shop.record(state, key, first_seen=old)
        return lambda: call(shop, key)

    return prepare


async def _pay(shop: SqlShop, key: OrderKey) -> None:
    async with shop.working(key) as connection:
        await take_effect(connection, key.out_trade_no)
        await asyncio.sleep(0)


async def _ask_and_pay(shop: SqlShop, key: OrderKey) -> None:
    """Lent twice: the shop's lookup reads on the connection before ``on_paid`` writes."""
    entry = an_entry()
    async with shop.inbox.lock(key, entry) as order:
        assert order is not None
        for work in (_ask, take_effect):
            async with order.lend() as connection:
                await work(connection, key.out_trade_no)
        await order.save(SeenState.DONE, entry)


async def _ask(connection: Any, number: str) -> None:
    await connection.execute(select(effects).where(effects.c.number == number))


async def _let_go(shop: SqlShop, key: OrderKey) -> None:
    async with shop.inbox.lock(key, an_entry()):
        await asyncio.sleep(0)


CALLS: dict[str, Call] = {
    "look": _plain(lambda shop, key: shop.inbox.look(key)),
    "pay": _plain(_pay),
    "ask and pay": _plain(_ask_and_pay),
    "pay again": _of_record(HELD, _pay),
    "let go": _plain(_let_go),
    "look again": _of_record(SeenState.DONE, _let_go),
    "record": _plain(lambda shop, key: shop.record(HELD, key, failures=1)),
    "record again": _of_record(HELD, lambda shop, key: shop.record(SeenState.NOT_PAID, key)),
    "set_aside": _plain(lambda shop, key: shop.inbox.set_aside(an_aside(key), retry_in=1.0)),
    "set_aside again": _of_aside(lambda shop, aside: shop.inbox.set_aside(aside, retry_in=None)),
    "postpone": _of_aside(lambda shop, aside: shop.inbox.postpone(aside, retry_in=None)),
    "close": _of_aside(lambda shop, aside: shop.inbox.close(aside)),
    "asides": _of_aside(lambda shop, aside: shop.inbox.asides(aside.key)),
    "aside": _of_aside(lambda shop, aside: shop.inbox.aside(aside.key, aside.fingerprint)),
    "unfinished": _of_aside(lambda shop, _aside: shop.inbox.unfinished(10)),
    "listing": _of_aside(lambda shop, _aside: shop.inbox.listing(10)),
    "mark": _of_record(SeenState.QUARANTINED, lambda shop, key: shop.inbox.mark(key, Mark.RETRY)),
    "mark aside": _of_aside(
        lambda shop, aside: shop.inbox.mark(aside.key, Mark.APPLY, aside.fingerprint)
    ),
    "prune": _of_record(
        SeenState.NOT_PAID, lambda shop, _key: shop.inbox.prune(datetime.now(UTC), keys=True)
    ),
    "create_tables": _plain(lambda shop, _key: shop.inbox.create_tables()),
}


#: After these there is an effect where the order is DONE, and only there.
PAYING = ("pay", "ask and pay", "pay again")

#: Kind of database; how many awaits later it is cancelled again, and how often; on new connections.
ALL_CANCELLED = [
    (kind, later, times, fresh)
    for kind in DATABASES
    for later, times in ((0, 1), (3, 1), (0, 3))
    for fresh in (False, True)
]
CANCELLED = [
    ("sqlite", 0, 1, False),
    ("sqlite", 0, 3, True),
    ("psycopg", 3, 1, False),
    ("asyncpg", 0, 3, False),
    ("mariadb", 0, 1, True),
]


@pytest.fixture
def quiet_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest keeps what was logged beyond a test's end, and that keeps connections."""
    monkeypatch.setattr(logging.getLogger("aiosqlite"), "disabled", True)


@pytest.mark.parametrize(
    ("kind", "later", "times", "fresh"),
    cases(CANCELLED, more=[each for each in ALL_CANCELLED if each not in CANCELLED]),
)
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("quiet_driver")
# SQLAlchemy leaves a connection that was cancelled while it was being opened to the collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_cancelled_at_any_await_nothing_is_left_behind(
    servers: Servers, kind: str, later: int, times: int, fresh: bool
) -> None:
    """M-16: no lock, no open transaction, no connection lost to the pool; all or nothing.

    On SQLite, where two of these run, each takes half of the calls; ``FULL=1``: all take all.
    """
    calls = [*CALLS.items()]
    if kind == "sqlite":
        calls = [*sampled(calls, every=2, start=int(fresh))]

    async def everywhere() -> None:
        options = {"later": later, "times": times}
        async with sql_shop(kind, servers, **SMALL) as shop:
            for name, plain in calls:
                prepare = _on_new_connections(plain) if fresh else plain
                await _cancelled_everywhere(shop, name, prepare, options)

    before = set(threading.enumerate())
    asyncio.run(everywhere())
    _collect_connections(before)


def _collect_connections(before: set[threading.Thread]) -> None:
    """Here, not in the middle of another test; a thread holds what it has not opened yet."""
    for _ in range(100):
        gc.collect()
        if not any("connection_worker" in one.name for one in set(threading.enumerate()) - before):
            return
        time.sleep(0.05)


def _on_new_connections(prepare: Call) -> Call:
    async def prepared(shop: SqlShop, key: OrderKey) -> Callable[[], Any]:
        call = await prepare(shop, key)
        await shop.engine.dispose()
        return call

    return prepared


async def _cancelled_everywhere(
    shop: SqlShop, name: str, prepare: Call, options: dict[str, int]
) -> None:
    at, reached = 0, True
    while reached:
        key = OrderKey(KEY.mch_id, f"{name} {at}")
        call = await prepare(shop, key)
        end = await cancelled_at(at, call(), **options)
        reached = end.reached
        where = f"{name} at {at}"
        assert end.error is None, (where, end.error)
        assert await eventually(lambda: is_clean(shop)), where
        if name in PAYING:
            done = await shop.state(key) == "DONE"
            assert await shop.effects(key.out_trade_no) == int(done), where
            assert await shop.is_free(key)
        assert await shop.is_free(OrderKey(KEY.mch_id, f"after {where}"))
        at += 1
    assert at > 1, name


async def test_a_dead_connection_of_sqlites_does_not_stay_in_the_pool(servers: Servers) -> None:
    """M-17: whoever closed it; one call says so, the next one works."""
    async with sql_shop("sqlite", servers, **SMALL | {"pool_size": 1}) as shop:
        for call in CALLS.values():
            prepared = await call(shop, OrderKey(KEY.mch_id, str(id(call))))
            async with shop.engine.connect() as connection:
                raw: Any = await connection.get_raw_connection()
                await raw.driver_connection.close()
            try:
                await prepared()
            except DBAPIError as error:  # newer SQLAlchemys find out by themselves
                assert error.connection_invalidated
                await prepared()


# --------------------------------------------------------------------------- odd surroundings

_SESSIONS: dict[str, dict[str, Any]] = {
    "psycopg": {"options": "-c timezone=America/St_Johns"},
    "asyncpg": {"server_settings": {"timezone": "America/St_Johns"}},
    "mariadb": {"init_command": "SET SESSION time_zone='-11:30', sql_mode=''"},
}


@pytest.mark.parametrize("kind", _SESSIONS)
async def test_retries_do_not_follow_the_sessions_time_zone(servers: Servers, kind: str) -> None:
    """M-26: the database's clock, told in UTC whatever zone a session set."""
    async with sql_shop(kind, servers) as shop:
        engine = create_async_engine(shop.url, connect_args=_SESSIONS[kind])
        elsewhere = SqlInbox(engine)
        await shop.record(HELD, failures=1, retry_in=1000)
        await shop.record(HELD, OrderKey(KEY.mch_id, "due"), failures=1)
        assert [one.key.out_trade_no for one in await elsewhere.unfinished(10)] == ["due"]
        async with elsewhere.lock(KEY, an_entry()) as order:
            assert order is not None
            await order.save(HELD, an_entry(), failures=2, retry_in=1000)
        assert len(await shop.inbox.unfinished(10)) == 1
        await engine.dispose()


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_key_that_is_too_long_is_refused_not_cut(servers: Servers, kind: str) -> None:
    """M-18: also where MariaDB's sql_mode would cut it in silence, and make two orders one."""
    options = {"connect_args": _SESSIONS["mariadb"]} if kind == "mariadb" else {}
    async with sql_shop(kind, servers, **options) as shop:
        await shop.paid(take_effect, OrderKey("m" * 64, "n" * 128))
        for key in (OrderKey("m" * 65, "n" * 128), OrderKey("m" * 64, "n" * 129)):
            with pytest.raises(ValueError, match="too long"):
                await shop.is_free(key)
            with pytest.raises(ValueError, match="too long"):
                await shop.inbox.look(key)


@pytest.mark.parametrize("prefix", ["Pay ", 'a"b`c%s:x_', "支付_", "select_"])
@pytest.mark.parametrize("kind", DATABASES)
async def test_a_table_prefix_may_be_anything(servers: Servers, kind: str, prefix: str) -> None:
    """It is quoted wherever it stands; the whole of a paid order's way works."""
    async with sql_shop(kind, servers) as shop:
        inbox = SqlInbox(shop.engine, table_prefix=prefix)
        await inbox.create_tables()
        async with working(inbox) as connection:
            await take_effect(connection)
        assert await inbox.set_aside(an_aside(KEY), retry_in=0)
        assert len(await inbox.unfinished(10)) == 1
        assert await inbox.prune(datetime.now(UTC) + timedelta(days=1)) == 1


@pytest.mark.parametrize("kind", DATABASES)
async def test_one_connection_is_enough(servers: Servers, kind: str) -> None:
    """Many orders on a pool of one wait for it and get it; none needs a second connection."""
    async with sql_shop(kind, servers, **SMALL | {"pool_size": 1}) as shop:

        async def pay(number: str) -> None:
            async with shop.working(OrderKey(KEY.mch_id, number)) as connection:
                await take_effect(connection, number)

        await asyncio.gather(*(pay(str(n)) for n in range(20)))
        assert await shop.effects() == 20


@pytest.mark.parametrize("kind", DATABASES)
async def test_an_on_paid_that_starves_itself_is_a_failure(servers: Servers, kind: str) -> None:
    """On a pool of one, whoever asks the engine for another connection: an error, rolled back."""
    async with sql_shop(kind, servers, **SMALL | {"pool_size": 1, "pool_timeout": 0.2}) as shop:

        async def on_paid(connection: Any) -> None:
            await take_effect(connection)
            async with shop.engine.connect():
                raise AssertionError

        with pytest.raises(PoolTimeoutError):
            await shop.paid(on_paid)
        assert (await shop.effects(), await shop.state()) == (0, None)


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_connection_invalidated_by_on_paid_is_a_failure(
    servers: Servers, kind: str
) -> None:
    """M-16: past what the lent connection refuses; rolled back, and the pool is as before."""
    async with sql_shop(kind, servers, **SMALL) as shop:

        async def on_paid(connection: Any) -> None:
            await take_effect(connection)
            await connection.run_sync(lambda sync: sync.invalidate())

        with pytest.raises((DBAPIError, InvalidRequestError)):
            await shop.paid(on_paid)
        assert await eventually(lambda: is_clean(shop))
        assert (await shop.effects(), await shop.state()) == (0, None)


@pytest.mark.parametrize("kind", DATABASES)
async def test_whoever_has_an_answer_may_dispose_of_the_engine(servers: Servers, kind: str) -> None:
    """A connection that is still out then would be left to the collector, with a warning."""
    async with sql_shop(kind, servers, **SMALL) as shop:
        pool: Any = shop.engine.pool
        for payable in (1, 1 << 70):  # the second is no 64-bit number, and refused
            entry = an_entry(payable=payable)

            async def record(number: int, entry: Entry = entry) -> None:
                key = OrderKey(KEY.mch_id, f"{entry.payable} {number}")
                async with shop.inbox.lock(key, entry) as order:
                    if order is not None:
                        await order.save(HELD, entry)

            numbers = (*range(20), *range(20))
            await asyncio.gather(*map(record, numbers), return_exceptions=True)
            assert pool.checkedout() == 0


def test_event_loops_may_share_an_inbox(tmp_path: Path) -> None:
    """Four threads with a loop each, at once, and a loop after another: nobody waits for ever."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db", poolclass=NullPool)
    inbox = SqlInbox(engine)
    asyncio.run(inbox.create_tables())

    async def pay(loop: int) -> int:
        keys = [OrderKey(KEY.mch_id, f"{loop} {n}") for n in range(8)] + [KEY]
        return sum(await asyncio.gather(*map(first, keys)))

    async def first(key: OrderKey) -> bool:
        async with inbox.lock(key, an_entry()) as order:
            assert order is not None
            if order.before is not None:
                return False
            await order.save(SeenState.DONE, an_entry())
            return True

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda loop: asyncio.run(pay(loop)), range(4)))
    assert sum(results) == 4 * 8 + 1
    assert asyncio.run(pay(4)) == 8
