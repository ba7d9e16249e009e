"""How much of a message is written down, and that it stays the same message (M-15, M-17)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.notifications.facts import (
    LONGEST_TEXT,
    MOST_KEPT,
    Facts,
    NotificationOutcome,
    Wallet,
    facts_from_text,
    facts_of_order,
    kept_facts,
    to_text,
    without_raw,
)
from chaoying_async.sansio.notifications.message import (
    AlipayNotification,
    WechatNotification,
    notification_of,
)
from chaoying_async.sansio.notifications.reading import facts_of_fields, wallet_of
from chaoying_async.sansio.paid import PaidOrder, PaidSource, refunded_order
from chaoying_async.sansio.values import Fen
from tests.pure.factories import notification
from tests.pure.stored_values import order_text

#: What is neither a number nor an amount may be cut.
ATTACHED = {
    "short": "x" * 100,
    "long": "x" * 20_000,
    "wide": "超" * 5_000,  # six characters each, when written
    "buyer": "openid=" + "o" * 20_000,
    "quotes": '"' * 9_000,
}


def read(**fields: str) -> Facts:
    return facts_of_fields(notification(**fields), Wallet.WECHAT)


@pytest.mark.parametrize("attach", ATTACHED.values(), ids=ATTACHED)
def test_only_raw_is_cut(attach: str) -> None:
    """M-15: 8 kB at the most, and the facts and the fingerprint are those of the whole message."""
    facts = read(attach=attach, **{f"extra{number}": "y" * 300 for number in range(10)})
    text = to_text(facts)
    assert len(text) <= MOST_KEPT
    again = facts_from_text(text)
    for name in (
        *("mch_id", "out_trade_no", "transaction_id", "out_transaction_id", "total_fee"),
        *("coupon_fee", "fee_type", "time_end", "outcome", "source", "paytype"),
    ):
        assert getattr(again, name) == getattr(facts, name), name
    assert again.fingerprint == facts.fingerprint
    assert json.loads(to_text(again)) == json.loads(text)
    assert json.loads(text)["raw"]["extra9"] == "y" * 300
    assert ("attach" in again.raw) is (len(attach) == 100 or attach.startswith("openid"))


def test_as_much_of_raw_is_kept_as_there_is_room_for() -> None:
    """M-15: not a field less than fits into 8 kB, and not a character more."""
    fields = {f"extra{number:04}": "y" for number in range(900)}
    text = to_text(read(**fields))
    assert MOST_KEPT - len(',"extra0000":"y"') < len(text) <= MOST_KEPT


def test_an_order_in_refund_says_that_money_came_back() -> None:
    """M-15: whoever reads why it was set aside learns what to look at."""
    raw = {"mch_id": "1", "out_trade_no": "A", "trade_state": "REFUND"}
    order = refunded_order(raw)
    assert order is not None
    facts = facts_of_order(order)
    assert facts.outcome is NotificationOutcome.UNCLEAR
    assert "came back" in facts.problem


@pytest.mark.parametrize(
    ("wallet", "paytype", "kind"),
    [
        (Wallet.ALIPAY, "alipay", AlipayNotification),
        (Wallet.WECHAT, "wechat", WechatNotification),
    ],
    ids=["alipay", "wechat"],
)
def test_a_kept_message_is_of_its_wallet_again(wallet: Wallet, paytype: str, kind: type) -> None:
    """M-17: `on_not_paid` gets at a later try what it would have got at once."""
    facts = facts_of_fields(notification(paytype=paytype), wallet)
    assert type(notification_of(facts_from_text(to_text(facts)))) is kind


@pytest.mark.parametrize("trade_type", ["", "pay.unionpay.native", "pay.Alipay.native"])
def test_a_message_that_names_no_wallet_has_none_when_it_is_read_again(trade_type: str) -> None:
    """C 82: read like WeChat's page, but nothing says that WeChat Pay was used."""
    facts = facts_of_fields(told := notification(trade_type=trade_type), wallet_of(told))
    kept = facts_from_text(to_text(facts))
    assert kept.paytype is None
    assert type(notification_of(kept)) is WechatNotification


@pytest.mark.parametrize("trade_type", ["pay.weixin.native", "pay.wechat.micropay"])
def test_both_names_of_wechat_say_so(trade_type: str) -> None:
    """C 82: the notification's example has the one, the query's the other."""
    told = notification(trade_type=trade_type)
    assert facts_of_fields(told, wallet_of(told)).paytype is PayType.WECHAT


def test_what_is_short_is_written_as_ever() -> None:
    """The last version reads it: it has no name that it would not know."""
    assert "told_as" not in to_text(read(attach="x"))


def test_without_its_raw_fields_it_is_the_same_message() -> None:
    """M-19: what pruning leaves of a message that waits; anything else is left alone."""
    facts = read(attach="x" * 500)
    bare = without_raw(to_text(facts))
    assert len(bare) < 700
    again = facts_from_text(bare)
    assert (again.fingerprint, again.numbers, again.raw) == (facts.fingerprint, facts.numbers, {})
    assert without_raw(bare) == bare
    order = order_text(
        PaidOrder(mch_id="1", out_trade_no="A", source=PaidSource.QUERY, raw={"a": "1"})
    )
    for other in ("", '{"a":"1"}', order):
        assert without_raw(other) == other


@pytest.mark.parametrize("name", ["transaction_id", "out_transaction_id"])
@pytest.mark.parametrize(
    ("pay_result", "outcome"),
    [("0", NotificationOutcome.UNCLEAR), ("1", NotificationOutcome.NOT_PAID)],
)
def test_a_number_that_no_inbox_could_keep_is_none(
    name: str, pay_result: str, outcome: NotificationOutcome
) -> None:
    """M-15: numbers are never cut, so a payment under such a one is unreadable."""
    fits = read(**{name: "T" * LONGEST_TEXT, "pay_result": "0"})
    assert "T" * LONGEST_TEXT in fits.numbers
    assert fits.outcome is NotificationOutcome.PAID
    facts = read(**{name: "T" * (LONGEST_TEXT + 1), "pay_result": pay_result})
    assert (facts.outcome, facts.numbers) == (outcome, frozenset())


def test_a_record_of_the_last_version_is_read_as_a_message() -> None:
    """M-17: it holds the paid order; its source is the record's."""
    fields: dict[str, Any] = {"mch_id": "1", "out_trade_no": "A", "transaction_id": "T1"}
    order = PaidOrder(**fields, payable=Fen(100), paid=Fen(90), source=PaidSource.CONFIRM)
    facts = kept_facts(order_text(order), "NOTIFICATION")
    assert facts == facts_of_order(order, "NOTIFICATION")
    assert (facts.payable, facts.total_fee) == (100, 90)
    whole = read()
    assert kept_facts(to_text(whole), "NOTIFICATION").fingerprint == whole.fingerprint
