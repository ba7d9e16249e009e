"""Reads many records of an inbox, oldest first: one that cannot be read hides no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from chaoying_async.observation import SafeLog
from chaoying_async.sansio.notifications.inbox_values import Aside, OrderKey, Record
from chaoying_async.sansio.notifications.unreadable import UnreadableRecordError

log = SafeLog("chaoying_async.notifications")

R = TypeVar("R")
T = TypeVar("T")


def oldest_first(items: Iterable[Record | Aside]) -> list[Record | Aside]:
    """Orders and messages by when their messages first came."""
    return sorted(items, key=_first_seen)


def _first_seen(item: Record | Aside) -> datetime:
    return item.first_seen if isinstance(item, Aside) else item.entry.first_seen


class UnreadableOrders:
    """Tells of each order once, in one line at ERROR, that a record of it cannot be read."""

    def __init__(self) -> None:
        self._told: set[OrderKey] = set()

    def tell(self, error: UnreadableRecordError) -> None:
        """Say so, where it was not said of this order before."""
        if error.key not in self._told:
            self._told.add(error.key)
            log.error("%s", error)


class ReadableRecords(UnreadableOrders):
    """Reads one inbox's, and tells of those that cannot be read."""

    async def page(
        self,
        limit: int,
        fetch: Callable[[int], Awaitable[Sequence[R]]],
        make: Callable[[R], T | None],
    ) -> list[T]:
        """The first so many that can be read; ``fetch`` has the first so many there are."""
        most = limit
        while True:
            rows = await fetch(most)
            found = self.each(rows, make)
            if len(rows) < most or len(found) >= limit:
                return found[:limit]
            most = limit + len(rows) - len(found)

    def each(self, rows: Sequence[R], make: Callable[[R], T | None]) -> list[T]:
        """What is made of each row, but of those of which nothing is, or can be."""
        found = []
        for row in rows:
            try:
                item = make(row)
            except UnreadableRecordError as error:
                self.tell(error)
            else:
                if item is not None:
                    found.append(item)
        return found
