"""What the record of a payment says of how it was learnt (M-13, M-15)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chaoying_async.sansio.notifications.case import (
    NO_AMOUNT_CHECK,
    Case,
    ExpectedOrder,
    Unconfirmed,
)
from chaoying_async.sansio.notifications.decide import Judgement, judge
from chaoying_async.sansio.notifications.facts import Facts, NotificationOutcome
from chaoying_async.sansio.notifications.inbox_values import AHEAD
from chaoying_async.sansio.paid import PaidOrder, PaidSource
from chaoying_async.sansio.values import GMT8, Fen

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = timedelta(days=35)
MOMENT = timedelta(microseconds=1)
PRICE = Fen(100)
MCH, OTHER = "00000001", "00000002"

#: What a message may say; the first is what nearly every one does.
SAID: dict[str, tuple[Any, ...]] = {
    "source": (PaidSource.NOTIFICATION, *PaidSource),
    "mch_id": (MCH, OTHER, ""),
    "outcome": (NotificationOutcome.PAID, *NotificationOutcome),
    "problem": ("", "it can be read in two ways"),
    "transaction_id": ("T1", "T2", None),
    "out_transaction_id": ("W1", "T1", None),
    "total_fee": (PRICE, Fen(99), Fen(90), Fen(1), None),
    "coupon_fee": (None, Fen(0), Fen(10), Fen(1)),
    "payable": (None, PRICE, Fen(99)),
    "fee_type": (None, "CNY", "USD", ""),
    "time_end": (
        NOW,
        NOW - WINDOW,
        NOW - WINDOW - MOMENT,
        NOW + AHEAD,
        NOW + AHEAD + MOMENT,
        NOW - timedelta(days=1),
        NOW.astimezone(GMT8),
        datetime.min.replace(tzinfo=GMT8),  # before the first year in UTC
        datetime.max.replace(tzinfo=GMT8),
        None,
    ),
    "paytype": ("WECHAT", "ALIPAY", "ECNY", None),
    "raw": ({}, {"fee_type": "CNY"}, {"attach": "1"}),
}
EXPECTED: tuple[Any, ...] = (
    ExpectedOrder(PRICE, MCH),
    ExpectedOrder(PRICE, MCH, closed=True),
    ExpectedOrder(PRICE, MCH, "USD"),
    ExpectedOrder(PRICE, OTHER, also=(MCH,)),
    ExpectedOrder(PRICE, OTHER),
    ExpectedOrder(99, MCH, also=(OTHER,)),
    NO_AMOUNT_CHECK,
    None,
)


def facts(**said: Any) -> Facts:
    return Facts(
        out_trade_no="A100011", **{name: values[0] for name, values in SAID.items()} | said
    )


def case(told: Facts, expected: Any, **known: Any) -> Case:
    plain: dict[str, Any] = {"seen": None, "now": NOW, "window": WINDOW}
    return Case(facts=told, expected=expected, **plain | known)


def confirmed(**says: Any) -> PaidOrder:
    told: dict[str, Any] = {
        "mch_id": MCH,
        "out_trade_no": "A100011",
        "transaction_id": None,
        "payable": PRICE,
        "time_end": NOW,
        "source": PaidSource.CONFIRM,
    }
    return PaidOrder(**told | says)


def verdict_of(told: Facts, says: PaidOrder | Unconfirmed) -> Judgement:
    return judge(case(told, EXPECTED[0], confirmation=says))


@pytest.mark.parametrize(
    ("said", "says", "source"),
    [
        ({}, {"transaction_id": "T1"}, PaidSource.NOTIFICATION),
        ({}, {"transaction_id": "W1"}, PaidSource.NOTIFICATION),
        ({}, {"out_transaction_id": "T1"}, PaidSource.NOTIFICATION),
        ({}, {"transaction_id": "Q", "out_transaction_id": "W1"}, PaidSource.NOTIFICATION),
        ({}, {}, PaidSource.NOTIFICATION),  # then the message's own numbers are recorded
        ({}, {"transaction_id": "Q9"}, None),
        ({"transaction_id": None, "out_transaction_id": None}, {"transaction_id": "T1"}, None),
        ({"transaction_id": None, "out_transaction_id": None}, {}, None),
        ({"source": PaidSource.QUERY}, {"transaction_id": "T1"}, None),
        (
            {"outcome": NotificationOutcome.UNCLEAR},
            {"transaction_id": "T1"},
            PaidSource.NOTIFICATION,
        ),
        ({"outcome": NotificationOutcome.UNCLEAR}, {}, None),
    ],
)
def test_a_record_says_notification_where_its_numbers_meet_the_messages_own(
    said: dict[str, Any], says: dict[str, Any], source: PaidSource | None
) -> None:
    """M-13, M-15: else the next notification would be taken for one of another way.

    The order that on_paid gets says CONFIRM in any case; None: and so does the record.
    """
    verdict = verdict_of(facts(**said), confirmed(**says))
    assert verdict.paid is not None
    assert verdict.paid.source is PaidSource.CONFIRM
    assert verdict.source is source


def test_a_record_without_a_confirmation_says_what_the_order_says() -> None:
    """M-13: nothing to add where nobody was asked, or nothing takes effect."""
    assert verdict_of(facts(), Unconfirmed.NOT_ASKED).source is None
    assert verdict_of(facts(total_fee=Fen(1)), confirmed(payable=Fen(1))).source is None


@pytest.mark.parametrize("source", PaidSource)
def test_an_order_that_a_users_own_query_confirmed_says_confirm(source: PaidSource) -> None:
    """M-13: whatever their function says of how it learnt it."""
    paid = verdict_of(facts(), confirmed(transaction_id="T1", source=source)).paid
    assert paid is not None
    assert (paid.source, paid.transaction_id) == (PaidSource.CONFIRM, "T1")
