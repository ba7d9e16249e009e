"""One statement for many rows, in as few round trips as the driver allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Delete, Executable, Update
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.sql.dialects import MYSQL_NAMES

#: MariaDB: so many statements are sent together.
_TOGETHER = 200


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
    waiting = iter(rows)
    while some := [*islice(waiting, _TOGETHER)]:
        given = map(compiled.construct_params, some)
        values = [each[name] for each in given for name in compiled.positiontup]
        sql = f"BEGIN NOT ATOMIC {f'{compiled.string}; ' * len(some)}END"
        await connection.exec_driver_sql(sql, tuple(values))
