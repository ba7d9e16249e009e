"""Row by row: who contradicts whom, what is proven, and what a program gets of it."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import pytest

from chaoying_async import OrderNotFoundError, TransportError
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.follow_up import RefundQueryResult
from chaoying_async.sansio.explanation import (
    Explanation,
    Inquiry,
    OrderStanding,
    explain_order,
    lines_of,
    members_of_explanation,
)
from chaoying_async.sansio.explanation.contradictions import contradictions
from chaoying_async.sansio.explanation.from_audit_log import read_audit_log
from chaoying_async.sansio.explanation.from_gateway import AskedQuery, GatewaySays, bearing_of
from chaoying_async.sansio.explanation.next_steps import Need
from chaoying_async.sansio.explanation.told import Bearing, Statement, Witness, sentence, word
from chaoying_async.sansio.notifications.inbox_values import SeenState
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.sansio.values import Fen
from tests.factories import MCH_ID, ORDER
from tests.pure.test_explanation import (
    NOW,
    PAID_REPLY,
    as_lines,
    evidence,
    held,
    line,
    paid_reply,
    refunds,
)
from tests.pure.test_explanation_overlooks import in_refund, kept_checkout, unpaid_reply

PAID = {Bearing.PAID, Bearing.IN_REFUND, Bearing.OTHER_AMOUNT}
NOT_PAID_NOW = {Bearing.UNPAID, Bearing.OPEN, Bearing.ABSENT}
FAILED = {"state": "SUCCESS", "trade_state": "FAIL", "code": "10004", "out_trade_no": ORDER}
ABSENT = OrderNotFoundError("no", state="FAIL", code="20007")


def against(explanation: Explanation) -> list[str]:
    return [each.name for each in explanation.against]


class TestWhoContradictsWhom:
    """Every pair of what can be said, and the sentences about those that disagree."""

    @pytest.mark.parametrize("witness", [Witness.STORE, Witness.FLEET, Witness.INBOX])
    def test_a_record_and_the_gateway(self, witness: Witness) -> None:
        """One proves a payment, the other says there is none: whichever of the two."""
        for now, before in itertools.product(Bearing, Bearing):
            record = Statement(witness=witness, what="x", bearing=before, proves=True)
            expected = ["paid-there"] if before in PAID and now in NOT_PAID_NOW else []
            expected += ["unpaid-there"] if before is Bearing.UNPAID and now in PAID else []
            for proves in (True, False):
                each = attrs.evolve(record, proves=proves)
                found = contradictions(evidence(), GatewaySays(bearing=now), [each])
                names = [phrase.name for phrase in found]
                assert names == (expected if proves else []), (now, before)

    def test_two_records(self) -> None:
        """Both are named with what they say, in both languages."""
        ended = kept_checkout(status="FAILED", bearing=Bearing.UNPAID, expected=None)
        found = explain_order(
            evidence(TransportError("no"), kept=(ended,), inbox=held(SeenState.DONE))
        )
        assert against(found) == ["two-records"]
        assert "- The inbox says DONE, the poll store says FAILED." in lines_of(found)
        assert any("DONE" in each and "FAILED" in each for each in lines_of(found, "zh"))

    def test_two_attempts_of_a_business_order_one_of_them_paid_back(self) -> None:
        """Released for another attempt its record says FAILED, which contradicts no refund."""
        for what, names in (("attempt-ended", []), ("checkout-ended", ["unpaid-there"])):
            each = Statement(witness=Witness.STORE, what=what, bearing=Bearing.UNPAID, proves=True)
            found = contradictions(evidence(), GatewaySays(bearing=Bearing.IN_REFUND), [each])
            assert [phrase.name for phrase in found] == names

    @pytest.mark.parametrize(
        ("calls", "status", "names"),
        [
            ([("pay", PAID_REPLY)], PollStatus.CLOSED, ["log-paid"]),
            ([("pay", PAID_REPLY)], PollStatus.REVOKED, ["log-paid"]),
            ([("pay", PAID_REPLY), ("cancel", PAID_REPLY)], PollStatus.CLOSED, ["log-paid"]),
            ([("pay", PAID_REPLY), ("cancel", PAID_REPLY)], PollStatus.REVOKED, []),
            ([("pay", PAID_REPLY)], PollStatus.PAID, []),
            ([("pay", FAILED)], PollStatus.PAID, ["log-unpaid"]),
            ([("pay", FAILED)], PollStatus.CLOSED, []),
            ([("refund", PAID_REPLY)], PollStatus.CLOSED, []),
        ],
    )
    def test_the_log_and_the_gateway(
        self, calls: list[tuple[str, Any]], status: PollStatus, names: list[str]
    ) -> None:
        """A shop may have acted on it; what a cancel gave back was paid before."""
        log = read_audit_log(as_lines(*(line(*each) for each in calls)), ORDER, MCH_ID)
        says = GatewaySays(bearing=bearing_of(status), status=status)
        found = contradictions(evidence(log=log), says, [])
        assert [phrase.name for phrase in found] == names

    def test_two_payments_and_two_amounts(self) -> None:
        """M-13: the inbox's order amount is not the gateway's."""
        holds = held(SeenState.DONE)
        assert holds.record is not None
        entry = attrs.evolve(holds.record.entry, payable=900)
        other = attrs.evolve(holds, record=attrs.evolve(holds.record, entry=entry))
        found = explain_order(evidence(paid_reply(), inbox=other))
        assert against(found) == ["two-amounts"]
        assert "- The inbox's payment is of 9.00 yuan, the gateway's of 10.00 yuan." in lines_of(
            found
        )


class TestProvenAndNot:
    """What is proven, and what one might take for granted."""

    @pytest.mark.parametrize(
        ("said", "more", "proven", "unproven"),
        [
            (paid_reply(), {}, ["gateway-paid"], ["right-amount", "delivered"]),
            (paid_reply(), {"wanted": 1000}, ["gateway-paid"], ["delivered"]),
            (paid_reply(), {"inbox": held(SeenState.DONE)}, ["gateway-paid", "effect"], []),
            (paid_reply(), {"inbox": held(SeenState.NOT_PAID), "wanted": 1000},
             ["gateway-paid", "failed-once"], ["delivered"]),
            (paid_reply(), {"inbox": held(SeenState.HELD, decision="APPLY"), "wanted": 1000},
             ["gateway-paid", "verified"], ["delivered"]),
            (TransportError("no"), {"inbox": held(SeenState.DONE)}, ["effect"],
             ["still-paid", "silent"]),
            (TransportError("no"), {"inbox": held(SeenState.HELD, decision="APPLY")},
             ["verified"], ["still-paid", "delivered", "silent"]),
            (TransportError("no"), {}, [], ["whether-paid", "silent"]),
            (ABSENT, {}, [], ["unpaid-by-absence"]),
            (unpaid_reply(), {}, ["gateway-unpaid"], []),
            (in_refund(), {}, ["gateway-in-refund"], ["how-much-came-back"]),
            (unpaid_reply(), {"kept": (kept_checkout(status="FAILED", bearing=Bearing.UNPAID),)},
             ["gateway-unpaid", "recorded"], []),
            (unpaid_reply(), {"kept": (kept_checkout(ended=False, bearing=Bearing.OPEN),)},
             ["gateway-unpaid"], []),
        ],
    )  # fmt: skip
    def test_each_is_named(
        self, said: Any, more: dict[str, Any], proven: list[str], unproven: list[str]
    ) -> None:
        """In this order, and nothing beside it; every one has its sentence in both languages."""
        found = explain_order(evidence(said, **more))
        assert [each.name for each in found.proven] == proven
        assert [each.name for each in found.unproven] == unproven
        assert len([*lines_of(found, "zh")]) == len([*lines_of(found)])

    @pytest.mark.parametrize(
        ("said", "more", "payable"),
        [
            (paid_reply(), {"inbox": held(SeenState.DONE)}, 1000),
            (TransportError("no"), {"inbox": held(SeenState.DONE)}, 1000),
            (TransportError("no"), {}, None),
            (unpaid_reply(), {}, None),
        ],
    )
    def test_the_amount_is_the_gateway_s_or_else_a_record_s(
        self, said: Any, more: dict[str, Any], payable: int | None
    ) -> None:
        """In fen, where somebody proves it."""
        found = explain_order(evidence(said, **more))
        assert members_of_explanation(found)["payable"] == payable

    @pytest.mark.parametrize(
        ("status", "proves", "amount"),
        [("DONE", True, 700), ("", True, 700), ("DONE", False, None)],
    )
    def test_a_log_s_amount_is_nobody_s_proof(
        self, status: str, proves: bool, amount: int | None
    ) -> None:
        """Of a store's texts those count that say how it ended."""
        ended = kept_checkout(ended=proves, status=status, bearing=Bearing.PAID)
        paid = attrs.evolve(paid_order_of(paid_reply()), payable=Fen(700))
        found = explain_order(evidence(kept=(attrs.evolve(ended, paid=paid),)))
        assert found.payable == amount


def paid_order_of(reply: Any) -> Any:
    says = evidence(reply).says
    assert says.paid is not None
    return says.paid


class TestTold:
    """What is shown of words and sentences from outside."""

    def test_a_sentence_is_one_line_and_bounded(self) -> None:
        """Of 300 characters: a reason may quote a stranger."""
        assert "\n" not in sentence("a\nb")
        assert sentence("no such order") == "no such order"
        assert sentence("x" * 300) == "x" * 300
        assert len(sentence("x" * 301)) == 300

    @pytest.mark.parametrize("text", ["A1", "a_b.c:d-9", "x" * 64])
    def test_a_word_is_shown(self, text: str) -> None:
        """It looks like a code or a number."""
        assert word(text) == text

    @pytest.mark.parametrize("text", ["", "a b", "x" * 65, "\x1b[31m", "付款"])
    def test_what_is_no_word_is_a_question_mark(self, text: str) -> None:
        """Whoever wrote it."""
        assert word(text) == "?"


@pytest.mark.parametrize(
    ("inquiry", "says"),
    [
        (Inquiry.NOT_GIVEN, "No inbox was given (--inbox)."),
        (Inquiry.NOTHING, "The inbox has never heard of this order."),
        (Inquiry.FOUND, "The inbox was read."),
        (Inquiry.FAILED, "The inbox could not be read: it is closed."),
    ],
)
def test_each_way_of_asking_is_told(inquiry: Inquiry, says: str) -> None:
    """With why it failed, where it did."""
    troubles = {Witness.INBOX: "it is closed"}
    found = explain_order(
        evidence(paid_reply(), inquiries={Witness.INBOX: inquiry}, troubles=troubles)
    )
    sources = members_of_explanation(found)["sources"]
    assert {"name": f"inbox-{inquiry.value.lower().replace('_', '-')}", "says": says} in sources
    assert len(sources) == 4  # the fleet is in the store's database
    assert f"- {says}" in lines_of(found)


def test_a_program_gets_these_members_and_no_others() -> None:
    """Scripts read them: a name that changes is a broken script."""
    members = members_of_explanation(explain_order(evidence(paid_reply(), wanted=1000)))
    steps = members.pop("steps")
    timeline = members.pop("timeline")
    assert [*members.pop("sources")[0]] == ["name", "says"]
    assert [each["name"] for each in members.pop("proven")] == ["gateway-paid"]
    assert members.pop("unproven") == [
        {"name": "delivered", "says": "Whether it was delivered: that stands in your own books."}
    ]
    assert members == {
        "mch_id": MCH_ID,
        "out_trade_no": ORDER,
        "asked_at": "2026-01-01T12:00:00+08:00",
        "status": "PAID",
        "says": "paid, 10.00 yuan.",
        "settled": True,
        "agrees": True,
        "expected": 1000,
        "payable": 1000,
        "fee_type": "CNY",
        "amount_compared": True,
        "returned": None,
        "refunds": [],
        "against": [],
        "next": steps[0]["do"],
    }
    assert {name: steps[0][name] for name in ("name", "rule", "needs")} == {
        "name": "deliver",
        "rule": "M-16",
        "needs": "NOTHING",
    }
    assert [*steps[0]] == ["name", "rule", "needs", "do", "why"]
    assert timeline == [
        {"at": "2026-01-01T12:00:00+08:00", "witness": "gateway", "what": "gateway-answered",
         "status": None, "says": "orderquery under WECHAT: SUCCESS SUCCESS 10000, signed"}
    ]  # fmt: skip


def test_words_that_a_program_reads_are_their_names() -> None:
    """How an order stands, how that was said, what it needs, and how asking ended."""
    for each in (*OrderStanding, *Bearing, *Need, *Inquiry):
        assert each.value == each.name


def test_a_part_without_lines_has_no_heading() -> None:
    """Nothing contradicts: nothing is said of it."""
    text = [*lines_of(explain_order(evidence(paid_reply(), wanted=1000)))]
    headings = [after for before, after in itertools.pairwise(text) if before == ""]
    assert headings == [
        "What is proven",
        "What is not proven",
        "What to do next",
        "What happened (GMT+8)",
        "Who was asked",
    ]


@pytest.mark.parametrize(
    ("state", "needs"), [(SeenState.DONE, "NOTHING"), (SeenState.HELD, "TIME"), (None, "TIME")]
)
def test_an_outcome_that_nobody_took_calls_for_time(state: SeenState | None, needs: str) -> None:
    """M-23: until its effect is durable."""
    kept = kept_checkout(status="PAID", bearing=Bearing.PAID)
    inbox = None if state is None else held(state)
    found = explain_order(evidence(paid_reply(), kept=(kept,), inbox=inbox))
    steps = {each.name: each.need.value for each in found.next}
    assert steps["untaken"] == needs


@pytest.mark.parametrize(
    ("back", "whole", "step"),
    [
        (400, None, "some-came-back"),
        (400, 1000, "part-came-back"),
        (1000, 1000, "all-came-back"),
        (1000, None, "some-came-back"),
    ],
)
def test_what_came_back_is_held_against_the_whole(back: int, whole: int | None, step: str) -> None:
    """M-25: a rest is delivered only where everybody knows what it is a rest of."""
    item = RefundItem(out_refund_no="R-1", base_refund_fee=Fen(back), refund_status="SUCCESS")
    result = RefundQueryResult(out_trade_no=ORDER, refund_list=(item,))
    (query,) = refunds("R-1")
    listed = AskedQuery(at=NOW, query=query, said=attrs.evolve(paid_reply(), result=result))
    asked = (*evidence(in_refund()).asked, listed)
    found = explain_order(attrs.evolve(evidence(wanted=whole), asked=asked))
    assert [each.name for each in found.next] == [step]
    assert any(f"{back / 100:.2f} yuan" in each for each in lines_of(found))
