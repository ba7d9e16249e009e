"""The refund that gives back a payment which came too late; made, never sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from chaoying_async.exceptions import GatewayError, ParameterError
from chaoying_async.sansio.api.follow_up import Refund
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.sansio.payments.intent import key_of, wallet
from chaoying_async.sansio.polling.ends import error_in, error_members
from chaoying_async.sansio.polling.status import Answer, PollStatus, Says

#: A refused refund that so many queries did not find, over so long, was never made (M-25).
NEVER_MADE = 6
NEVER_MADE_AFTER = timedelta(minutes=30)


@attrs.frozen(kw_only=True)
class RefundIntent:
    """One refund: the request, whose number belongs to it for ever, and how it stands (M-25)."""

    refund: Refund
    #: The merchant's number, the session's default included.
    mch_id: str
    started: datetime
    #: The gateway said that it took the refund, so "not found" can no longer be true.
    accepted: bool = False
    #: What the gateway said, where it refused the call and did not prove that nothing moved.
    refusal: GatewayError | None = attrs.field(default=None, eq=False)
    #: How many queries found no such refund, and when the first and the last of them did.
    absent: int = 0
    absent_since: datetime | None = None
    absent_until: datetime | None = None
    #: How waiting ended; None while it has not.
    status: PollStatus | None = None

    @property
    def key(self) -> str:
        """Its key in a store."""
        return key_of(self.mch_id, self.refund.out_refund_no)

    @property
    def never_made(self) -> bool:
        """Refused, and then unknown to so many queries over so long that there is none (M-25)."""
        since, until = self.absent_since, self.absent_until
        if self.refusal is None or self.accepted or since is None or until is None:
            return False
        return self.absent >= NEVER_MADE and until - since >= NEVER_MADE_AFTER

    @property
    def may_be_sent_again(self) -> bool:
        """Under its own number, and by its caller only: NOTSURE, or never made."""
        ended = self.status is PollStatus.NOT_FOUND
        return self.status is PollStatus.NOTSURE or (ended and self.never_made)

    def asked(self, answer: Answer, now: datetime) -> RefundIntent:
        """With what one more query said."""
        if answer.about_order:
            return attrs.evolve(self, accepted=True, absent=0, absent_since=None, absent_until=None)
        if answer.says is not Says.ABSENT or self.refusal is None:
            return self
        since = self.absent_since or now
        return attrs.evolve(self, absent=self.absent + 1, absent_since=since, absent_until=now)

    def text(self) -> str:
        """As a store keeps it."""
        members: dict[str, Any] = {"fields": self.refund.wire_fields(), "mch_id": self.mch_id}
        members["started"] = self.started.isoformat()
        members["accepted"] = self.accepted
        members["status"] = self.status
        if self.refusal is not None:
            members["refusal"] = error_members(self.refusal) | {"msg": self.refusal.msg}
            members["absent"] = self.absent
            for name in ("absent_since", "absent_until"):
                if (moment := getattr(self, name)) is not None:
                    members[name] = moment.isoformat()
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


_REFUND_AMOUNTS = ("total_fee", "refund_fee")
_REFUND_FIELDS = (
    "paytype",
    "mch_id",
    "out_trade_no",
    "transaction_id",
    "out_refund_no",
    "total_fee",
    "refund_fee",
    "op_user_id",
)


def refund_intent_in(text: str) -> RefundIntent:
    """What :meth:`RefundIntent.text` wrote; a ``ValueError`` for anything else."""
    try:
        members = json.loads(text)
        fields: dict[str, Any] = dict(members["fields"])
        extra = {name: fields.pop(name) for name in list(fields) if name not in _REFUND_FIELDS}
        fields |= {name: int(fields[name]) for name in _REFUND_AMOUNTS}
        fields["paytype"] = wallet(fields["paytype"])
        status = members["status"]
        return RefundIntent(
            refund=Refund(**fields, extra=extra),
            mch_id=str(members["mch_id"]),
            started=datetime.fromisoformat(members["started"]),
            accepted=bool(members["accepted"]),
            status=None if status is None else PollStatus(status),
            refusal=_refusal_in(members.get("refusal")),
            absent=int(members.get("absent", 0)),
            absent_since=_moment_in(members.get("absent_since")),
            absent_until=_moment_in(members.get("absent_until")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not an intent to refund") from error


def _refusal_in(members: Mapping[str, Any] | None) -> GatewayError | None:
    error = None if members is None else error_in(members)
    if members is None or not isinstance(error, GatewayError):
        return None
    error.msg = members.get("msg")
    return error


def _moment_in(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


#: ``out_refund_no`` has at most 32 characters (C 53).
_LONGEST = 32


def suggested_refund(order: PaidOrder, *, op_user_id: str | None = None) -> Refund:
    """All of a paid order, for ``on_paid_after_close`` and whoever else cannot deliver.

    Its ``out_refund_no`` belongs to the payment, so that sending it twice is one refund (M-25). It
    moves money: send it with ``refund_and_track``, or not at all if the order was reopened. An
    order whose amount or wallet is not known is a
    :class:`~chaoying_async.exceptions.ParameterError`.
    """
    problems = {
        name: "is not known of this order"
        for name in ("payable", "paytype")
        if getattr(order, name) is None
    }
    if order.payable is None or order.paytype is None:
        raise ParameterError(problems)
    number = f"R-{order.out_trade_no}"
    return Refund(
        paytype=wallet(order.paytype),
        mch_id=order.mch_id,
        out_trade_no=order.out_trade_no,
        # No out_trade_no has a hyphen, so the two forms never meet (C 49, C 53).
        out_refund_no=number if len(number) <= _LONGEST else order.out_trade_no,
        total_fee=order.payable,
        refund_fee=order.payable,
        op_user_id=op_user_id,
    )
