"""SQLite: claims that come together are inserted together, with one wait for the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Hashable, Sequence

from sqlalchemy import Insert
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.inbox.sql.access import Access
from chaoying_async.inbox.sql.rows import Params
from chaoying_async.sql.batching import Batches, PerLoop, Take

#: Older versions have no RETURNING, which says which of several rows were new.
AT_ONCE = 50 if sqlite3.sqlite_version_info >= (3, 35) else 1

#: A row's key, and all of its parameters.
Row = tuple[Hashable, Params]


class BatchedInserts:
    """Collects rows while others write, and inserts them as one statement."""

    def __init__(self, access: Access, statement: Insert) -> None:
        self._access = access
        self._statement = statement
        self._batches: PerLoop[Batches[Row, bool]] = PerLoop(
            lambda: Batches(self._write, most=AT_ONCE)
        )

    async def insert(self, key: Hashable, params: Params) -> bool:
        """Whether the row is new; a row that was there is left alone.

        If the caller is cancelled, its row may still have been inserted.
        """
        return await self._batches.get().add((key, params))

    async def _write(self, take: Take[Row]) -> Sequence[bool | Exception]:
        async with self._access.connect_to_write() as connection:
            # The connection goes back before anybody hears, and may dispose of the engine.
            return await self._insert(connection, take())

    async def _insert(
        self, connection: AsyncConnection, taken: Sequence[Row]
    ) -> Sequence[bool | Exception]:
        firsts: dict[Hashable, Row] = {}
        for row in taken:
            firsts.setdefault(row[0], row)
        rows = [params for _, params in firsts.values()]
        try:
            new = await self._access.insert_all(connection, self._statement, rows)
        except (ValueError, OverflowError, DataError, IntegrityError, InterfaceError):
            if len(taken) == 1:
                raise
            # One row that cannot be kept is no reason to turn the others away.
            return [await self._insert_alone(connection, row) for row in taken]
        return [row[0] in new and firsts[row[0]] is row for row in taken]

    async def _insert_alone(self, connection: AsyncConnection, row: Row) -> bool | Exception:
        try:
            (answer,) = await self._insert(connection, [row])
        except Exception as error:  # noqa: BLE001 - it is raised to whoever brought the row
            return error
        return answer
