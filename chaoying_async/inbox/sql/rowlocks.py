"""Under which isolations a row's lock is the lease, since a renewal would spoil the work's commit.

From REPEATABLE READ on, PostgreSQL refuses to complete an order whose row was changed (renewed)
since the work began; so does MariaDB with ``innodb_snapshot_isolation``; and where MariaDB is
SERIALIZABLE, looking at the row locks it against the renewal. So there the work takes the row's
lock when it begins and keeps it to its end, as SQLite's one writer does: nobody else can claim the
order meanwhile, whatever became of the lease, and there is nothing to renew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.exceptions import UsageError
from chaoying_async.sql.dialects import MYSQL_NAMES

#: Where SQLAlchemy keeps a connection's answer: an engine's isolation does not change.
_KNOWN = "chaoying_async.inbox.rowlocks"

_STRICT = ("REPEATABLE READ", "SERIALIZABLE")
#: Which of these there are depends on the server's version.
_VARIABLES = text(
    "SHOW SESSION VARIABLES WHERE variable_name IN ('autocommit', 'tx_isolation',"
    " 'transaction_isolation', 'innodb_snapshot_isolation')"
)


async def needs_row_lock(connection: AsyncConnection) -> bool:
    """Whether this connection has such an isolation; asked once for each connection.

    :class:`UsageError` where a driver's own ``autocommit`` leaves it without transactions.
    """
    sync: Any = connection.sync_connection
    if _KNOWN not in sync.info:
        sync.info[_KNOWN] = await _ASK[connection.dialect.name](connection)
    return bool(sync.info[_KNOWN])


async def _of_postgresql(connection: AsyncConnection) -> bool:
    return await connection.get_isolation_level() in _STRICT


async def _of_mysql(connection: AsyncConnection) -> bool:
    found = {row[0]: row[1] for row in await connection.execute(_VARIABLES)}
    if found.get("autocommit") == "ON":
        raise UsageError(
            "this engine's connections commit every statement by themselves (autocommit): the"
            " effect and its record could not be one"
        )
    level = found.get("tx_isolation", found.get("transaction_isolation"))
    return level == "SERIALIZABLE" or found.get("innodb_snapshot_isolation") == "ON"


_ASK: dict[str, Callable[[AsyncConnection], Awaitable[bool]]] = {
    "postgresql": _of_postgresql,
    **dict.fromkeys(MYSQL_NAMES, _of_mysql),
}
