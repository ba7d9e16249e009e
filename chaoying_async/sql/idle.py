"""MariaDB ends a transaction whose connection is not used for some time, and nobody else's (M-16).

PostgreSQL has a setting for one transaction. MariaDB has one for a whole session, which goes back
to its pool afterwards; so what it was before is put back there.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import attrs
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.sql.transactions import driver_of, to_its_end

#: The second is of transactions that have written, and goes before the first where it is not 0.
_SETTINGS = ("idle_transaction_timeout", "idle_write_transaction_timeout")


@attrs.define
class Limited:
    """Whether a limit was set."""

    is_set: bool = True


class SessionLimit:
    """Seconds for which a transaction may leave its connection unused; the server ends it then."""

    def __init__(self, seconds: float) -> None:
        limit = math.ceil(seconds)
        keep = (f"@chaoying_{name} = @@{name}" for name in _SETTINGS)
        begin = (f"SESSION {name} = {limit}" for name in _SETTINGS)
        # Before the first limit of a session there is nothing to put back.
        put_back = (f"SESSION {name} = coalesce(@chaoying_{name}, @@{name})" for name in _SETTINGS)
        self._begin = f"SET {', '.join((*keep, *begin))}"
        self._end = f"SET {', '.join(put_back)}"

    def added_to(self, statement: object) -> TextClause:
        """The statement, and behind it the limit: sent together, it costs no wait of its own.

        A statement that fails sets no limit.
        """
        return text(f"{statement}; {self._begin}")

    async def begin(self, connection: AsyncConnection) -> None:
        """Set the limit by itself."""
        await _sent(connection, self._begin)

    @asynccontextmanager
    async def put_back(self, connection: AsyncConnection) -> AsyncGenerator[Limited]:
        """A block for a transaction; afterwards the setting is what it was before.

        Where the block says that no limit was set, and raises nothing, nothing is sent.
        """
        limited = Limited()
        try:
            yield limited
        except BaseException:
            if not (connection.closed or connection.invalidated):
                with suppress(Exception):  # nobody gets the connection then
                    await _sent(connection, self._end)
            raise
        if limited.is_set:
            await _sent(connection, self._end)


async def _sent(connection: AsyncConnection, statement: str) -> None:
    """By the driver itself: SQLAlchemy would take longer than the server does.

    Where it fails or is cancelled, nobody gets the connection any more.
    """
    try:
        await driver_of(connection).query(statement)
    except BaseException:
        await to_its_end(connection.invalidate())
        raise
