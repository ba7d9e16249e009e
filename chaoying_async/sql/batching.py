"""What comes while a write is under way is written together with the next one.

A commit waits for the disk, so one at a time would be a few hundred a second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Generic, TypeVar

from chaoying_async.exceptions import SessionClosedError

T = TypeVar("T")
R = TypeVar("R")

#: Called once there is a connection: what is to be written now, in the order in which it came.
Take = Callable[[], Sequence[T]]


class Batches(Generic[T, R]):
    """Hands items to ``write`` in the order in which they came, many at a time.

    ``write`` calls what it is given, once, for the items, and returns an answer for each: a value,
    or an exception that is raised to whoever brought that item. What ``write`` raises is raised to
    everybody who waits. ``most``: so much ``size`` goes into one write, but no item is divided.
    """

    def __init__(
        self,
        write: Callable[[Take[T]], Awaitable[Sequence[R | Exception]]],
        *,
        most: int,
        size: Callable[[T], int] = lambda _: 1,
    ) -> None:
        self._write = write
        self._most = most
        self._size = size
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._closing = False

    async def add(self, item: T) -> R:
        """The answer for this item, which is durable then.

        If the caller is cancelled, its item may still have been written.
        """
        if self._closing:
            raise SessionClosedError("the store is being closed")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, answer))
        if self._writer is None:
            self._writer = loop.create_task(self._write_all(), name="chaoying store: write")
        return await answer

    async def close(self) -> None:
        """Write what waits, and take no more."""
        self._closing = True
        if self._writer is not None:
            await self._writer

    def drop(self) -> None:
        """Write no more than what is under way; whoever waits for more is told, and may retry."""
        _fail(self._waiting, SessionClosedError("the store was closed before that"))
        self._waiting.clear()

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                await self._write_some()
        finally:
            self._writer = None
            self.drop()  # nothing waits, unless the loop is closing

    async def _write_some(self) -> None:
        taken: list[tuple[T, asyncio.Future[R]]] = []
        try:
            answers = await self._write(partial(self._take, taken))
        except Exception as error:  # noqa: BLE001 - it is raised to everybody who waits
            if not taken:
                taken, self._waiting = [*self._waiting], deque()
            _fail(taken, error)
        except BaseException:  # cancelled: it may have been written or not
            _fail(taken, SessionClosedError("the store was closed in the middle of that"))
            raise
        else:
            for each, answer in zip(taken, answers, strict=True):
                if isinstance(answer, Exception):
                    _fail([each], answer)
                elif not each[1].done():
                    each[1].set_result(answer)

    def _take(self, taken: list[tuple[T, asyncio.Future[R]]]) -> Sequence[T]:
        size = 0
        while self._waiting:
            size += self._size(self._waiting[0][0])
            if taken and size > self._most:
                break
            taken.append(self._waiting.popleft())
        return [item for item, _ in taken]


def _fail(those: Iterable[tuple[T, asyncio.Future[R]]], error: Exception) -> None:
    for _, answer in those:
        if not answer.done():
            answer.set_exception(error)
