"""What a poll store, or the tables of a fleet, hold of an order.

Both are read beside their owner, so what has not ended may be at work at this moment (see
``open_attempts``). Texts of other versions and of strangers are said to be unreadable.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from chaoying_async.sansio.api.follow_up import OrderQuery
from chaoying_async.sansio.explanation.from_gateway import bearing_of
from chaoying_async.sansio.explanation.told import Bearing, Statement, Value, Witness, word
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.sansio.payments.intent import (
    CHECKOUT,
    ORDER,
    REFUND,
    intent_in,
    number_in,
    order_record_in,
)
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus
from chaoying_async.sansio.payments.refunds import refund_intent_in
from chaoying_async.sansio.polling.record import POLL, EndedOrder, PendingOrder, read_pending
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.sansio.stored import UNREADABLE, spellings

#: The kind of a fleet's rows that hold an outcome until it was delivered.
OUTCOME = "outcome"


@attrs.frozen(kw_only=True)
class KeptText:
    """One text of a store, as it was read."""

    witness: Witness
    kind: str
    key: str = attrs.field(repr=False)
    text: str = attrs.field(repr=False)
    written: datetime | None = None
    """When its row was written, where the table says so."""
    tries: int = 0
    """How often its delivery has failed."""


@attrs.frozen(kw_only=True)
class KeptRecord:
    """What one text says of the order."""

    witness: Witness
    kind: str
    ended: bool
    """Whether it says how it ended; else somebody may be at work on it."""
    status: str = ""
    """The words that it ended with."""
    bearing: Bearing = Bearing.NONE
    """How that bears on whether the order was paid; of a refund NONE."""
    at: datetime | None = None
    """When it began."""
    paytype: str | None = None
    expected: int | None = None
    """The amount that was to be paid, in fen; of a refund what was applied for."""
    refund: str | None = None
    """The refund's number; None where it is about the order itself."""
    attempt: str | None = None
    """The number of the payment that a business order's record names."""
    released: datetime | None = None
    """When a person said that this payment is not, or no longer, there."""
    cancelled: bool = False
    """Whether a cancel may have left."""
    paid: PaidOrder | None = None
    """The paid order that it holds."""
    owed: bool = True
    """Whether a program is to get its outcome; ``chaoying watch`` only shows it."""
    tries: int = 0
    unreadable: bool = False


#: How the end of a checkout bears on whether its order was paid; what its reason says comes first.
_CHECKOUTS: Mapping[CheckoutStatus | CheckoutReason, Bearing] = {
    CheckoutReason.MISMATCH: Bearing.OTHER_AMOUNT,
    CheckoutReason.REFUNDED: Bearing.IN_REFUND,
    CheckoutStatus.PAID: Bearing.PAID,
    CheckoutStatus.PAID_EARLIER: Bearing.PAID,
    CheckoutStatus.PAID_AFTER_CANCEL: Bearing.PAID,
    CheckoutStatus.FAILED: Bearing.UNPAID,
    CheckoutStatus.CANCELLED: Bearing.UNPAID,
    CheckoutStatus.UNKNOWN: Bearing.OPEN,
}


def checkout_bearing(status: str, reason: str = "") -> Bearing:
    """How the end of a checkout bears on whether its order was paid; OPEN where nobody can tell."""
    found = (_CHECKOUTS.get(each) for each in (_member(reason), _member(status)) if each)
    return next((each for each in found if each is not None), Bearing.OPEN)


def _member(text: str) -> CheckoutStatus | CheckoutReason | None:
    for table in (CheckoutReason, CheckoutStatus):
        if text and text in table._value2member_map_:
            return table(text)
    return None


def is_named(number: str, key: str, text: str) -> bool:
    """Whether the number stands somewhere in a key or a text; it may be another order's too."""
    return any(spelt in f"{key}{text}" for spelt in spellings(number))


def kept_about(kept: KeptText, number: str, mch_id: str) -> KeptRecord | None:
    """What a text says of that order; None where it is about another one."""
    read = _READERS.get(kept.kind)
    if read is None or not is_named(number, kept.key, kept.text):
        return None
    try:
        return read(kept, number, mch_id)
    except UNREADABLE:
        if number_in(kept.key) != (mch_id, number):
            return None  # nobody can tell whose it is
        return KeptRecord(witness=kept.witness, kind=kept.kind, ended=False, unreadable=True)


def _checkout(kept: KeptText, number: str, mch_id: str) -> KeptRecord | None:
    intent = intent_in(kept.text)
    if (intent.mch_id, intent.out_trade_no) != (mch_id, number):
        return None
    end = intent.end
    return KeptRecord(
        witness=kept.witness,
        kind=kept.kind,
        ended=end is not None,
        status="" if end is None else str(end.reason or end.status),
        bearing=Bearing.OPEN if end is None else checkout_bearing(end.status, end.reason),
        at=intent.started,
        paytype=intent.paytype,
        expected=intent.total_fee,
        attempt=intent.order_no,
        cancelled=not intent.cancels.harmless,
        paid=intent.paid,
    )


def _refund(kept: KeptText, number: str, mch_id: str) -> KeptRecord | None:
    intent = refund_intent_in(kept.text)
    refund = intent.refund
    if (intent.mch_id, refund.out_trade_no) != (mch_id, number):
        return None
    return KeptRecord(
        witness=kept.witness,
        kind=kept.kind,
        ended=intent.status is not None,
        status=str(intent.status or ""),
        at=intent.started,
        paytype=str(refund.paytype),
        expected=int(refund.refund_fee),
        refund=refund.out_refund_no,
    )


def _order(kept: KeptText, number: str, mch_id: str) -> KeptRecord | None:
    """The record of a business order: of the order's own number, or of its last attempt's."""
    record = order_record_in(kept.text)
    whose, order_no = number_in(kept.key)
    if whose != mch_id or number not in (order_no, record.out_trade_no):
        return None
    mine = record.out_trade_no == number
    # A person's word proves nothing: what was known before it stays what is known.
    known = record.status if record.released is None else record.was
    return KeptRecord(
        witness=kept.witness,
        kind=kept.kind,
        ended=known is not None,
        status=str(known or ""),
        bearing=checkout_bearing(known) if mine and known else Bearing.NONE,
        at=record.started,
        attempt=record.out_trade_no,
        released=record.released,
    )


def _poll(kept: KeptText, number: str, mch_id: str) -> KeptRecord | None:
    record = read_pending(kept.text)
    query = record.query
    if (query.mch_id, getattr(query, "out_trade_no", None)) != (mch_id, number):
        return None
    ended = record if isinstance(record, EndedOrder) else None
    waiting = record if isinstance(record, PendingOrder) else None
    status = None if ended is None else ended.status
    return KeptRecord(
        witness=kept.witness,
        kind=kept.kind,
        ended=ended is not None,
        status=str(status or ""),
        bearing=bearing_of(status) if isinstance(query, OrderQuery) else Bearing.NONE,
        at=None if waiting is None else waiting.started,
        paytype=str(query.paytype),
        expected=None if waiting is None else waiting.expected,
        paid=None if ended is None else ended.paid,
    )


def _outcome(kept: KeptText, number: str, mch_id: str) -> KeptRecord | None:
    members: dict[str, Any] = json.loads(kept.text)
    if (members["mch_id"], members.get("out_trade_no")) != (mch_id, number):
        return None
    status, refund = str(members["status"]), members.get("out_refund_no")
    if members.get("of") == "checkout":
        bearing = checkout_bearing(status, str(members.get("reason") or ""))
    elif refund is None and status in PollStatus._value2member_map_:
        bearing = bearing_of(PollStatus(status))
    else:
        bearing = Bearing.NONE
    return KeptRecord(
        witness=kept.witness,
        kind=kept.kind,
        ended=True,
        status=word(status),
        bearing=bearing,
        at=kept.written,
        refund=None if refund is None else word(refund),
        tries=kept.tries,
    )


_READERS: Mapping[str, Callable[[KeptText, str, str], KeptRecord | None]] = {
    CHECKOUT: _checkout,
    REFUND: _refund,
    ORDER: _order,
    POLL: _poll,
    OUTCOME: _outcome,
}

#: The sentence for each kind: while it has not ended, and once it has.
_SENTENCES: Mapping[str, tuple[str, str]] = {
    CHECKOUT: ("checkout-began", "checkout-ended"),
    REFUND: ("refund-began", "refund-ended"),
    ORDER: ("attempt-began", "attempt-ended"),
    POLL: ("wait-began", "wait-ended"),
    OUTCOME: ("outcome-waits", "outcome-waits"),
}


def told_by_store(kept: KeptRecord) -> Iterator[Statement]:
    """The line of the timeline for one text."""
    if kept.unreadable:
        yield Statement(witness=kept.witness, what="record-unreadable")
        return
    values: dict[str, Value] = {
        "amount": kept.expected,
        "status": kept.status,
        "number": kept.refund or kept.attempt or "",
        "tries": kept.tries,
    }
    yield Statement(
        witness=kept.witness,
        what=_SENTENCES[kept.kind][kept.ended],
        at=kept.at,
        values=values,
        bearing=kept.bearing,
        proves=kept.ended,
        payable=None if kept.paid is None else kept.paid.payable,
        fee_type=None if kept.paid is None else kept.paid.fee_type,
        status=kept.status,
    )
    if kept.released is not None:
        yield Statement(witness=kept.witness, what="attempt-released", at=kept.released)
