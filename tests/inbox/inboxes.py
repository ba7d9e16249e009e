"""Inboxes to hold against their one contract, each with a way to let its own clock go on.

Another inbox joins by a factory in :data:`INBOXES`: an async context manager that yields a
:class:`Bench`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import attrs

from chaoying_async.abc import Inbox
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.inbox_values import Aside, Claim, Entry, OrderKey
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID

KEY = OrderKey(MCH_ID, "A100011")


@attrs.frozen(kw_only=True)
class Bench:
    """An inbox, a second one on the same storage (another process), and time."""

    inbox: Inbox
    other: Inbox
    #: Let the inbox's own clock go on, or age what it keeps: its leases, its retries.
    pass_time: Callable[[float], Awaitable[None]]
    #: The wall clock that ``first_seen`` is held against.
    now: Callable[[], datetime]
    #: Whether the effect on the lent connection is rolled back with the claim.
    rolls_back: bool = False


Factory = Callable[[], AbstractAsyncContextManager[Bench]]


@asynccontextmanager
async def memory() -> AsyncGenerator[Bench]:
    clock = FakeClock()
    inbox = MemoryInbox(clock=clock)
    yield Bench(inbox=inbox, other=inbox, pass_time=clock.advance, now=clock.now)


INBOXES: dict[str, Factory] = {"memory": memory}


def an_entry(bench: Bench, **changes: Any) -> Entry:
    """A payment as a handler claims it."""
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


async def claimed(bench: Bench, key: OrderKey = KEY, **changes: Any) -> Claim:
    """A claim that has to succeed."""
    claim = await bench.inbox.claim(key, an_entry(bench, **changes), lease=30.0)
    assert isinstance(claim, Claim), claim
    return claim


async def finished(bench: Bench, key: OrderKey = KEY, **changes: Any) -> None:
    """An order that is DONE."""
    async with bench.inbox.work(await claimed(bench, key, **changes)):
        pass


def ago(bench: Bench, **span: float) -> datetime:
    return bench.now() - timedelta(**span)
