"""What an explanation must not overlook: cancels, sources not read, amounts, refunds, attempts."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from chaoying_async import (
    OrderNotFoundError,
    OrderQuery,
    PayType,
    QueryRefusedError,
    SignatureVerificationError,
    TransportError,
)
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.inquiry.standing_exits import after_explanation
from chaoying_async.exceptions import SignatureRefusedError
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.follow_up import RefundQueryResult
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.explanation import Inquiry, OrderStanding, explain_order, lines_of
from chaoying_async.sansio.explanation.from_audit_log import read_audit_log
from chaoying_async.sansio.explanation.from_gateway import AskedQuery
from chaoying_async.sansio.explanation.from_store import KeptRecord
from chaoying_async.sansio.explanation.told import Bearing, Witness
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import BY_A_PERSON, SeenState
from chaoying_async.sansio.signing import sign
from chaoying_async.sansio.values import Fen
from tests.factories import CREDENTIALS, MCH_ID, ORDER
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


def kept_checkout(**more: Any) -> KeptRecord:
    members: dict[str, Any] = {
        "witness": Witness.STORE,
        "kind": "checkout",
        "ended": True,
        "expected": 1000,
    }
    return KeptRecord(**(members | more))


UNDER_WAY = kept_checkout(ended=False, bearing=Bearing.OPEN)


class TestPaidAndNotToBeDelivered:
    """The gateway says paid, and something speaks against acting on it."""

    @pytest.mark.parametrize("inbox", [None, SeenState.DONE, SeenState.HELD])
    @pytest.mark.parametrize(
        ("kept", "step"),
        [
            (attrs.evolve(UNDER_WAY, cancelled=True), "paid-after-cancel"),
            (kept_checkout(status="PAID_AFTER_CANCEL", bearing=Bearing.PAID), "paid-after-cancel"),
            (
                kept_checkout(
                    kind="checkout-order",
                    status="PAID_AFTER_CANCEL",
                    bearing=Bearing.PAID,
                    attempt=ORDER,
                ),
                "paid-after-cancel",
            ),
            (kept_checkout(status="PAID_EARLIER", bearing=Bearing.PAID), "paid-earlier"),
        ],
    )
    def test_what_was_cancelled_or_paid_before_is_for_a_person(
        self, kept: KeptRecord, step: str, inbox: SeenState | None
    ) -> None:
        """M-24: the books come first."""
        holds = None if inbox is None else held(inbox)
        found = explain_order(evidence(paid_reply(), kept=(kept,), inbox=holds))
        assert (found.next[0].name, found.next[0].rule) == (step, "M-24")
        assert not {"deliver", "nothing-left", "held"} & {each.name for each in found.next}
        assert not found.is_settled
        assert after_explanation(found).exit is Exit.REFUSED

    def test_a_cancel_in_a_log_counts(self) -> None:
        """M-24: it may have left, whatever the log says that it was answered."""
        log = read_audit_log(as_lines(line("cancel", PAID_REPLY)), ORDER, MCH_ID)
        found = explain_order(evidence(paid_reply(), log=log))
        assert [step.name for step in found.next] == ["paid-after-cancel"]

    def test_the_end_of_another_attempt_is_not_this_one_s(self) -> None:
        """A business order's record names an attempt with a number of its own."""
        other = kept_checkout(kind="checkout-order", status="PAID_AFTER_CANCEL", attempt="A10002")
        found = explain_order(evidence(paid_reply(), kept=(other,)))
        assert "paid-after-cancel" not in {step.name for step in found.next}

    @pytest.mark.parametrize("witness", [each for each in Witness if each is not Witness.GATEWAY])
    def test_a_source_that_failed_leaves_nothing_settled(self, witness: Witness) -> None:
        """It may hold a refund, a cancel, or another amount."""
        found = explain_order(evidence(paid_reply(), inquiries={witness: Inquiry.FAILED}))
        assert [step.name for step in found.next] == ["unread"]
        assert not found.is_settled
        assert after_explanation(found).exit is Exit.REFUSED

    def test_a_log_that_is_not_read_in_full_leaves_nothing_settled(self) -> None:
        """Lines that name the order, and lines that may."""
        for bad in (b"no json " + ORDER.encode(), None):
            log = read_audit_log([bad], ORDER, MCH_ID)
            found = explain_order(evidence(paid_reply(), log=log))
            assert [step.name for step in found.next] == ["unread"]
            assert after_explanation(found).exit is Exit.REFUSED

    def test_amounts_that_differ_contradict_each_other(self) -> None:
        """M-13: which of them is the order's nobody can tell; one that is told is no other one."""
        fleet = attrs.evolve(UNDER_WAY, witness=Witness.FLEET, kind="poll", expected=2000)
        found = explain_order(evidence(paid_reply(), kept=(UNDER_WAY, fleet)))
        assert [each.name for each in found.against] == ["two-expected"]
        assert after_explanation(found).exit is Exit.UNKNOWN
        assert any("10.00" in each and "20.00" in each for each in lines_of(found))
        same = explain_order(evidence(paid_reply(), kept=(UNDER_WAY, UNDER_WAY), wanted=999))
        assert same.agrees


@pytest.mark.parametrize(
    "numbers", [(None, None), ("r 1", "r 2"), ("退1", "退2"), ("R-1", "R-2"), (None, "?")]
)
def test_no_refund_hides_another(numbers: tuple[str | None, ...]) -> None:
    """M-25: 400 and 600 of 1000 is all of it, whatever their numbers look like."""
    items = tuple(
        RefundItem(
            out_refund_no=number,
            base_refund_fee=Fen(amount),
            refund_fee=Fen(amount),
            refund_status="SUCCESS",
        )
        for number, amount in zip(numbers, (400, 600), strict=True)
    )
    result = RefundQueryResult(out_trade_no=ORDER, refund_list=items)
    reply = attrs.evolve(paid_reply(), result=result)
    (query,) = refunds("R-1")
    asked = (*evidence(paid_reply()).asked, AskedQuery(at=NOW, query=query, said=reply))
    found = explain_order(attrs.evolve(evidence(), asked=asked))
    assert (len(found.refunds), found.returned) == (2, 1000)


class TestAmountThatNobodyCompared:
    """M-13: the gateway says that it is paid; what it costs, only the shop knows."""

    def test_it_is_never_settled(self) -> None:
        """A script that delivers at exit code 0 must not deliver it."""
        found = explain_order(evidence(paid_reply()))
        assert [(each.name, each.rule) for each in found.next] == [("compare-amount", "M-13")]
        assert "right-amount" in {each.name for each in found.unproven}
        assert (found.is_settled, found.amount_compared) == (False, False)
        assert after_explanation(found).exit is Exit.UNCOMPARED
        assert any("10.00 yuan" in each for each in lines_of(found) if each.startswith("1. "))

    @pytest.mark.parametrize("more", [{"wanted": 1000}, {"inbox": held(SeenState.DONE)}])
    def test_whoever_says_what_it_costs_settles_it(self, more: Any) -> None:
        """Somebody here, or the handler that gave it its effect."""
        found = explain_order(evidence(paid_reply(), **more))
        assert "right-amount" not in {each.name for each in found.unproven}
        assert (found.is_settled, found.amount_compared) == (True, True)
        assert after_explanation(found).exit is Exit.OK

    @pytest.mark.parametrize("kind", ["poll", "outcome"])
    def test_an_outcome_on_its_way_to_its_task_comes_first(self, kind: str) -> None:
        """M-23: who compares and delivers at exit code 7 would deliver beside the task."""
        kept = kept_checkout(kind=kind, status="PAID", bearing=Bearing.PAID, expected=None)
        found = explain_order(evidence(paid_reply(), kept=(kept,)))
        assert [each.name for each in found.next] == ["untaken"]
        assert not found.lacks_amount
        assert after_explanation(found).exit is Exit.PENDING
        unread = {Witness.INBOX: Inquiry.FAILED}
        found = explain_order(evidence(paid_reply(), kept=(kept,), inquiries=unread))
        assert after_explanation(found).exit is Exit.REFUSED

    def test_what_a_person_applied_was_not_compared(self) -> None:
        """M-13: it takes effect whatever the shop expects."""
        by_a_person = held(SeenState.DONE, decision=BY_A_PERSON)
        found = explain_order(evidence(paid_reply(), inbox=by_a_person))
        assert "right-amount" in {each.name for each in found.unproven}
        assert not found.amount_compared
        assert explain_order(evidence(paid_reply(), inbox=by_a_person, wanted=1000)).amount_compared
        decided = held(SeenState.DONE, decision=Decision.APPLY.value)
        assert explain_order(evidence(paid_reply(), inbox=decided)).amount_compared

    def test_what_is_for_a_person_anyway_keeps_its_code(self) -> None:
        """Exit code 1: a source that could not be read comes before the amount."""
        found = explain_order(evidence(paid_reply(), inquiries={Witness.STORE: Inquiry.FAILED}))
        assert after_explanation(found).exit is Exit.REFUSED


@pytest.mark.parametrize(
    ("amounts", "step"),
    [
        ({"refund_fee": "100", "total_fee": "1000"}, "more-may-come-back"),
        ({"refund_fee": "100"}, "more-may-come-back"),
        ({"refund_fee": "1000", "total_fee": "1000"}, "all-came-back"),
        ({}, "refund-unknown"),
    ],
)
def test_no_rest_is_delivered_where_nobody_listed_the_refunds(
    amounts: dict[str, str], step: str
) -> None:
    """M-25: the answer about the order names what came back, not what is on its way."""
    found = explain_order(evidence(in_refund(**amounts)))
    assert found.standing is OrderStanding.IN_REFUND
    assert [each.name for each in found.next] == [step]


class TestAttempts:
    """An old attempt of a business order that is over and unpaid."""

    @pytest.mark.parametrize(
        ("status", "step"),
        [
            ("PAID", "unpaid-attempt"),
            ("UNKNOWN", "unpaid-attempt"),
            ("", "unpaid-attempt"),
            ("FAILED", "unpaid"),
            ("CANCELLED", "unpaid"),
        ],
    )
    def test_another_attempt_may_be_paid(self, status: str, step: str) -> None:
        """Only where the last attempt is over without payment may there be a new one."""
        last = kept_checkout(
            kind="checkout-order",
            ended=bool(status),
            status=status,
            attempt="A10002",
            expected=None,
        )
        found = explain_order(evidence(unpaid_reply(), kept=(last,)))
        assert found.standing is OrderStanding.UNPAID
        assert [each.name for each in found.next] == [step, "attempt"]
        assert "recorded" not in {each.name for each in found.proven}
        assert [*lines_of(found, "zh")]

    @pytest.mark.parametrize("witness", [Witness.STORE, Witness.FLEET])
    def test_an_attempt_that_bars_its_order_is_to_be_released(self, witness: Witness) -> None:
        """M-24: it ended UNKNOWN, and is closed by now; the next sale would be refused."""
        last = kept_checkout(
            witness=witness, kind="checkout-order", status="UNKNOWN", bearing=Bearing.OPEN,
            attempt=ORDER, expected=None,
        )  # fmt: skip
        found = explain_order(evidence(unpaid_reply(), kept=(last,)))
        assert [(each.name, each.rule) for each in found.next] == [
            ("unpaid", "M-07"),
            ("release", "M-24"),
        ]
        assert any("release_order()" in each and "UNKNOWN" in each for each in lines_of(found))
        for free in (
            attrs.evolve(last, status="FAILED", bearing=Bearing.UNPAID),
            attrs.evolve(last, released=NOW),
            attrs.evolve(last, attempt="A10002"),
            attrs.evolve(last, ended=False, status=""),
            attrs.evolve(last, kind="checkout"),
        ):
            steps = {
                each.name for each in explain_order(evidence(unpaid_reply(), kept=(free,))).next
            }
            assert "release" not in steps
        paid = explain_order(evidence(paid_reply(), kept=(last,)))
        assert "release" not in {each.name for each in paid.next}


class TestNotFound:
    """M-22: the gateway knows no such order, and a store knows more."""

    ABSENT = OrderNotFoundError("no", state="FAIL", code="20007")

    @pytest.mark.parametrize(
        ("kind", "status"),
        [
            ("checkout", "NOT_FOUND"),
            ("checkout-order", "FAILED"),
            ("outcome", "FAILED"),
            ("poll", "CLOSED"),
        ],
    )
    def test_the_end_that_was_written_down_is_cited(self, kind: str, status: str) -> None:
        """The shop's own outcome says that another attempt takes another number."""
        ended = kept_checkout(kind=kind, status=status, bearing=Bearing.UNPAID, attempt=ORDER)
        found = explain_order(evidence(self.ABSENT, kept=(ended,)))
        assert found.standing is OrderStanding.NOT_FOUND
        assert (found.next[0].name, found.next[0].rule) == ("not-found-ended", "M-22")
        assert "not-found" not in {each.name for each in found.next}
        assert any(status in each and each.startswith("1. ") for each in lines_of(found))
        assert after_explanation(found).exit is Exit.REFUSED

    def test_another_attempt_may_be_paid(self) -> None:
        """M-24: as of an order that the gateway calls over."""
        ended = kept_checkout(status="NOT_FOUND", bearing=Bearing.UNPAID)
        last = kept_checkout(kind="checkout-order", status="PAID", attempt="A10002", expected=None)
        found = explain_order(evidence(self.ABSENT, kept=(ended, last)))
        assert found.next[0].name == "unpaid-attempt"

    @pytest.mark.parametrize(
        "kept",
        [
            kept_checkout(status="UNKNOWN", bearing=Bearing.OPEN),
            kept_checkout(kind="poll", status="NOT_FOUND", bearing=Bearing.ABSENT),
            UNDER_WAY,
        ],
    )
    def test_what_is_no_end_frees_nobody(self, kept: KeptRecord) -> None:
        """Do not charge again before number, merchant and wallet were checked."""
        found = explain_order(evidence(self.ABSENT, kept=(kept,)))
        assert found.next[0].name == "not-found"


def unpaid_reply() -> Any:
    """A signed answer that the order is over and unpaid, verified."""
    return _answer(trade_state="FAIL", code="10004")


def in_refund(**more: str) -> Any:
    """A signed answer that the order has gone into refund, verified."""
    return _answer(trade_state="REFUND", code="10002", **more)


def _answer(**more: str) -> Any:
    query = OrderQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_trade_no=ORDER)
    fields = {"state": "SUCCESS", "out_trade_no": ORDER, **more}
    fields["sign"] = sign(fields, CREDENTIALS.key)
    outgoing = build_request(query, CREDENTIALS)
    return read_reply(outgoing, 200, json.dumps(fields).encode(), CREDENTIALS, now=NOW)


@pytest.mark.parametrize(
    ("said", "step", "code"),
    [
        (SignatureVerificationError("no"), ("unbelieved", "M-08"), Exit.UNTRUSTED),
        (
            SignatureRefusedError("no", state="FAIL", code="20002"),
            ("not-asked", "M-09"),
            Exit.REFUSED,
        ),
    ],
)
def test_asking_again_does_not_mend_a_wrong_key(
    said: Exception, step: tuple[str, str], code: Exit
) -> None:
    """What a record proves stays proven; but `chaoying check` comes before the next question."""
    paid = held(SeenState.DONE)
    found = explain_order(evidence(said, inbox=paid))
    assert found.standing is OrderStanding.WAS_PAID
    assert [(each.name, each.rule) for each in found.next] == [step, ("was-paid", "M-11")]
    assert after_explanation(found).exit is code
    alone = explain_order(evidence(said))
    assert [(each.name, each.rule) for each in alone.next] == [step]
    for other in (TransportError("no"), QueryRefusedError("no", state="FAIL", code="20009")):
        found = explain_order(evidence(other, other, inbox=paid))
        assert [each.name for each in found.next] == ["was-paid"]
        assert after_explanation(found).exit is Exit.UNREACHED


@pytest.mark.parametrize(
    ("said", "before"),
    [
        (SignatureRefusedError("no", state="FAIL", code="20002"), Exit.REFUSED),
        (OrderNotFoundError("no", state="FAIL", code="20007"), Exit.REFUSED),
        (QueryRefusedError("no", state="FAIL", code="20009"), Exit.PENDING),
    ],
)
def test_a_payment_of_which_nobody_knows_is_never_a_plain_refusal(
    said: Exception, before: Exit
) -> None:
    """Exit code 3 while its checkout is under way, or its logged call has no answer.

    An answer that does not name the order is none (M-06).
    """
    assert after_explanation(explain_order(evidence(said, said))).exit is before
    unanswered = read_audit_log(as_lines(line("pay")), ORDER, MCH_ID)
    failed = {"state": "SUCCESS", "trade_state": "FAIL", "code": "10006"}
    unnamed = read_audit_log(as_lines(line("pay", failed)), ORDER, MCH_ID)
    for more in ({"kept": (UNDER_WAY,)}, {"log": unanswered}, {"log": unnamed}):
        found = explain_order(evidence(said, said, **more))
        assert "charged" in {step.name for step in found.next}
        assert after_explanation(found).exit is Exit.UNKNOWN
    named = read_audit_log(as_lines(line("pay", failed | {"out_trade_no": ORDER})), ORDER, MCH_ID)
    assert after_explanation(explain_order(evidence(said, said, log=named))).exit is before
    over = kept_checkout(status="FAILED", bearing=Bearing.UNPAID)
    found = explain_order(evidence(said, said, kept=(over,)))
    assert after_explanation(found).exit is before
