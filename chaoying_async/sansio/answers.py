"""Whether a reply answers its request (M-06).

The signature contains nothing of the request: a connection out of step, or a cache, can hand over
another order's signed "paid". So every identifier that both carry must be equal, and a paid answer
must name its order and its amount.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from chaoying_async.exceptions import ChaoyingWarning, MalformedMessageError, ReplyMismatchError
from chaoying_async.sansio.codec import parse_json
from chaoying_async.sansio.outcome import Family, Meaning
from chaoying_async.sansio.request import Request

IDENTIFIERS = ("out_trade_no", "out_refund_no", "transaction_id", "refund_id", "auth_code")

#: Whose replies may not name another merchant.
ONE_MERCHANT = frozenset(
    {Family.PAY, Family.QUERY, Family.REFUND, Family.REFUND_QUERY, Family.CANCEL}
)


def check_answers(
    request: Request[Any],
    sent: Mapping[str, str],
    received: Mapping[str, str],
    meaning: Meaning,
) -> None:
    """Raise a :class:`ReplyMismatchError` unless the reply is about this request."""
    family = request.endpoint.family
    for name in IDENTIFIERS:
        ours, theirs = sent.get(name), received.get(name)
        if ours and theirs and ours != theirs:
            raise ReplyMismatchError(f"the reply is about another {name}")
    _check_merchant(family, sent, received)
    if meaning is Meaning.RESULT and (check := _RESULT_CHECKS.get(family)):
        check(sent, received)


def _check_merchant(family: Family, sent: Mapping[str, str], received: Mapping[str, str]) -> None:
    ours, theirs = sent.get("mch_id"), received.get("mch_id")
    if not ours or not theirs or ours == theirs:
        return
    if family in ONE_MERCHANT:
        raise ReplyMismatchError("the reply is about another mch_id")
    if family is Family.PREORDER:  # the document's own example differs
        warnings.warn("the pre-order's reply names another mch_id", ChaoyingWarning, stacklevel=2)


def _paid_names_order(sent: Mapping[str, str], received: Mapping[str, str]) -> None:
    wanted = [name for name in ("out_trade_no", "transaction_id") if sent.get(name)]
    if not any(received.get(name) for name in wanted):
        raise ReplyMismatchError("a paid answer that does not name its order")


def _paid_as_asked(sent: Mapping[str, str], received: Mapping[str, str]) -> None:
    _paid_names_order(sent, received)
    if received.get("base_fee", "").lstrip("0") != sent["total_fee"]:
        raise ReplyMismatchError("base_fee is not the total_fee that was asked for")


def _lists_refund(sent: Mapping[str, str], received: Mapping[str, str]) -> None:
    if own_refund(sent, received.get("refund_list", "")) is None:
        raise ReplyMismatchError("refund_list does not hold the refund that was asked about")


def own_refund(sent: Mapping[str, str], refund_list: str) -> Mapping[str, Any] | None:
    """The entry of ``refund_list`` that was asked about; out_refund_no wins (C 54)."""
    try:
        entries = parse_json(refund_list)
    except MalformedMessageError:
        return None
    wanted = [(name, sent[name]) for name in ("out_refund_no", "refund_id") if sent.get(name)]
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        equal = [entry[name] == number for name, number in wanted if entry.get(name)]
        if equal and all(equal):
            return entry
    return None


_RESULT_CHECKS = {
    Family.PAY: _paid_as_asked,
    Family.QUERY: _paid_names_order,
    Family.REFUND_QUERY: _lists_refund,
}
