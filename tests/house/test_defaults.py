"""The numbers that pages and docstrings promise to who sets none."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from chaoying_async import (
    GatewaySession,
    NotificationHandler,
    Poller,
    PollSchedule,
    checkout,
    refund_and_track,
)
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.terminals import wait_for_terminal
from chaoying_async.transport.settings import DEFAULT_LIMITS, phases
from chaoying_async.workers import Fleet
from tests.table import table

PROMISED: dict[Callable[..., Any], dict[str, Any]] = {
    GatewaySession: {"deadline": 30, "read_retries": 2, "max_reply_bytes": 1 << 20},
    Poller: {"concurrency": 200, "rate": None},
    Poller.run: {"at_once": 10_000},
    checkout: {"schedule": PollSchedule(first=5, every=5, until=180), "allow_no_cancel": False},
    refund_and_track: {"schedule": PollSchedule.refunds()},
    wait_for_terminal: {"every": 5},
    NotificationHandler: {"budget": 2, "grace": 10, "trust_coupon_fee": False},
    SqlInbox: {"idle": 60},
    MemoryInbox: {"window": timedelta(days=1), "max_items": 1_000_000},
    SqlPollStore: {"lease": 15, "shards": 16},
    Fleet: {"concurrency": 200, "keep_orders": timedelta(days=400)},
}


@table("of", PROMISED)
def test_who_sets_none_has_what_the_pages_say(of: Callable[..., Any]) -> None:
    """Whoever changes one of these changes its pages too."""
    parameters = inspect.signature(of).parameters
    assert {name: parameters[name].default for name in PROMISED[of]} == PROMISED[of]


def test_a_session_has_the_time_outs_of_the_pages() -> None:
    """docs/calls.md: connect 5 s, read 20 s, write 10 s, pool 10 s; 100 connections."""
    assert phases(None).as_dict() == {"connect": 5, "read": 20, "write": 10, "pool": 10}
    assert DEFAULT_LIMITS.max_connections == 100
