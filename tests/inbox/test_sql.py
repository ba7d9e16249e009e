"""What SqlInbox promises beyond the contract: one transaction, guarded, on every database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from chaoying_async.exceptions import HandlerMisuseError, UsageError
from chaoying_async.inbox.sql import LentConnection, SqlInbox
from chaoying_async.sansio.notifications.inbox_values import (
    LookAgainError,
    OrderKey,
    SeenState,
    TransactionEndedError,
)
from tests.servers import Servers
from tests.sql_shop import (
    DATABASES,
    KEY,
    SqlShop,
    an_entry,
    singles,
    sql_shop,
    take_effect,
    working,
)

NUMBER = KEY.out_trade_no


@pytest_asyncio.fixture
async def sqlite_shop(servers: Servers) -> AsyncGenerator[SqlShop]:
    async with sql_shop("sqlite", servers) as made:
        yield made


async def test_it_remembers_for_35_days(sqlite_shop: SqlShop) -> None:
    """M-19: and so long a payment is no STALE one."""
    assert sqlite_shop.inbox.window == timedelta(days=35)


# ------------------------------------------------------------------------- one transaction


async def test_the_effect_and_the_record_are_committed_together(shop: SqlShop) -> None:
    """M-16: until the work is left nobody else sees the effect; afterwards both are there."""
    async with shop.working() as connection:
        await take_effect(connection)
        assert isinstance(connection, LentConnection)
        assert await shop.effects() == 0
        assert await shop.state() is None
    assert (await shop.effects(), await shop.state()) == (1, "DONE")


async def test_an_effect_that_raises_leaves_nothing(shop: SqlShop) -> None:
    """M-16: rolled back, and so is the row that held the order."""

    async def on_paid(connection: AsyncConnection) -> None:
        await take_effect(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await shop.paid(on_paid)
    assert (await shop.effects(), await shop.state()) == (0, None)


async def test_work_that_is_cancelled_leaves_nothing_and_no_lock(shop: SqlShop) -> None:
    """M-16, M-17: cancelled inside a statement or between two, rolled back at once."""
    started = asyncio.Event()

    async def work() -> None:
        async with shop.working() as connection:
            await take_effect(connection)
            started.set()
            for _ in range(10_000):
                await connection.execute(text("SELECT 1"))

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await shop.is_free()
    assert await shop.is_free(OrderKey(KEY.mch_id, "another"))
    assert (await shop.effects(), await shop.state()) == (0, None)


async def test_what_was_not_saved_was_not_done(shop: SqlShop) -> None:
    """M-16: leaving the order without a word rolls back what was done on its connection."""
    async with shop.inbox.lock(KEY, an_entry()) as order:
        assert order is not None
        async with order.lend() as connection:
            await take_effect(connection)
    assert (await shop.effects(), await shop.state()) == (0, None)


# -------------------------------------------------------------------------------- guarded

Offence = Callable[[Any], Any]


@pytest.mark.parametrize(
    "offence",
    [
        LentConnection.commit,
        LentConnection.rollback,
        LentConnection.close,
        LentConnection.aclose,
        LentConnection.invalidate,
        LentConnection.begin,
    ],
)
async def test_what_would_end_the_transaction_is_refused(
    sqlite_shop: SqlShop, offence: Offence
) -> None:
    """M-16: commit, rollback, close, begin; the message says what to do, nothing is lost by it."""
    async with sqlite_shop.working() as connection:
        await take_effect(connection)
        with pytest.raises(HandlerMisuseError, match="its transaction ends with on_paid"):
            await offence(connection)
        with pytest.raises(InvalidRequestError):
            async with connection:
                pass
    assert (await sqlite_shop.effects(), await sqlite_shop.state()) == (1, "DONE")


async def _sync_commit(connection: AsyncConnection) -> None:
    await connection.run_sync(lambda sync: sync.commit())


async def _sync_rollback(connection: AsyncConnection) -> None:
    await connection.run_sync(lambda sync: sync.rollback())


async def _of_the_transaction(connection: AsyncConnection) -> None:
    transaction = connection.get_transaction()
    assert transaction is not None
    await transaction.commit()


async def _by_text(connection: AsyncConnection) -> None:
    await connection.execute(text("COMMIT"))


async def _by_text_and_on(connection: AsyncConnection) -> None:
    await connection.execute(text("ROLLBACK"))
    await connection.execute(text("BEGIN"))
    await take_effect(connection)


async def _by_the_driver(connection: AsyncConnection) -> None:
    raw = await connection.get_raw_connection()
    await connection.run_sync(lambda sync: raw.commit())


async def _behind_the_back(connection: AsyncConnection) -> None:
    await connection.run_sync(lambda sync: sync.close())


@pytest.mark.parametrize(
    "end",
    [
        _sync_commit,
        _sync_rollback,
        _of_the_transaction,
        _by_text,
        _by_text_and_on,
        _by_the_driver,
        _behind_the_back,
    ],
)
async def test_a_transaction_that_was_ended_is_misuse(
    shop: SqlShop, end: Callable[[AsyncConnection], Awaitable[None]]
) -> None:
    """M-16: whichever way on_paid ended it, the order is not DONE, and a person has to look."""

    async def on_paid(connection: AsyncConnection) -> None:
        await take_effect(connection)
        await end(connection)

    with pytest.raises(TransactionEndedError, match="ended the transaction"):
        await shop.paid(on_paid)
    assert await shop.state() in (None, "HELD")
    assert await shop.effects() <= 1  # what came after the end is rolled back at least
    await shop.record(SeenState.QUARANTINED, reason="misuse")
    assert await shop.state() == "QUARANTINED"


async def test_a_table_made_by_on_paid_ends_mariadbs_transaction(servers: Servers) -> None:
    """M-16: MariaDB commits before DDL without a word; that is noticed."""
    async with sql_shop("mariadb", servers) as shop:

        async def on_paid(connection: AsyncConnection) -> None:
            await take_effect(connection)
            await connection.execute(text("CREATE TABLE surprise (n INTEGER)"))

        with pytest.raises(TransactionEndedError):
            await shop.paid(on_paid)


async def test_a_savepoint_of_ones_own_is_fine(shop: SqlShop) -> None:
    """M-16: begin_nested, rolled back or not."""
    async with shop.working() as connection:
        await take_effect(connection)
        with contextlib.suppress(ZeroDivisionError):
            async with connection.begin_nested():
                await take_effect(connection, "undone")
                raise ZeroDivisionError
        async with connection.begin_nested():
            await take_effect(connection, "kept")
    assert [await shop.effects(n) for n in (NUMBER, "undone", "kept")] == [1, 0, 1]
    assert await shop.state() == "DONE"


async def test_a_savepoint_left_open_is_an_error_not_a_guess(shop: SqlShop) -> None:
    """Whether its work counts is not clear: rolled back, and tried again like any failure."""

    async def on_paid(connection: AsyncConnection) -> None:
        await connection.begin_nested()
        await take_effect(connection)

    with pytest.raises(UsageError, match="still open"):
        await shop.paid(on_paid)
    assert (await shop.effects(), await shop.state()) == (0, None)


# ------------------------------------------------------------------------ errors come out


async def test_an_error_on_paid_swallowed_on_postgresql_is_a_failure(servers: Servers) -> None:
    """A transaction that is aborted commits nothing: it must not count as done."""
    for kind in ("psycopg", "asyncpg"):
        async with sql_shop(kind, servers) as shop:

            async def on_paid(connection: AsyncConnection) -> None:
                await take_effect(connection)
                with pytest.raises(DBAPIError):
                    await connection.execute(text("SELECT 1/0"))

            with pytest.raises(DBAPIError):
                await shop.paid(on_paid)
            assert (await shop.effects(), await shop.state()) == (0, None)


_KILLERS = {
    "psycopg": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
    "asyncpg": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
    "mariadb": ("SELECT connection_id()", "KILL {}"),
}


@pytest.mark.parametrize("kind", _KILLERS)
@pytest.mark.parametrize("swallowed", [False, True])
async def test_a_lost_connection_is_a_failure(servers: Servers, kind: str, swallowed: bool) -> None:
    """M-16: whether or not on_paid noticed, rolled back and reported; the engine lives on."""
    ask, kill = _KILLERS[kind]
    async with sql_shop(kind, servers) as shop:

        async def on_paid(connection: AsyncConnection) -> None:
            await take_effect(connection)
            ident = (await connection.execute(text(ask))).scalar_one()
            async with shop.engine.begin() as other:
                await other.execute(text(kill.format(int(ident))))
            if swallowed:
                with pytest.raises(DBAPIError):
                    await take_effect(connection)

        with pytest.raises((DBAPIError, InvalidRequestError)):
            await shop.paid(on_paid)
        assert (await shop.effects(), await shop.state()) == (0, None)
        await shop.record(SeenState.HELD, failures=1)


async def test_a_deadlock_of_two_orders_is_nobodys_failure(servers: Servers) -> None:
    """M-16: the database picks one; it is rolled back to be looked at again, the other is done."""
    for kind in ("psycopg", "mariadb"):
        async with sql_shop(kind, servers) as shop:
            async with shop.engine.begin() as connection:
                await connection.execute(insert(singles), [{"number": "x"}, {"number": "y"}])
            both = asyncio.Barrier(2)

            async def work(first: str, second: str, shop: SqlShop = shop, both: Any = both) -> None:
                async with shop.working(OrderKey(KEY.mch_id, first)) as connection:
                    await take_effect(connection, first)
                    lock = select(singles).with_for_update()
                    await connection.execute(lock.where(singles.c.number == first))
                    await both.wait()
                    await connection.execute(lock.where(singles.c.number == second))

            ended = await asyncio.gather(work("x", "y"), work("y", "x"), return_exceptions=True)
            assert sorted(map(type, ended), key=str) == [type(None), LookAgainError], ended
            assert await shop.effects() == 1


# ------------------------------------------------------------------------------ the engine


async def test_the_engine_stays_the_users(shop: SqlShop) -> None:
    """M-17: never closed, and its own transactions are as before."""
    async with shop.working() as connection:
        await take_effect(connection)
    async with shop.engine.connect() as connection:
        await take_effect(connection, "never committed")
    async with shop.engine.begin() as connection:
        await take_effect(connection, "of the shop")
    assert await shop.effects() == 2


def _url(kind: str, servers: Servers, stack: ExitStack) -> str:
    return DATABASES[kind](servers, stack)


@pytest.mark.parametrize("kind", DATABASES)
async def test_an_engine_without_transactions_is_refused(servers: Servers, kind: str) -> None:
    """In AUTOCOMMIT the effect and the record could not be one; both ways to ask for it."""
    with ExitStack() as stack:
        url = _url(kind, servers, stack)
        made = create_async_engine(url, isolation_level="AUTOCOMMIT")
        optioned = create_async_engine(url).execution_options(isolation_level="AUTOCOMMIT")
        for engine in (made, optioned):
            with pytest.raises(UsageError, match="AUTOCOMMIT"):
                SqlInbox(engine)


async def test_what_cannot_work_is_refused_at_once(tmp_path: Path) -> None:
    """An in-memory SQLite has one connection for everybody; a sync engine none to await."""
    with pytest.raises(UsageError, match="in-memory"):
        SqlInbox(create_async_engine("sqlite+aiosqlite://"))
    with pytest.raises(UsageError, match="AsyncEngine"):
        SqlInbox(create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x").sync_engine)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("kind", ["psycopg", "asyncpg", "mariadb"])
async def test_a_stricter_isolation_is_kept(servers: Servers, kind: str, level: str) -> None:
    """The engine's own level is on_paid's; orders are locked under it as well."""
    async with sql_shop(kind, servers, isolation_level=level) as shop:
        async with shop.working() as connection:
            assert await connection.get_isolation_level() == level
            await take_effect(connection)
        others = (shop.is_free(OrderKey(KEY.mch_id, str(n))) for n in range(5))
        assert await asyncio.gather(*others) == [True] * 5
        assert (await shop.effects(), await shop.state()) == (1, "DONE")


async def test_sqlite_is_durable_and_concurrent(tmp_path: Path) -> None:
    """WAL for all; synchronous FULL on the inbox's connections, whatever the engine sets."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")

    @event.listens_for(engine.sync_engine, "connect")
    def hurry(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    inbox = SqlInbox(engine)
    await inbox.create_tables()
    async with working(inbox) as connection:
        assert (await connection.execute(text("PRAGMA synchronous"))).scalar_one() == 2
        assert (await connection.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
    await engine.dispose()


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE"])
async def test_sqlites_well_known_recipe_is_fine(tmp_path: Path, begin: str) -> None:
    """An engine that begins its transactions itself, as SQLAlchemy's docs advise for savepoints."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    inbox = SqlInbox(engine)
    await inbox.create_tables()
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE effects (number TEXT)"))
    with contextlib.suppress(ZeroDivisionError):
        async with working(inbox, OrderKey(KEY.mch_id, "undone")) as connection:
            await take_effect(connection)
            raise ZeroDivisionError
    async with working(inbox) as connection:
        await take_effect(connection)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM effects"))).scalar_one() == 1
    await engine.dispose()


async def test_sqlite_writers_of_one_process_queue_up(sqlite_shop: SqlShop) -> None:
    """Fifty at once, on a database that would turn most of them away after 5 s."""

    async def one(n: int) -> None:
        async with sqlite_shop.working(OrderKey(KEY.mch_id, str(n))) as connection:
            await take_effect(connection, str(n))

    await asyncio.gather(*(one(n) for n in range(50)))
    assert await sqlite_shop.effects() == 50


async def test_tables_are_made_by_many_at_once(servers: Servers) -> None:
    """One call, however many processes start at the same moment, and again later."""
    for kind in DATABASES:
        with ExitStack() as stack:
            url = _url(kind, servers, stack)
            engines = [create_async_engine(url) for _ in range(4)]
            await asyncio.gather(*(SqlInbox(engine).create_tables() for engine in engines))
            await SqlInbox(engines[0]).create_tables()
            async with engines[-1].connect() as connection:
                made = await connection.run_sync(lambda link: {*inspect(link).get_table_names()})
            assert made >= {*SqlInbox(engines[-1]).metadata.tables}, kind
            for engine in engines:
                await engine.dispose()


async def test_two_inboxes_share_a_database_by_their_prefixes(shop: SqlShop) -> None:
    """The prefix is before every name: tables and indexes."""
    other = SqlInbox(shop.engine, table_prefix="second_")
    await other.create_tables()
    await shop.paid(take_effect)
    assert await other.look(KEY) is None
    async with working(other):
        assert await shop.state() == "DONE"
    assert set(other.metadata.tables) == {"second_orders", "second_asides"}


async def test_pruning_many_goes_page_by_page(shop: SqlShop) -> None:
    """M-19: more than a page, all of one moment too."""
    old = datetime.now(UTC) - timedelta(days=90)
    rows = [_done(str(n), old + timedelta(seconds=n // 300)) for n in range(500)]
    table = shop.inbox.metadata.tables["chaoying_orders"]
    async with shop.engine.begin() as connection:
        await connection.execute(insert(table), rows)
    assert await shop.inbox.prune(datetime.now(UTC)) == 500
    assert await shop.inbox.prune(datetime.now(UTC)) == 0
    assert await shop.inbox.prune(datetime.now(UTC), keys=True) == 500
    async with shop.engine.connect() as connection:
        count = select(func.count()).select_from(table)
        assert (await connection.execute(count)).scalar_one() == 0


def _done(number: str, first_seen: datetime) -> dict[str, Any]:
    moment = round(first_seen.timestamp() * 1_000_000)
    blank = dict.fromkeys(("reason", "source", "decision"), "")
    zero = dict.fromkeys(("token", "held_until", "due", "failures"), 0)
    key = {"mch_id": KEY.mch_id, "out_trade_no": number, "state": "DONE"}
    return {**blank, **zero, **key, "payload": "{}", "first_seen": moment}
