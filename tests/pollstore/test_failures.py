"""A store that fails: an error of ours says what is wrong and what was sent (M-23, M-27)."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async import Poller, StoreError, StoreTrouble, UsageError
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.payments.orders import attempts_so_far, prune_orders, release_order
from chaoying_async.payments.refunds import refund_and_track, resume_refunds
from chaoying_async.payments.resume import resume
from chaoying_async.pollstore.failures import store_error, trouble_of
from chaoying_async.pollstore.sql import SqlPollStore
from tests.factories import MCH_ID
from tests.owners import OwnStore
from tests.pollers import PAID, Scripted, always, order, poller_on
from tests.pollstore.test_lost import refund
from tests.servers import Servers
from tests.tills import ORDER, TillOnSandbox, a_till, pay

SECRET = "what-no-error-may-quote"


class ForeignError(Exception):
    """What a database raises, as far as anybody knows."""


# ---------------------------------------------------------------------- every public call

Call = Callable[[TillOnSandbox, Any], Any]


async def drained(outcomes: AsyncIterator[Any]) -> list[Any]:
    return [outcome async for outcome in outcomes]


async def polled(shop: TillOnSandbox, store: Any) -> None:
    gateway = Scripted(shop.clock, always(PAID))
    async with poller_on(gateway, store=store) as poller:
        poller.track(order(), 100)


CALLS: dict[str, Call] = {
    "checkout": lambda shop, store: shop.charging(100, store=store),
    "resume": lambda shop, store: drained(resume(shop.till, store, clock=shop.clock)),
    "refund_and_track": lambda shop, store: refund_and_track(
        shop.till, refund(), store=store, clock=shop.clock
    ),
    "resume_refunds": lambda shop, store: drained(
        resume_refunds(shop.till, store, clock=shop.clock)
    ),
    "poller": polled,
    "attempts_so_far": lambda _shop, store: attempts_so_far(store, "A10001", mch_id=MCH_ID),
    "release_order": lambda shop, store: release_order(shop.till, "A10001", store=store),
    "prune_orders": lambda shop, store: prune_orders(store, before=shop.clock.now()),
}


@pytest.mark.parametrize("error", [ForeignError(), OSError(errno.ENOSPC, "full")], ids=type)
@pytest.mark.parametrize("call", CALLS)
async def test_no_foreign_error_leaves_a_public_call(call: str, error: Exception) -> None:
    """A store of the user's own raises what it likes; out comes ours, and the cause is kept."""
    async with a_till() as shop:
        store = OwnStore({})
        store.error = error
        with pytest.raises(StoreError) as caught:
            await shop.clock.run(CALLS[call](shop, store))
        assert caught.value.__cause__ is error
        full = isinstance(error, OSError)
        assert caught.value.kind is (StoreTrouble.DISK_FULL if full else StoreTrouble.OTHER)
        assert type(error).__name__ in str(caught.value)
        assert shop.till.sent == []


@pytest.mark.parametrize("method", ["put", "get", "hold"])
@pytest.mark.parametrize("call", ["checkout", "refund_and_track"])
async def test_before_money_it_says_that_nothing_was_sent(call: str, method: str) -> None:
    """And that is true; the same call works when the store does."""
    async with a_till() as shop:
        store = OwnStore({})
        if call == "refund_and_track":
            await shop.clock.run(shop.till.send(pay(100)))
            shop.till.sent.clear()

        async def fails(*_: Any) -> Any:
            raise ForeignError

        setattr(store, method, fails)
        with pytest.raises(StoreError, match="nothing was sent") as caught:
            await shop.clock.run(CALLS[call](shop, store))
        assert caught.value.sent is False
        assert caught.value.order in (ORDER, "R1")
        assert shop.till.sent == []
        delattr(store, method)
        await shop.clock.run(CALLS[call](shop, store))
        assert shop.till.sent


async def test_what_is_no_store_is_said_at_once() -> None:
    """The name of its file, above all."""
    async with a_till() as shop:
        wrong: Any = "polls.db"
        for call in (name for name in CALLS if name != "poller"):
            with pytest.raises(UsageError, match="open PollStore"):
                await shop.clock.run(CALLS[call](shop, wrong))
        with pytest.raises(UsageError, match="open PollStore"):
            Poller(shop.till, store=wrong)
        assert shop.till.sent == []


# ------------------------------------------------------------------------- what is wrong


@asynccontextmanager
async def sqlite_store(directory: Path, **options: Any) -> AsyncGenerator[tuple[Any, AsyncEngine]]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{directory / 'polls.db'}", **options)
    async with SqlPollStore(engine) as store:
        await store.put("poll", {"a": "1"})
        yield store, engine
    await engine.dispose()


async def pragma(engine: AsyncEngine, words: str) -> None:
    async with engine.connect() as connection:
        await connection.execute(text(f"PRAGMA {words}"))


async def kind_of(call: Any) -> str:
    with pytest.raises(StoreError) as caught:
        await call
    assert SECRET not in repr(caught.value.__cause__)
    assert SECRET not in str(caught.value.__cause__)
    return str(caught.value.kind)


async def test_sqlite_says_what_is_wrong(tmp_path: Path) -> None:
    """Locked, full, read-only, no table, no connection free: each by its own name."""
    one = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.05, "connect_args": {"timeout": 0}}
    async with sqlite_store(tmp_path, **one) as (store, engine):
        other = sqlite3.connect(tmp_path / "polls.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert await kind_of(store.put("poll", {"b": SECRET})) == "LOCKED"
        other.execute("ROLLBACK")
        other.close()
        await pragma(engine, "max_page_count=1")
        assert await kind_of(store.put("poll", {"b": SECRET * 9999})) == "DISK_FULL"
        await pragma(engine, "max_page_count=999999")
        await pragma(engine, "query_only=1")
        assert await kind_of(store.put("poll", {"b": SECRET})) == "READ_ONLY"
        await pragma(engine, "query_only=0")
        async with engine.connect():
            assert await kind_of(store.get("poll", "a")) == "POOL_TIMEOUT"
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE chaoying_polls RENAME TO away"))
        assert await kind_of(store.put("poll", {"b": SECRET})) == "TABLE_MISSING"
        assert await kind_of(store.get("poll", SECRET)) == "TABLE_MISSING"
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE away RENAME TO chaoying_polls"))
        await store.put("poll", {"b": "1"})


async def test_a_file_that_is_damaged_is_corrupt(tmp_path: Path) -> None:
    """And the words say to restore it, not to delete it."""
    path = tmp_path / "polls.db"
    async with SqlPollStore(path) as store:
        await store.put("poll", {f"k{n}": "x" * 1000 for n in range(100)})
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    with pytest.raises(StoreError, match="do not delete it") as caught:
        await SqlPollStore(path).__aenter__()
    assert caught.value.kind is StoreTrouble.CORRUPT
    assert str(path) in "".join(caught.value.__notes__)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg", "mariadb"])
async def test_a_server_says_what_is_wrong(servers: Servers, driver: str) -> None:
    """Whoever logs in, a missing table, a read-only session: by driver."""
    on_mariadb = driver == "mariadb"
    url = servers.mariadb_url() if on_mariadb else servers.postgresql_url(driver)  # type: ignore[arg-type]
    engine = create_async_engine(url)
    async with SqlPollStore(engine) as store:
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE chaoying_polls RENAME TO away"))
        assert await kind_of(store.put("poll", {"b": SECRET})) == "TABLE_MISSING"
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE away RENAME TO chaoying_polls"))
        await store.put("poll", {"b": "1"})
    await engine.dispose()
    nobody = engine.url.set(username="nobody", password=SECRET, database="nowhere")
    store = SqlPollStore(nobody.render_as_string(hide_password=False))
    assert await kind_of(store.__aenter__()) == "ACCESS"


class CodedError(Exception):
    """An error of a driver that is not installed here."""


def coded(module: str = "", name: str = "CodedError", *args: Any, **fields: Any) -> Exception:
    error: Exception = type(name, (CodedError,), {"__module__": module})(*args)
    vars(error).update(fields)
    return error


KINDS: dict[StoreTrouble, list[Exception]] = {
    StoreTrouble.LOCKED: [
        coded(sqlite_errorname="SQLITE_BUSY_SNAPSHOT"),
        coded(sqlstate="40P01"),
        coded(sqlstate="55P03"),
        coded("pymysql.err", "OperationalError", 1205, "Lock wait timeout exceeded"),
    ],
    StoreTrouble.DISK_FULL: [
        coded(sqlite_errorname="SQLITE_FULL"),
        coded(sqlstate="53100"),
        coded("asyncmy.errors", "OperationalError", 1114, "The table is full"),
        coded("pymysql.err", "OperationalError", 3, "Error writing file (Errcode: 28 errno: 28 )"),
        OSError(errno.EDQUOT, "quota"),
    ],
    StoreTrouble.READ_ONLY: [
        coded(sqlite_errorname="SQLITE_READONLY_DBMOVED"),
        coded(sqlstate="25006"),
        coded("pymysql.err", "OperationalError", 1290, "--read-only"),
        PermissionError(errno.EACCES, "no"),
    ],
    StoreTrouble.CONNECTION: [
        coded(sqlstate="57P01"),
        coded(pgcode="08006"),
        coded("psycopg", "OperationalError", "the connection is closed"),
        coded("pymysql.err", "OperationalError", 2013, "Lost connection"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError(),
    ],
    StoreTrouble.ACCESS: [
        coded(sqlstate="28P01"),
        coded("psycopg", "OperationalError", "FATAL: password authentication failed"),
        coded("pymysql.err", "OperationalError", 1045, "Access denied"),
    ],
    StoreTrouble.TABLE_MISSING: [
        coded("sqlite3", "OperationalError", "no such table: x", sqlite_errorname="SQLITE_ERROR"),
        coded(sqlstate="42P01"),
        coded("pymysql.err", "ProgrammingError", 1146, "doesn't exist"),
    ],
    StoreTrouble.POOL_TIMEOUT: [coded("sqlalchemy.exc", "TimeoutError", "QueuePool limit")],
    StoreTrouble.CORRUPT: [
        coded(sqlite_errorname="SQLITE_NOTADB"),
        coded(sqlstate="XX001"),
        coded("pymysql.err", "InternalError", 1034, "Incorrect key file"),
    ],
    StoreTrouble.OTHER: [ForeignError(), coded(sqlstate="22P02"), KeyError("x"), OSError()],
}


@pytest.mark.parametrize("kind", [*StoreTrouble])
def test_each_kind_is_read_from_the_driver_s_own_code(kind: StoreTrouble) -> None:
    """Through whatever it was wrapped in, and no text of it is quoted."""
    for error in KINDS[kind]:
        wrapped = ForeignError(SECRET)
        wrapped.__cause__ = error
        assert trouble_of(wrapped) is kind
        said = store_error(wrapped)
        assert said.kind is kind
        assert SECRET not in str(said)
        assert isinstance(said, ChaoyingError)


def refused() -> None:
    raise ConnectionRefusedError(errno.ECONNREFUSED, "the caller's")


async def test_an_error_that_the_caller_is_handling_says_nothing_about_the_store() -> None:
    """Else a store with a defect would be said to be unreachable."""
    store = OwnStore({})
    store.error = ForeignError()
    try:
        refused()
    except ConnectionRefusedError:
        with pytest.raises(StoreError) as caught:
            await attempts_so_far(store, "A10001", mch_id=MCH_ID)
    assert caught.value.kind is StoreTrouble.OTHER
