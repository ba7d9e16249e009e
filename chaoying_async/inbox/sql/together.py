"""SQLite: claims that come together are written together, with one wait for the disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from sqlalchemy import Insert

from chaoying_async.inbox.sql.access import Access
from chaoying_async.inbox.sql.values import Params

#: RETURNING says which of several rows were new.
AT_ONCE = 50 if sqlite3.sqlite_version_info >= (3, 35) else 1


class _Asked(NamedTuple):
    key: Hashable
    params: Params
    answer: asyncio.Future[bool]


class Together:
    """Collects rows while others write, and inserts them as one statement.

    Whoever asks and is cancelled may leave a row behind, as by a commit that it did not hear of.
    """

    def __init__(self, access: Access, statement: Insert) -> None:
        self._access = access
        self._statement = statement
        self._asked: list[_Asked] = []
        self._writer: asyncio.Task[None] | None = None

    async def insert(self, key: Hashable, params: Params) -> bool:
        """Whether the row is new; what was there is left alone."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(key, params, answer))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        return await answer

    async def _write(self) -> None:
        try:
            while self._asked:
                await self._write_some()
        finally:
            self._writer = None
            _fail(self._asked, asyncio.CancelledError())  # empty, unless the loop is closing

    async def _write_some(self) -> None:
        taken: list[_Asked] = []
        try:
            async with self._access.connect_to_write() as connection:
                taken, self._asked = self._asked[:AT_ONCE], self._asked[AT_ONCE:]
                firsts: dict[Hashable, _Asked] = {}
                for asked in taken:
                    firsts.setdefault(asked.key, asked)
                rows = [asked.params for asked in firsts.values()]
                new = await self._access.insert_all(connection, self._statement, rows)
        except Exception as error:  # noqa: BLE001 - it is theirs who asked
            if not taken:
                taken, self._asked = self._asked, []
            _fail(taken, error)
            return
        except BaseException as error:
            _fail(taken, error)
            raise
        for asked in taken:
            if not asked.answer.done():
                asked.answer.set_result(asked.key in new and firsts[asked.key] is asked)


def _fail(those: Sequence[_Asked], error: BaseException) -> None:
    for asked in those:
        if asked.answer.done():
            continue
        if isinstance(error, Exception):
            asked.answer.set_exception(error)
        else:
            asked.answer.cancel()
