"""M-15 as a table: every case against a second writing of the rules, and the names around it."""

from __future__ import annotations

import itertools
import pickle
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.notifications.case import (
    NO_AMOUNT_CHECK,
    Case,
    ExpectedOrder,
    Seen,
    Unconfirmed,
)
from chaoying_async.sansio.notifications.decide import (
    ROWS,
    Decision,
    NotificationAnswer,
    SetAside,
    decide,
    is_success,
    judge,
)
from chaoying_async.sansio.notifications.facts import (
    Facts,
    facts_from_text,
    facts_of_order,
    to_text,
)
from chaoying_async.sansio.notifications.inbox_values import Entry, SeenState
from chaoying_async.sansio.notifications.message import Notification, facts_of, parse_notification
from chaoying_async.sansio.paid import PaidOrder, PaidSource
from chaoying_async.sansio.payments.refunds import suggested_refund
from chaoying_async.sansio.values import Fen, format_time
from tests.pure.factories import CREDENTIALS, form, notification, signed
from tests.sizes import thinned
from tests.table import table

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = timedelta(days=35)
PRICE, COUPON = 100, 10
MCH, OTHER_MCH = "00000001", "00000002"
MINE: dict[str, Any] = {"transaction_id": "T1", "out_transaction_id": "W1"}


@cache
def read(**changes: str) -> Notification:
    fields = notification(**{**MINE, "total_fee": str(PRICE), "mch_id": MCH, **changes})
    return parse_notification(form(signed(fields)), CREDENTIALS)


# ------------------------------------------------------------------------------- every case of it

SAYS = {
    "paid": {},
    "failed": {"pay_result": "1"},
    "unclear": {"result_code": "WAT"},
    "contradicts": {"result_code": "FAIL"},
}
AGES = {
    "fresh": timedelta(seconds=-5),
    "barely": -WINDOW,
    "old": -WINDOW - timedelta(seconds=1),
    "ahead": timedelta(minutes=10),
    "future": timedelta(minutes=10, seconds=1),
}
AMOUNTS = {
    "right": {},
    "with a coupon": {"total_fee": str(PRICE - COUPON), "coupon_fee": str(COUPON)},
    "wrong": {"total_fee": "1", "coupon_fee": str(COUPON)},
    "right, and a coupon": {"coupon_fee": str(COUPON)},
}
LONG_AGO = NOW - 2 * WINDOW
SEEN: dict[str, Seen | None] = {
    "nothing": None,
    "failed": Seen(SeenState.NOT_PAID, first_seen=LONG_AGO),
    "held": Seen(SeenState.HELD, lease_until=NOW + timedelta(seconds=1)),
    "lease ended": Seen(SeenState.HELD, None, **MINE, lease_until=NOW, first_seen=NOW),
    "released": Seen(SeenState.HELD),
    "held since long": Seen(SeenState.HELD, None, **MINE, first_seen=NOW - timedelta(seconds=2)),
    "another held": Seen(SeenState.HELD, transaction_id="T9", first_seen=LONG_AGO),
    "done": Seen(SeenState.DONE, Fen(PRICE), **MINE, source=PaidSource.NOTIFICATION),
    "done, crosswise": Seen(SeenState.DONE, transaction_id="W1", first_seen=LONG_AGO),
    "another done": Seen(SeenState.DONE, transaction_id="T9", source=PaidSource.NOTIFICATION),
    "another done by query": Seen(SeenState.DONE, transaction_id="T9", source=PaidSource.QUERY),
    "done, unnumbered": Seen(SeenState.DONE),
    "quarantined": Seen(SeenState.QUARANTINED, Fen(PRICE), **MINE),
}
EXPECTED: dict[str, Any] = {
    "unknown": None,
    "anything": NO_AMOUNT_CHECK,
    "as it is": ExpectedOrder(PRICE, MCH),
    "closed": ExpectedOrder(PRICE, MCH, closed=True),
    "another merchant's": ExpectedOrder(PRICE, OTHER_MCH),
    "also": ExpectedOrder(PRICE, OTHER_MCH, also=("3", MCH)),
    "dollars": ExpectedOrder(PRICE, MCH, "USD"),
}


def confirmed(**changes: Any) -> PaidOrder:
    fields: dict[str, Any] = {
        "mch_id": MCH,
        "out_trade_no": "A100011",
        "transaction_id": "W1",
        "payable": Fen(PRICE),
        "time_end": NOW,
        "source": PaidSource.CONFIRM,
    }
    return PaidOrder(**fields | changes)


CONFIRMATIONS: dict[str, Any] = {
    "nobody asked": Unconfirmed.NOT_ASKED,
    "no answer": Unconfirmed.NO_ANSWER,
    "not paid": Unconfirmed.NOT_PAID,
    "agrees": confirmed(),
    "another amount": confirmed(payable=Fen(1)),
    "another currency": confirmed(raw={"fee_type": "USD"}),
    "no amount": confirmed(payable=None),
    "no time": confirmed(time_end=None),
}


def by_the_rules(  # noqa: C901, PLR0911, PLR0912, PLR0917 - the rules in prose, row by row
    says: str, age: str, amount: str, seen: str, expected: str, confirmation: str, *, trust: bool
) -> str:
    """M-15 once more, by the names of the cases and without any of the library's code."""
    vouched = confirmation in ("agrees", "another amount", "another currency", "no amount")
    asked_well = vouched or confirmation == "no time"
    unclear = says in ("unclear", "contradicts")
    if unclear and not vouched:
        return "UNREADABLE"
    # Its own numbers are T1 and W1; of an unreadable one the query's count, which says W1.
    if seen in ("done", "done, crosswise"):
        return "DUPLICATE"
    # Across the two sources other numbers are a warning: of a payment, and of this merchant's.
    if seen == "another done by query" and says != "failed" and expected != "another merchant's":
        return "DUPLICATE"
    if seen == "held":
        return "IN_PROGRESS"
    if expected == "unknown":
        return "UNKNOWN_ORDER"
    if expected == "another merchant's":
        return "CONFLICT"
    if says == "failed":
        return "NOT_PAID"
    when = "fresh" if unclear else age  # the query's own time is now
    # The same payment, first heard of two seconds ago, is judged as of then.
    too_far = ("ahead", "future") if seen == "held since long" else ("old", "future")
    if when in too_far:
        return "STALE"
    if seen in ("another done", "done, unnumbered", "quarantined"):
        return "CONFLICT"
    if expected == "dollars":
        return "CONFLICT"
    if expected != "anything" and confirmation == "another currency":
        return "CONFLICT"
    if confirmation == "not paid":
        return "CONFLICT"
    if expected != "anything" and confirmation != "no answer":
        if confirmation == "another amount":
            return "CONFLICT"
        amount_told = confirmation in ("agrees", "no time")
        if not amount_told and not unclear and amount == "wrong":
            return "CONFLICT"
    if confirmation == "no answer":
        return "UNCONFIRMED"
    if expected != "anything" and not (asked_well and confirmation != "no amount"):
        if unclear:
            return "UNCONFIRMED"
        if amount == "with a coupon" and not trust:
            return "UNCONFIRMED"
    return "PAID_AFTER_CLOSE" if expected == "closed" else "APPLY"


@table("seen", SEEN)
@table("expected", EXPECTED)
def test_every_case_is_decided_by_the_rules(seen: str, expected: str) -> None:
    """M-13, M-15: what it says x age x amount x record x order x confirmation x trust.

    The short way, where it is open, ends where the table does. One case in eleven; with ``FULL=1``
    all of them.
    """
    rows = itertools.product(SAYS, AGES, AMOUNTS, CONFIRMATIONS, (False, True))
    for says, age, amount, answer, trust in thinned(rows, every=29, usual=11):
        time_end = format_time(NOW + AGES[age])
        message = read(**SAYS[says], **AMOUNTS[amount], time_end=time_end)
        confirmation = CONFIRMATIONS[answer]
        case = Case(
            facts=facts_of(message),
            seen=SEEN[seen],
            expected=EXPECTED[expected],
            now=NOW,
            window=WINDOW,
            trust_coupon_fee=trust,
            confirmation=confirmation,
        )
        verdict = judge(case)
        rules = by_the_rules(says, age, amount, seen, expected, answer, trust=trust)
        assert verdict.decision == rules, (says, age, amount, answer, trust)
        assert verdict.reason
        assert (verdict.paid is not None) == (rules in ("APPLY", "PAID_AFTER_CLOSE"))
        if not isinstance(confirmation, Unconfirmed) or confirmation is Unconfirmed.NOT_ASKED:
            asked = confirmation if isinstance(confirmation, PaidOrder) else None
            decision = decide(
                message,
                seen=SEEN[seen],
                expected=EXPECTED[expected],
                now=NOW,
                window=WINDOW,
                trust_coupon_fee=trust,
                confirmed=asked,
            )
            assert decision is verdict.decision


def test_the_table_has_every_decision_in_the_order_of_the_rules() -> None:
    """M-15: the first row that fits wins, so their order is part of it."""
    assert list(dict.fromkeys(row[0] for row in ROWS)) == list(Decision)
    rows = [decision.value for decision, _ in itertools.groupby(row[0] for row in ROWS)]
    assert rows == [
        "UNREADABLE",
        "DUPLICATE",
        "IN_PROGRESS",
        "UNKNOWN_ORDER",
        "CONFLICT",  # another merchant's
        "NOT_PAID",
        "STALE",
        "CONFLICT",  # another amount, currency or payment
        "UNCONFIRMED",
        "PAID_AFTER_CLOSE",
        "APPLY",
    ]


def test_only_a_durable_effect_or_none_at_all_is_a_success() -> None:
    """M-14, M-15: the column "answer"."""
    assert {d for d in Decision if is_success(d, durable=True)} == {
        Decision.NOT_PAID,
        Decision.DUPLICATE,
        Decision.PAID_AFTER_CLOSE,
        Decision.APPLY,
    }
    assert not any(is_success(d, durable=False) for d in Decision)
    assert not is_success(None, durable=True)


# ----------------------------------------------------------------------------- what it is run with


def verdict_of(facts: Facts, **changes: Any) -> Any:
    known: dict[str, Any] = {
        "seen": None,
        "expected": ExpectedOrder(PRICE, OTHER_MCH, also=(MCH,)),
        "now": NOW,
        "window": WINDOW,
    }
    return judge(Case(facts=facts, **known | changes))


FRESH = format_time(NOW)


def test_a_paid_order_is_under_the_shops_own_merchant_number() -> None:
    """M-18: whatever form of it the notification carries."""
    paid = verdict_of(facts_of(read(time_end=FRESH))).paid
    assert (paid.mch_id, paid.out_trade_no, paid.source) == (
        OTHER_MCH,
        "A100011",
        PaidSource.NOTIFICATION,
    )
    assert (paid.payable, paid.paid, paid.paytype) == (PRICE, PRICE, PayType.WECHAT)


@pytest.mark.parametrize(
    ("amount", "payable", "paid"),
    [("right", 100, 100), ("with a coupon", 100, 90), ("right, and a coupon", 100, None)],
)
def test_amounts_are_told_only_where_they_are_known(
    amount: str, payable: int, paid: int | None
) -> None:
    """M-13, C 45: whether a total is before or after coupons is not guessed."""
    facts = facts_of(read(time_end=FRESH, **AMOUNTS[amount]))
    order = verdict_of(facts, trust_coupon_fee=True).paid
    assert (order.payable, order.paid) == (payable, paid)
    order = verdict_of(facts, expected=NO_AMOUNT_CHECK).paid
    assert (order.payable, order.paid, order.mch_id) == (None, None, MCH)


def test_what_a_query_says_is_what_is_run_with() -> None:
    """M-13: payable is base_fee; the source says that it was confirmed."""
    told = confirmed(
        payable=Fen(PRICE), paid=Fen(90), mch_id="asked", raw={"a": "1"}, source=PaidSource.QUERY
    )
    order = verdict_of(facts_of(read(time_end=FRESH)), confirmation=told).paid
    assert (order.source, order.payable, order.paid) == (PaidSource.CONFIRM, 100, 90)
    assert (order.mch_id, order.raw) == (OTHER_MCH, {"a": "1"})


def test_a_query_without_numbers_leaves_the_payment_those_of_its_message() -> None:
    """M-13: else a redelivery could not be told from another payment."""
    told = confirmed(transaction_id=None, out_transaction_id=None)
    order = verdict_of(facts_of(read(time_end=FRESH)), confirmation=told).paid
    assert (order.transaction_id, order.out_transaction_id) == ("T1", "W1")


def test_a_query_about_the_order_does_not_vouch_for_another_payment_of_it() -> None:
    """M-15: the order is done by T9; asked by number the gateway names T9, but this is T1."""
    done = Seen(SeenState.DONE, transaction_id="T9", source=PaidSource.CONFIRM)
    asked = confirmed(transaction_id="T9")
    message = read(time_end=FRESH)
    verdict = verdict_of(facts_of(message), seen=done, confirmation=asked)
    assert verdict.decision is Decision.DUPLICATE  # across the two sources: a warning
    done = Seen(SeenState.DONE, transaction_id="T9", source=PaidSource.NOTIFICATION)
    verdict = verdict_of(facts_of(message), seen=done, confirmation=asked)
    assert verdict.decision is Decision.CONFLICT


# --------------------------------------------------------------------------------- written down


def test_facts_are_written_down_without_the_buyer_and_read_again() -> None:
    """M-17, M-27: the same decision later, the same fingerprint, and nobody's name."""
    message = read(
        time_end=FRESH,
        sub_openid="oCANARYopenid3f72a9",
        attach="a=1;buyer_id=2088&x",
        coupon_fee="3",
    )
    facts = facts_of(message)
    text = to_text(facts)
    assert text.isascii()
    assert "oCANARY" not in text
    assert "2088" not in text
    again = facts_from_text(text)
    assert again.fingerprint == facts.fingerprint
    for name in ("outcome", "total_fee", "coupon_fee", "time_end", "paytype", "numbers", "source"):
        assert getattr(again, name) == getattr(facts, name)
    assert to_text(again) == text


@pytest.mark.parametrize("paytype", [PayType.ALIPAY, "ECNY", None])
def test_orders_are_written_down_and_read_again(paytype: Any) -> None:
    """What on_paid gets on the second try is what it would have got on the first."""
    order = confirmed(paytype=paytype, paid=Fen(1), coupon_fee=Fen(2), raw={"list": [{"a": 1}]})
    facts = facts_of_order(order)
    again = facts_from_text(to_text(facts))
    assert again == facts
    assert type(again.payable) is Fen
    assert again.fingerprint == facts.fingerprint


def test_a_fingerprint_is_of_what_is_said_not_of_the_delivery() -> None:
    """Another nonce is the same message, any other change is another one."""
    facts = facts_of(read(time_end=FRESH))
    assert facts_of(read(time_end=FRESH, nonce_str="2")).fingerprint == facts.fingerprint
    for name in ("total_fee", "transaction_id", "attach", "state", "out_trade_no", "mch_id"):
        assert facts_of(read(time_end=FRESH, **{name: "5"})).fingerprint != facts.fingerprint


# ------------------------------------------------------------------------------------- the names


@pytest.mark.parametrize(
    "arguments",
    [
        (0, MCH),
        (-1, MCH),
        (1.0, MCH),
        ("100", MCH),
        (True, MCH),
        (100, ""),
        (100, None),
        (100, MCH, "CNY", False, "0002"),
        (100, MCH, "CNY", False, ("",)),
    ],
)
def test_an_expected_order_that_says_nothing_is_refused(arguments: tuple[Any, ...]) -> None:
    """M-12: fen, whole, at least one; merchants are numbers as text."""
    with pytest.raises(ParameterError):
        ExpectedOrder(*arguments)


def test_an_expected_order_holds_an_amount() -> None:
    """An int becomes Fen; other numbers become a tuple."""
    order = ExpectedOrder(100, MCH, also=["2"])
    assert type(order.total_fee) is Fen
    assert type(ExpectedOrder(Fen(1), MCH).total_fee) is Fen  # the smallest there is
    assert ExpectedOrder(1, MCH).total_fee == 1
    assert order.also == ("2",)


def test_values_are_plain() -> None:
    """They can be compared, shown and pickled."""
    aside = SetAside(decision=Decision.CONFLICT, reason="r", mch_id=MCH, out_trade_no="A")
    answer = NotificationAnswer(status=200, body=b"success", decision=Decision.APPLY)
    for value in (aside, answer):
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own
    assert "CONFLICT" in repr(aside)
    assert repr(NO_AMOUNT_CHECK) == "NO_AMOUNT_CHECK"
    assert repr(Decision.APPLY.value) == "'APPLY'"


# ------------------------------------------------------------------------------ giving it back


@pytest.mark.parametrize("number", ["A100011", "A" * 31, "A" * 32])
def test_a_suggested_refund_is_one_refund_however_often_it_is_suggested(number: str) -> None:
    """M-25: all of the payment, under a number of its own that fits."""
    order = confirmed(out_trade_no=number, paytype=PayType.ALIPAY)
    refund = suggested_refund(order, op_user_id="till")
    assert refund == suggested_refund(order, op_user_id="till")
    assert (refund.total_fee, refund.refund_fee) == (PRICE, PRICE)
    assert refund.paytype is PayType.ALIPAY
    assert len(refund.out_refund_no) <= 32
    assert refund.out_refund_no.endswith(number)


@pytest.mark.parametrize("unknown", ["payable", "paytype"])
def test_no_refund_is_suggested_on_a_guess(unknown: str) -> None:
    """M-13: an amount or a wallet that nobody knows is not made up."""
    known: dict[str, Any] = {"payable": Fen(PRICE), "paytype": PayType.WECHAT} | {unknown: None}
    with pytest.raises(ParameterError) as caught:
        suggested_refund(confirmed(**known))
    assert list(caught.value.problems) == [unknown]


@table("text", ["", "0", "100", "-1", "1.0", "1" * 16, "٣", " 1"])
@table("moment", ["", "20260101000000", "2026-01-01 00:00:00", "20260101240000"])
def test_facts_read_amounts_and_times_as_the_notification_does(text: str, moment: str) -> None:
    """M-12, C 99: the short way to the same values."""
    message = read(total_fee=text, coupon_fee=text, time_end=moment)
    facts = facts_of(message)
    assert facts.total_fee == message.total_fee
    assert facts.coupon_fee == message.coupon_fee
    assert facts.time_end == message.time_end


def test_what_is_written_down_is_without_the_buyer() -> None:
    """M-27: neither as a field of its own nor inside another one."""
    order = verdict_of(facts_of(read(time_end=FRESH, sub_openid="oBuyer", attach="openid=x"))).paid
    assert order is not None
    text = to_text(facts_of_order(order))
    assert "oBuyer" not in text
    assert "openid=x" not in text
    assert facts_from_text(text).out_trade_no == order.out_trade_no


def test_an_entry_shows_nobody_its_text() -> None:
    """M-27: a repr is what ends in logs."""
    assert "{}" not in repr(Entry(payload="{}", first_seen=NOW))
