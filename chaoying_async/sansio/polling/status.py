"""Decides what an answer to a query means for somebody who waits for the end, by tables.

:func:`read_answer` looks at one answer (a reply, or the error that came instead) and
:func:`taken_together` adds it to what was known: some ends count only when a second query says the
same (M-06), and "no such order" counts only at the very end (M-22). ``schedule.py`` decides from
that when to ask again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from functools import lru_cache
from typing import Any

import attrs

from chaoying_async.exceptions import (
    GatewayError,
    MalformedMessageError,
    ParameterError,
    ProtocolError,
)
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.api.follow_up import (
    OrderQuery,
    OrderQueryResult,
    RefundQuery,
    RefundQueryResult,
)
from chaoying_async.sansio.currency import is_yuan
from chaoying_async.sansio.meaning import Family, Meaning

#: What can be waited for.
Query = OrderQuery | RefundQuery


class PollStatus(StrEnum):
    """How waiting for an order or a refund ended."""

    PAID = "PAID"
    """Paid, and with the expected amount where one was given."""
    REFUNDED = "REFUNDED"
    """An order: gone into refund, deliver nothing. A refund: the money is on its way back."""
    FAILED = "FAILED"
    """The payment failed (10006)."""
    CLOSED = "CLOSED"
    """Closed without payment (10004)."""
    REVOKED = "REVOKED"
    """Revoked without payment (10005)."""
    NOT_FOUND = "NOT_FOUND"
    """To the very end the gateway knew no such order. Under a wrong ``paytype`` this means nothing.
    """
    MISMATCH = "MISMATCH"
    """Paid (or refunded), but another amount or currency than expected: for a person, and never
    delivered.
    """
    REFUSED = "REFUSED"
    """The gateway will not be asked (configuration); the order itself may be in any state."""
    EXPIRED = "EXPIRED"
    """Still undecided at the deadline. Not "failed": it may have been paid."""
    REFUND_FAILED = "REFUND_FAILED"
    """The refund failed: a new one needs a new number (M-25)."""
    CHANGED = "CHANGED"
    """A person has to pay it out another way (M-25).（转入代发，需人工退款）"""
    NOTSURE = "NOTSURE"
    """Send the same refund again, under the same number (M-25)."""


_OVER = "over, and not paid: a new attempt takes a new number"
_UNKNOWN = "not known to be paid or unpaid: query it again, and neither deliver nor charge before"
#: What to do next with an order that ended so.
ORDER_ADVICE: Mapping[PollStatus, str] = {
    PollStatus.PAID: "deliver, once",
    PollStatus.FAILED: _OVER,
    PollStatus.CLOSED: _OVER,
    PollStatus.REVOKED: _OVER,
    PollStatus.NOT_FOUND: f"{_UNKNOWN}; are paytype and merchant right?",
    PollStatus.MISMATCH: (
        "another amount or currency than expected: a person looks, deliver nothing"
    ),
    PollStatus.REFUSED: "the gateway will not be asked: put that right and query it again",
    PollStatus.EXPIRED: _UNKNOWN,
}
_LATER = "not known: query it again later, and send no other refund meanwhile"
#: What to do next with a refund that ended so; nobody delivers or charges because of one (M-25).
REFUND_ADVICE: Mapping[PollStatus, str] = {
    PollStatus.REFUNDED: "the money is on its way back: nothing is left to do",
    PollStatus.REFUND_FAILED: "the refund failed: a new one takes a new number",
    PollStatus.NOTSURE: "send the same refund again, under the same number",
    PollStatus.CHANGED: "a person pays it out another way",
    PollStatus.MISMATCH: (
        "another amount or none that can be read, or another order's refund: a person looks"
    ),
    PollStatus.NOT_FOUND: _LATER,
    PollStatus.REFUSED: "the gateway will not be asked: put that right, and query it again",
    PollStatus.EXPIRED: _LATER,
}


class Says(Enum):
    """What an answer says of the order."""

    ENDED = "it is over"
    ABSENT = "there is no such order"
    PENDING = "ask again"
    TROUBLE = "no answer, or trouble behind the gateway: ask again, but later"


@attrs.frozen(cache_hash=True)
class Answer:
    """One answer. ``sure`` is False where only a second query makes it count (M-06).

    ``about_order``: it is news of the order itself, which therefore exists.
    """

    says: Says
    status: PollStatus | None = None
    sure: bool = True
    about_order: bool = False


_OPEN = Answer(Says.PENDING, about_order=True)
_NO_NEWS = Answer(Says.PENDING)
_TROUBLE = Answer(Says.TROUBLE)
_ABSENT = Answer(Says.ABSENT, PollStatus.NOT_FOUND, sure=False)
_UNSENT = Answer(Says.ENDED, PollStatus.REFUSED)

#: Trouble behind the gateway (M-11): asking at the old pace would make it worse.
TROUBLE_CODES = frozenset({"20006", "30001"})

#: Refusals of a query that will be repeated however often it is asked (C 23).
CONFIGURATION_CODES = frozenset({"20002", "20004", "20005", "20012", "20013"})

#: An order that is over without payment: trade_state FAIL under state SUCCESS (M-07).
UNPAID: Mapping[str, PollStatus] = {
    "10004": PollStatus.CLOSED,
    "10005": PollStatus.REVOKED,
    "10006": PollStatus.FAILED,
}

#: Ends of a refund; every other ``refund_status`` is pending (M-25).
REFUND_ENDS: Mapping[str, PollStatus] = {
    "SUCCESS": PollStatus.REFUNDED,
    "FAIL": PollStatus.REFUND_FAILED,
    "CHANGE": PollStatus.CHANGED,
    "NOTSURE": PollStatus.NOTSURE,
}


def read_answer(query: Query, said: Reply[Any] | Exception, expected: int | None = None) -> Answer:
    """Decide what one answer to ``query`` means, whoever sent it.

    ``expected`` (fen) is held against ``base_fee`` of an order and ``base_refund_fee`` of a refund
    (M-13, C 43), never against what the customer paid after coupons; None compares nothing.
    """
    if isinstance(said, Exception):
        return _of_error(said)
    if query.endpoint.family is Family.REFUND_QUERY:
        return _of_refund(query, said, expected)
    return _of_order(query, said, expected)


def _of_error(error: Exception) -> Answer:
    if isinstance(error, ParameterError):
        return _UNSENT  # it never leaves, however often it is tried
    if isinstance(error, GatewayError):
        return refusal(error.state, error.code)
    if isinstance(error, ProtocolError) and not isinstance(error, MalformedMessageError):
        return _NO_NEWS  # somebody answered: nothing to be believed, and nothing to back off from
    return _TROUBLE


def refusal(state: str, code: str | None) -> Answer:
    """A refused *query* is no news about the order, but some refusals will never end (C 23, 28)."""
    if state == "VER" or code in CONFIGURATION_CODES:
        return Answer(Says.ENDED, PollStatus.REFUSED, sure=False)
    if code == "20007":
        return _ABSENT
    return _TROUBLE if code in TROUBLE_CODES else _NO_NEWS


def _of_order(query: Query, reply: Reply[Any], expected: int | None) -> Answer:
    if reply.meaning is Meaning.RESULT and isinstance(reply.result, OrderQueryResult):
        fits = amount_fits(expected, reply.result.base_fee, reply.result.fee_type)
        return Answer(Says.ENDED, PollStatus.PAID if fits else PollStatus.MISMATCH)
    if reply.meaning is Meaning.REFUNDED:
        return Answer(Says.ENDED, PollStatus.REFUNDED, sure=_names(query, reply), about_order=True)
    if reply.meaning is Meaning.FAILED and (status := UNPAID.get(reply.code or "")):
        return Answer(Says.ENDED, status, sure=_names(query, reply), about_order=True)
    return _undecided(reply)


def _of_refund(query: Query, reply: Reply[Any], expected: int | None) -> Answer:
    item = refund_item(query, reply)
    status = REFUND_ENDS.get(item.refund_status or "") if item else None
    if item is None or status is None:
        return _undecided(reply)
    if status is PollStatus.REFUNDED:
        amount, fee_type = item.base_refund_fee, reply.raw.get("fee_type")
        unread = expected is not None and amount is None  # the document requires it
        if unread or not amount_fits(expected, amount, fee_type):
            status = PollStatus.MISMATCH
    return Answer(Says.ENDED, status)


def _undecided(reply: Reply[Any]) -> Answer:
    return _TROUBLE if reply.code in TROUBLE_CODES else _OPEN


def amount_fits(expected: int | None, found: int | None, fee_type: str | None = None) -> bool:
    """Whether an amount is the expected one, where both are known (M-13). All in fen."""
    if expected is None:
        return True
    return found in (None, expected) and is_yuan(fee_type)


def _names(query: Query, reply: Reply[Any]) -> bool:
    """Whether the reply says which order it is about; that it is ours was checked already."""
    return any(
        getattr(query, name, None) and reply.raw.get(name)
        for name in ("out_trade_no", "transaction_id")
    )


def refund_item(query: Query, reply: Reply[Any]) -> RefundItem | None:
    """The entry of ``refund_list`` that was asked about; None where there is none (M-06)."""
    result = reply.result
    if not isinstance(result, RefundQueryResult) or not isinstance(query, RefundQuery):
        return None
    asked = {"out_refund_no": query.out_refund_no or "", "refund_id": query.refund_id or ""}
    for item in result.refund_list:
        equal = [
            getattr(item, name) == number
            for name, number in asked.items()
            if number and getattr(item, name)
        ]
        if equal and all(equal):
            return item
    return None


#: More troubles in a row are not counted: the pause has long reached its limit.
MOST_TROUBLES = 16


@attrs.frozen(cache_hash=True)
class Standing:
    """All answers so far, taken together; one object for many orders, since there are few kinds.

    ``status`` is the end that was last heard of, and ``counts`` whether it may be believed.
    ``seen``: some answer was about the order itself. ``troubles``: how many in a row.
    """

    says: Says = Says.PENDING
    status: PollStatus | None = None
    counts: bool = False
    seen: bool = False
    troubles: int = 0


UNASKED = Standing()


@lru_cache(maxsize=4096)
def taken_together(before: Standing, answer: Answer) -> Standing:
    """Decide what is known of an order after one more answer.

    Two unsure ends that differ contradict each other and are pending (M-11); an answer without news
    in between takes nothing back. "Not found" never counts for an order that was seen before.
    """
    seen = before.seen or answer.about_order
    if answer.says is Says.TROUBLE:
        troubles = min(before.troubles + 1, MOST_TROUBLES)
        return attrs.evolve(before, says=Says.TROUBLE, counts=False, troubles=troubles)
    if answer.status is None:
        kept = None if answer.about_order else before.status
        return Standing(status=kept, seen=seen)
    if answer.says is Says.ABSENT and seen:
        return Standing(seen=True)
    if answer.sure or before.status is answer.status:
        return Standing(answer.says, answer.status, counts=True, seen=seen)
    if before.status is not None:
        return Standing(seen=seen)
    return Standing(answer.says, answer.status, seen=seen)
