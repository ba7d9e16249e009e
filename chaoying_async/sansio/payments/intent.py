"""What a store keeps of a payment under way, and of its business order (M-23).

An intent is written before its money call leaves, so that whoever comes after a process that died
finds what to ask about. It has no payment code and nothing about the buyer: it can be asked about
and cancelled, but never be paid again.
"""

from __future__ import annotations

import json
from datetime import datetime

import attrs

from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.sansio.payments.machine import Till
from chaoying_async.sansio.payments.moves import NO_CANCELS, Cancels, CheckoutEnd, CheckoutStatus
from chaoying_async.sansio.payments.wallets import askable
from chaoying_async.sansio.stored import (
    Members,
    encoded,
    known_members,
    members_of,
    read_record,
    value_in,
)

#: Kinds of the store.
CHECKOUT, REFUND, ORDER = "checkout", "refund", "checkout-order"


def key_of(mch_id: str, number: str) -> str:
    """The key of an intent: a merchant's own number (M-18)."""
    return json.dumps([mch_id, number], ensure_ascii=False)


def number_in(key: str) -> tuple[str, str]:
    """The merchant and the number of a key; empty where somebody else wrote it."""
    try:
        mch_id, number = json.loads(key)
    except (ValueError, TypeError):
        return "", ""
    return str(mch_id), str(number)


@attrs.frozen(kw_only=True)
class Intent:
    """One payment: what was sent, as far as it may be kept, and what is known of it."""

    mch_id: str
    out_trade_no: str
    order_no: str
    total_fee: int
    op_user_id: str
    started: datetime
    """When the pay call started (wall clock, aware)."""
    paytype: str | None
    certain: bool
    seen: bool = False
    suspect: bool = False
    answered: bool = False
    """How the pay call was answered is known; ``used``: by 20004, so the order may be another's."""
    used: bool = False
    ahead: float | None = None
    """Seconds by which the gateway's clock was ahead of ours; None before a reply had a ``Date``.
    """
    cancels: Cancels = NO_CANCELS
    interrupted: bool = False
    """The awaiting task was cancelled: recorded UNKNOWN, to be asked about by ``resume``."""
    end: CheckoutEnd | None = None
    """How it ended; None while it has not."""
    paid: PaidOrder | None = None

    @property
    def key(self) -> str:
        """The intent's key in a store."""
        return key_of(self.mch_id, self.out_trade_no)

    @property
    def order_key(self) -> str:
        """The key of the business order in a store."""
        return key_of(self.mch_id, self.order_no)

    def learnt(self, till: Till) -> Intent:
        """The intent with what a till has learnt since."""
        return attrs.evolve(
            self,
            paytype=till.wallets.paytype,
            certain=till.wallets.certain,
            seen=till.seen,
            suspect=till.suspect,
            cancels=attrs.evolve(till.cancels, last_at=0.0),
        )

    def text(self) -> str:
        """The text that a store keeps."""
        members = known_members(self, "end", "cancels")
        members["cancels"] = known_members(self.cancels, "last_at")
        if self.interrupted:
            members["status"] = CheckoutStatus.UNKNOWN
        if self.end is not None:
            members |= members_of(self.end)
        return encoded(members)


#: What earlier versions did not write, and what is not written where there is none.
_MAY_LACK = ("answered", "used", "ahead", "paytype", "end", "paid")


def intent_in(text: str) -> Intent:
    """The intent in a text of :meth:`Intent.text`; a ``ValueError`` for every other text."""
    return read_record(text, _intent, "an intent to pay")


def _intent(members: Members) -> Intent:
    cancels = value_in(members["cancels"], Cancels, may_lack=("last", "last_at"))
    ended = "status" in members and not members["interrupted"]
    intent: Intent = value_in({"paytype": None} | dict(members), Intent, may_lack=_MAY_LACK)
    if intent.started.utcoffset() is None or not intent.mch_id or not intent.out_trade_no:
        raise ValueError("without a time zone or a number")
    if intent.total_fee < 1:  # None would compare nothing
        raise ValueError("without an amount")
    return attrs.evolve(
        intent,
        paytype=askable(intent.paytype),
        cancels=cancels,
        end=value_in(members, CheckoutEnd) if ended else None,
    )


@attrs.frozen(kw_only=True)
class OrderRecord:
    """What a store remembers of a business order after its attempts: the guard against two."""

    out_trade_no: str
    """The last attempt's ``out_trade_no`` and its place in the sequence (0: not numbered)."""
    attempt: int
    started: datetime
    """When that attempt started (wall clock, aware)."""
    status: CheckoutStatus | None = None
    """None while it is under way."""
    released: datetime | None = None
    """When a person said that it is unpaid, or paid back (wall clock, aware)."""
    was: CheckoutStatus | None = None
    """How it had ended before that; None where that was not known."""

    @property
    def free(self) -> bool:
        """Whether another attempt may be made: the last one is known not to be paid."""
        return self.status in (CheckoutStatus.FAILED, CheckoutStatus.CANCELLED)

    def release(self, now: datetime) -> OrderRecord:
        """The record after a person said that the last attempt is unpaid; free ones stay."""
        if self.free:
            return self
        return attrs.evolve(self, status=CheckoutStatus.FAILED, released=now, was=self.status)

    def text(self) -> str:
        """The text that a store keeps."""
        return encoded(known_members(self) | {"status": self.status})


def order_record_in(text: str) -> OrderRecord:
    """The record in a text of :meth:`OrderRecord.text`; a ``ValueError`` for every other text."""
    return read_record(text, _order_record, "a record of an order")


def _order_record(members: Members) -> OrderRecord:
    record: OrderRecord = value_in(members, OrderRecord, may_lack=("released", "was"))
    return record
