"""What one message says about an order, however it came, and how that is written down.

A notification, the answer to a query and a message that was set aside last week are all judged as
:class:`Facts`. They can be written down (:func:`to_text`) without anything about the buyer and read
again, so that a message which was verified once can be decided about later (M-17, M-27).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any

import attrs

from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.model import Model
from chaoying_async.sansio.paid import PaidOrder, PaidSource, RefundedOrder, known_numbers
from chaoying_async.sansio.redact import without_personal
from chaoying_async.sansio.stored import UNREADABLE, encoded, members_of, paid_in, value_in
from chaoying_async.sansio.values import Fen

#: Characters of a transaction number: the document's have 32. And of all that is written down of
#: one message (M-15).
LONGEST_TEXT, MOST_KEPT = 128, 8000
#: Two deliveries of one message differ in these fields.
_OF_THE_DELIVERY = frozenset({"nonce_str", "sign"})


class Wallet(StrEnum):
    """Which of the two notification pages a ``notify_url`` serves (C 82)."""

    WECHAT = "WECHAT"
    """WeChat's page.（微信预下单结果通知）"""
    ALIPAY = "ALIPAY"
    """Alipay's page.（支付宝预下单结果通知）"""


class NotificationOutcome(Enum):
    """What a verified notification says about the payment (M-15)."""

    PAID = "paid"
    """The order is paid."""
    NOT_PAID = "not paid"
    """The payment failed; a later one may succeed."""
    UNCLEAR = "unclear"
    """The decision fields are missing, unknown or contradict each other."""


# Not frozen: one is made for every delivery, and a frozen one takes three times as long.
@attrs.define(repr=False)
class Facts(Model):
    """One message, verified. ``total_fee`` and ``payable`` are two things: see M-13."""

    source: PaidSource
    mch_id: str
    out_trade_no: str
    outcome: NotificationOutcome
    problem: str = ""
    """Why it cannot be read, where the outcome is UNCLEAR."""
    transaction_id: str | None = None
    out_transaction_id: str | None = None
    total_fee: Fen | None = None
    """The notification's "total amount", and what coupons paid."""
    coupon_fee: Fen | None = None
    payable: Fen | None = None
    """The order amount, where a query told it; with it, ``total_fee`` is what the customer paid."""
    fee_type: str | None = None
    time_end: datetime | None = None
    paytype: PayType | str | None = None
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    told_as: str = ""
    """Its fingerprint, where ``raw`` was cut when it was written down."""

    @property
    def numbers(self) -> frozenset[str]:
        """The payment's transaction numbers (M-13)."""
        return known_numbers(self.transaction_id, self.out_transaction_id)

    @property
    def fingerprint(self) -> str:
        """64 hex digits that two deliveries of one message share, though their nonces differ."""
        if self.told_as:
            return self.told_as
        kept = without_personal(self.raw)  # what was written down has to have the same
        fields = sorted(kept.items(), key=lambda field: field[0])
        told = [
            *(field for field in fields if field[0] not in _OF_THE_DELIVERY),
            self.source,
            self.mch_id,
            self.out_trade_no,
            *sorted(self.numbers),
        ]
        return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()


_IN_REFUND = "it was paid, and all of it or a part came back: a person decides what is delivered"


def facts_of_order(paid: PaidOrder, source: str | None = None) -> Facts:
    """The facts in a paid order that was learnt by a query (or in any other way).

    ``source`` is how the order's record says that the payment was learnt, where the order says
    otherwise. An order in refund was paid, but only a person may decide to deliver it.
    """
    in_refund = isinstance(paid, RefundedOrder)
    return Facts(
        source=PaidSource(source or paid.source),
        mch_id=paid.mch_id,
        out_trade_no=paid.out_trade_no,
        outcome=NotificationOutcome.UNCLEAR if in_refund else NotificationOutcome.PAID,
        problem=_IN_REFUND if in_refund else "",
        transaction_id=paid.transaction_id or None,
        out_transaction_id=paid.out_transaction_id or None,
        total_fee=paid.paid,
        coupon_fee=paid.coupon_fee,
        payable=paid.payable,
        fee_type=paid.fee_type,
        time_end=paid.time_end,
        paytype=paid.paytype,
        raw=paid.raw,
    )


def to_text(facts: Facts) -> str:
    """ASCII JSON, without anything about the buyer; :data:`MOST_KEPT` characters at the most.

    Of what is longer the longest fields of ``raw`` are left out. Numbers and amounts never are.
    """
    text = encoded(_members(facts, without_personal(facts.raw)))
    return text if len(text) <= MOST_KEPT else _cut(facts)


def without_raw(text: str) -> str:
    """What :func:`to_text` wrote of a message, without its raw fields; another text as it is."""
    if '"outcome":' not in text or '"raw":{}' in text:
        return text
    try:
        facts = facts_from_text(text)
    except UNREADABLE:
        return text
    facts.raw, facts.told_as = {}, facts.fingerprint
    return to_text(facts)


def _members(facts: Facts, raw: Mapping[str, Any]) -> dict[str, Any]:
    members = members_of(facts, "raw") | {"outcome": facts.outcome.value, "raw": raw}
    if not facts.told_as:
        del members["told_as"]
    return members


def _cut(facts: Facts) -> str:
    """Keep as much of ``raw`` as there is room for, the shortest fields first."""
    members = _members(facts, {}) | {"told_as": facts.fingerprint}
    # A longer number is no key, so there is nothing that such a message could be applied to.
    for name in ("mch_id", "out_trade_no", "fee_type", "paytype"):
        members[name] = members[name] and members[name][: 2 * LONGEST_TEXT]
    room = MOST_KEPT - len(encoded(members))
    raw, kept = without_personal(facts.raw), {}
    for size, name in sorted((len(encoded({name: raw[name]})) - 1, name) for name in raw):
        room -= size
        if room < 0:
            break
        kept[name] = raw[name]
    return encoded(members | {"raw": kept})


def facts_from_text(text: str) -> Facts:
    """The facts in a text of :func:`to_text`, without the fields that it left out."""
    return _facts(json.loads(text))


def _facts(members: dict[str, Any]) -> Facts:
    outcome = NotificationOutcome(members["outcome"]).name
    facts: Facts = value_in(members | {"outcome": outcome}, Facts)
    return facts


def kept_facts(text: str, source: str) -> Facts:
    """What an order's record holds: the message, or as earlier versions wrote it the paid order.

    ``source`` is the record's: how the payment was learnt.
    """
    members = json.loads(text)
    return _facts(members) if "outcome" in members else facts_of_order(paid_in(members), source)
