"""Decides whether a reply answers its request (M-06).

The signature contains nothing of the request: a connection out of step, or a cache, can hand over
another order's signed "paid". So every identifier that both carry must be equal, and a paid answer
must name its order and its amount.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from chaoying_async.exceptions import ChaoyingWarning, MalformedMessageError, ReplyMismatchError
from chaoying_async.sansio.api.endpoint import Request
from chaoying_async.sansio.meaning import Family, Meaning
from chaoying_async.sansio.wire.jsontext import parse_json

#: Parameters sent, fields received: raises where the reply is none to this request.
Check = Callable[[Mapping[str, str], Mapping[str, str]], None]

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
    if meaning is Meaning.RESULT:
        for check in _RESULT_CHECKS.get(family, ()):
            check(sent, received)


def _check_merchant(family: Family, sent: Mapping[str, str], received: Mapping[str, str]) -> None:
    ours, theirs = sent.get("mch_id"), received.get("mch_id")
    if not ours or not theirs or ours == theirs:
        return
    if family in ONE_MERCHANT:
        raise ReplyMismatchError("the reply is about another mch_id")
    if family is Family.PREORDER:  # the document's own example differs
        advise("the pre-order's reply names another mch_id")


def advise(text: str) -> None:
    """Warn without hiding the reply: where warnings are errors, the warning is dropped."""
    with suppress(ChaoyingWarning):
        warnings.warn(text, ChaoyingWarning, stacklevel=3)


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
    own = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            equal = [entry[name] == number for name, number in wanted if entry.get(name)]
            own += [entry] if equal and all(equal) else []
    return own[0] if len(own) == 1 else None  # two of one number contradict each other


def _not_of_another_call(*names: str) -> Check:
    """Refuse a reply to another call about the order, as a lagging connection may deliver it."""

    def check(_sent: Mapping[str, str], received: Mapping[str, str]) -> None:
        if odd := next((name for name in names if received.get(name)), None):
            raise ReplyMismatchError(f"the reply is one to another call: it carries {odd}")

    return check


# A field each that only an answer to that kind of call has. No more: the gateway may add fields
# (C 57), and an order that is paid must not be refused for one of them.
_REFUNDS = "out_refund_no"
_PAYS = "time_end"

_RESULT_CHECKS: Mapping[Family, tuple[Check, ...]] = {
    Family.PAY: (_paid_as_asked, _not_of_another_call(_REFUNDS)),
    Family.QUERY: (_paid_names_order, _not_of_another_call(_REFUNDS)),
    Family.REFUND: (_not_of_another_call(_PAYS),),
    Family.REFUND_QUERY: (_lists_refund,),
    Family.CANCEL: (_not_of_another_call(_REFUNDS, _PAYS),),
}
