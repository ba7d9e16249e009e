"""From the evidence about an order to an explanation: what is proven, and what is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import attrs

from chaoying_async.sansio.explanation.contradictions import Phrase, contradictions, once
from chaoying_async.sansio.explanation.evidence import Inquiry, OrderEvidence
from chaoying_async.sansio.explanation.from_audit_log import told_by_audit_log
from chaoying_async.sansio.explanation.from_gateway import (
    GatewaySays,
    RefundSays,
    Silence,
    told_by_gateway,
)
from chaoying_async.sansio.explanation.from_inbox import (
    InboxHolds,
    bearing_of_record,
    told_by_inbox,
)
from chaoying_async.sansio.explanation.from_store import told_by_store
from chaoying_async.sansio.explanation.next_steps import (
    COMPARE_AMOUNT,
    Need,
    NextStep,
    next_steps,
)
from chaoying_async.sansio.explanation.standing import OrderStanding, standing_of
from chaoying_async.sansio.explanation.told import (
    Bearing,
    Statement,
    Value,
    Witness,
    amount_of,
    sentence,
)
from chaoying_async.sansio.notifications.inbox_values import SeenState

_LAST = datetime.max.replace(tzinfo=UTC)


@attrs.frozen(kw_only=True)
class Explanation:
    """What is known of one order, and what follows. Nothing in it is personal (M-27)."""

    mch_id: str
    """The merchant that was asked about (M-18)."""
    out_trade_no: str
    """The order's number."""
    now: datetime
    """When it was asked (aware)."""
    standing: OrderStanding
    """How the order stands."""
    expected: int | None
    """The amount that it should have, in fen."""
    payable: int | None
    """The order amount as the gateway names it, or else the inbox or a store; fen."""
    fee_type: str | None
    """Its currency; None where nothing names one, which is CNY."""
    amount_compared: bool
    """Whether somebody said what the order costs, or its handler compared that (M-13)."""
    returned: int | None
    """What came back of it, in fen; None where that is not known."""
    refunds: tuple[RefundSays, ...]
    """Its refunds, as the gateway says."""
    proven: tuple[Phrase, ...]
    """What a signature was verified for."""
    unproven: tuple[Phrase, ...]
    """What nobody proves, and one might take for granted."""
    against: tuple[Phrase, ...]
    """How the witnesses contradict each other."""
    next: tuple[NextStep, ...]
    """What to do, in this order."""
    timeline: tuple[Statement, ...]
    """Oldest first; what has no moment comes last."""
    sources: tuple[Phrase, ...]
    """Who was asked, and who was not."""
    error: Exception | None = attrs.field(default=None, eq=False, repr=False)
    """Why the gateway gave no answer."""

    @property
    def agrees(self) -> bool:
        """Whether nobody contradicts anybody."""
        return not self.against

    @property
    def needs(self) -> Need:
        """The most that one of the steps calls for."""
        needs = {each.need for each in self.next}
        return next((each for each in (Need.PERSON, Need.TIME) if each in needs), Need.NOTHING)

    @property
    def lacks_amount(self) -> bool:
        """Whether nothing is left but to compare the amount, and then to deliver (M-13)."""
        return any(each.name == COMPARE_AMOUNT.name for each in self.next)

    @property
    def is_settled(self) -> bool:
        """Whether it is paid, everything that was asked agrees, and nothing waits for anybody."""
        paid = self.standing is OrderStanding.PAID
        return paid and self.agrees and self.needs is Need.NOTHING


def explain_order(evidence: OrderEvidence) -> Explanation:
    """Judge what was gathered. It never calls unpaid what may be paid, nor paid what may not be."""
    says = evidence.says
    told = [*_told(evidence, says)]
    standing = standing_of(says, told)
    against = contradictions(evidence, says, told)
    payable, fee_type = _payable(says, told)
    return Explanation(
        mch_id=evidence.mch_id,
        out_trade_no=evidence.out_trade_no,
        now=evidence.now,
        standing=standing,
        expected=evidence.expected,
        payable=payable,
        fee_type=fee_type,
        amount_compared=evidence.amount_compared,
        returned=says.returned,
        refunds=says.refunds,
        proven=once(_proven(evidence, says, told)),
        unproven=tuple(_unproven(evidence, standing, says)),
        against=against,
        next=next_steps(evidence, standing, says, against),
        timeline=tuple(sorted(told, key=lambda each: each.at or _LAST)),
        sources=tuple(_sources(evidence)),
        error=says.error,
    )


def _told(evidence: OrderEvidence, says: GatewaySays) -> Iterator[Statement]:
    if evidence.log is not None:
        yield from told_by_audit_log(evidence.log)
    for kept in evidence.kept:
        yield from told_by_store(kept)
    if evidence.inbox is not None:
        yield from told_by_inbox(evidence.inbox)
    yield from told_by_gateway(evidence.asked, says, evidence.out_trade_no)


def _payable(says: GatewaySays, told: list[Statement]) -> tuple[int | None, str | None]:
    """The order amount and its currency."""
    if says.paid is not None and says.paid.payable is not None:
        return says.paid.payable, says.fee_type
    others = (each for each in told if each.proves and each.payable is not None)
    return next(((each.payable, each.fee_type) for each in others), (None, None))


#: What the gateway's answer proves, by how it bears on the payment.
_BY_GATEWAY: Mapping[Bearing, str] = {
    Bearing.PAID: "gateway-paid",
    Bearing.IN_REFUND: "gateway-in-refund",
    Bearing.OTHER_AMOUNT: "gateway-other-amount",
    Bearing.UNPAID: "gateway-unpaid",
    Bearing.OPEN: "gateway-open",
}
#: What an order's record in the inbox proves, where its effect is not durable.
_BY_RECORD: Mapping[Bearing, str] = {
    Bearing.PAID: "verified",
    Bearing.OTHER_AMOUNT: "verified",
    Bearing.OPEN: "failed-once",
}


def _proven(evidence: OrderEvidence, says: GatewaySays, told: list[Statement]) -> Iterator[Phrase]:
    if (name := _BY_GATEWAY.get(says.bearing)) is not None:
        paid = says.paid
        values: dict[str, Value] = {
            "status": str(says.status or ""),
            "amount": amount_of(None if paid is None else paid.payable, says.fee_type),
            "expected": evidence.expected,
        }
        yield Phrase(name=name, values=values)
    for refund in says.refunds:
        if refund.status is not None and refund.applied is not None:
            values = {"number": refund.number, "amount": refund.amount}
            yield Phrase(name="refund-stands", values=values | {"status": str(refund.status)})
    if evidence.inbox is not None:
        yield from _held(evidence.inbox)
    for each in told:
        of_another = each.what == "attempt-ended" and each.bearing is Bearing.NONE
        if each.witness not in (Witness.STORE, Witness.FLEET) or of_another:
            continue
        if each.proves and each.status:
            values = {"witness": each.witness.value, "status": each.status}
            yield Phrase(name="recorded", values=values)


def _held(inbox: InboxHolds) -> Iterator[Phrase]:
    """What an inbox proves: the order's payment, and each one beside it."""
    if inbox.record is not None:
        proven = _BY_RECORD.get(bearing_of_record(inbox.record))
        if name := "effect" if inbox.state is SeenState.DONE else proven:
            yield Phrase(name=name, values={"amount": inbox.amount})
    for each in inbox.second_payments:
        if each.number is not None:
            values = {"amount": each.amount, "number": each.number}
            yield Phrase(name="second-payment", values=values)


#: What nobody proves, by how the order stands.
_BY_STANDING: Mapping[OrderStanding, str] = {
    OrderStanding.WAS_PAID: "still-paid",
    OrderStanding.OPEN: "whether-paid",
    OrderStanding.NOT_FOUND: "unpaid-by-absence",
    OrderStanding.CONTRADICTED: "which-is-right",
    OrderStanding.NO_ANSWER: "whether-paid",
    OrderStanding.NO_NEWS: "whether-paid",
    OrderStanding.UNBELIEVED: "whether-paid",
    OrderStanding.NOT_ASKED: "whether-paid",
}


def _unproven(
    evidence: OrderEvidence, standing: OrderStanding, says: GatewaySays
) -> Iterator[Phrase]:
    if (name := _BY_STANDING.get(standing)) is not None:
        yield Phrase(name=name)
    if standing is OrderStanding.IN_REFUND and says.returned is None:
        yield Phrase(name="how-much-came-back")
    if standing is OrderStanding.PAID and not evidence.amount_compared:
        yield Phrase(name="right-amount")
    if standing in (OrderStanding.PAID, OrderStanding.WAS_PAID) and not evidence.took_effect:
        yield Phrase(name="delivered")
    if says.silence is not Silence.NONE and says.error is not None:
        yield Phrase(name="silent", values={"error": sentence(says.error)})
    if evidence.log is not None and evidence.log.exchanges:
        yield Phrase(name="logged-answers")


def _sources(evidence: OrderEvidence) -> Iterator[Phrase]:
    for witness in Witness:
        inquiry = evidence.inquiry(witness)
        if witness is Witness.FLEET and inquiry is Inquiry.NOT_GIVEN:
            continue  # it lies in the store's database, which is said to be missing
        values: dict[str, Value] = {"trouble": sentence(evidence.troubles.get(witness, ""))}
        yield Phrase(name=f"{witness.value}-{_ASKED[inquiry]}", values=values)
    if evidence.log is not None and evidence.log.unreadable:
        yield Phrase(name="log-unreadable", values={"count": evidence.log.unreadable})
    if evidence.log is not None and evidence.log.left_out:
        yield Phrase(name="log-left-out", values={"count": evidence.log.left_out})


_ASKED: Mapping[Inquiry, str] = {
    Inquiry.NOT_GIVEN: "not-given",
    Inquiry.NOTHING: "nothing",
    Inquiry.FOUND: "found",
    Inquiry.FAILED: "failed",
}
