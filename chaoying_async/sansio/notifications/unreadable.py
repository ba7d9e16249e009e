"""Inboxes without tables, and records that nothing can be made of: of another version, or changed.

They stay where they are. Whoever looks for one is told so; whoever looks for many gets the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from chaoying_async.exceptions import ChaoyingError, UsageError
from chaoying_async.sansio.notifications.inbox_values import OrderKey
from chaoying_async.sansio.stored import UNREADABLE

T = TypeVar("T")


class InboxMissingError(UsageError):
    """A database has no inbox's tables, or none under this prefix."""


class UnreadableRecordError(ChaoyingError):
    """What an inbox holds of an order, or a message about it, cannot be read by this version."""

    def __init__(self, key: OrderKey) -> None:
        super().__init__(
            f"the inbox's record of order {key.out_trade_no!r} of merchant {key.mch_id!r} cannot be"
            " read by this version: it stays there"
        )
        self.key = key


def readable(make: Callable[[], T], key: OrderKey) -> T:
    """What is made of a record; :class:`UnreadableRecordError` where nothing can be."""
    try:
        return make()
    except UNREADABLE:  # it may hold the record, so it must not be our error's context
        pass
    raise UnreadableRecordError(key)
