"""Inbox and poll store on drivers that begin and commit in a way of their own."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import AsyncAdaptedQueuePool, NullPool, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.notifications.inbox_values import OrderKey, Record, SeenState
from tests.factories import MCH_ID
from tests.servers import Servers
from tests.sql_shop import working

needs_autocommit = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="sqlite3 has autocommit= from Python 3.12 on"
)
NO_RESET: dict[str, Any] = {"poolclass": AsyncAdaptedQueuePool, "pool_reset_on_return": None}

Prepare = Callable[[AsyncEngine], None]


def _plain(_engine: AsyncEngine) -> None:
    """As SQLAlchemy makes it."""


def _recipe(begin: str | None) -> Prepare:
    """SQLAlchemy's documented way to begin by hand; or the half of it that begins nothing."""

    def prepare(engine: AsyncEngine) -> None:
        @event.listens_for(engine.sync_engine, "connect")
        def connected(connection: Any, record: Any) -> None:
            connection.isolation_level = None

        @event.listens_for(engine.sync_engine, "begin")
        def begun(connection: Any) -> None:
            if begin is not None:
                connection.exec_driver_sql(begin)

    return prepare


def _args(**arguments: Any) -> dict[str, Any]:
    return {"connect_args": arguments}


WORKING: dict[str, Any] = {
    "autocommit=False": pytest.param(_plain, _args(autocommit=False), marks=needs_autocommit),
    "autocommit=False, no reset": pytest.param(
        _plain, _args(autocommit=False) | NO_RESET, marks=needs_autocommit
    ),
    "autocommit=False, no pool": pytest.param(
        _plain, _args(autocommit=False) | {"poolclass": NullPool}, marks=needs_autocommit
    ),
    "IMMEDIATE": pytest.param(_plain, _args(isolation_level="IMMEDIATE")),
    "EXCLUSIVE": pytest.param(_plain, _args(isolation_level="EXCLUSIVE")),
    "recipe": pytest.param(_recipe("BEGIN"), {}),
    "recipe, no reset": pytest.param(_recipe("BEGIN IMMEDIATE"), NO_RESET),
    "SERIALIZABLE": pytest.param(_plain, {"isolation_level": "SERIALIZABLE"}),
}
REFUSED: dict[str, Any] = {
    "autocommit=True": pytest.param(_plain, _args(autocommit=True), marks=needs_autocommit),
    "autocommit=True, recipe": pytest.param(
        _recipe("BEGIN"), _args(autocommit=True), marks=needs_autocommit
    ),
    "isolation_level=None": pytest.param(_plain, _args(isolation_level=None)),
    "half the recipe": pytest.param(_recipe(None), {}),
    "AUTOCOMMIT": pytest.param(_plain, {"isolation_level": "AUTOCOMMIT"}),
    "AUTOCOMMIT as an option": pytest.param(
        _plain, {"execution_options": {"isolation_level": "AUTOCOMMIT"}}
    ),
}


def _made(tmp_path: Path, prepare: Prepare, options: dict[str, Any]) -> AsyncEngine:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db", **options)
    prepare(engine)
    return engine


async def _paid(inbox: SqlInbox, number: str) -> Record | None:
    key = OrderKey(MCH_ID, number)
    async with working(inbox, key) as connection:
        await connection.execute(text("INSERT INTO effects VALUES ('x')"))
    return await inbox.look(key)


async def _paid_in_a_new_inbox(engine: AsyncEngine) -> None:
    inbox = SqlInbox(engine)
    await inbox.create_tables()
    await _paid(inbox, "1")


def _rows(tmp_path: Path, table: str) -> int:
    """Seen by another process, which does not wait for a lock."""
    with closing(sqlite3.connect(tmp_path / "shop.db", timeout=0, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        return int(other.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


@pytest.mark.parametrize(("prepare", "options"), WORKING.values(), ids=WORKING)
async def test_an_inbox_works_however_its_driver_begins(
    tmp_path: Path, prepare: Prepare, options: dict[str, Any]
) -> None:
    """M-16: tables, locks, work; all of it is committed, and no lock or snapshot stays behind."""
    engine = _made(tmp_path, prepare, options)
    inbox = SqlInbox(engine)
    await inbox.create_tables()
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE effects (number TEXT)"))
    for number in range(3):
        record = await _paid(inbox, str(number))
        assert record is not None
        assert record.state is SeenState.DONE
        assert _rows(tmp_path, "effects") == number + 1
    with closing(sqlite3.connect(tmp_path / "shop.db")) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await engine.dispose()


@pytest.mark.parametrize(("prepare", "options"), WORKING.values(), ids=WORKING)
async def test_a_poll_store_works_however_its_driver_begins(
    tmp_path: Path, prepare: Prepare, options: dict[str, Any]
) -> None:
    """M-23: what was put is there for another process when put returns."""
    engine = _made(tmp_path, prepare, options)
    async with SqlPollStore(engine) as store:
        for number in range(3):
            await store.put("poll", {str(number): "1"})
            await store.hold()
            assert await store.get("poll", str(number)) == "1"
            assert _rows(tmp_path, "chaoying_polls") == number + 1
    await engine.dispose()


@pytest.mark.parametrize(("prepare", "options"), REFUSED.values(), ids=REFUSED)
async def test_what_has_no_transactions_is_refused(
    tmp_path: Path, prepare: Prepare, options: dict[str, Any]
) -> None:
    """M-16: with an error of ours that says which setting it is, and nothing took effect."""
    engine = _made(tmp_path, prepare, options)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as other:
        other.execute("CREATE TABLE effects (number TEXT)")
    with pytest.raises(UsageError, match=r"(?i)autocommit"):
        async with SqlPollStore(engine):
            raise AssertionError
    with pytest.raises(UsageError, match=r"(?i)autocommit"):
        await _paid_in_a_new_inbox(engine)
    assert _rows(tmp_path, "effects") == 0
    await engine.dispose()


@pytest.mark.parametrize("kind", ["psycopg", "mariadb"])
async def test_a_server_s_driver_that_commits_by_itself_is_refused(
    servers: Servers, kind: str
) -> None:
    """M-16, M-23: psycopg's and aiomysql's own autocommit, of which SQLAlchemy knows nothing."""
    url = servers.mariadb_url() if kind == "mariadb" else servers.postgresql_url("psycopg")
    engine = create_async_engine(url, poolclass=NullPool, **_args(autocommit=True))
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE effects (number TEXT)"))
    with pytest.raises(UsageError, match="autocommit"):
        async with SqlPollStore(engine):
            raise AssertionError
    with pytest.raises(UsageError, match="autocommit"):
        await _paid_in_a_new_inbox(engine)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM effects"))).scalar_one() == 0
    await engine.dispose()
