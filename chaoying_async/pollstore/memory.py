"""A poll store that lives as long as its process: for tests, and as an example of a store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from types import TracebackType
from typing import Self

from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import SessionClosedError, StoreInUseError
from chaoying_async.pollstore.errands import Errands


class MemoryPollStore:
    """Keeps texts in memory; see :class:`~chaoying_async.abc.PollStore`.

    It survives its poller, which lets a test open the next one on what the last one left. It does
    not survive its process: keep money in ``pollstore.sql.SqlPollStore``.
    """

    def __init__(self) -> None:
        self._texts: dict[str, dict[str, str]] = {}
        self._open = False
        #: The poller that is open on it; a store has one at a time.
        self.polled_by: object | None = None
        #: Outcomes being forgotten in the background; closing the store waits for them.
        self.errands = Errands()

    def __repr__(self) -> str:
        return f"<MemoryPollStore {sum(map(len, self._texts.values()))} kept>"

    async def __aenter__(self) -> Self:
        if self._open:
            raise StoreInUseError("this store is open already; one process, one owner")
        self._open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.errands.finish(SystemClock())
        finally:
            self._open = False

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        await self.hold()
        self._texts.setdefault(kind, {}).update(items)

    async def get(self, kind: str, key: str) -> str | None:
        await self.hold()
        return self._texts.get(kind, {}).get(key)

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        await self.hold()
        for key in keys:
            self._texts.get(kind, {}).pop(key, None)

    async def load(self, kind: str) -> AsyncIterator[tuple[str, str]]:
        await self.hold()
        for item in list(self._texts.get(kind, {}).items()):
            yield item

    async def peek(self, kind: str) -> list[tuple[str, str]]:
        """What :meth:`load` gives, whether the store is open or not."""
        return list(self._texts.get(kind, {}).items())

    async def hold(self) -> None:
        if not self._open:
            raise SessionClosedError("the store is not open: use it inside `async with`")
