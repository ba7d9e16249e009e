"""What is kept of an outcome: the numbers, amounts and states that decide, by name.

Everything else stays out of the store: what the gateway said in words, ``attach``, all that is
known about the buyer, and every field that the document does not list (M-23, M-27).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from chaoying_async import exceptions
from chaoying_async.exceptions import ChaoyingError, GatewayError, ParameterError
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.enums import Code, PayType, State, TradeState
from chaoying_async.sansio.meaning import Meaning
from chaoying_async.sansio.model import fields_of, name_of
from chaoying_async.sansio.paid import PaidOrder, PaidSource, RefundedOrder
from chaoying_async.sansio.polling.status import Query, refund_item
from chaoying_async.sansio.values import Fen, format_time
from chaoying_async.sansio.wire.structure import structure

E = TypeVar("E", bound=Enum)

#: Fields of a reply that are kept, as received.
KEPT = frozenset(
    """
    state code trade_state mch_id out_trade_no transaction_id out_transaction_id base_fee total_fee
    coupon_fee fee_type time_end paytype trade_type base_refund_fee_summary refund_fee_summary
    """.split()  # noqa: SIM905 - a page of names reads better than a page of quotes
)

_AMOUNTS = ("payable", "paid", "coupon_fee", "refunded", "refunded_of")
_NUMBERS = ("mch_id", "out_trade_no", "transaction_id", "out_transaction_id")


def reply_members(query: Query, reply: Reply[Any]) -> dict[str, Any]:
    """The answer that decided."""
    fields = {
        name: value
        for name, value in reply.raw.items()
        if name in KEPT and isinstance(value, str) and value
    }
    if (item := refund_item(query, reply)) is not None:
        fields["refund_list"] = json.dumps([dict(_texts(item))])
    return {"meaning": reply.meaning.name, "signed": reply.signed, "fields": fields}


def _texts(item: RefundItem) -> Iterator[tuple[str, str]]:
    for field in fields_of(RefundItem):
        value = getattr(item, field.name)
        if value is not None:
            text = format_time(value) if isinstance(value, datetime) else str(value)
            yield field.metadata.get("wire", name_of(field)), text


def reply_in(query: Query, members: Mapping[str, Any]) -> Reply[Any]:
    """The same answer, without what was not kept."""
    fields = dict(members["fields"])
    meaning = Meaning[members["meaning"]]
    result = structure(fields, query.result_type) if meaning is Meaning.RESULT else None
    return Reply(
        endpoint=query.endpoint,
        meaning=meaning,
        state=State(fields["state"]),
        code=_member(Code, fields.get("code")),
        msg=None,
        trade_state=_member(TradeState, fields.get("trade_state")),
        result=result,
        signed=bool(members["signed"]),
        raw=fields,
    )


def _member(table: type[E], text: str | None) -> E | str | None:
    """A code of the document, or the text that it was."""
    return next((member for member in table if member.value == text), text)


def paid_members(paid: PaidOrder) -> dict[str, Any]:
    """A paid order without what was received with it."""
    found: dict[str, Any] = {name: getattr(paid, name, None) for name in (*_NUMBERS, *_AMOUNTS)}
    found["paytype"] = None if paid.paytype is None else str(paid.paytype)
    found["time_end"] = None if paid.time_end is None else paid.time_end.isoformat()
    found["source"] = paid.source.value
    if isinstance(paid, RefundedOrder):
        found["in_refund"] = True
    return {name: value for name, value in found.items() if value is not None}


def paid_in(members: Mapping[str, Any]) -> PaidOrder:
    """The paid order again; its ``raw`` is empty."""
    found = dict(members)
    for name in _AMOUNTS:
        if name in found:
            found[name] = Fen(found[name])
    if "paytype" in found:
        found["paytype"] = _member(PayType, found["paytype"])
    if "time_end" in found:
        found["time_end"] = datetime.fromisoformat(found["time_end"])
    found["source"] = PaidSource(found["source"])
    return RefundedOrder(**found) if found.pop("in_refund", False) else PaidOrder(**found)


def error_members(error: Exception) -> dict[str, Any]:
    """An error of ours, whose text is fit for a log; of a stranger's only what kind it was."""
    if not isinstance(error, ChaoyingError):
        return {"type": "TransportError", "text": f"the query ended with {type(error).__name__}"}
    kind = next(cls for cls in type(error).__mro__ if cls.__module__ == exceptions.__name__)
    members: dict[str, Any] = {
        "type": kind.__name__,
        "text": str(error.args[0]) if error.args else "",
        "doing": error.doing,
        "order": error.order,
    }
    for name in ("state", "code", "status"):
        if isinstance(value := getattr(error, name, None), str | int):
            members[name] = value
    if isinstance(error, ParameterError):
        members["problems"] = dict(error.problems)
    return members


def error_in(members: Mapping[str, Any]) -> ChaoyingError:
    """The same kind of error, saying the same."""
    kind = getattr(exceptions, members["type"])
    if not (isinstance(kind, type) and issubclass(kind, ChaoyingError)):
        raise TypeError("not an error of ours")
    error = kind.__new__(kind, members["text"])
    error.args = (members["text"],)
    kept: dict[str, Any] = {
        name: members[name]
        for name in ("doing", "order", "state", "code", "status", "problems")
        if name in members
    }
    if issubclass(kind, GatewayError):
        kept = {"code": None, "msg": None, "raw": {}} | kept
    vars(error).update(kept)
    return error
