"""How ``chaoying watch`` says how an order ended: words, exit codes, one record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from chaoying_async.cli.exits import Exit
from chaoying_async.polling import PollOutcome
from chaoying_async.sansio.api.follow_up import RefundQuery
from chaoying_async.sansio.paid import PaidOrder, advice_in_refund
from chaoying_async.sansio.polling.status import PollStatus, Query


@attrs.frozen
class End:
    """What a status means to whoever waits: exit code, colour, what to do next."""

    exit: Exit
    style: str
    then: str = ""


_UNPAID = End(Exit.REFUSED, "yellow", "over, and not paid: a new attempt takes a new number")

_ENDS: Mapping[PollStatus, End] = {
    PollStatus.PAID: End(Exit.OK, "green"),
    PollStatus.REFUNDED: End(Exit.OK, "green"),
    PollStatus.FAILED: _UNPAID,
    PollStatus.CLOSED: _UNPAID,
    PollStatus.REVOKED: _UNPAID,
    PollStatus.NOT_FOUND: End(
        Exit.REFUSED, "yellow", "no such number under this paytype and merchant: are they right?"
    ),
    PollStatus.MISMATCH: End(
        Exit.UNTRUSTED, "bold red", "another amount than expected: a person looks, deliver nothing"
    ),
    PollStatus.REFUSED: End(
        Exit.REFUSED, "bold red", "the gateway will not be asked: put that right and watch again"
    ),
    PollStatus.EXPIRED: End(
        Exit.PENDING, "bold yellow", "not decided yet: it may have been paid; watch again"
    ),
    PollStatus.REFUND_FAILED: End(
        Exit.REFUSED, "yellow", "the refund failed: a new one takes a new number"
    ),
    PollStatus.CHANGED: End(Exit.REFUSED, "bold yellow", "a person pays it out another way"),
    PollStatus.NOTSURE: End(
        Exit.PENDING, "bold yellow", "send the same refund again, under the same number"
    ),
}

#: What is said of a refund otherwise: nobody charges, or delivers, because of one (M-25).
_REFUND_ENDS: Mapping[PollStatus, End] = {
    **_ENDS,
    PollStatus.NOT_FOUND: End(
        Exit.REFUSED,
        "yellow",
        "no such refund under this paytype and merchant: are they right? If its call was refused,"
        " mend the cause and send it again under the same number",
    ),
    PollStatus.MISMATCH: End(
        Exit.UNTRUSTED, "bold red", "another amount than expected: a person looks"
    ),
    PollStatus.EXPIRED: End(
        Exit.PENDING,
        "bold yellow",
        "not decided yet, and banks take days: watch again, and send no other refund meanwhile",
    ),
}

#: Of several orders the worst counts, and that is whichever comes first.
_WORST = (Exit.UNTRUSTED, Exit.PENDING, Exit.REFUSED)


def end_of(outcome: PollOutcome[Any]) -> End:
    """What an outcome means."""
    refund = isinstance(outcome.query, RefundQuery)
    return end_at(outcome.status, refund=refund, paid=outcome.paid)


def end_at(status: PollStatus, *, refund: bool, paid: PaidOrder | None = None) -> End:
    """What a status means; an order that was refunded, or a part of it, is not simply paid."""
    if status is PollStatus.REFUNDED and not refund:
        return End(Exit.REFUSED, "yellow", advice_in_refund(paid))
    return (_REFUND_ENDS if refund else _ENDS)[status]


def worst(exits: Iterable[Exit]) -> Exit:
    """The exit code of all together."""
    found = set(exits)
    return next((code for code in _WORST if code in found), Exit.OK)


def number_of(query: Query) -> str:
    """The number that it is watched under."""
    if isinstance(query, RefundQuery):
        return query.out_refund_no or query.refund_id or ""
    return query.out_trade_no or query.transaction_id or ""


def amount_of(outcome: PollOutcome[Any]) -> int | None:
    """What was found: the order's amount, or the refund's, in fen."""
    if outcome.refund is not None:
        return outcome.refund.base_refund_fee
    return outcome.paid.payable if outcome.paid is not None else None


def record(outcome: PollOutcome[Any]) -> dict[str, Any]:
    """One JSON line."""
    query, end, reply = outcome.query, end_of(outcome), outcome.reply
    names = ("out_trade_no", "transaction_id", "out_refund_no", "refund_id", "mch_id", "paytype")
    named = {name: value for name in names if (value := getattr(query, name, None))}
    error = outcome.error
    return {
        "ok": end.exit is Exit.OK,
        "exit": int(end.exit),
        "status": outcome.status,
        **named,
        "payable": amount_of(outcome),
        "refunded": outcome.refunded,
        "code": reply.code if reply is not None else getattr(error, "code", None),
        "error": type(error).__name__ if error is not None else None,
        "message": str(error) if error is not None else None,
        "attempts": outcome.attempts,
        "elapsed": round(outcome.elapsed, 3),
        "next": end.then,
    }
