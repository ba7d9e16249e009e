"""A store in a SQLite file, cancelled at every statement: it is never left locked (M-23)."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async.exceptions import SessionClosedError, StoreError
from chaoying_async.pollstore.sql import SqlPollStore
from tests.pollstores import everything, until

LEASE = 0.05
MANY = {f"k{n}": "x" * 100 for n in range(2000)}


@pytest.fixture(autouse=True)
async def threads() -> AsyncGenerator[None]:
    """A connection that could not be used ends in its own thread, before the loop does."""
    before = set(threading.enumerate())
    yield
    await until(lambda: not any("connection_worker" in one.name for one in new_since(before)))


def new_since(before: set[threading.Thread]) -> set[threading.Thread]:
    return set(threading.enumerate()) - before


@asynccontextmanager
async def engine_in(directory: Path) -> AsyncGenerator[AsyncEngine]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{directory / 'polls.db'}")
    yield engine
    await engine.dispose()


def is_free(directory: Path) -> bool:
    """Whether somebody else can write there, after half a second at the latest."""
    connection = sqlite3.connect(directory / "polls.db", timeout=0.5, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


async def cancelled_at(engine: AsyncEngine, statement: int, work: Coroutine[Any, Any, Any]) -> bool:
    """Begin this and cancel it in the middle of that statement; False: it ended before."""
    task = asyncio.create_task(work)
    seen = 0

    def begun(*_: Any) -> None:
        nonlocal seen
        if seen == statement:
            asyncio.get_running_loop().call_soon(task.cancel)
        seen += 1

    event.listen(engine.sync_engine, "before_cursor_execute", begun)
    await asyncio.wait([task])
    event.remove(engine.sync_engine, "before_cursor_execute", begun)
    return seen > statement


async def test_opening_can_be_cancelled_at_any_statement(tmp_path: Path) -> None:
    """The file is free for the next one, in this process too."""
    async with engine_in(tmp_path) as engine:
        statement = 0
        while True:
            store = SqlPollStore(engine, lease=LEASE)
            reached = await cancelled_at(engine, statement, store.__aenter__())
            assert await asyncio.to_thread(is_free, tmp_path)
            await store.__aexit__(None, None, None)
            if not reached:
                break
            statement += 1
        assert statement >= 5


async def test_calls_can_be_cancelled_at_any_statement(tmp_path: Path) -> None:
    """Whoever wrote, read or held: the store works on, and no connection is lost to the pool."""
    async with engine_in(tmp_path) as engine, SqlPollStore(engine) as store:
        await store.put("poll", {"a": "1"})
        opened: Any = store._opened
        renew = opened.owned.renew
        calls: tuple[Any, ...] = (
            lambda: store.put("poll", MANY),
            store.hold,
            lambda: store.get("poll", "a"),
        )
        for call in calls:
            for statement in range(4):
                await cancelled_at(engine, statement, call())
                await store.put("poll", {"b": "1"})
                assert await asyncio.to_thread(is_free, tmp_path)
        await cancelled_at(engine, 0, renew())
        assert await asyncio.to_thread(is_free, tmp_path)
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        assert ("b", "1") in await everything(store, "poll")


async def test_leaving_that_is_cancelled_ends_and_gives_the_store_back(tmp_path: Path) -> None:
    """Nobody waits for a write that will not come, and the next owner comes in at once."""
    store = SqlPollStore(tmp_path / "polls.db")
    full, leaving = asyncio.Event(), asyncio.Event()
    puts: list[asyncio.Task[None]] = []

    async def life() -> None:
        async with store:
            puts.extend(asyncio.create_task(store.put("poll", MANY)) for _ in range(9))
            await asyncio.sleep(0)
            full.set()
        leaving.set()

    living = asyncio.create_task(life())
    await full.wait()
    await asyncio.sleep(0)
    living.cancel()
    await asyncio.wait([living])
    assert living.cancelled()
    ends = await asyncio.wait_for(asyncio.gather(*puts, return_exceptions=True), 10)
    assert {type(end) for end in ends} <= {type(None), SessionClosedError}
    assert SessionClosedError in {type(end) for end in ends}
    assert len(asyncio.all_tasks()) == 1
    async with SqlPollStore(tmp_path / "polls.db") as next_one:
        kept = await everything(next_one, "poll")
    assert len(kept) in (0, len(MANY))
    assert not leaving.is_set()


@pytest.mark.parametrize("case", ["no database", "another program's"])
async def test_a_file_that_is_no_store_is_named(tmp_path: Path, case: str) -> None:
    """What to mend, and in a note which file it is about."""
    path = tmp_path / "polls.db"
    if case == "no database":
        path.write_bytes(b"no database at all" * 500)
    else:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE chaoying_polls_owner (id INTEGER)")
        connection.close()
    with pytest.raises(StoreError, match=r"database|tables") as caught:
        await SqlPollStore(path).__aenter__()
    assert caught.value.kind == ("CORRUPT" if case == "no database" else "TABLE_MISSING")
    assert str(path) in "".join(caught.value.__notes__)


async def test_an_address_in_an_error_has_no_password() -> None:
    """M-27: a server that refuses is named, and who may log in is not told."""
    with pytest.raises(StoreError, match=r"refused|connect") as caught:
        await SqlPollStore("postgresql+psycopg://till:hunter2@127.0.0.1:1/shop").__aenter__()
    notes = "".join(caught.value.__notes__)
    assert "//127.0.0.1:1:" in notes
    assert "hunter2" not in f"{caught.value!s}{caught.value!r}{notes}"
    assert caught.value.kind == "CONNECTION"
