"""A store in a database: who owns it, what a batch is, and what it never says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from chaoying_async.exceptions import (
    ParameterError,
    StoreError,
    StoreInUseError,
    StoreTrouble,
    UsageError,
)
from chaoying_async.pollstore.sql import SqlPollStore, pollstore_metadata
from chaoying_async.pollstore.sql.ownership import Ownership
from chaoying_async.pollstore.sql.tables import store_tables
from chaoying_async.sql.columns import DEFAULT_PREFIX
from chaoying_async.testing import FakeClock
from tests.pollstores import LEASE, everything, moving, until, waited_for
from tests.servers import Server, Servers

SECRET = "what-the-store-must-not-say"


def store_in(directory: Path, clock: FakeClock | None = None, **options: Any) -> SqlPollStore:
    return SqlPollStore(directory / "polls.db", clock=clock, **options)


def engine_in(directory: Path, **options: Any) -> AsyncEngine:
    return create_async_engine(f"sqlite+aiosqlite:///{directory / 'polls.db'}", **options)


# ------------------------------------------------------------------------------- the owner


async def test_a_living_owner_keeps_its_store(tmp_path: Path) -> None:
    """M-26: the second is told until when it is held, as soon as it sees the lease renewed."""
    clock = FakeClock()
    async with store_in(tmp_path, clock) as store:
        second = asyncio.create_task(store_in(tmp_path, clock).__aenter__())
        with pytest.raises(StoreInUseError, match="2026-01-01 00:00:20 UTC"):
            await moving(clock, second, sleepers=2)
        assert clock.monotonic() < 15
        await store.hold()
        await clock.advance(100)
        await store.put("poll", {"a": "1"})


async def test_whoever_waits_for_a_dead_owner_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line at WARNING: which store, held by whom and until when, and what to do."""
    clock = FakeClock()
    async with (
        store_in(tmp_path, FakeClock()),  # whose clock stands still, so that it renews nothing
        waited_for(clock, store_in(tmp_path, clock)),
    ):
        pass
    (told,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    words = told.getMessage()
    assert "polls.db is held until 2026-01-01 00:00:15 UTC by its owner number 1" in words
    assert "waiting up to 16 s" in words
    assert "if it lives, end it or use another store" in words


async def test_a_store_that_was_closed_is_free_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for a lease that was given back, and nothing is said."""
    caplog.set_level(logging.WARNING)
    clock = FakeClock()
    for _ in range(3):
        async with store_in(tmp_path, clock) as store:
            await store.put("poll", {"a": "1"})
    assert clock.monotonic() == 0
    assert not caplog.records


async def test_a_dead_owner_is_followed_when_its_lease_has_run_out(tmp_path: Path) -> None:
    """M-26: not a second earlier; and whoever was thought dead can write nothing more."""
    stalled, clock = FakeClock(), FakeClock()
    async with store_in(tmp_path, stalled) as dead:
        await dead.put("poll", {"a": "1"})
        await clock.advance(3)
        async with waited_for(clock, store_in(tmp_path, clock)) as store:
            assert 15 <= clock.monotonic() <= 17
            await store.put("poll", {"a": "2"})
            for _ in range(2):
                with pytest.raises(StoreInUseError, match="taken this store over"):
                    await dead.put("poll", {"a": "3", "b": "3"})
            with pytest.raises(StoreInUseError):
                await dead.hold()
            with pytest.raises(StoreInUseError):
                await dead.get("poll", "a")
            assert await everything(store, "poll") == [("a", "2")]
            await store.hold()


async def test_hold_reads_the_lease_itself(tmp_path: Path) -> None:
    """M-23: before money moves, a process that was stalled learns that it was followed."""
    stalled, clock = FakeClock(), FakeClock()
    clock_of_the_next = FakeClock(clock.now() + timedelta(hours=1))
    async with store_in(tmp_path, stalled) as dead, store_in(tmp_path, clock_of_the_next):
        with pytest.raises(StoreInUseError):
            await dead.hold()


class Stopped(FakeClock):
    """A clock that can jump, as it does for a process that was stopped."""

    jump = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.jump


async def test_a_process_stopped_while_it_reads_its_lease_reads_it_again(tmp_path: Path) -> None:
    """M-23: the answer was right when it was given, and is old when the process wakes up."""
    clock, engine = Stopped(), engine_in(tmp_path)
    async with SqlPollStore(engine, clock=clock) as store:
        reads: list[str] = []

        @event.listens_for(engine.sync_engine, "after_cursor_execute")
        def stop(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            reads.append(statement)
            if len(reads) == 1:
                with contextlib.closing(sqlite3.connect(tmp_path / "polls.db")) as other:
                    other.execute("UPDATE chaoying_polls_owner SET token = token + 1")
                    other.commit()
                clock.jump += 20

        with pytest.raises(StoreInUseError):
            await store.hold()
        assert len(reads) == 2
    await engine.dispose()


async def test_those_who_ask_together_share_one_reading_of_the_lease(tmp_path: Path) -> None:
    """M-23: one that began after they asked; a thousand ends at once need no thousand readings."""
    engine = engine_in(tmp_path)
    async with SqlPollStore(engine) as store:
        reads: list[str] = []

        @event.listens_for(engine.sync_engine, "after_cursor_execute")
        def seen(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            reads.append(statement)

        await asyncio.gather(*(store.hold() for _ in range(1000)))
        assert len(reads) <= 2
        await store.hold()
        await store.hold()
        assert 3 <= len(reads) <= 4
    await engine.dispose()


async def test_a_lease_that_ran_out_and_that_nobody_took_is_renewed(tmp_path: Path) -> None:
    """The owner was asleep, and nothing was lost by that."""
    clock = FakeClock()
    async with store_in(tmp_path, clock, lease=6.0) as store:
        owned = store._opened.owned  # type: ignore[union-attr]
        store._opened.renewing.cancel()  # type: ignore[union-attr]
        await clock.advance(100)
        await store.hold()
        second = asyncio.create_task(store_in(tmp_path, clock).__aenter__())
        await until(lambda: clock.waiting)
        assert owned.lease == 6.0
        await store.put("poll", {"a": "1"})
        second.cancel()
        await asyncio.wait([second])


async def test_a_clock_that_was_set_back_locks_nobody_out(tmp_path: Path) -> None:
    """A lease that ends further off than it is long is waited for as long as it is."""
    late, clock = FakeClock(datetime(2026, 3, 1, tzinfo=UTC)), FakeClock()
    async with store_in(tmp_path, late) as dead, waited_for(clock, store_in(tmp_path, clock)):
        assert 15 <= clock.monotonic() <= 17
        with pytest.raises(StoreInUseError):
            await dead.put("poll", {"a": "1"})


async def test_who_waited_long_by_his_own_clock_takes_nothing_from_who_has_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """M-26: a lease is the database's; a process that was stopped meanwhile has waited for less."""
    clock = Stopped()
    async with store_in(tmp_path, FakeClock()) as store:
        second = asyncio.create_task(store_in(tmp_path, clock).__aenter__())
        await until(lambda: "waiting up to" in caplog.text)
        clock.jump = 20
        with pytest.raises(StoreInUseError, match="one store has one owner"):
            await moving(clock, second)
        await store.hold()


async def test_who_renewed_meanwhile_is_followed_too_after_a_clock_was_set_back(
    tmp_path: Path,
) -> None:
    """M-26: a lease as long as an hour, last seen to change, is waited for as long as it is."""
    ahead, clock = FakeClock(datetime(2026, 1, 1, 1, tzinfo=UTC)), FakeClock()
    engine = engine_in(tmp_path)
    async with store_in(tmp_path, ahead) as owner:
        heir = Ownership(engine, store_tables(DEFAULT_PREFIX)[2], clock, 15.0)
        assert not await heir.take_if_free()
        await ahead.advance(1)
        await owner.put("poll", {"a": "1"})  # which renews
        for seconds, is_free in ((10, False), (10, False), (6, True)):
            await clock.advance(seconds)
            assert await heir.take_if_free() is is_free
    await engine.dispose()


async def test_the_owner_who_is_followed_is_told_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its renewals end, and it is an error that a person sees."""
    stalled, clock = FakeClock(), FakeClock()
    async with store_in(tmp_path, stalled) as dead:
        await clock.advance(20)
        async with store_in(tmp_path, clock):
            await stalled.advance(5)
            renewing = dead._opened.renewing  # type: ignore[union-attr]
            await until(renewing.done)
    assert "another process has taken the poll store over" in caplog.text


async def test_a_database_that_is_away_costs_no_ownership(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Renewing is tried again, giving back is not; both say so, and neither raises."""
    clock = FakeClock()
    engine = engine_in(tmp_path)
    async with SqlPollStore(engine, clock=clock) as store:
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE chaoying_polls_owner RENAME TO away"))
        await clock.advance(5)
        await until(lambda: "could not be renewed (OperationalError)" in caplog.text)
        with pytest.raises(StoreError) as caught:
            await store.put("poll", {"a": "1"})
        assert caught.value.kind is StoreTrouble.TABLE_MISSING
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE away RENAME TO chaoying_polls_owner"))
        await store.put("poll", {"a": "2"})
        assert await everything(store, "poll") == [("a", "2")]
        async with engine.begin() as connection:
            await connection.execute(text("DROP TABLE chaoying_polls_owner"))
    assert "could not be given back" in caplog.text
    await engine.dispose()


@pytest.mark.parametrize("kind", ["psycopg", "asyncpg", "mariadb"])
async def test_a_server_follows_its_own_clock(servers: Servers, kind: str) -> None:
    """M-26: the lease runs out on the database's clock, whatever the processes believe."""
    url = servers.mariadb_url() if kind == "mariadb" else servers.postgresql_url(kind)  # type: ignore[arg-type]
    stalled = FakeClock()  # it never renews
    async with SqlPollStore(url, clock=stalled, lease=LEASE) as dead:
        await dead.put("poll", {"a": "1"})
        async with SqlPollStore(url, lease=LEASE) as store:
            with pytest.raises(StoreInUseError):
                await dead.put("poll", {"a": "2"})
            with pytest.raises(StoreInUseError):
                await dead.hold()
            assert await everything(store, "poll") == [("a", "1")]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
async def test_of_many_who_come_first_one_has_it(
    kind: str, servers: Servers, tmp_path: Path
) -> None:
    """Also where the tables do not exist yet, and all of them make them."""
    where: str = {
        "sqlite": lambda: str(tmp_path / "polls.db"),
        "postgresql": servers.postgresql_url,
        "mariadb": servers.mariadb_url,
    }[kind]()
    stores = [SqlPollStore(where, lease=3.0) for _ in range(4)]
    came = await asyncio.gather(*(s.__aenter__() for s in stores), return_exceptions=True)
    assert sorted(type(one).__name__ for one in came) == ["SqlPollStore"] + 3 * ["StoreInUseError"]
    for store in stores:
        await store.__aexit__(None, None, None)


async def test_another_process_may_make_each_table_just_before_us(tmp_path: Path) -> None:
    """Whoever looked and then came too late looks again, for as many tables as there are."""
    engine = engine_in(tmp_path)
    made: list[str] = []

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def be_first(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.lstrip().startswith("CREATE TABLE"):
            made.append(statement.split()[2])
            with contextlib.closing(sqlite3.connect(tmp_path / "polls.db")) as other:
                other.execute(statement)

    async with SqlPollStore(engine) as store:
        await store.put("poll", {"a": "1"})
        assert await everything(store, "poll") == [("a", "1")]
    assert made == ["chaoying_polls", "chaoying_polls_owner"]
    await engine.dispose()


@pytest.mark.parametrize("kind", ["psycopg", "asyncpg", "mariadb"])
async def test_a_server_that_crashed_and_came_back_is_used_again(
    kind: str, servers: Servers
) -> None:
    """What was durable is there, writes fail meanwhile, and nobody has to open the store anew."""
    on_mariadb = kind == "mariadb"
    _ = servers.mariadb if on_mariadb else servers.postgresql  # or the test is skipped
    with Servers() as own:  # others use the shared ones
        url = own.mariadb_url() if on_mariadb else own.postgresql_url(kind)  # type: ignore[arg-type]
        server = own.mariadb if on_mariadb else own.postgresql
        async with SqlPollStore(url) as store:
            await store.put("poll", {"a": "1"})
            server.kill()
            with pytest.raises(StoreError) as caught:
                await store.put("poll", {"b": "1"})
            assert caught.value.kind is StoreTrouble.CONNECTION
            await asyncio.to_thread(serve_again, server)
            await again(lambda: store.put("poll", {"c": "1"}))
            await again(store.hold)
            found = dict(await everything(store, "poll"))
            assert found | {"b": "1"} == {"a": "1", "b": "1", "c": "1"}


def serve_again(server: Server) -> None:
    """PostgreSQL does not start before the last child of the one that was killed is gone."""
    for _ in range(20):
        server.serve()
        if server.wait():
            return
    raise AssertionError(server.log.read_text())


async def again(call: Callable[[], Awaitable[None]]) -> None:
    """As a poller does; connections that are broken are found by using them."""
    for _ in range(10):
        with contextlib.suppress(StoreError):
            return await call()
    raise AssertionError("ten times in a row")


async def test_one_store_object_is_open_once(tmp_path: Path) -> None:
    """Also while it is being opened."""
    store = store_in(tmp_path)
    async with store:
        with pytest.raises(StoreInUseError, match="open already"):
            await store.__aenter__()
    assert repr(store) == "<SqlPollStore closed>"


# ------------------------------------------------------------------------------- writing


async def test_calls_that_come_together_are_one_commit(tmp_path: Path) -> None:
    """1,000 puts wait for the disk twice: the first alone, and the others together."""
    engine = engine_in(tmp_path)
    commits: list[Any] = []
    event.listen(engine.sync_engine, "commit", commits.append)
    async with SqlPollStore(engine) as store:
        commits.clear()
        await asyncio.gather(*(store.put("poll", {f"k{n}": "1"}) for n in range(1000)))
        assert len(commits) <= 2
    await engine.dispose()


async def test_a_write_that_fails_is_everybodys_and_the_next_one_works(tmp_path: Path) -> None:
    """Nobody is told that something is durable which is not."""
    engine = engine_in(tmp_path)
    async with SqlPollStore(engine) as store:
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE chaoying_polls RENAME TO away"))
        puts = [store.put("poll", {f"k{n}": "1"}) for n in range(3)]
        failed = await asyncio.gather(*puts, return_exceptions=True)
        assert all(isinstance(error, StoreError) for error in failed)
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE away RENAME TO chaoying_polls"))
        await store.put("poll", {"a": "1"})
        assert await everything(store, "poll") == [("a", "1")]
    await engine.dispose()


async def test_leaving_writes_what_is_left(tmp_path: Path) -> None:
    """Nothing that was handed over is forgotten; nothing more is taken."""
    async with store_in(tmp_path) as store:
        puts = [asyncio.create_task(store.put("poll", {f"k{n}": "1"})) for n in range(100)]
        await asyncio.sleep(0)
    await asyncio.gather(*puts)
    async with store_in(tmp_path) as store:
        assert len(await everything(store, "poll")) == 100


BAD: dict[str, tuple[str, str, str]] = {
    "a long kind": ("k" * 33, "a", "1"),
    "a long key": ("poll", "a" * 513, "1"),
    "NUL in a key": ("poll", "a\0", "1"),
    "NUL in a text": ("poll", "a", "\0"),
    "half a character": ("poll", "a", "\ud83d"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_one_database_would_refuse_all_refuse(tmp_path: Path, case: str) -> None:
    """Before it is in a batch with others."""
    kind, key, value = BAD[case]
    async with store_in(tmp_path) as store:
        with pytest.raises(ParameterError):
            await store.put(kind, {key: value})
        assert await everything(store, "poll") == []


# --------------------------------------------------------------------------- what it takes


async def test_an_engine_of_the_users_stays_open(tmp_path: Path) -> None:
    """M-17: we close only what we made."""
    engine = engine_in(tmp_path)
    async with SqlPollStore(engine, table_prefix="till_") as store:
        await store.put("poll", {"a": "1"})
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM till_polls"))).scalar() == 1
    await engine.dispose()


async def test_what_cannot_keep_a_store_is_refused(tmp_path: Path) -> None:
    """With the reason, and at once."""
    for where in (":memory:", "sqlite://", make_url("sqlite+aiosqlite:///:memory:")):
        with pytest.raises(UsageError, match="MemoryPollStore"):
            await SqlPollStore(where).__aenter__()
    engine = engine_in(tmp_path, isolation_level="AUTOCOMMIT")
    with pytest.raises(UsageError, match="AUTOCOMMIT"):
        await SqlPollStore(engine).__aenter__()
    await engine.dispose()
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    with pytest.raises(UsageError, match="StaticPool"):
        await SqlPollStore(engine).__aenter__()
    await engine.dispose()
    for lease in (0, float("inf"), float("nan")):
        with pytest.raises(ParameterError, match="lease"):
            SqlPollStore(tmp_path / "polls.db", lease=lease)


def test_tables_can_be_kept_by_alembic() -> None:
    """Two tables, with the prefix that was asked for."""
    assert set(pollstore_metadata("till_").tables) == {"till_polls", "till_polls_owner"}


async def test_a_file_is_written_through_to_the_disk(tmp_path: Path) -> None:
    """WAL, and every commit waits for the disk."""
    async with store_in(tmp_path) as store:
        engine = store._opened.engine  # type: ignore[union-attr]
        async with engine.connect() as connection:
            found = [
                (await connection.execute(text(f"PRAGMA {name}"))).scalar()
                for name in ("journal_mode", "synchronous")
            ]
    assert found == ["wal", 2]


async def test_no_text_is_ever_logged_or_in_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """M-27: not at DEBUG, not when the database refuses it; aiosqlite's own DEBUG is the user's."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "aiosqlite")
    async with store_in(tmp_path) as store:
        await store.put("poll", {"a": SECRET})
        engine = store._opened.engine  # type: ignore[union-attr]
        async with engine.begin() as connection:
            await connection.execute(text("DROP TABLE chaoying_polls"))
        with pytest.raises(StoreError) as caught:
            await store.put("poll", {"a": SECRET})
    assert SECRET not in f"{caught.value!s} {caught.value!r} {caplog.text} {store!r}"
