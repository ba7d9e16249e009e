"""How many messages an inbox keeps of one order, and of a stranger's orders (M-15)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime

import attrs
import pytest

from chaoying_async.sansio.notifications.inbox_values import (
    FIRST,
    LONGEST_MCH_ID,
    LONGEST_NUMBER,
    MOST_FOREIGN,
    MOST_MESSAGES,
    Aside,
    Entry,
    OrderKey,
    TooManyWaitError,
    check_room,
)

FULL = pytest.raises(TooManyWaitError)


def test_the_bounds_are_the_rules() -> None:
    """M-15: of one order, and of one merchant's unknown ones; M-18: what every column holds."""
    assert (MOST_MESSAGES, MOST_FOREIGN) == (20, 200)
    assert (LONGEST_MCH_ID, LONGEST_NUMBER) == (64, 128)


def test_the_mark_of_a_first_message_stays_what_it_is() -> None:
    """M-13: rows of every version bear it, where else a message's SHA-256 stands."""
    assert FIRST == "0" * 64


def test_what_is_not_known_of_a_payment_is_empty() -> None:
    """An inbox of the user's own need not name what it does not keep."""
    entry = Entry("", datetime(2026, 1, 1, tzinfo=UTC))
    assert not any(attrs.astuple(entry, filter=lambda field, _: field.name != "first_seen"))


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
