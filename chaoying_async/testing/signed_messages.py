"""Makes signed messages as the gateway would send them, for tests of your own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus

from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.endpoint import Request
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.meaning import Family
from chaoying_async.sansio.model import fields_of, wire_name_of
from chaoying_async.sansio.signing import sign_for, texts
from chaoying_async.sansio.values import format_time

#: The fields that a reply repeats of its request.
_ECHOED = ("mch_id", "out_trade_no", "transaction_id", "out_refund_no", "refund_id", "paytype")

_WITHOUT_TRADE_STATE = frozenset({Family.OPERATION, Family.SETTING, Family.TERMINAL})


def signed_reply(
    request: Request[Any] | type[Request[Any]], credentials: Credentials, **fields: Any
) -> bytes:
    """The body of a reply to ``request``: a success, unless ``fields`` say otherwise.

    It repeats the identifiers of the request; for a payment the amounts too, and for a refund
    query its one refund, done. A query names no amounts: give it ``base_fee`` and ``total_fee``,
    or for a refund ``base_refund_fee`` and ``refund_fee``; without them whoever expects an amount
    finds a mismatch. ``fields`` are added or take the place of what is there; None takes one out.
    For a refund query the fields of a refund go into its refund, unless you give ``refund_list``.
    Lists and dicts become JSON text, as the document packs them, and aware datetimes its own
    format. ``sign=None`` leaves the signature off, any other ``sign`` is sent as it is::

        signed_reply(query, credentials, base_fee=100, total_fee=100)  # paid
        signed_reply(query, credentials, trade_state="NEED_QUERY", code="10001")  # not yet
        signed_reply(pay, credentials, state="FAIL", code="20005", trade_state=None)  # refused
        signed_reply(refund_query, credentials, base_refund_fee=100, refund_fee=100)  # went back
    """
    success = _success(request)
    if request.endpoint.family is Family.REFUND_QUERY and "refund_list" not in fields:
        refund = {"refund_status": "SUCCESS"} | _taken(success) | _taken(fields)
        success["refund_list"] = [texts(_packed(refund))]
    message = texts(_packed(success | fields))
    return json.dumps(_signed(message, credentials, fields), ensure_ascii=False).encode()


def sign_notification(credentials: Credentials, **fields: Any) -> bytes:
    """The body of a payment notification: a success, unless ``fields`` say otherwise.

    It is a form like the document's samples: names sorted, escapes in lower case. "Paid" also needs
    ``mch_id``, ``out_trade_no``, ``total_fee`` and ``time_end``, which have no defaults. Values as
    in :func:`signed_reply`.
    """
    paid = {"state": "SUCCESS", "result_code": "SUCCESS", "pay_result": "0", "fee_type": "CNY"}
    message = _signed(texts(_packed(paid | fields)), credentials, fields)
    return "&".join(f"{name}={_escaped(message[name])}" for name in sorted(message)).encode()


def _success(request: Request[Any] | type[Request[Any]]) -> dict[str, Any]:
    family = request.endpoint.family
    success = {"state": "SUCCESS", "code": "10000", "trade_state": "SUCCESS", "msg": "SUCCESS"}
    if family is Family.SMS:
        success["code"] = "10"  # minutes (C 26)
    if family in _WITHOUT_TRADE_STATE or family is Family.SMS:
        del success["trade_state"]
    if family is Family.TERMINAL:
        success |= {"mch_id": "00000001", "mch_trade_code": "8888"}
    if isinstance(request, type):
        return success
    sent = request.wire_fields()
    success |= {name: sent[name] for name in _ECHOED if name in sent}
    if family is Family.PAY:
        success |= {"base_fee": sent["total_fee"], "total_fee": sent["total_fee"]}
    if family is Family.REFUND:
        success |= {
            "base_fee": sent["total_fee"],
            "total_fee": sent["total_fee"],
            "base_refund_fee": sent["refund_fee"],
            "refund_fee": sent["refund_fee"],
        }
    return success


def _taken(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of one refund, which are then no longer among the others."""
    names = map(wire_name_of, fields_of(RefundItem))
    return {name: fields.pop(name) for name in names if name in fields}


def _packed(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _text(value) for name, value in fields.items() if value is not None}


def _text(value: Any) -> Any:
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return format_time(value) if isinstance(value, datetime) else value


def _signed(
    message: dict[str, str], credentials: Credentials, given: Mapping[str, Any]
) -> dict[str, str]:
    if "sign" not in given:
        message["sign"] = sign_for(credentials, message)
    return message


_ESCAPE = re.compile(r"%[0-9A-F]{2}")


def _escaped(text: str) -> str:
    # The samples look like .NET's UrlEncode: small letters, "!()*" left alone.
    return _ESCAPE.sub(lambda match: match[0].lower(), quote_plus(text, safe="!()*"))
