"""What is decided about refunds: whether one may be sent again, and which one an order suggests.

An intent is written before its refund leaves, so that a process that died finds what to ask about.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from chaoying_async.exceptions import GatewayError, ParameterError
from chaoying_async.sansio.api.endpoint import field_specs
from chaoying_async.sansio.api.follow_up import Refund
from chaoying_async.sansio.paid import PaidOrder, check_paid, requested_paytype
from chaoying_async.sansio.payments.intent import key_of
from chaoying_async.sansio.polling.status import Answer, PollStatus, Says
from chaoying_async.sansio.stored import (
    Members,
    encoded,
    error_in,
    error_members,
    known_members,
    read_record,
    value_in,
)

#: A refused refund that so many queries did not find, over so long, was never made (M-25).
NEVER_MADE = 6
NEVER_MADE_AFTER = timedelta(minutes=30)


@attrs.frozen(kw_only=True)
class RefundIntent:
    """One refund: the request, whose number belongs to it for ever, and how it stands (M-25)."""

    refund: Refund
    mch_id: str
    """The merchant's number, the session's default included."""
    started: datetime
    left: bool = True
    """Whether its call may have left; where it is False, it certainly did not."""
    accepted: bool = False
    """The gateway said that it took the refund, so "not found" can no longer be true."""
    refusal: GatewayError | None = attrs.field(default=None, eq=False)
    """What the gateway said, where it refused the call and did not prove that nothing moved."""
    absent: int = 0
    """How many queries found no such refund, and when the first and the last of them did."""
    absent_since: datetime | None = None
    absent_until: datetime | None = None
    status: PollStatus | None = None
    """How waiting ended; None while it has not."""

    @property
    def key(self) -> str:
        """The intent's key in a store."""
        return key_of(self.mch_id, self.refund.out_refund_no)

    @property
    def heard_of(self) -> bool:
        """Whether the gateway said anything of this refund, or waiting for it has ended."""
        return self.accepted or self.refusal is not None or self.status is not None

    @property
    def never_made(self) -> bool:
        """Whether it was never made: refused, and then unknown to enough queries (M-25)."""
        since, until = self.absent_since, self.absent_until
        if self.refusal is None or self.accepted or since is None or until is None:
            return False
        return self.absent >= NEVER_MADE and until - since >= NEVER_MADE_AFTER

    @property
    def may_be_sent_again(self) -> bool:
        """Whether its caller may send it again, under its own number: NOTSURE, or never made."""
        ended = self.status is PollStatus.NOT_FOUND
        return self.status is PollStatus.NOTSURE or (ended and self.never_made)

    def asked(self, answer: Answer, now: datetime) -> RefundIntent:
        """The intent after one more query."""
        if answer.about_order:
            seen = attrs.evolve(self, left=True, accepted=True)
            return attrs.evolve(seen, absent=0, absent_since=None, absent_until=None)
        if answer.says is not Says.ABSENT or self.refusal is None:
            return self
        since = self.absent_since or now
        return attrs.evolve(self, absent=self.absent + 1, absent_since=since, absent_until=now)

    def text(self) -> str:
        """The text that a store keeps."""
        members: dict[str, Any] = {"fields": self.refund.wire_fields(), "status": self.status}
        members |= known_members(self, "refund", "refusal")
        if self.left:  # as earlier versions wrote it
            del members["left"]
        if self.refusal is None:
            del members["absent"]
        else:
            members["refusal"] = error_members(self.refusal) | {"msg": self.refusal.msg}
        return encoded(members)


def refund_intent_in(text: str) -> RefundIntent:
    """The intent in a text of :meth:`RefundIntent.text`; a ``ValueError`` for every other text."""
    return read_record(text, _refund_intent, "an intent to refund")


def _refund_intent(members: Members) -> RefundIntent:
    return RefundIntent(
        refund=_refund(members["fields"]),
        mch_id=str(members["mch_id"]),
        started=value_in(members["started"], datetime),
        left=members.get("left") is not False,  # in doubt it did
        accepted=bool(members["accepted"]),
        status=value_in(members["status"], PollStatus | None),
        refusal=_refusal(members.get("refusal")),
        absent=value_in(members.get("absent", 0), int),
        absent_since=value_in(members.get("absent_since"), datetime | None),
        absent_until=value_in(members.get("absent_until"), datetime | None),
    )


def _refund(texts: Mapping[str, str]) -> Refund:
    """The request that these parameters were of."""
    fields: dict[str, Any] = {
        spec.name: texts[spec.name] for spec in field_specs(Refund) if spec.name in texts
    }
    extra = {name: text for name, text in texts.items() if name not in fields}
    fields |= {name: int(fields[name]) for name in ("total_fee", "refund_fee")}
    fields["paytype"] = requested_paytype(fields["paytype"])
    return Refund(**fields, extra=extra)


def _refusal(members: Members | None) -> GatewayError | None:
    error = None if members is None else error_in(members)
    if members is None or not isinstance(error, GatewayError):
        return None
    error.msg = members.get("msg")
    error.quoted = error.msg or ""
    return error


#: ``out_refund_no`` has at most 32 characters (C 53).
_LONGEST = 32


def suggested_refund(order: PaidOrder, *, op_user_id: str | None = None) -> Refund:
    """All of a paid order, for ``on_paid_after_close`` and whoever else cannot deliver.

    Its ``out_refund_no`` belongs to the payment, so that sending it twice is one refund (M-25). It
    moves money: send it with ``refund_and_track``, or not at all if the order was reopened. An
    order whose amount or wallet is not known is a
    :class:`~chaoying_async.exceptions.ParameterError`.
    """
    check_paid(order)
    problems = {
        name: "is not known of this order"
        for name in ("payable", "paytype")
        if getattr(order, name) is None
    }
    if order.payable is None or order.paytype is None:
        raise ParameterError(problems)
    return full_refund(
        paytype=order.paytype,
        mch_id=order.mch_id,
        out_trade_no=order.out_trade_no,
        amount=order.payable,
        op_user_id=op_user_id,
    )


def full_refund(
    *, paytype: str, mch_id: str, out_trade_no: str, amount: int, op_user_id: str | None
) -> Refund:
    """All of a payment, under a number that belongs to it: suggested twice, it is one refund."""
    return Refund(
        paytype=requested_paytype(paytype),
        mch_id=mch_id,
        out_trade_no=out_trade_no,
        out_refund_no=full_refund_number(out_trade_no),
        total_fee=amount,
        refund_fee=amount,
        op_user_id=op_user_id,
    )


def full_refund_number(out_trade_no: str) -> str:
    """The number under which :func:`full_refund` gives back all of that order."""
    number = f"R-{out_trade_no}"
    # No out_trade_no has a hyphen, so the two forms never meet (C 49, C 53).
    return number if len(number) <= _LONGEST else out_trade_no
