"""What a store keeps of payments and refunds under way: JSON, and nothing personal (M-23).

An intent is written before its money call leaves, so a process that died finds what to ask about.
No payment code and nothing about the buyer is in it: an intent can be asked about and cancelled,
and never be paid again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from chaoying_async.sansio.enums import PayType, Undocumented
from chaoying_async.sansio.paid import PaidOrder, PaidSource
from chaoying_async.sansio.payments.machine import Till
from chaoying_async.sansio.payments.moves import (
    NO_CANCELS,
    CancelNews,
    Cancels,
    CheckoutReason,
    CheckoutStatus,
    End,
)
from chaoying_async.sansio.polling.ends import paid_in, paid_members

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


def wallet(paytype: str) -> PayType | Undocumented:
    """A stored or received ``paytype``, as requests take it."""
    known = paytype in PayType._value2member_map_
    return PayType(paytype) if known else Undocumented(paytype)


def paid_under(paid: PaidOrder, paytype: str | None) -> PaidOrder:
    """The paid order with the wallet it was asked under, where the answer has none (C 33)."""
    model: Any = paid  # attrs' own, but for type checkers dataclass-like
    found: PaidOrder = attrs.evolve(model, paytype=paid.paytype or paytype)
    return found


@attrs.frozen(kw_only=True)
class Intent:
    """One payment: what was sent, as far as it may be kept, and what is known of it."""

    mch_id: str
    out_trade_no: str
    order_no: str
    total_fee: int
    op_user_id: str
    #: When the pay call started (wall clock, aware).
    started: datetime
    paytype: str | None
    certain: bool
    seen: bool = False
    suspect: bool = False
    #: How the pay call was answered is known; ``used``: by 20004, so the order may be another's.
    answered: bool = False
    used: bool = False
    #: Seconds by which the gateway's clock was ahead of ours; None before a reply had a ``Date``.
    ahead: float | None = None
    cancels: Cancels = NO_CANCELS
    #: The awaiting task was cancelled: recorded UNKNOWN, to be asked about by ``resume``.
    interrupted: bool = False
    #: How it ended; None while it has not.
    end: End | None = None
    paid: PaidOrder | None = None

    @property
    def key(self) -> str:
        """Its key in a store."""
        return key_of(self.mch_id, self.out_trade_no)

    @property
    def order_key(self) -> str:
        """The key of its business order."""
        return key_of(self.mch_id, self.order_no)

    def learnt(self, till: Till) -> Intent:
        """With what a till has learnt."""
        return attrs.evolve(
            self,
            paytype=till.paytype,
            certain=till.certain,
            seen=till.seen,
            suspect=till.suspect,
            cancels=attrs.evolve(till.cancels, last_at=0.0),
        )

    def text(self) -> str:
        """As a store keeps it."""
        members: dict[str, Any] = {
            name: getattr(self, name)
            for name in (*_PLAIN, *_ADDED)
            if getattr(self, name) is not None
        }
        members["started"] = self.started.isoformat()
        members["cancels"] = {name: getattr(self.cancels, name) for name in _COUNTS}
        if self.cancels.last is not None:
            members["cancels"]["last"] = self.cancels.last.name
        if self.interrupted:
            members["status"] = CheckoutStatus.UNKNOWN.value
        if self.end is not None:
            members["status"] = self.end.status.value
            members["reason"] = self.end.reason.value
        if self.paid is not None:
            members["paid"] = paid_members(self.paid)
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


_PLAIN = (
    "mch_id",
    "out_trade_no",
    "order_no",
    "total_fee",
    "op_user_id",
    "paytype",
    "certain",
    "seen",
    "suspect",
    "interrupted",
)
_ADDED = ("answered", "used", "ahead")
_COUNTS = ("tries", "left", "refused", "absent", "carried_out")


def intent_in(text: str) -> Intent:
    """What :meth:`Intent.text` wrote; a ``ValueError`` for anything else."""
    try:
        return _intent(json.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not an intent to pay") from error


def _intent(members: Mapping[str, Any]) -> Intent:
    cancels = {name: members["cancels"][name] for name in _COUNTS}
    last = members["cancels"].get("last")
    interrupted = bool(members["interrupted"])
    ended = "status" in members and not interrupted
    paid = members.get("paid")
    plain: dict[str, Any] = {name: members[name] for name in _PLAIN if name != "paytype"}
    ahead = members.get("ahead")
    intent = Intent(
        **plain,
        # What earlier versions did not write: then nobody knows how the pay call was answered.
        answered=bool(members.get("answered", False)),
        used=bool(members.get("used", False)),
        ahead=None if ahead is None else float(ahead),
        paytype=members.get("paytype"),
        started=datetime.fromisoformat(members["started"]),
        cancels=Cancels(**cancels, last=None if last is None else CancelNews[last]),
        end=End(CheckoutStatus(members["status"]), CheckoutReason(members["reason"]))
        if ended
        else None,
        # Earlier versions did not write how it was learnt: by a query, always.
        paid=None if paid is None else paid_in({"source": PaidSource.QUERY, **paid}),
    )
    if intent.started.utcoffset() is None or not intent.mch_id or not intent.out_trade_no:
        raise ValueError("not an intent to pay")
    if type(intent.total_fee) is not int or intent.total_fee < 1:  # None would compare nothing
        raise ValueError("not an intent to pay")
    return intent


@attrs.frozen(kw_only=True)
class OrderRecord:
    """What a store remembers of a business order after its attempts: the guard against two."""

    #: The last attempt's ``out_trade_no`` and its place in the sequence (0: not numbered).
    out_trade_no: str
    attempt: int
    #: When that attempt started (wall clock, aware).
    started: datetime
    #: None while it is under way.
    status: CheckoutStatus | None = None

    @property
    def free(self) -> bool:
        """Whether another attempt may be made: the last one is known not to be paid."""
        return self.status in (CheckoutStatus.FAILED, CheckoutStatus.CANCELLED)

    def released(self) -> OrderRecord:
        """As if the last attempt had failed: somebody knows that it did."""
        return attrs.evolve(self, status=CheckoutStatus.FAILED)

    def text(self) -> str:
        """As a store keeps it."""
        members = attrs.asdict(self) | {"started": self.started.isoformat()}
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


def order_record_in(text: str) -> OrderRecord:
    """What :meth:`OrderRecord.text` wrote; a ``ValueError`` for anything else."""
    try:
        members = json.loads(text)
        status = members["status"]
        return OrderRecord(
            out_trade_no=str(members["out_trade_no"]),
            attempt=int(members["attempt"]),
            started=datetime.fromisoformat(members["started"]),
            status=None if status is None else CheckoutStatus(status),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("not a record of an order") from error
