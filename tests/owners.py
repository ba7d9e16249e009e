"""Stores that are taken over by another process, or fail, at a moment that a test chooses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs

from chaoying_async.abc import PollStore
from chaoying_async.exceptions import SessionClosedError, StoreInUseError
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.testing import FakeClock


class OwnStore:
    """A ``PollStore`` as a user would write it from ``abc`` alone: nothing but its five methods."""

    def __init__(self, texts: dict[tuple[str, str], str]) -> None:
        self.texts = texts
        self.error: Exception | None = None
        #: Raised by ``hold`` alone.
        self.unreadable: Exception | None = None
        self.holds = 0

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        self._check()
        self.texts.update({(kind, key): text for key, text in items.items()})

    async def get(self, kind: str, key: str) -> str | None:
        self._check()
        return self.texts.get((kind, key))

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        self._check()
        for key in keys:
            self.texts.pop((kind, key), None)

    async def load(self, kind: str) -> AsyncIterator[tuple[str, str]]:
        self._check()
        for (of, key), text in list(self.texts.items()):
            if of == kind:
                yield key, text

    async def hold(self) -> None:
        self.holds += 1
        if self.unreadable is not None:
            raise self.unreadable
        self._check()


@attrs.frozen
class Owned:
    """A store, and what another process, its owner or its database may do to it."""

    store: Any
    #: Another process becomes the owner; entered, it has the store.
    taken_over: Callable[[], AbstractAsyncContextManager[PollStore]]


@asynccontextmanager
async def own(_directory: Path) -> AsyncGenerator[Owned]:
    texts: dict[tuple[str, str], str] = {}
    store = OwnStore(texts)

    @asynccontextmanager
    async def taken_over() -> AsyncGenerator[PollStore]:
        store.error = StoreInUseError("another process has it")
        yield OwnStore(texts)

    yield Owned(store, taken_over)
    store.error = SessionClosedError("closed")


@asynccontextmanager
async def sql(directory: Path) -> AsyncGenerator[Owned]:
    """Its clock stands still, as that of a process under SIGSTOP: it renews nothing."""
    stalled = FakeClock()
    path = directory / "polls.db"

    @asynccontextmanager
    async def taken_over() -> AsyncGenerator[PollStore]:
        later = FakeClock(stalled.now() + timedelta(hours=1))
        async with SqlPollStore(path, clock=later) as store:
            yield store

    async with SqlPollStore(path, clock=stalled) as store:
        yield Owned(store, taken_over)


OWNERS: dict[str, Callable[[Path], AbstractAsyncContextManager[Owned]]] = {"sql": sql, "own": own}
