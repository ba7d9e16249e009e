"""One statement for many rows: the same on each database, in few round trips."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from chaoying_async.sql.many import execute_for_each
from tests.servers import Servers
from tests.sql_shop import DATABASES, SqlShop, effects, singles, sql_shop

#: What a text may hold that a driver or a compound statement might take for something else.
ODD = (
    "50 % off",
    "%s %(p_new)s :p_new ?",
    "a;b",
    "it's",
    'say "x"',
    "back\\slash",
    "咖啡 ☕ 😀",
    "END",
)
ROWS = 450

CHANGE = (
    update(effects)
    .where(effects.c.id == bindparam("p_id"), effects.c.id + 0 < 1000)
    .values(number=bindparam("p_new"))
)


def _text(row: int) -> str:
    return f"{ODD[row % len(ODD)]} {row}"


async def _filled(shop: SqlShop) -> None:
    async with shop.engine.begin() as connection:
        rows = [{"id": row + 1, "number": "before"} for row in range(ROWS)]
        await connection.execute(insert(effects), rows)


async def _numbers(shop: SqlShop) -> list[str]:
    async with shop.engine.connect() as connection:
        question = select(effects.c.number).order_by(effects.c.id)
        return [*(await connection.execute(question)).scalars()]


@pytest.mark.parametrize("kind", DATABASES)
async def test_each_row_is_changed_by_its_own_values(servers: Servers, kind: str) -> None:
    """Whatever stands in them; the last of two changes of one row counts."""
    async with sql_shop(kind, servers) as shop:
        await _filled(shop)
        changes = [{"p_id": row + 1, "p_new": _text(row)} for row in range(ROWS)]
        async with shop.engine.begin() as connection:
            await execute_for_each(connection, CHANGE, [{"p_id": 1, "p_new": "x"}, *changes])
        assert await _numbers(shop) == [_text(row) for row in range(ROWS)]
        async with shop.engine.begin() as connection:
            gone = delete(effects).where(effects.c.id == bindparam("p_id"))
            await execute_for_each(connection, gone, [{"p_id": row} for row in range(2, ROWS + 1)])
        assert await _numbers(shop) == [_text(0)]


@pytest.mark.parametrize("kind", DATABASES)
async def test_the_first_error_is_the_error_of_all(servers: Servers, kind: str) -> None:
    """What was changed before it goes with its transaction."""
    async with sql_shop(kind, servers) as shop:
        async with shop.engine.begin() as connection:
            rows: list[dict[str, Any]] = [{"number": name} for name in ("a", "b", "c")]
            await connection.execute(insert(singles), rows)
        rename = (
            update(singles)
            .where(singles.c.number == bindparam("p_old"))
            .values(number=bindparam("p_new"))
        )
        changes = [{"p_old": "a", "p_new": "d"}, {"p_old": "b", "p_new": "c"}]
        with pytest.raises(DBAPIError):
            async with shop.engine.begin() as connection:
                await execute_for_each(connection, rename, changes)
        async with shop.engine.connect() as connection:
            found = (await connection.execute(select(singles.c.number))).scalars()
            assert {*found} == {"a", "b", "c"}


async def test_mariadb_gets_hundreds_of_changes_in_a_few_statements(servers: Servers) -> None:
    """Its driver would send each by itself."""
    async with sql_shop("mariadb", servers) as shop:
        await _filled(shop)
        sent: list[str] = []

        @event.listens_for(shop.engine.sync_engine, "before_cursor_execute")
        def heard(_c: Any, _cursor: Any, sql: str, _p: Any, _x: Any, many: bool) -> None:
            assert not many
            sent.append(sql)

        changes = [{"p_id": row + 1, "p_new": _text(row)} for row in range(ROWS)]
        async with shop.engine.begin() as connection:
            await execute_for_each(connection, CHANGE, changes)
        assert [sql.count("UPDATE") for sql in sent] == [200, 200, 50]


async def test_no_packet_is_larger_than_mariadb_takes(servers: Servers) -> None:
    """Its usual bound is 16 MiB for all texts of a statement together."""
    async with sql_shop("mariadb", servers) as shop:
        note = Table("notes", MetaData(), Column("id", Integer), Column("words", Text(1 << 20)))
        async with shop.engine.begin() as connection:
            await connection.run_sync(note.metadata.create_all)
            await connection.execute(insert(note), [{"id": row} for row in range(200)])
            change = update(note).where(note.c.id == bindparam("p_id"))
            change = change.values(words=bindparam("p_words"))
            texts = [{"p_id": row, "p_words": f"{row}" + "x" * 100_000} for row in range(200)]
            await execute_for_each(connection, change, texts)
        async with shop.engine.connect() as connection:
            found = await connection.execute(select(note.c.words).order_by(note.c.id))
            assert [*found.scalars()] == [each["p_words"] for each in texts]
