"""SQLite: claims that come together are written together, with one wait for the disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from sqlalchemy import Insert
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.inbox.sql.access import Access
from chaoying_async.inbox.sql.loops import OfLoop
from chaoying_async.inbox.sql.rows import Params

#: RETURNING says which of several rows were new.
AT_ONCE = 50 if sqlite3.sqlite_version_info >= (3, 35) else 1


class _Asked(NamedTuple):
    key: Hashable
    params: Params
    answer: asyncio.Future[bool]


class _Queue:
    """What was asked in one event loop, and who writes it."""

    def __init__(self) -> None:
        self.asked: list[_Asked] = []
        self.writer: asyncio.Task[None] | None = None

    def take(self) -> list[_Asked]:
        taken, self.asked = self.asked[:AT_ONCE], self.asked[AT_ONCE:]
        return taken

    def take_all(self) -> list[_Asked]:
        taken, self.asked = self.asked, []
        return taken


class Together:
    """Collects rows while others write, and inserts them as one statement.

    Whoever asks and is cancelled may leave a row behind, as by a commit that it did not hear of.
    """

    def __init__(self, access: Access, statement: Insert) -> None:
        self._access = access
        self._statement = statement
        self._queues: OfLoop[_Queue] = OfLoop(_Queue)

    async def insert(self, key: Hashable, params: Params) -> bool:
        """Whether the row is new; what was there is left alone."""
        queue = self._queues.get()
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queue.asked.append(_Asked(key, params, answer))
        if queue.writer is None:
            queue.writer = asyncio.create_task(self._write(queue))
        return await answer

    async def _write(self, queue: _Queue) -> None:
        try:
            while queue.asked:
                await self._write_some(queue)
        finally:
            queue.writer = None
            # Empty, unless the loop is closing.
            _fail(queue.take_all(), asyncio.CancelledError())

    async def _write_some(self, queue: _Queue) -> None:
        taken: list[_Asked] = []
        try:
            async with self._access.connect_to_write() as connection:
                taken = queue.take()
                answers = await self._insert(connection, taken)
        except Exception as error:  # noqa: BLE001 - it is theirs who asked
            _fail(taken or queue.take_all(), error)
        except BaseException as error:
            _fail(taken, error)
            raise
        else:
            # Now that the connection is given back: whoever heard may dispose of the engine.
            _tell(taken, answers)

    async def _insert(
        self, connection: AsyncConnection, taken: Sequence[_Asked]
    ) -> list[bool | Exception]:
        firsts: dict[Hashable, _Asked] = {}
        for asked in taken:
            firsts.setdefault(asked.key, asked)
        rows = [asked.params for asked in firsts.values()]
        try:
            new = await self._access.insert_all(connection, self._statement, rows)
        except (ValueError, OverflowError, DataError, IntegrityError, InterfaceError):
            if len(taken) == 1:
                raise
            # One that cannot be kept is no reason to turn the others away.
            return [await self._insert_alone(connection, asked) for asked in taken]
        return [asked.key in new and firsts[asked.key] is asked for asked in taken]

    async def _insert_alone(self, connection: AsyncConnection, asked: _Asked) -> bool | Exception:
        try:
            (answer,) = await self._insert(connection, [asked])
        except Exception as error:  # noqa: BLE001 - it is theirs who asked
            return error
        return answer


def _tell(those: Sequence[_Asked], answers: Sequence[bool | Exception]) -> None:
    for asked, answer in zip(those, answers, strict=True):
        if isinstance(answer, Exception):
            _fail([asked], answer)
        elif not asked.answer.done():
            asked.answer.set_result(answer)


def _fail(those: Sequence[_Asked], error: BaseException) -> None:
    for asked in those:
        if asked.answer.done():
            continue
        if isinstance(error, Exception):
            asked.answer.set_exception(error)
        else:
            asked.answer.cancel()
