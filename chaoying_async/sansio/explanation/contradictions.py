"""How what the witnesses told contradicts each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from chaoying_async.sansio.explanation.evidence import OrderEvidence
from chaoying_async.sansio.explanation.from_audit_log import logged_bearing
from chaoying_async.sansio.explanation.from_gateway import GatewaySays
from chaoying_async.sansio.explanation.told import (
    PAID_ONCE,
    Bearing,
    Statement,
    Value,
    Witness,
    amount_of,
)
from chaoying_async.sansio.paid import known_numbers
from chaoying_async.sansio.polling.status import PollStatus

#: What the gateway says that does not go together with a payment that somebody proves.
_NOT_PAID_NOW = frozenset({Bearing.UNPAID, Bearing.OPEN, Bearing.ABSENT})


@attrs.frozen(kw_only=True)
class Phrase:
    """A sentence by its name in the words, and what it is filled with."""

    name: str
    values: Mapping[str, Value] = attrs.field(factory=dict)


def contradictions(
    evidence: OrderEvidence, says: GatewaySays, told: Sequence[Statement]
) -> tuple[Phrase, ...]:
    """Every pair of witnesses that cannot both be right, and amounts and payments that differ."""
    others = [each for each in told if each.proves and each.witness is not Witness.GATEWAY]
    found = (
        *_gateway_against(says, others),
        *_among(others),
        *_log_against(evidence, says),
        *_payments(evidence, says),
        *_expected(evidence),
        *(Phrase(name="refund-of-another", values={"number": each}) for each in says.foreign),
    )
    return once(found)


def once(phrases: Iterable[Phrase]) -> tuple[Phrase, ...]:
    """Each of these once, in their order."""
    return tuple({repr(each): each for each in phrases}.values())


def _gateway_against(says: GatewaySays, others: Sequence[Statement]) -> Iterator[Phrase]:
    for each in others:
        values: Mapping[str, Value] = {
            "witness": each.witness.value,
            "status": each.status,
            "now": str(says.status or says.bearing),
        }
        if each.bearing in PAID_ONCE and says.bearing in _NOT_PAID_NOW:
            yield Phrase(name="paid-there", values=values)
        # An order that was paid back may be released for another attempt, which says FAILED.
        released = each.what == "attempt-ended" and says.bearing is Bearing.IN_REFUND
        if each.bearing is Bearing.UNPAID and says.bearing in PAID_ONCE and not released:
            yield Phrase(name="unpaid-there", values=values)


def _among(others: Sequence[Statement]) -> Iterator[Phrase]:
    for paid in (each for each in others if each.bearing in PAID_ONCE):
        for unpaid in (each for each in others if each.bearing is Bearing.UNPAID):
            values = {
                "paid": paid.witness.value,
                "paid_status": paid.status,
                "unpaid": unpaid.witness.value,
                "unpaid_status": unpaid.status,
            }
            yield Phrase(name="two-records", values=values)


def _log_against(evidence: OrderEvidence, says: GatewaySays) -> Iterator[Phrase]:
    """A logged answer proves nothing, but the shop may have acted on it."""
    logged = {logged_bearing(each) for each in evidence.logged}
    given_back = evidence.cancelled and says.status is PollStatus.REVOKED
    values = {"now": str(says.status or says.bearing)}
    if logged & PAID_ONCE and says.bearing in _NOT_PAID_NOW and not given_back:
        yield Phrase(name="log-paid", values=values)
    if Bearing.UNPAID in logged and says.bearing in PAID_ONCE:
        yield Phrase(name="log-unpaid", values=values)


def _expected(evidence: OrderEvidence) -> Iterator[Phrase]:
    """What the shop wrote down for one number is one amount (M-13)."""
    for (amount, witness), (other, beside) in itertools.pairwise(evidence.amounts.items()):
        values: Mapping[str, Value] = {
            "witness": witness.value,
            "amount": amount,
            "beside": beside.value,
            "other": other,
        }
        yield Phrase(name="two-expected", values=values)


def _payments(evidence: OrderEvidence, says: GatewaySays) -> Iterator[Phrase]:
    """The inbox's payment held against the gateway's: numbers, and amount (M-13)."""
    if evidence.inbox is None or says.paid is None:
        return
    numbers = known_numbers(says.paid.transaction_id, says.paid.out_transaction_id)
    if evidence.inbox.is_another_payment(numbers):
        yield Phrase(name="two-payments")
    there = amount_of(says.paid.payable, says.fee_type)
    here = evidence.inbox.amount
    if not evidence.inbox.keeps_message:  # nobody knows its currency any more
        here = amount_of(evidence.inbox.payable, says.fee_type)
    if here is not None and there is not None and here != there:
        yield Phrase(name="two-amounts", values={"amount": here, "other": there})
