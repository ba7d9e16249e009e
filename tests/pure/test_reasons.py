"""The reasons for a person name both amounts with their currencies, and are read out again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from chaoying_async import (
    ExpectedOrder,
    OrderQuery,
    PaidOrder,
    PaidSource,
    PayType,
    PollOutcome,
    PollStatus,
    ReplyMismatchError,
)
from chaoying_async.sansio.notifications.case import Case, Unconfirmed
from chaoying_async.sansio.notifications.decide import (
    Decision,
    ToldAmount,
    amounts_in,
    judge,
    merchant_in,
)
from chaoying_async.sansio.notifications.facts import facts_of_order
from chaoying_async.sansio.values import Fen

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAID = PaidOrder(mch_id="1", out_trade_no="A1", payable=Fen(90), source=PaidSource.QUERY)


def reason(paid: Any, fee_type: str, confirmed: Any = Unconfirmed.NOT_ASKED) -> str:
    """Why the order is for a person whose shop expects 100 of that currency."""
    case = Case(
        facts=facts_of_order(paid),
        seen=None,
        expected=ExpectedOrder(100, "1", fee_type),
        now=NOW,
        window=timedelta(days=1),
        trust_coupon_fee=False,
        confirmation=confirmed,
    )
    verdict = judge(case)
    assert verdict.decision is Decision.CONFLICT
    return verdict.reason


USD, NO_AMOUNT, FORGED = (
    attrs.evolve(PAID, **more)  # type: ignore[misc]  # attrs' own, but for type checkers not
    for more in (
        {"fee_type": "USD"},
        {"fee_type": "USD", "payable": None},
        {"fee_type": ") 1 fen"},
    )
)


@pytest.mark.parametrize(
    ("paid", "fee_type", "words", "expected", "found"),
    [
        (PAID, "CNY", "amount than the expected 100 fen: 90 fen", (100, None), (90, None)),
        (
            *(USD, "CNY", "currency than the expected 100 fen: 90 (fee_type USD)"),
            *((100, None), (90, "USD")),
        ),
        (
            *(USD, "USD", "amount than the expected 100 (fee_type USD): 90 (fee_type USD)"),
            *((100, "USD"), (90, "USD")),
        ),
        (
            *(USD, "HKD", "currency than the expected 100 (fee_type HKD): 90 (fee_type USD)"),
            *((100, "HKD"), (90, "USD")),
        ),
        (NO_AMOUNT, "CNY", "currency than the expected 100 fen: USD", (100, None), None),
        (
            *(FORGED, "CNY", "currency than the expected 100 fen: 90 (fee_type ?)"),
            *((100, None), (90, "?")),
        ),
    ],
)
def test_both_amounts_are_named(
    paid: PaidOrder, fee_type: str, words: str, expected: Any, found: Any
) -> None:
    """What is no code of a currency is not shown."""
    told = reason(paid, fee_type)
    assert told == f"another {words}"
    named = ToldAmount(*expected), None if found is None else ToldAmount(*found)
    assert amounts_in(told) == named


def test_the_merchant_that_the_shop_knows_the_order_under_is_read_out_again() -> None:
    """Of any other reason there is none."""
    told = reason(attrs.evolve(PAID, mch_id="2"), "CNY")  # type: ignore[misc]
    assert merchant_in(told) == "1"
    assert merchant_in(reason(PAID, "CNY")) is None


def test_what_a_confirming_query_names_is_told() -> None:
    """The message itself names no currency."""
    told = reason(attrs.evolve(PAID, payable=Fen(100)), "CNY", USD)  # type: ignore[misc]
    assert told == "another currency than the expected 100 fen: 90 (fee_type USD)"


@pytest.mark.parametrize(
    ("paid", "words"),
    [
        (PAID, "another amount than the expected one: 90 fen"),
        (USD, "another currency than CNY: USD"),
    ],
)
def test_unwrap_says_which_of_the_two_it_is(paid: PaidOrder, words: str) -> None:
    """A poller's MISMATCH."""
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1")
    outcome = PollOutcome[Any](query=query, status=PollStatus.MISMATCH, paid=paid)
    with pytest.raises(ReplyMismatchError, match=words):
        outcome.unwrap()


def test_a_reason_that_a_hand_changed_names_no_amount() -> None:
    """More digits than any amount has would be a ValueError, and end a whole `inbox list`."""
    for amount in ("9" * 5000, "9" * 20, "-5", "1e9", "\u0661\u0662"):
        changed = f"another amount than the expected {amount} fen: 1231 fen"
        assert amounts_in(changed) == (None, None)
