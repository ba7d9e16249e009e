"""What an explanation takes from a log, a record and the gateway, before anything is judged."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from chaoying_async import TransportError
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.inquiry.standing_exits import after_explanation
from chaoying_async.sansio.explanation import explain_order
from chaoying_async.sansio.explanation.evidence import Inquiry
from chaoying_async.sansio.explanation.from_audit_log import (
    MOST_EXCHANGES,
    AuditLog,
    read_audit_log,
)
from chaoying_async.sansio.explanation.from_inbox import InboxHolds
from chaoying_async.sansio.explanation.next_steps import Need
from chaoying_async.sansio.explanation.told import Bearing, Witness
from chaoying_async.sansio.notifications.inbox_values import SeenState
from tests.factories import MCH_ID, ORDER
from tests.pure.test_explanation import PAID_REPLY, as_lines, evidence, held, line, paid_reply
from tests.pure.test_explanation_overlooks import UNDER_WAY, kept_checkout, unpaid_reply


def test_an_amount_is_known_by_who_wrote_it_down_first() -> None:
    """A record comes before a log; a log alone is enough."""
    log = read_audit_log(as_lines(line("pay", PAID_REPLY)), ORDER, MCH_ID)
    assert evidence(log=log).amounts == {100: Witness.AUDIT_LOG}
    of_store = kept_checkout(expected=100), kept_checkout(expected=200)
    assert evidence(log=log, kept=of_store).amounts == {100: Witness.STORE, 200: Witness.STORE}
    assert evidence().amounts == {}


def test_evidence_is_added_to() -> None:
    """The gateway is asked last, for what the others have named."""
    asked = evidence(paid_reply()).asked
    assert evidence(kept=(UNDER_WAY,)).with_asked(asked) == evidence(
        paid_reply(), kept=(UNDER_WAY,)
    )
    known = evidence(paid_reply()).noted({Witness.STORE: Inquiry.FAILED})
    both = known.noted({Witness.INBOX: Inquiry.FAILED})
    assert (both.asked, both.inquiry(Witness.STORE)) == (asked, Inquiry.FAILED)


def test_a_log_without_lines_tells_what_no_log_does() -> None:
    """Nothing of it is unreadable, nor left out."""
    assert read_audit_log([], ORDER, MCH_ID) == AuditLog()
    assert (AuditLog().unreadable, AuditLog().left_out) == (0, 0)


def test_a_line_that_names_another_order_is_none_of_ours() -> None:
    """Even one that cannot be read: it hides nothing of this order."""
    log = read_audit_log([b"no json", b"{}"], ORDER, MCH_ID)
    assert (log.exchanges, log.unreadable) == ((), 0)


def test_the_newest_exchanges_are_told() -> None:
    """How many older ones are left out is said."""
    lines = [
        json.dumps(line("orderquery", elapsed=number)).encode()
        for number in range(MOST_EXCHANGES + 2)
    ]
    log = read_audit_log(lines, ORDER, MCH_ID)
    assert (len(log.exchanges), log.left_out) == (MOST_EXCHANGES, 2)


@pytest.mark.parametrize("state", SeenState)
def test_only_a_recorded_payment_can_be_another_one(state: SeenState) -> None:
    """M-13: an order of which the record says that nobody has paid it names no payment."""
    holds = held(state, transaction_id="42", out_transaction_id="43")
    assert holds.is_another_payment(frozenset({"44"})) is (state is not SeenState.NOT_PAID)
    assert not holds.is_another_payment(frozenset({"43"}))
    assert not InboxHolds().is_another_payment(frozenset({"44"}))


TO_COME = {
    "a checkout whose process was killed": (UNDER_WAY, "waited-for"),
    "an order that a poller tracks": (attrs.evolve(UNDER_WAY, kind="poll"), "waited-for"),
    "a wait of a fleet": (
        attrs.evolve(UNDER_WAY, kind="poll", witness=Witness.FLEET, expected=None),
        "waited-for",
    ),
    "a checkout whose outcome nobody took": (
        kept_checkout(status="PAID", bearing=Bearing.PAID),
        "untaken",
    ),
    "an attempt that ended without an answer": (
        kept_checkout(status="UNKNOWN", bearing=Bearing.OPEN),
        "untaken",
    ),
    "an outcome on its way to its task": (
        kept_checkout(kind="outcome", status="PAID", bearing=Bearing.PAID, expected=None),
        "untaken",
    ),
}


@pytest.mark.parametrize("said", [paid_reply(), TransportError("no"), unpaid_reply()])
@pytest.mark.parametrize("case", TO_COME)
def test_what_a_store_owes_is_named_whatever_the_gateway_says(case: str, said: Any) -> None:
    """M-23: whoever waits for it gets its outcome, and acts on it."""
    kept, name = TO_COME[case]
    steps = explain_order(evidence(said, kept=(kept,))).next
    assert [(step.name, step.rule) for step in steps if step.rule == "M-23"] == [(name, "M-23")]


@pytest.mark.parametrize("wanted", [None, 1000])
@pytest.mark.parametrize(
    "inbox", [None, InboxHolds(), held(SeenState.NOT_PAID), held(SeenState.HELD)]
)
@pytest.mark.parametrize("case", TO_COME)
def test_nobody_delivers_by_hand_what_a_store_owes(
    case: str, inbox: InboxHolds | None, wanted: int | None
) -> None:
    """M-16, M-23: `explain && deliver` beside resume() would deliver twice."""
    kept, name = TO_COME[case]
    found = explain_order(evidence(paid_reply(), kept=(kept,), inbox=inbox, wanted=wanted))
    before = ["held"] if inbox is not None and inbox.state is SeenState.HELD else []
    assert [step.name for step in found.next] == [*before, name]
    assert (found.needs, found.is_settled) == (Need.TIME, False)
    assert after_explanation(found).exit is Exit.PENDING


@pytest.mark.parametrize("case", TO_COME)
def test_what_took_effect_waits_for_nobody(case: str) -> None:
    """M-15: the outcome that is still to come is a duplicate for its handler."""
    kept, name = TO_COME[case]
    found = explain_order(evidence(paid_reply(), kept=(kept,), inbox=held(SeenState.DONE)))
    assert [step.name for step in found.next] == ["nothing-left", name]
    assert after_explanation(found).exit is Exit.OK


@pytest.mark.parametrize("inbox", [None, InboxHolds(), held(SeenState.NOT_PAID)])
@pytest.mark.parametrize("wanted", [None, 1000])
def test_what_a_consumer_has_taken_is_not_delivered_again(
    inbox: InboxHolds | None, wanted: int | None
) -> None:
    """M-16: the order's record says paid, and its outcome is gone: done() was called."""
    last = kept_checkout(
        kind="checkout-order", status="PAID", bearing=Bearing.PAID, attempt=ORDER, expected=None
    )
    found = explain_order(evidence(paid_reply(), kept=(last,), inbox=inbox, wanted=wanted))
    assert [(step.name, step.rule) for step in found.next] == [("taken", "M-16")]
    assert after_explanation(found).exit is Exit.REFUSED
    for more in (
        {"kept": (attrs.evolve(last, status="UNKNOWN", bearing=Bearing.OPEN),)},
        {"kept": (attrs.evolve(last, attempt="A10002", bearing=Bearing.NONE),)},
        {"kept": (last, kept_checkout(status="PAID", bearing=Bearing.PAID))},
        {"kept": (last,), "inbox": held(SeenState.DONE)},
    ):
        steps = explain_order(evidence(paid_reply(), **({"inbox": inbox} | more))).next
        assert "taken" not in {step.name for step in steps}


def test_a_refund_that_is_waited_for_is_no_outcome_of_the_order() -> None:
    """M-25: it keeps anybody from delivering all the same."""
    for kind, ended in (("refund", False), ("refund", True), ("outcome", True)):
        kept = kept_checkout(kind=kind, ended=ended, refund="R-1", status="REFUND_FAILED" * ended)
        found = explain_order(evidence(paid_reply(), kept=(kept,)))
        assert [step.name for step in found.next] == ["refund-begun"]


def test_what_is_proven_says_what_was_expected() -> None:
    """M-13: beside the amount that the gateway names."""
    kept = kept_checkout(expected=999, status="PAID", bearing=Bearing.PAID)
    found = explain_order(evidence(paid_reply(), kept=(kept,)))
    assert 999 in {phrase.values.get("expected") for phrase in found.proven}
