"""A SQLite table of before gave numbers of rows out again; a fleet that starts makes it anew."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.exceptions import UsageError
from chaoying_async.workers.renumbering import renumber
from chaoying_async.workers.tables import fleet_tables
from tests.pollers import order, orders
from tests.workers.fleets import ENDED, GIVEN, SOON, FleetWorld, until

#: As the version before the first release made it.
OLD = """
CREATE TABLE chaoying_fleet (
    seq INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    kind VARCHAR(32) NOT NULL,
    item VARCHAR(512) NOT NULL,
    body TEXT NOT NULL,
    "then" VARCHAR(255) NOT NULL,
    created BIGINT NOT NULL,
    due BIGINT NOT NULL,
    tries INTEGER NOT NULL,
    PRIMARY KEY (seq),
    CONSTRAINT chaoying_fleet_item UNIQUE (kind, item)
);
CREATE INDEX chaoying_fleet_shard ON chaoying_fleet (shard, kind, seq);
"""
TABLES = fleet_tables("chaoying_")


@pytest.fixture
def old(tmp_path: Path) -> Generator[sqlite3.Connection]:
    """A file with a table of before, which another connection looks into."""
    GIVEN.clear()
    with closing(sqlite3.connect(tmp_path / "fleet.db")) as connection:
        connection.executescript(OLD)
        yield connection


def rows(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT * FROM chaoying_fleet ORDER BY seq").fetchall()


async def test_what_waits_keeps_its_row_and_no_number_comes_again(
    old: sqlite3.Connection, tmp_path: Path
) -> None:
    """Red without it: the second order had the first one's number, and so its outcome's id."""
    world = FleetWorld(f"sqlite:///{tmp_path}/fleet.db")
    office = world.fleet()
    await office.watch_many(orders(3), then=ENDED, schedule=SOON)
    await office.close()
    before = rows(old)
    assert [row[0] for row in before] == [1, 2, 3]
    old.execute("DELETE FROM chaoying_fleet WHERE seq = 3")  # its outcome was told as number 3
    old.commit()
    opened = world.fleet()
    await opened._database.open(opened._sharding)
    assert rows(old) == before[:2]
    await opened.watch(order("A900001"), then=ENDED, schedule=SOON)
    assert rows(old)[-1][0] > 3
    await opened.close()
    async with world.open(1):
        await until(lambda: len(GIVEN) == 3)
    ids = [outcome["id"] for (outcome,) in GIVEN.values()]
    assert len({*ids}) == 3


async def test_an_empty_one_gives_no_number_again_either(
    old: sqlite3.Connection, tmp_path: Path
) -> None:
    """Its rows have gone, and their numbers were given out all the same."""
    fleet = FleetWorld(f"sqlite:///{tmp_path}/fleet.db").fleet()
    async with fleet.handing_over():
        await fleet._database.open(fleet._sharding)
        await fleet.watch(order(), then=ENDED)
        assert rows(old)[0][0] > 1_000_000
        await fleet._database.open(fleet._sharding)  # and a second time nothing happens
        assert len(rows(old)) == 1
        (made_by,) = old.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'chaoying_fleet_shard'"
        ).fetchone()
        assert made_by.endswith("ON chaoying_fleet (shard, kind, seq)")


async def test_of_many_that_start_at_once_one_makes_it_anew(
    old: sqlite3.Connection, tmp_path: Path
) -> None:
    """The others find it done; nothing of what waits is lost, and nobody fails."""
    world = FleetWorld(f"sqlite:///{tmp_path}/fleet.db")
    office = world.fleet()
    await office.watch_many(orders(50), then=ENDED, schedule=SOON)
    await office.close()
    old.execute("PRAGMA journal_mode=WAL")
    fleets = [world.fleet() for _ in range(4)]
    await asyncio.gather(*(fleet._database.open(fleet._sharding) for fleet in fleets))
    await asyncio.gather(*(renumber(fleet._engine, TABLES) for fleet in fleets))
    assert [row[0] for row in rows(old)] == [*range(1, 51)]
    for fleet in fleets:
        await fleet.close()


async def test_an_engine_that_commits_by_itself_changes_nothing(
    old: sqlite3.Connection, tmp_path: Path
) -> None:
    """Half of it, and a crash, would lose every order; whoever serves refuses such an engine."""
    old.execute("INSERT INTO chaoying_fleet VALUES (7, 0, 0, 'poll', 'a', 'b', '', 0, 0, 0)")
    old.commit()
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{tmp_path}/fleet.db", connect_args={"isolation_level": None}
    )
    async with engine.begin() as connection:
        await connection.run_sync(TABLES.metadata.create_all)
    before = rows(old)
    with pytest.raises(UsageError, match="by themselves"):
        await renumber(engine, TABLES)
    assert rows(old) == before
    await engine.dispose()


@pytest.mark.parametrize(
    ("name", "depends"),
    [
        ("parcels", "CREATE TABLE parcels (seq REFERENCES Chaoying_Fleet (seq) ON DELETE CASCADE)"),
        ("waiting", "CREATE VIEW waiting AS SELECT item FROM chaoying_fleet"),
        ("loud", "CREATE VIEW loud AS SELECT item FROM CHAOYING_FLEET"),
        (
            "noted",
            "CREATE TRIGGER noted AFTER DELETE ON chaoying_fleet BEGIN SELECT 1; END",
        ),
    ],
)
async def test_what_depends_on_the_table_is_named_and_nothing_is_changed(
    old: sqlite3.Connection, tmp_path: Path, name: str, depends: str
) -> None:
    """SQLite would empty the shop's own table, or leave a view that leads to nothing."""
    old.execute(depends)
    old.execute("INSERT INTO chaoying_fleet VALUES (7, 0, 0, 'poll', 'a', 'b', '', 0, 0, 0)")
    old.commit()
    before = rows(old)
    fleet = FleetWorld(f"sqlite:///{tmp_path}/fleet.db").fleet()
    with pytest.raises(UsageError, match=f"but {name} of the same database"):
        await fleet._database.open(fleet._sharding)
    assert rows(old) == before
    old.execute(f"DROP {depends.split()[1]} {name}")
    old.commit()
    await fleet._database.open(fleet._sharding)
    assert rows(old) == before
    await fleet.close()
