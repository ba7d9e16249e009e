"""What the last version's SqlInbox said to its database, word for word, and in what order.

From ``inbox/sql/statements.py`` of the commit before one transaction did all (its tables are the
same): it claimed an order by a row with a lease, worked in a second transaction, and completed the
row there while its token was still its own. Here are the statements of a paid order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tests.factories import MCH_ID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Its clocks; SQLite was given the process's.
_NOW: Final = {
    "postgresql": "(extract(epoch from clock_timestamp()) * 1000000)::bigint",
    "mysql": "timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))",
    "sqlite": ":now",
}
_INSERT = (
    "INSERT INTO chaoying_orders (mch_id, out_trade_no, payload, first_seen, payable,"
    " transaction_id, out_transaction_id, source, decision, due, failures, reason, state, token,"
    " held_until) VALUES (:mch_id, :number, '{{}}', :first_seen, 100, :transaction, NULL,"
    " 'NOTIFICATION', 'APPLY', 0, 0, '', 'HELD', 1, {now} + :lease){unless_there}"
)
_LOOK = (
    "SELECT state, token, held_until - {now} AS remaining FROM chaoying_orders"
    " WHERE mch_id = :mch_id AND out_trade_no = :number"
)
_CLAIM_AGAIN = (
    "UPDATE chaoying_orders SET state = 'HELD', token = token + 1, held_until = {now} + :lease,"
    " due = 0 WHERE mch_id = :mch_id AND out_trade_no = :number AND token = :token"
    " AND (state = 'HELD' OR state = 'NOT_PAID') AND held_until <= {now}"
)
_OURS = "mch_id = :mch_id AND out_trade_no = :number AND token = :token AND state = 'HELD'"
_STILL_OURS = f"SELECT token FROM chaoying_orders WHERE {_OURS}"  # noqa: S608 - our own words
#: SQLite: takes the one write lock.
_HOLD = f"UPDATE chaoying_orders SET token = token WHERE {_OURS}"  # noqa: S608 - the same
_COMPLETE = f"UPDATE chaoying_orders SET state = 'DONE', held_until = {{now}} WHERE {_OURS}"  # noqa: S608 - the same

Effect = Callable[[AsyncConnection], Awaitable[None]]


class LastVersion:
    """A process of the last version that works on the same tables."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._name = engine.dialect.name
        self._unless_there = "" if self._name == "mysql" else " ON CONFLICT DO NOTHING"

    async def _execute(
        self, connection: AsyncConnection, statement: str, number: str, **more: Any
    ) -> Any:
        now = datetime.now(UTC)
        given: dict[str, Any] = {
            "mch_id": MCH_ID,
            "number": number,
            "transaction": f"T{number}",
            "first_seen": (now - _EPOCH) // timedelta(microseconds=1),
            "now": (now - _EPOCH) // timedelta(microseconds=1),
            **more,
        }
        sql = statement.format(now=_NOW[self._name], unless_there=self._unless_there)
        names = {name: value for name, value in given.items() if f":{name}" in sql}
        return await connection.execute(text(sql), names)

    async def claim(self, number: str, *, lease: float = 30.0) -> int | None:
        """The token of its claim; None where the order is somebody else's, or over."""
        span = round(lease * 1_000_000)
        try:
            async with self._engine.begin() as connection:
                inserted = await self._execute(connection, _INSERT, number, lease=span)
                if inserted.rowcount:
                    return 1
        except IntegrityError:
            if self._name != "mysql":
                raise
        async with self._engine.begin() as connection:
            row = (await self._execute(connection, _LOOK, number)).one_or_none()
        if row is None or row.state not in ("HELD", "NOT_PAID") or row.remaining > 0:
            return None
        async with self._engine.begin() as connection:
            again = await self._execute(
                connection, _CLAIM_AGAIN, number, token=row.token, lease=span
            )
            return int(row.token) + 1 if again.rowcount else None

    async def work(self, number: str, token: int, effect: Effect) -> bool:
        """Whether its claim was still its own when it was done; else nothing has happened."""
        async with self._engine.connect() as connection, connection.begin() as transaction:
            if self._name == "sqlite":
                held = (await self._execute(connection, _HOLD, number, token=token)).rowcount
            else:
                found = await self._execute(connection, _STILL_OURS, number, token=token)
                held = found.one_or_none() is not None
            if held:
                await effect(connection)
                done = await self._execute(connection, _COMPLETE, number, token=token)
                if done.rowcount:
                    return True
            await transaction.rollback()
            return False
