"""A fleet's SQLite table of before gives numbers of rows out again; it is made anew, with its rows.

The number of a row becomes the id of its outcome, by which a task knows what took effect before: an
id that is given twice loses the second outcome.
"""

from __future__ import annotations

from sqlalchemy import Table, column, delete, func, insert, literal, select, table, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.exceptions import UsageError
from chaoying_async.sql.transactions import check_transaction, connected, transaction
from chaoying_async.workers.log_texts import log
from chaoying_async.workers.tables import FleetTables

#: By so much the next number is above those that the table has: more than it ever gave out.
_BEYOND = 1_000_000_000
#: SQLite's own: the last number that each table with AUTOINCREMENT gave out.
_NUMBERS = table("sqlite_sequence", column("name"), column("seq"))
_MADE_BY = text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name")

#: Views, triggers and foreign keys that name the table.
_REFERRING = text(
    "SELECT name FROM sqlite_master WHERE type IN ('view', 'trigger')"
    " AND instr(lower(sql), lower(:name)) > 0"
    " UNION SELECT m.name FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f"
    " WHERE m.type = 'table' AND lower(f.\"table\") = lower(:name) ORDER BY 1"
)


async def renumber(engine: AsyncEngine, tables: FleetTables) -> None:
    """Make the table anew where it has to be, in one transaction, beside whoever serves.

    Every row keeps its number, its mark and its text, so nobody who is at work on one notices.
    """
    async with connected(engine) as connection:
        if await _never_twice(connection, tables.rows):
            return
    async with transaction(engine) as connection:
        # A write comes first: of two processes that start, the second one finds it done.
        workers = tables.workers
        await connection.execute(update(workers).where(workers.c.name == "").values(held_until=0))
        check_transaction(connection)
        if await _never_twice(connection, tables.rows):
            return
        await _refuse_what_refers_to(connection, tables.rows)
        await _make_anew(connection, tables.rows)
    log.warning("the table %s was made anew: it gave numbers out again", tables.rows.name)


async def _never_twice(connection: AsyncConnection, rows: Table) -> bool:
    made_by = (await connection.execute(_MADE_BY, {"name": rows.name})).scalar_one()
    return "AUTOINCREMENT" in str(made_by).upper()


async def _refuse_what_refers_to(connection: AsyncConnection, rows: Table) -> None:
    """:class:`UsageError` for what would go with the table, or lead to nothing afterwards."""
    found = (await connection.execute(_REFERRING, {"name": rows.name})).scalars().all()
    if found:
        raise UsageError(
            f"the table {rows.name} gives numbers out again and has to be made anew, but"
            f" {', '.join(found)} of the same database depends on it: drop that, start one process"
            " of the fleet, and make it again"
        )


async def _make_anew(connection: AsyncConnection, rows: Table) -> None:
    quote = connection.dialect.identifier_preparer.quote
    names = [each.name for each in rows.columns]
    before = table(f"{rows.name}_before", *map(column, names))
    await connection.execute(text(f"ALTER TABLE {quote(rows.name)} RENAME TO {quote(before.name)}"))
    for index in rows.indexes:  # it went along with the table, and its name has to be free
        await connection.execute(text(f"DROP INDEX {quote(str(index.name))}"))
    await connection.run_sync(rows.create)
    await connection.execute(insert(rows).from_select(names, select(before)))
    await connection.execute(text(f"DROP TABLE {quote(before.name)}"))
    last = func.coalesce(func.max(rows.c.seq), 0) + _BEYOND
    await connection.execute(delete(_NUMBERS).where(_NUMBERS.c.name == rows.name))
    await connection.execute(
        insert(_NUMBERS).from_select(["name", "seq"], select(literal(rows.name), last))
    )
