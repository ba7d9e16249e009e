"""What a database undoes for somebody else's sake is looked at again, and is nobody's failure."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import attrs
import pymysql  # type: ignore[import-untyped]
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import LookAgainError, SeenState
from tests.servers import Servers
from tests.shop import FAIL, SUCCESS, queried
from tests.sql.shops import delivery, expected, handler_of, key_of, on_paid
from tests.sql_shop import KEY, SqlShop, an_entry, sql_shop, take_effect

PG_LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
LEVELS = [
    *((kind, level) for kind in ("psycopg", "asyncpg") for level in PG_LEVELS),
    *(("mariadb", level) for level in ("READ UNCOMMITTED", *PG_LEVELS)),
    *(("sqlite", level) for level in ("SERIALIZABLE", "READ UNCOMMITTED")),
]
ON_SERVERS = [one for one in LEVELS if one[0] != "sqlite"]
#: What each server says to the loser; SQLite has its own way.
CODES = {"psycopg": ("40001", "40P01", "55P03"), "mariadb": ("1213", "1205", "1020")}
CODES["asyncpg"] = CODES["psycopg"]

Work = Callable[[Any, Any], Awaitable[None]]


# ---------------------------------------------------------------------------------- hurdles

#: Where a hurdle stands: before which statement of which table.
PLACES = {
    "our lock": ("INSERT", "chaoying_orders"),
    "our record": ("UPDATE", "chaoying_orders"),
    "on_paid": ("INSERT", "effects"),
}
_POSTGRESQL = """
CREATE SEQUENCE falls;
CREATE FUNCTION hurdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('falls') <= {times} THEN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER hurdle BEFORE {what} ON {table} FOR EACH ROW EXECUTE FUNCTION hurdle()
"""
_POSTGRESQL_COMMIT = _POSTGRESQL.replace(
    "CREATE TRIGGER hurdle BEFORE {what} ON {table}",
    "CREATE CONSTRAINT TRIGGER hurdle AFTER {what} ON {table} DEFERRABLE INITIALLY DEFERRED",
)
_MARIADB = """
CREATE SEQUENCE falls NOCACHE;
CREATE TRIGGER hurdle BEFORE {what} ON {table} FOR EACH ROW
    IF NEXTVAL(falls) <= {times} THEN
        SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = 'no';
    END IF
"""
_MAKE = {"psycopg": _POSTGRESQL, "asyncpg": _POSTGRESQL, "mariadb": _MARIADB}
_REMOVE = {
    "psycopg": "DROP FUNCTION hurdle CASCADE; DROP SEQUENCE falls",
    "mariadb": "DROP TRIGGER hurdle; DROP SEQUENCE falls",
}
_REMOVE["asyncpg"] = _REMOVE["psycopg"]


async def _told(shop: SqlShop, script: str) -> None:
    """Run these statements; what stands between $$ is one."""
    parts = script.split("$$")
    parts[::2] = [part.replace(";", "\0") for part in parts[::2]]
    whole = "$$".join(parts)
    if shop.kind == "mariadb":  # its IF has semicolons inside
        head, end, tail = script.partition("CREATE TRIGGER")
        whole = head.replace(";", "\0") + end + tail if end else script.replace(";", "\0")
    async with shop.engine.begin() as connection:
        for statement in filter(str.strip, whole.split("\0")):
            await connection.exec_driver_sql(statement)


async def _hurdle(shop: SqlShop, place: str, code: str, times: int = 1) -> None:
    what, table = PLACES[place]
    await _told(shop, _MAKE[shop.kind].format(what=what, table=table, code=code, times=times))


async def _remove(shop: SqlShop) -> None:
    await _told(shop, _REMOVE[shop.kind])


async def _wrapped(order: Any, connection: Any) -> None:
    try:
        await on_paid(order, connection)
    except Exception as error:
        raise RuntimeError("could not be booked") from error


async def _hidden(order: Any, connection: Any) -> None:
    try:
        await on_paid(order, connection)
    except DBAPIError:
        raise RuntimeError("could not be booked") from None


async def _in_a_group(order: Any, connection: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(on_paid(order, connection))


async def _of_itself(order: Any, connection: Any) -> None:
    try:
        await on_paid(order, connection)
    except Exception as error:
        raise error from error


WAYS: dict[str, Work] = {
    "as it is": on_paid,
    "wrapped": _wrapped,
    "hidden": _hidden,
    "in a group": _in_a_group,
    "from itself": _of_itself,
}


_ROW = text(
    "INSERT INTO chaoying_orders (mch_id, out_trade_no, state, token, held_until, due, failures,"
    " reason, first_seen, payload, payable, transaction_id, source, decision) VALUES (:mch_id, 'x',"
    " 'DONE', 1, 0, 0, 0, '', 0, '', 100, 'Tx', 'NOTIFICATION', 'APPLY')"
)


class Counted:
    """How often ``on_paid`` was begun."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.begun = 0

    async def __call__(self, order: Any, connection: Any) -> None:
        self.begun += 1
        await self._work(order, connection)


async def _is_done_at_last(
    shop: SqlShop, number: str, caplog: pytest.LogCaptureFixture, work: Work = on_paid
) -> int:
    """Deliver it: done once, in the budget, and nobody hears of it; how often it was begun."""
    caplog.clear()
    counted = Counted(work)
    handler = handler_of(shop, counted)
    answer = await handler.handle(delivery(number))
    assert (answer.decision, answer.body) == (Decision.APPLY, SUCCESS)
    assert handler.stats().failed == handler.stats().troubled == 0
    record = await shop.inbox.look(key_of(number))
    assert record is not None
    assert (record.state, record.failures) == (SeenState.DONE, 0)
    assert await shop.effects(number) == 1
    said = [one.getMessage() for one in caplog.records if one.name.startswith("chaoying")]
    assert not said
    return counted.begun


# --------------------------------------------------------------------------------- statements


@pytest.mark.parametrize(("kind", "level"), ON_SERVERS)
async def test_the_loser_of_a_statement_looks_again(
    servers: Servers, kind: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-16: 40001, 40P01, 55P03, 1213, 1205, 1020 in our statements and in on_paid's own."""
    async with sql_shop(kind, servers, isolation_level=level) as shop:
        for code in CODES[kind]:
            for place in PLACES:
                await _hurdle(shop, place, code)
                begun = await _is_done_at_last(shop, f"{place} {code}", caplog)
                assert begun == (1 if place == "our lock" else 2)
                await _remove(shop)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["psycopg", "asyncpg", "mariadb"])
async def test_however_on_paid_says_that_it_lost(
    servers: Servers, kind: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-16: also in an exception of its own, in a group, or behind ``from None``."""
    async with sql_shop(kind, servers) as shop:
        await _hurdle(shop, "on_paid", CODES[kind][0], times=2)
        assert await _is_done_at_last(shop, "1", caplog, WAYS[way]) == 3


@pytest.mark.parametrize("kind", ["psycopg", "asyncpg", "mariadb"])
async def test_who_always_loses_is_told_to_come_again(
    servers: Servers, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-16: the budget ends, a person can see it, and the next delivery is served."""
    async with sql_shop(kind, servers) as shop:
        await _hurdle(shop, "on_paid", CODES[kind][0], times=1_000_000)
        for failures in (1, 2):
            async with handler_of(shop, budget=1.0) as handler:
                assert (await handler.handle(delivery("1"))).body == FAIL
            record = await shop.inbox.look(key_of("1"))
            assert record is not None
            assert (record.state, record.failures) == (SeenState.HELD, failures)
            assert handler.stats().failed == 1
        said = [one.levelname for one in caplog.records if one.name.startswith("chaoying")]
        assert said == ["ERROR", "INFO"]
        await _remove(shop)
        answer = await handler_of(shop).handle(delivery("1"))
        assert (answer.decision, answer.body) == (Decision.APPLY, SUCCESS)
        assert await shop.effects() == 1


@pytest.mark.parametrize("kind", ["psycopg", "asyncpg", "mariadb"])
async def test_a_lookup_under_the_lock_that_always_loses_has_failed(
    servers: Servers, kind: str
) -> None:
    """M-14, M-16: nothing has run, so nothing is recorded; the caller hears of it."""

    async def ask(mch_id: str, number: str, connection: Any) -> ExpectedOrder:
        await take_effect(connection, "asked")
        return await expected(mch_id, number)

    async with sql_shop(kind, servers) as shop:
        await _hurdle(shop, "on_paid", CODES[kind][0], times=1_000_000)
        handler = handler_of(shop, budget=0.4, expected=ask)
        with pytest.raises(LookAgainError):
            await handler.settle(queried(out_trade_no="1"))
        assert await shop.inbox.look(key_of("1")) is None
        await _remove(shop)
        assert (await handler.handle(delivery("1"))).body == SUCCESS


# ------------------------------------------------------------------------------------- COMMIT


@pytest.mark.parametrize("level", PG_LEVELS)
@pytest.mark.parametrize("kind", ["psycopg", "asyncpg"])
async def test_the_loser_of_a_commit_looks_again(
    servers: Servers, kind: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-16: PostgreSQL finds out inside COMMIT who has lost."""
    async with sql_shop(kind, servers, isolation_level=level) as shop:
        for code in ("40001", "40P01"):
            script = _POSTGRESQL_COMMIT.format(what="INSERT", table="effects", code=code, times=1)
            await _told(shop, script)
            assert await _is_done_at_last(shop, code, caplog) == 2
            await _remove(shop)


async def test_a_cluster_of_mariadbs_may_undo_a_commit(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    """M-16: Galera says 1213 to COMMIT; for all we know the transaction is open still."""
    async with sql_shop("mariadb", servers) as shop:
        dialect: Any = shop.engine.dialect
        commit, left = dialect.do_commit, [1]

        def do_commit(connection: Any) -> None:
            if left and connection.driver_connection.get_transaction_status():
                left.pop()
                raise pymysql.err.OperationalError(1213, "Deadlock found when trying to get lock")
            commit(connection)

        dialect.do_commit = do_commit
        assert await _is_done_at_last(shop, "1", caplog) == 2
        assert not left


# ------------------------------------------------------------------------------------- SQLite


@pytest.mark.parametrize("level", ["SERIALIZABLE", "READ UNCOMMITTED"])
async def test_sqlite_is_busy_when_the_order_is_to_be_locked(
    servers: Servers, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-16: another process writes for longer than the engine waits; then it is our turn."""
    options: dict[str, Any] = {"isolation_level": level, "connect_args": {"timeout": 0.05}}
    async with sql_shop("sqlite", servers, **options) as shop:
        with closing(sqlite3.connect(shop.url.partition("///")[2], isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            asyncio.get_running_loop().call_later(0.3, other.execute, "ROLLBACK")
            assert await _is_done_at_last(shop, "1", caplog) == 1


@pytest.mark.parametrize("level", ["SERIALIZABLE", "READ UNCOMMITTED"])
async def test_sqlite_is_busy_when_the_order_is_to_be_committed(
    servers: Servers, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-16: a reader of a rollback journal stands in the way of COMMIT, and leaves."""
    options: dict[str, Any] = {"isolation_level": level, "connect_args": {"timeout": 0.05}}
    async with sql_shop("sqlite", servers, **options) as shop:
        await shop.engine.dispose()
        with closing(sqlite3.connect(shop.url.partition("///")[2], isolation_level=None)) as other:
            other.execute("PRAGMA journal_mode=DELETE")

            async def slow(order: Any, connection: Any) -> None:
                if not other.in_transaction and counted == [0]:
                    other.execute("BEGIN")
                    other.execute("SELECT count(*) FROM effects").fetchall()
                    asyncio.get_running_loop().call_later(0.3, other.execute, "ROLLBACK")
                counted[0] += 1
                await on_paid(order, connection)

            counted = [0]
            assert await _is_done_at_last(shop, "1", caplog, slow) >= 2


# ------------------------------------------------------------------------------- each other


@pytest.mark.parametrize(("kind", "level"), LEVELS)
async def test_the_same_order_in_many_tasks_and_processes_takes_effect_once(
    servers: Servers, kind: str, level: str
) -> None:
    """M-16: new, failed before, or done at that very moment; every delivery is acknowledged."""
    async with sql_shop(kind, servers, isolation_level=level) as shop:
        other = create_async_engine(shop.url, isolation_level=level)
        handlers = [handler_of(shop), handler_of(attrs.evolve(shop, inbox=SqlInbox(other)))]
        for number in ("new", "failed"):
            if number == "failed":
                await shop.record(SeenState.HELD, key_of(number), failures=1)
            body = delivery(number)
            tries = (handler.handle(body) for handler in handlers for _ in range(5))
            answers = await asyncio.gather(*tries)
            assert {answer.body for answer in answers} == {SUCCESS}
            assert [answer.decision for answer in answers].count(Decision.APPLY) == 1
            assert await shop.effects(number) == 1
        await other.dispose()


@pytest.mark.parametrize("kind", ["psycopg", "asyncpg"])
async def test_two_orders_with_one_number_of_a_lock_wait_for_each_other(
    servers: Servers, kind: str
) -> None:
    """M-16: the number never changes, since versions run side by side; and it is only a lock."""
    number = -3495779470301178234  # what every version makes of this order
    async with sql_shop(kind, servers) as shop, shop.engine.connect() as other:
        async with shop.inbox.lock(KEY, an_entry()):
            question = f"SELECT pg_try_advisory_xact_lock({number})"
            assert not (await other.execute(text(question))).scalar_one()
        assert (await other.execute(text(question))).scalar_one()
        handler = handler_of(shop, budget=0.3)
        answer = await handler.handle(delivery(KEY.out_trade_no))
        assert (answer.decision, answer.body) == (Decision.IN_PROGRESS, FAIL)
        assert (await handler.handle(delivery("another"))).body == SUCCESS
        await other.rollback()
        assert (await handler.handle(delivery(KEY.out_trade_no))).body == SUCCESS
        assert await shop.effects() == 2


@pytest.mark.parametrize(("kind", "level"), ON_SERVERS)
async def test_a_row_that_appears_between_the_lock_and_the_look_is_found(
    servers: Servers, kind: str, level: str
) -> None:
    """M-16: somebody who knows nothing of our lock inserts the order and commits."""
    async with sql_shop(kind, servers, isolation_level=level) as shop:
        handler = handler_of(shop)
        async with shop.engine.connect() as other:
            await other.execute(_ROW, {"mch_id": KEY.mch_id})
            answering = asyncio.create_task(handler.handle(delivery("x")))
            await asyncio.sleep(0.1)
            await other.commit()
        answer = await answering
        assert (answer.decision, answer.body) == (Decision.DUPLICATE, SUCCESS)
        assert await shop.effects() == 0
