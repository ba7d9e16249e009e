"""One writer for all: what comes while a transaction is under way goes into the next one together.

A commit waits for the disk, so one at a time would be a few hundred a second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from chaoying_async.exceptions import SessionClosedError

#: ``(kind, key)`` to the text to keep; None: to be dropped.
Changes = Mapping[tuple[str, str], str | None]
#: So many changes go into one transaction; a single call is never divided.
MOST = 2000

_Job = tuple[Changes, asyncio.Future[None]]


class Writer:
    """Hands changes to ``commit`` in the order in which they came, many at a time."""

    def __init__(self, commit: Callable[[Changes], Awaitable[None]]) -> None:
        self._commit = commit
        self._jobs: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def write(self, changes: Changes) -> None:
        """Durable on return. Whoever is cancelled meanwhile may find it written all the same."""
        if self._closing:
            raise SessionClosedError("the store is being closed")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._jobs.append((changes, future))
        self._wake.set()
        await future

    async def close(self) -> None:
        """Write what is left, and end."""
        self._closing = True
        self._wake.set()
        await self._task

    def drop(self) -> None:
        """Write no more than what is under way; everybody else is told, and may put it again."""
        while self._jobs:
            _tell(self._jobs.popleft()[1], SessionClosedError("the store was closed before that"))

    async def _run(self) -> None:
        while True:
            while self._jobs:
                await self._write(self._batch())
            if self._closing:
                return
            self._wake.clear()
            await self._wake.wait()

    def _batch(self) -> list[_Job]:
        batch = [self._jobs.popleft()]
        size = len(batch[0][0])
        while self._jobs and size + len(self._jobs[0][0]) <= MOST:
            batch.append(self._jobs.popleft())
            size += len(batch[-1][0])
        return batch

    async def _write(self, batch: list[_Job]) -> None:
        together: dict[tuple[str, str], str | None] = {}
        for changes, _ in batch:
            together.update(changes)
        try:
            await self._commit(together)
        except Exception as error:  # noqa: BLE001 - it is raised to everybody who waits
            for _, future in batch:
                _tell(future, error)
        except BaseException:  # cancelled: it may have been written or not
            for _, future in batch:
                _tell(future, SessionClosedError("the store was closed in the middle of that"))
            self.drop()
            raise
        else:
            for _, future in batch:
                if not future.done():
                    future.set_result(None)


def _tell(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
