"""Decides what one reply says: a status, an exit code, and what to do next.

The library decides what a reply means (``sansio/meaning``, ``sansio/polling/status``), and
``exits`` decides what a status means to a person, so that ``query`` and ``watch`` cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from chaoying_async.cli.exits import Ending, Exit, after_error, after_status
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.endpoint import Reply, Request, failure_words
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery, RefundQueryResult
from chaoying_async.sansio.currency import amount_in_words, fee_type_in
from chaoying_async.sansio.meaning import Family, Meaning
from chaoying_async.sansio.paid import refunded_order
from chaoying_async.sansio.polling.status import (
    REFUND_ENDS,
    UNASKED,
    UNPAID,
    Answer,
    PollStatus,
    Says,
    Standing,
    amount_fits,
    read_answer,
    refund_item,
    taken_together,
)

#: The status of an order or refund that is not decided yet.
PENDING = "PENDING"

#: Calls that only begin something: the status, and the query that tells how it ends (C 24, C 40).
_BEGUN: Mapping[Family, tuple[str, str]] = {
    Family.REFUND: (
        "ACCEPTED",
        "accepted, and not carried out yet: chaoying refund-query {out_refund_no}",
    ),
    Family.CANCEL: (
        "ACCEPTED",
        "it is cancelled once a query shows it closed or revoked: chaoying query {out_trade_no}",
    ),
    Family.PREORDER: ("OPEN", "it can be paid now, and is not yet: chaoying query {out_trade_no}"),
}
_REFUND_PENDING = Ending(
    Exit.PENDING,
    "bold yellow",
    "not decided yet, and banks take days: ask again, and send no other refund meanwhile",
)


@attrs.frozen(kw_only=True)
class ReplyStatus:
    """What a reply says, to a person and to a program."""

    status: str
    """A ``PollStatus``, or ``PENDING``, ``ACCEPTED``, ``OPEN``; empty for calls without one."""
    words: str
    """Words where there is no status."""
    end: Ending
    amount: int | None = None
    """The amount that the status is about, in fen; the number as it came, if not in CNY."""
    fee_type: str | None = None
    """The currency that the reply names."""
    msg: str | None = None
    """Why it failed, in the gateway's words (余额不足), which are never translated."""

    @property
    def line(self) -> str:
        """For a person, in our words: ``PAID 12.30 yuan``."""
        amount = "" if self.amount is None else amount_in_words(self.amount, self.fee_type)
        told = " ".join(part for part in (self.status, amount) if part)
        return ": ".join(part for part in (told, self.words) if part)


_UNNAMED = (
    "one such answer decides nothing: query it again, and neither deliver nor charge before a "
    "second one says the same"
)


def said(request: Request[Any], reply: Reply[Any], before: Standing = UNASKED) -> ReplyStatus:
    """What the reply to this request says; ``before``: what earlier replies to it said."""
    told = _said(request, reply, before)
    return attrs.evolve(told, fee_type=fee_type_in(reply.raw))


def _said(request: Request[Any], reply: Reply[Any], before: Standing) -> ReplyStatus:
    answer = _answer(request, reply)
    status = answer.status if answer.says is Says.ENDED else None
    if status is not None and not taken_together(before, answer).counts:
        words = f"the answer says {status}, and does not name the order"
        end = Ending(Exit.PENDING, "bold yellow", _UNNAMED)
        return ReplyStatus(status=PENDING, words=words, end=end)
    if status is not None:
        refund = isinstance(request, RefundQuery)
        back = None if refund else refunded_order(reply.raw)
        end = after_status(status, refund=refund, paid=back)
        amount = _amount(request, reply)
        if status is PollStatus.REFUNDED and back is not None:
            amount = back.payable
        msg = failure_words(reply)
        return ReplyStatus(status=status, words="", end=end, amount=amount, msg=msg)
    if isinstance(request, RefundQuery) and reply.meaning is Meaning.RESULT:
        return ReplyStatus(
            status=PENDING, words="", end=_REFUND_PENDING, amount=_amount(request, reply)
        )
    if reply.meaning is Meaning.RESULT:
        return _done(request, reply)
    code, then = _without_result(reply)
    shown = PENDING if code is Exit.PENDING and reply.endpoint.family in _TRADES else ""
    return ReplyStatus(
        status=shown, words=reply.meaning.says, end=Ending(code, "bold yellow", then)
    )


_TRADES = frozenset({Family.PAY, Family.QUERY, Family.REFUND, Family.REFUND_QUERY, Family.CANCEL})


def needs_second(request: Request[Any], reply: Reply[Any]) -> Standing | None:
    """What was heard, where it is an end that counts only if a second query says it (M-06)."""
    heard = taken_together(UNASKED, _answer(request, reply))
    return heard if heard.says is Says.ENDED and not heard.counts else None


def _answer(request: Request[Any], reply: Reply[Any]) -> Answer:
    """What the reply says of what has ended; an end that does not name its order is not sure."""
    if isinstance(request, OrderQuery | RefundQuery):
        return read_answer(request, reply)
    status: PollStatus | None = None
    if reply.endpoint.family is Family.PAY:
        failed = reply.meaning is Meaning.FAILED
        status = UNPAID.get(reply.code or "") if failed else _PAID_OR_NOT.get(reply.meaning)
    if status is None:
        return Answer(Says.PENDING)
    if status is PollStatus.PAID and not amount_fits(
        getattr(request, "total_fee", None), _amount(request, reply), fee_type_in(reply.raw)
    ):
        status = PollStatus.MISMATCH
    return Answer(Says.ENDED, status, sure=bool(reply.raw.get("out_trade_no")))


_PAID_OR_NOT: Mapping[Meaning, PollStatus] = {
    Meaning.RESULT: PollStatus.PAID,
    Meaning.REFUNDED: PollStatus.REFUNDED,
}


def _done(request: Request[Any], reply: Reply[Any]) -> ReplyStatus:
    """The call did what was asked; some calls only begin something."""
    status, then = _BEGUN.get(reply.endpoint.family, ("", ""))
    words = "" if status else reply.meaning.says
    named = then.format_map(_Fields(request.wire_fields()))
    amount = _amount(request, reply)
    return ReplyStatus(
        status=status, words=words, end=Ending(Exit.OK, "green", named), amount=amount
    )


class _Fields(dict[str, str]):
    """The fields of a request; a missing one is its name in capitals."""

    def __missing__(self, name: str) -> str:
        return name.upper()


def _without_result(reply: Reply[Any]) -> tuple[Exit, str]:
    try:
        reply.unwrap()
    except ChaoyingError as error:
        return after_error(error)
    return Exit.OK, ""


def _amount(request: Request[Any], reply: Reply[Any]) -> int | None:
    """The amount of the order, or the amount that a refund applied for; fen."""
    if isinstance(request, RefundQuery):
        item = refund_item(request, reply)
        return None if item is None else item.base_refund_fee
    name = "base_refund_fee" if reply.endpoint.family is Family.REFUND else "base_fee"
    found: int | None = getattr(reply.result, name, None)
    if found is None and reply.endpoint.family is Family.PREORDER:
        found = getattr(request, "total_fee", None)
    return found


@attrs.frozen(kw_only=True)
class RefundRow:
    """One refund of a ``refund_list``."""

    item: RefundItem
    asked: bool
    """Whether this one was asked about; the others are of the same order."""
    status: str
    end: Ending


def refunds(request: Request[Any], reply: Reply[Any]) -> list[RefundRow]:
    """Every refund that the reply lists, each with its own ending."""
    if not isinstance(request, RefundQuery) or not isinstance(reply.result, RefundQueryResult):
        return []
    asked = refund_item(request, reply)
    return [_row(item, asked=item is asked) for item in reply.result.refund_list]


def _row(item: RefundItem, *, asked: bool) -> RefundRow:
    status = REFUND_ENDS.get(item.refund_status or "")
    end = _REFUND_PENDING if status is None else after_status(status, refund=True)
    return RefundRow(item=item, asked=asked, status=status or PENDING, end=end)
