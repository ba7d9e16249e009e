"""Inboxes to hold against their one contract, each with a way to let its own clock go on.

Another inbox joins by a factory in :data:`INBOXES`: an async context manager that yields a
:class:`Bench`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, cast

import attrs

from chaoying_async.abc import Inbox, InboxForPeople
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    Entry,
    OrderKey,
    Record,
    SeenState,
)
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID

KEY = OrderKey(MCH_ID, "A100011")
#: What is said of an order beside its state and its entry.
RECORDED = ("failures", "reason", "retry_in")


@attrs.frozen(kw_only=True)
class Bench:
    """An inbox, a second one on the same storage (another process), and time."""

    inbox: Inbox
    other: Inbox
    #: Let the inbox's own clock go on, or age what it keeps: its leases, its retries.
    pass_time: Callable[[float], Awaitable[None]]
    #: The wall clock that ``first_seen`` is held against.
    now: Callable[[], datetime]

    @property
    def people(self) -> InboxForPeople:
        """What ``chaoying inbox`` does, in another process; every inbox of ours has it."""
        return cast("InboxForPeople", self.other)


Factory = Callable[[], AbstractAsyncContextManager[Bench]]


@asynccontextmanager
async def memory() -> AsyncGenerator[Bench]:
    clock = FakeClock()
    inbox = MemoryInbox(clock=clock)
    yield Bench(inbox=inbox, other=inbox, pass_time=clock.advance, now=clock.now)


INBOXES: dict[str, Factory] = {"memory": memory}


def an_entry(bench: Bench, **changes: Any) -> Entry:
    """What a handler knows of a payment."""
    fields: dict[str, Any] = {
        "payload": '{"a":"1"}',
        "first_seen": bench.now(),
        "payable": 100,
        "transaction_id": "T1",
        "out_transaction_id": "W1",
        "source": "NOTIFICATION",
        "decision": "APPLY",
    }
    return Entry(**fields | changes)


def an_aside(bench: Bench, **changes: Any) -> Aside:
    """A message as a handler sets it aside."""
    fields: dict[str, Any] = {
        "key": KEY,
        "fingerprint": "ab" * 32,
        "decision": "UNKNOWN_ORDER",
        "reason": "the shop knows no such order",
        "payload": '{"a":"1"}',
        "first_seen": bench.now(),
    }
    return Aside(**fields | changes)


async def saved(bench: Bench, state: SeenState, key: OrderKey = KEY, **changes: Any) -> Entry:
    """Record this of an order, under its lock; what is not of the record is the entry's."""
    told = {name: changes.pop(name) for name in RECORDED if name in changes}
    entry = an_entry(bench, **changes)
    async with bench.inbox.lock(key, entry) as order:
        assert order is not None
        await order.save(state, entry, **told)
    return entry


async def finished(bench: Bench, key: OrderKey = KEY, **changes: Any) -> Entry:
    """An order that is DONE."""
    return await saved(bench, SeenState.DONE, key, **changes)


async def record_of(bench: Bench, key: OrderKey = KEY) -> Record:
    """What another process reads of an order that is there."""
    record = await bench.other.look(key)
    assert record is not None
    return record


def ago(bench: Bench, **span: float) -> datetime:
    return bench.now() - timedelta(**span)
