"""How many messages an inbox keeps of one order, and of a stranger's orders (M-15)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime

import pytest

from chaoying_async.sansio.notifications.inbox_values import (
    MOST_FOREIGN,
    MOST_MESSAGES,
    Aside,
    OrderKey,
    TooManyWaitError,
    check_room,
)

FULL = pytest.raises(TooManyWaitError)


@pytest.mark.parametrize(
    ("foreign", "messages", "of_it", "orders", "end"),
    [
        pytest.param(False, MOST_MESSAGES - 1, False, 0, nullcontext(), id="the last message"),
        pytest.param(False, MOST_MESSAGES, False, 0, FULL, id="one message too many"),
        pytest.param(True, 0, False, MOST_FOREIGN - 1, nullcontext(), id="the last stranger"),
        pytest.param(True, 0, False, MOST_FOREIGN, FULL, id="one stranger too many"),
        pytest.param(True, 0, True, MOST_FOREIGN, nullcontext(), id="a stranger known already"),
        pytest.param(False, 0, False, MOST_FOREIGN, nullcontext(), id="the shop's own order"),
    ],
)
def test_there_is_room_up_to_the_bound(
    *, foreign: bool, messages: int, of_it: bool, orders: int, end: AbstractContextManager[object]
) -> None:
    """M-15: what is the shop's own is never kept out by strangers."""
    aside = Aside(
        key=OrderKey("1", "A"),
        fingerprint="f" * 64,
        decision="CONFLICT",
        reason="",
        payload="{}",
        first_seen=datetime(2026, 1, 1, tzinfo=UTC),
        foreign=foreign,
    )
    with end:
        check_room(aside, messages=messages, of_it=of_it, orders=orders)
