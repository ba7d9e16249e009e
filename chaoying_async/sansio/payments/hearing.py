"""Decides what the answers to pay and cancel mean for a till (M-07, M-09)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import attrs

from chaoying_async.exceptions import (
    AmbiguousSignatureError,
    GatewayError,
    MissingSignatureError,
    OutcomeUnknownError,
    ParameterError,
    ProtocolError,
    ReplyMismatchError,
    RequestNotSentError,
    SignatureVerificationError,
    TransportError,
    UsageError,
)
from chaoying_async.sansio.api.barcode import Pay
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.api.face import FacePay
from chaoying_async.sansio.meaning import SETTLED_REFUSALS, Family, Meaning
from chaoying_async.sansio.payments.moves import CancelNews
from chaoying_async.sansio.polling.status import UNPAID, PollStatus, amount_fits

#: What a checkout begins with.
Payment = Pay | FacePay


class PayNews(Enum):
    """How a pay call ended."""

    PAID = "paid, with the amount that was asked for"
    MISMATCH = "paid, with another amount or currency"
    FAILED = "over, and not paid"
    NOT_SENT = "it never left"
    REFUSED = "refused, and this call moved nothing (M-09, left column)"
    UNDECIDED = "query it"


@attrs.frozen
class PayAnswer:
    """The news; for FAILED its kind. ``seen``: the order exists. ``Till`` explains the others."""

    news: PayNews
    status: PollStatus | None = None
    seen: bool = False
    suspect: bool = False
    used: bool = False


def read_pay(pay: Payment, said: Reply[Any] | BaseException) -> PayAnswer:
    """Decide what the reply to a pay or facepay call means, or the error that came instead."""
    if isinstance(said, Reply):
        return _of_pay_reply(pay, said)
    if isinstance(said, RequestNotSentError):
        return PayAnswer(PayNews.NOT_SENT)
    if moved_nothing(said, Family.PAY):
        return PayAnswer(PayNews.REFUSED)
    cause = said.__cause__
    return PayAnswer(
        PayNews.UNDECIDED,
        seen=isinstance(said, ProtocolError) or isinstance(cause, ProtocolError),
        suspect=isinstance(said, ReplyMismatchError) or isinstance(cause, ReplyMismatchError),
        used=getattr(said, "number_used", False)
        or any(
            isinstance(each, GatewayError) and _says_used(each.code)
            for each in (said, cause, getattr(said, "refusal", None))
        ),
    )


def _says_used(code: str | None) -> bool:
    return (code or "").strip() == _USED


def _of_pay_reply(pay: Payment, reply: Reply[Any]) -> PayAnswer:
    result = reply.result
    if reply.meaning is Meaning.RESULT and result is not None:
        if result.out_trade_no != pay.out_trade_no:  # a session refuses it before (M-06)
            return PayAnswer(PayNews.UNDECIDED, seen=True, suspect=True)
        fits = amount_fits(pay.total_fee, result.base_fee, reply.raw.get("fee_type"))
        return PayAnswer(PayNews.PAID if fits else PayNews.MISMATCH)
    if reply.meaning is Meaning.FAILED and (status := UNPAID.get(reply.code or "")):
        return PayAnswer(PayNews.FAILED, status)
    return PayAnswer(PayNews.UNDECIDED, seen=True, used=_says_used(reply.code))


#: 参数错误, which on a payment may mean that its number was used before (M-09).
_USED = "20004"

#: Without a ``Date`` header our clock is as good as any: so much may lie between it and theirs.
_CLOCKS_APART = timedelta(minutes=15)
#: So much ahead of us, where ``time_end`` is not, is a ``Date`` that prints Beijing time as GMT.
_BEIJING = timedelta(hours=8)


def made_earlier(time_end: datetime | None, started: datetime, ahead: float | None) -> bool:
    """Whether a payment was made before the pay call that ``started``, and so not by it (M-24).

    ``time_end`` is the gateway's clock's, in whole seconds, and ``started`` is ours; ``ahead`` is
    by how many seconds theirs was ahead, None where no reply had a ``Date``.
    """
    if time_end is None or time_end.utcoffset() is None:
        return False
    if ahead is None:
        return time_end < started - _CLOCKS_APART
    theirs = started + timedelta(seconds=ahead)
    if abs(theirs - started - _BEIJING) <= _CLOCKS_APART and time_end <= started + _CLOCKS_APART:
        return time_end < started - _CLOCKS_APART  # else it is our clock that is 8 hours behind
    return time_end < theirs.replace(microsecond=0)


def read_cancel(said: Reply[Any] | BaseException) -> CancelNews:
    """Decide what the reply to a cancel call means, or the error that came instead."""
    if isinstance(said, Reply):
        return CancelNews.CARRIED_OUT if said.meaning is Meaning.RESULT else CancelNews.UNCLEAR
    if isinstance(said, (RequestNotSentError, ParameterError, UsageError)):
        return CancelNews.NOT_SENT
    if moved_nothing(said, Family.CANCEL):
        return CancelNews.REFUSED
    refusal = said.refusal if isinstance(said, OutcomeUnknownError) else said
    if isinstance(refusal, GatewayError) and (refusal.state, refusal.code) in _NOT_CANCELLED:
        return CancelNews.ABSENT
    return CancelNews.UNCLEAR


def all_wrongly_signed(heard: Iterable[Reply[Any] | BaseException], *, at_least: int = 1) -> bool:
    """Every answer has a signature that our key does not make; what was lost is no answer.

    One without a signature, or that can be read in two ways, says nothing about the key.
    """
    causes = (said.__cause__ if isinstance(said, TransportError) else said for said in heard)
    answers = [cause for cause in causes if isinstance(cause, _ANSWERS)]
    return len(answers) >= at_least and all(_wrongly_signed(answer) for answer in answers)


_ANSWERS = (Reply, ProtocolError, GatewayError)


def _wrongly_signed(answer: Reply[Any] | BaseException) -> bool:
    other = (MissingSignatureError, AmbiguousSignatureError)
    return isinstance(answer, SignatureVerificationError) and not isinstance(answer, other)


#: Refusals that say that the order is not there, or cannot be cancelled.
_NOT_CANCELLED = frozenset({("FAIL", "20007"), ("FAIL", "20011")})


def moved_nothing(said: object, family: Family) -> bool:
    """Whether it is a refusal of M-09's left column, from a session or from any other gateway."""
    return (
        isinstance(said, GatewayError)
        and said.state == "FAIL"
        and said.code in SETTLED_REFUSALS[family]
    )
