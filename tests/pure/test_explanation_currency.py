"""M-13: an explanation tells a number of another currency with its fee_type, never as yuan."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from chaoying_async import Fen, TransportError
from chaoying_async.sansio.explanation import explain_order, lines_of, members_of_explanation
from chaoying_async.sansio.explanation.from_inbox import InboxHolds
from chaoying_async.sansio.explanation.telling import Language
from chaoying_async.sansio.notifications.facts import Facts, NotificationOutcome, to_text
from chaoying_async.sansio.notifications.inbox_values import Entry, OrderKey, Record, SeenState
from chaoying_async.sansio.paid import PaidSource
from tests.factories import MCH_ID, ORDER
from tests.pure.test_explanation import NOW, evidence, paid_reply

TIME = {"time_end": "20260101115900"}
IN_USD = paid_reply(fee_type="USD", **TIME)


def told(payload: str, state: SeenState) -> InboxHolds:
    entry = Entry(payload=payload, first_seen=NOW - timedelta(minutes=1), payable=1000)
    return InboxHolds(record=Record(key=OrderKey(MCH_ID, ORDER), state=state, entry=entry))


def message(fee_type: str | None) -> str:
    facts = Facts(
        source=PaidSource.NOTIFICATION,
        mch_id=MCH_ID,
        out_trade_no=ORDER,
        outcome=NotificationOutcome.PAID,
        total_fee=Fen(1000),
        fee_type=fee_type,
    )
    return to_text(facts)


@pytest.mark.parametrize(
    ("lang", "shown"), [("en", "1000 (fee_type USD)"), ("zh", "1000（fee_type USD）")]
)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"inbox": told(message("USD"), SeenState.DONE)},
        {"inbox": told(message("USD"), SeenState.QUARANTINED)},
        {"inbox": told(message("USD"), SeenState.HELD)},
    ],
    ids=["gateway", "done", "quarantined", "held"],
)
@pytest.mark.parametrize("said", [IN_USD, TransportError("no")], ids=["said", "silent"])
def test_no_line_calls_it_yuan(said: Any, more: dict[str, Any], lang: Language, shown: str) -> None:
    """The standing, what is proven, the steps and the timeline, whoever told of it."""
    lines = [*lines_of(explain_order(evidence(said, **more)), lang)]
    assert not [line for line in lines if "10.00" in line]
    if said is IN_USD or more:
        assert any(shown in line for line in lines)


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", "paid, 1000 (fee_type USD), where 10.00 yuan was expected."),
        ("zh", "已支付 1000（fee_type USD），而应付 10.00 元。"),
    ],
)
def test_the_expected_amount_is_in_yuan_still(lang: Language, words: str) -> None:
    """One number in two currencies is two amounts."""
    found = explain_order(evidence(IN_USD, wanted=1000))
    assert found.standing == "OTHER_AMOUNT"
    assert any(words in line for line in lines_of(found, lang))


def test_a_program_reads_the_currency_beside_the_number() -> None:
    """CNY where nothing names one, and null where there is no amount."""
    members = [
        members_of_explanation(explain_order(evidence(said)))
        for said in (IN_USD, paid_reply(), TransportError("no"))
    ]
    found = [(each["payable"], each["fee_type"]) for each in members]
    assert found == [(1000, "USD"), (1000, "CNY"), (None, None)]


@pytest.mark.parametrize(
    ("recorded", "now", "names"),
    [
        (message("USD"), IN_USD, []),
        (message("CNY"), paid_reply(), []),
        (message(None), paid_reply(fee_type="CNY"), []),
        (message("CNY"), IN_USD, ["two-amounts"]),
        (message("USD"), paid_reply(), ["two-amounts"]),
        ("", IN_USD, []),
    ],
    ids=["both USD", "both CNY", "unnamed", "now USD", "was USD", "forgotten"],
)
def test_two_currencies_contradict_each_other(recorded: str, now: Any, names: list[str]) -> None:
    """Where the inbox has forgotten its message, numbers alone are compared."""
    found = explain_order(evidence(now, inbox=told(recorded, SeenState.DONE)))
    assert [phrase.name for phrase in found.against] == names


def test_what_came_back_is_in_the_orders_currency() -> None:
    """All of it, of the whole in the same currency: the shop's own amount, in fen, is no whole."""
    back = paid_reply(trade_state="REFUND", fee_type="USD", refund_fee="400")
    lines = [*lines_of(explain_order(evidence(back)))]
    assert any("400 (fee_type USD)" in line for line in lines)
    assert not [line for line in lines if "4.00" in line or "10.00" in line]


def test_what_is_no_code_is_not_shown() -> None:
    """A record may hold anything that a message had there."""
    holds = told(json.dumps(json.loads(message("x")) | {"fee_type": "\x1b[2J"}), SeenState.DONE)
    (line,) = [each for each in lines_of(explain_order(evidence(inbox=holds))) if "learnt" in each]
    assert "1000 (fee_type ?)" in line
