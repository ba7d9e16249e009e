"""A poll store as the engines use it: whatever it raises becomes an error of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping

from chaoying_async.abc import PollStore
from chaoying_async.exceptions import UsageError
from chaoying_async.pollstore.failures import told


def check_store(store: object) -> None:
    """:class:`UsageError` for what is no store, such as its file's name; None means no store."""
    if store is not None and not callable(getattr(store, "hold", None)):
        raise UsageError("store takes an open PollStore, such as pollstore.sql.SqlPollStore")


class GuardedStore:
    """Any :class:`~chaoying_async.abc.PollStore`, a user's own too; it keeps nothing itself."""

    def __init__(self, store: PollStore) -> None:
        check_store(store)
        self._store = store

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        with told():
            await self._store.put(kind, items)

    async def get(self, kind: str, key: str) -> str | None:
        with told():
            return await self._store.get(kind, key)

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        with told():
            await self._store.forget(kind, keys)

    async def load(self, kind: str) -> AsyncIterator[tuple[str, str]]:
        texts = aiter(self._store.load(kind))
        while True:
            with told():
                try:
                    item = await anext(texts)
                except StopAsyncIteration:
                    return
            yield item

    async def hold(self) -> None:
        with told():
            await self._store.hold()
