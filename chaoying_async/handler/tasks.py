"""Work that outlives the request that brought it, and who owns it (M-17)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

import attrs

from chaoying_async.abc import Clock
from chaoying_async.exceptions import UsageError

T = TypeVar("T")


@attrs.frozen
class Ended(Generic[T]):
    """How a piece of work ended: a result, an error, or neither when it was cancelled."""

    result: T | None = None
    error: Exception | None = None


class Tasks:
    """A task group whose tasks never fail: one failing order takes nothing else down."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._group: asyncio.TaskGroup | None = None
        self._owned: set[asyncio.Task[Any]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self.closing = False

    @property
    def is_open(self) -> bool:
        """Whether work can be left here."""
        return self._group is not None and not self.closing

    async def open(self, ticker: Coroutine[Any, Any, None]) -> None:
        """Begin; ``ticker`` runs until the end and is not waited for."""
        if self._group is not None:
            ticker.close()
            raise UsageError("this handler is open already; make another one")
        self.closing = False
        self._group = await asyncio.TaskGroup().__aenter__()
        self._ticker = self._group.create_task(ticker)

    async def close(self, grace: float) -> bool:
        """Wait for what is under way, then cancel it; False when something had to be cancelled."""
        group, self.closing = self._group, True
        if self._ticker is not None:
            self._ticker.cancel()
        in_time = False
        try:
            in_time = await self._wait(grace)
        finally:
            for task in self._owned:
                task.cancel()
            if group is not None:
                await group.__aexit__(None, None, None)
            self._group, self.closing = None, False
        return in_time

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[Ended[T]]:
        """Run it here; only where :attr:`is_open`."""
        if self._group is None:
            work.close()
            raise UsageError("this handler is not open")
        task = self._group.create_task(_caught(work))
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)
        return task

    async def run(self, work: Coroutine[Any, Any, T]) -> Ended[T]:
        """Run it here if this is open, so that it outlives its caller; else where it stands."""
        return await (end_of(self.start(work)) if self.is_open else _caught(work))

    async def _wait(self, grace: float) -> bool:
        try:
            async with self._clock.timeout(grace):
                while self._owned:
                    await asyncio.wait(list(self._owned))
        except TimeoutError:
            return False
        return True


async def end_of(task: asyncio.Task[Ended[T]]) -> Ended[T]:
    """Wait for it; to be cancelled oneself leaves the task alone."""
    await asyncio.wait([task])
    return Ended() if task.cancelled() else task.result()


async def _caught(work: Coroutine[Any, Any, T]) -> Ended[T]:
    try:
        return Ended(await work)
    except Exception as error:  # noqa: BLE001 - handed to whoever waits for it
        return Ended(error=error)
