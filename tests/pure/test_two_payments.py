"""When two payments of one order are two, and when an answer names an order at all."""

from __future__ import annotations

import pytest

from chaoying_async.sansio.notifications.inbox_values import Ways
from chaoying_async.sansio.paid import refunded_order


def ways(notification: str = "", query: str = "") -> Ways:
    return Ways(frozenset(notification.split()), frozenset(query.split()))


@pytest.mark.parametrize(
    ("one", "other", "two"),
    [
        pytest.param(ways("T1 W1"), ways("T1"), False, id="a number is the same"),
        pytest.param(ways("T1 W1"), ways("T2 W2"), True, id="all numbers differ"),
        pytest.param(ways("T1"), ways("", "T1"), False, id="the same number by the other way"),
        pytest.param(ways("T1"), ways("", "W1"), True, id="other numbers by the other way"),
        pytest.param(ways("T1", "W1"), ways("T2", "W1"), True, id="one way names two"),
        pytest.param(ways("T1", "W1"), ways("T1", "W2"), True, id="the query names two"),
        pytest.param(ways("T1", "W1"), ways("T1", "W1"), False, id="both ways name one"),
        pytest.param(ways("T1"), ways(), False, id="nothing is known of the other"),
        pytest.param(ways(), ways("T1"), False, id="nothing is known of the one"),
    ],
)
def test_two_payments_are_told_apart_by_the_way_that_names_both(
    one: Ways, other: Ways, two: bool
) -> None:
    """M-13, M-15: paid twice is a conflict, and one payment that is told twice is none."""
    assert one.is_another(other) is two


@pytest.mark.parametrize("missing", ["mch_id", "out_trade_no"])
def test_a_refunded_order_that_nobody_names_is_none(missing: str) -> None:
    """M-18: neither its merchant nor its number is guessed; the request may tell either."""
    raw = {"mch_id": "1", "out_trade_no": "A"}
    asked = {missing: raw.pop(missing)}
    assert refunded_order(raw) is None
    told = refunded_order(raw, **asked)
    assert told is not None
    assert (told.mch_id, told.out_trade_no) == ("1", "A")


@pytest.mark.parametrize(
    ("back", "whole"),
    [
        ("refund_fee_summary", "total_fee"),
        ("refund_fee", "total_fee"),
        ("base_refund_fee_summary", "base_fee"),
        ("base_refund_fee", "base_fee"),
    ],
)
def test_what_came_back_is_a_part_of_its_own_amount(back: str, whole: str) -> None:
    """C 43: cash of the cash that was paid, what was applied for of the order amount."""
    told = refunded_order({"mch_id": "1", "out_trade_no": "A", back: "500", whole: "1000"})
    assert told is not None
    assert (told.refunded, told.refunded_of) == (500, 1000)
