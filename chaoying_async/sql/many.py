"""One statement for many rows, in as few round trips as the driver allows."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from sqlalchemy import Delete, Executable, Update
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.sql.dialects import MYSQL_NAMES

#: MariaDB: so many statements are sent together, with so many characters of values at most: the
#: server takes no packet above its ``max_allowed_packet``.
_TOGETHER, _CHARACTERS = 200, 250_000


async def execute_for_each(
    connection: AsyncConnection, statement: Executable, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Execute the statement with the parameters of each row, in their order.

    MariaDB's drivers send an UPDATE or DELETE of each row by itself, and wait for its answer; here
    they go as one compound statement. Its first error is the error of all.
    """
    alone = connection.dialect.name not in MYSQL_NAMES or len(rows) == 1
    if alone or not isinstance(statement, Update | Delete):
        await connection.execute(statement, rows)
        return
    compiled: Any = statement.compile(dialect=connection.dialect)
    given = map(compiled.construct_params, rows)
    for some in _groups([[each[name] for name in compiled.positiontup] for each in given]):
        sql = f"BEGIN NOT ATOMIC {f'{compiled.string}; ' * len(some)}END"
        await connection.exec_driver_sql(sql, tuple(value for row in some for value in row))


def _groups(rows: Sequence[Sequence[Any]]) -> Generator[Sequence[Sequence[Any]]]:
    group: list[Sequence[Any]] = []
    size = 0
    for row in rows:
        more = sum(len(value) for value in row if isinstance(value, str))
        if group and (len(group) == _TOGETHER or size + more > _CHARACTERS):
            yield group
            group, size = [], 0
        group.append(row)
        size += more
    yield group
