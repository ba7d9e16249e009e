"""What an explanation takes from messages that were set aside: second payments, other amounts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest

from chaoying_async import TransportError
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.inquiry.standing_exits import after_explanation
from chaoying_async.sansio.explanation import OrderStanding, explain_order, lines_of
from chaoying_async.sansio.explanation.from_inbox import InboxHolds
from chaoying_async.sansio.explanation.told import Bearing, Witness
from chaoying_async.sansio.notifications.decide import (
    ANOTHER_PAYMENT,
    PERHAPS_ANOTHER,
    TWO_PAYMENTS,
    Decision,
)
from chaoying_async.sansio.notifications.facts import Facts, NotificationOutcome, to_text
from chaoying_async.sansio.notifications.inbox_values import Aside, OrderKey, SeenState
from chaoying_async.sansio.paid import PaidSource
from chaoying_async.sansio.values import Fen
from tests.factories import MCH_ID, ORDER
from tests.pure.test_explanation import NOW, evidence, held, paid_reply
from tests.pure.test_explanation_overlooks import kept_checkout, unpaid_reply

OTHER_AMOUNT = "another amount than the expected 999 fen: 1000 fen"
OTHER_CURRENCY = "another currency than the expected 999 fen: 1000 (fee_type USD)"


def aside(
    reason: str, number: str | None = "T-2", decision: str = "CONFLICT", digit: str = "1"
) -> Aside:
    facts = Facts(
        source=PaidSource.NOTIFICATION,
        mch_id=MCH_ID,
        out_trade_no=ORDER,
        outcome=NotificationOutcome.PAID,
        transaction_id=number,
        total_fee=Fen(1000),
    )
    return Aside(
        key=OrderKey(MCH_ID, ORDER),
        fingerprint=digit * 64,
        decision=decision,
        reason=reason,
        payload=to_text(facts),
        first_seen=NOW,
    )


def done(*asides: Aside, **more: Any) -> InboxHolds:
    return attrs.evolve(held(SeenState.DONE, **more), asides=asides)


def names(found: Any) -> list[str]:
    return [each.name for each in found.next]


class TestSecondPayment:
    """A customer has paid one order twice."""

    @pytest.mark.parametrize("reason", [ANOTHER_PAYMENT, TWO_PAYMENTS])
    @pytest.mark.parametrize("decision", ["CONFLICT", "CONFLICT (untold)"])
    def test_it_is_proven_and_to_be_refunded_by_its_own_number(
        self, reason: str, decision: str
    ) -> None:
        """M-15: by the order's number the first one would be given back."""
        found = explain_order(evidence(paid_reply(), inbox=done(aside(reason, decision=decision))))
        assert names(found) == ["second-payment"]
        assert "second-payment" in {each.name for each in found.proven}
        (do,) = [each for each in lines_of(found) if each.startswith("1. ")]
        for words in ("transaction_id T-2", "without out_trade_no", "1111111111"):
            assert words in do
        assert any("10.00" in each and "T-2" in each for each in lines_of(found))
        assert len([*lines_of(found, "zh")]) == len([*lines_of(found)])
        assert not found.is_settled
        assert after_explanation(found).exit is Exit.REFUSED

    @pytest.mark.parametrize(
        ("reason", "number", "payload"),
        [(PERHAPS_ANOTHER, "T-2", True), (TWO_PAYMENTS, None, True), (ANOTHER_PAYMENT, "", False)],
    )
    def test_what_may_be_one_is_found_out_first(
        self, reason: str, number: str | None, payload: bool
    ) -> None:
        """M-13: without a number of its own nobody is told to refund it."""
        message = aside(reason, number)
        message = message if payload else attrs.evolve(message, payload="{")
        found = explain_order(evidence(paid_reply(), inbox=done(message)))
        assert names(found) == ["perhaps-second-payment"]
        assert "second-payment" not in {each.name for each in found.proven}
        assert after_explanation(found).exit is Exit.REFUSED

    def test_two_messages_about_one_are_one_refund(self) -> None:
        """M-25: the other message is for a person to look at."""
        first, again = aside(TWO_PAYMENTS), aside(ANOTHER_PAYMENT, digit="2")
        found = explain_order(evidence(paid_reply(), inbox=done(first, again)))
        assert names(found) == ["second-payment", "asides"]
        assert "1111111111" in found.next[0].values.values()
        third = aside(ANOTHER_PAYMENT, "T-3", digit="3")
        found = explain_order(evidence(paid_reply(), inbox=done(first, third)))
        assert names(found) == ["second-payment", "second-payment"]

    def test_what_contradicts_comes_before_any_refund(self) -> None:
        """M-11: nothing is left to do is said of no order whose payments differ."""
        inbox = done(aside(ANOTHER_PAYMENT), transaction_id="T-9", source="QUERY")
        found = explain_order(evidence(paid_reply(transaction_id="T-1"), inbox=inbox))
        assert [each.name for each in found.against] == ["two-payments"]
        assert names(found) == ["compare", "second-payment"]
        assert after_explanation(found).exit is Exit.UNKNOWN
        found = explain_order(evidence(unpaid_reply(), inbox=inbox))
        assert names(found) == ["contradicted", "asides", "effect-stands"]


def test_nothing_is_left_is_never_said_where_a_message_waits() -> None:
    """M-15: whatever was decided about it; a conflict is settled by no handler either."""
    for decision in Decision:
        waits = aside("it says so", decision=decision.value)
        assert names(explain_order(evidence(paid_reply(), inbox=done(waits)))) == ["asides"]
        for before in (InboxHolds(), held(SeenState.NOT_PAID)):
            inbox = attrs.evolve(before, asides=(waits,))
            settles = [] if decision is Decision.CONFLICT else ["settle"]
            found = explain_order(evidence(paid_reply(), inbox=inbox))
            assert names(found) == [*settles, "asides"]
            assert after_explanation(found).exit is Exit.REFUSED


class TestOtherAmount:
    """M-13: what the order costs is known from the message that a handler held against it."""

    @pytest.mark.parametrize("reason", [OTHER_AMOUNT, OTHER_CURRENCY])
    def test_it_leads_where_expected_leads(self, reason: str) -> None:
        """Exit code 5, and nobody is told to hand it over."""
        inbox = InboxHolds(asides=(aside(reason),))
        found = explain_order(evidence(paid_reply(), inbox=inbox))
        assert (found.standing, found.expected) == (OrderStanding.OTHER_AMOUNT, 999)
        assert names(found) == ["other-amount", "asides"]
        assert found.amount_compared
        assert "right-amount" not in {each.name for each in found.unproven}
        assert after_explanation(found).exit is Exit.UNTRUSTED
        silent = explain_order(evidence(TransportError("no"), inbox=inbox))
        assert silent.standing is OrderStanding.OTHER_AMOUNT

    def test_an_order_in_quarantine_says_it_too(self) -> None:
        """Its record has the reason."""
        holds = held(SeenState.QUARANTINED)
        assert holds.record is not None
        holds = attrs.evolve(holds, record=attrs.evolve(holds.record, reason=OTHER_AMOUNT))
        found = explain_order(evidence(paid_reply(), inbox=holds))
        assert (found.standing, found.expected) == (OrderStanding.OTHER_AMOUNT, 999)
        assert names(found) == ["other-amount", "quarantined"]

    def test_what_took_effect_was_settled_since(self) -> None:
        """The shop let its own row say what was paid: the old message is no other verdict."""
        found = explain_order(evidence(paid_reply(), inbox=done(aside(OTHER_AMOUNT))))
        assert (found.standing, found.expected) == (OrderStanding.PAID, None)
        assert names(found) == ["asides"]

    def test_whoever_says_what_it_costs_wins(self) -> None:
        """Somebody here, but not a store: which of the two is right a person finds out."""
        inbox = InboxHolds(asides=(aside(OTHER_AMOUNT),))
        told = explain_order(evidence(paid_reply(), inbox=inbox, wanted=1000))
        assert (told.standing, told.agrees) == (OrderStanding.PAID, True)
        assert names(told) == ["asides"]
        kept = kept_checkout(status="PAID", bearing=Bearing.PAID)
        both = evidence(paid_reply(), inbox=inbox, kept=(kept,))
        assert both.amounts == {1000: Witness.STORE, 999: Witness.INBOX}
        assert "two-expected" in {each.name for each in explain_order(both).against}

    def test_the_last_message_says_what_it_costs_today(self) -> None:
        """And another currency's amount is none in fen."""
        before = aside("another amount than the expected 1 fen: 2 fen", digit="2")
        inbox = InboxHolds(
            asides=(
                aside(OTHER_AMOUNT),
                attrs.evolve(before, first_seen=NOW - timedelta(minutes=1)),
            )
        )
        assert inbox.expected == 999
        foreign = aside("another amount than the expected 9 (fee_type USD): 8 (fee_type USD)")
        assert InboxHolds(asides=(foreign,)).expected is None
