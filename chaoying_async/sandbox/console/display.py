"""How the pages show fields, orders, amounts and moments: masked (M-27), and fit for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import segno

from chaoying_async.fieldwords import FieldWords, words_of
from chaoying_async.sandbox.bank.entities import BookedRefund, Key, Order, Status
from chaoying_async.sandbox.bank.order_life import settled
from chaoying_async.sandbox.bank.reply_fields import preorder_fields
from chaoying_async.sandbox.console.words import Language
from chaoying_async.sandbox.serving import masked
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.enums import State
from chaoying_async.sansio.model import fields_of, name_of, wire_name_of
from chaoying_async.sansio.redact import MASK, is_hidden
from chaoying_async.sansio.values import GMT8

#: Name, value, and what the field is.
Field = tuple[str, str, str]


_CALLS: Mapping[str, type[Request[Any]]] = {each.endpoint.name: each for each in REQUESTS}


def asked_fields(
    fields: Mapping[str, str], call: str, language: Language, credentials: Credentials
) -> list[Field]:
    """Name, value and words of the fields of a request, sorted by name."""
    return _fields(fields, (_CALLS.get(call, Request), Credentials), language, credentials)


def answered_fields(
    fields: Mapping[str, str], call: str, language: Language, credentials: Credentials
) -> list[Field]:
    """Name, value and words of the fields of a reply, sorted by name."""
    result = _CALLS[call].result_type if call in _CALLS else Reply
    # A result's field may travel under a name of the status (C 26); without one it is the status.
    owners = (result, Reply) if fields.get("state") == State.SUCCESS else (Reply, result)
    return _fields(fields, owners, language, credentials)


def _fields(
    fields: Mapping[str, str], owners: tuple[Any, Any], language: Language, credentials: Credentials
) -> list[Field]:
    """Keys and personal values are ``***``, inside other values and names too."""

    def shown(text: str) -> str:
        return masked.text_of(text, (), credentials)

    return [
        (shown(name), MASK if is_hidden(name) else shown(value), _words(owners, name, language))
        for name, value in sorted(fields.items())
    ]


def _words(owners: tuple[Any, Any], name: str, language: Language) -> str:
    found = (words_of(owner, field) for owner in owners if (field := _field_at(owner, name)))
    words = next((each for each in found if each.english), FieldWords())
    return words.plain if language == "en" else words.chinese


def _field_at(owner: Any, wire: str) -> str | None:
    return next((name_of(each) for each in fields_of(owner) if wire_name_of(each) == wire), None)


def yuan(fen: int) -> str:
    """An amount for people: ¥4.03."""
    return f"¥{fen // 100}.{fen % 100:02d}"


def moment(at: datetime | None) -> str:
    """A moment in GMT+8, as the gateway's own times are."""
    return at.astimezone(GMT8).strftime("%m-%d %H:%M:%S") if at else ""


def exact(at: datetime) -> str:
    """A moment to the millisecond, for machines and tooltips."""
    return at.astimezone(GMT8).isoformat(timespec="milliseconds")


def order_link(key: Key) -> str:
    """The address of an order's page."""
    return f"/console/order?{urlencode({'mch_id': key[0], 'out_trade_no': key[1]})}"


def explained_link(key: Key) -> str:
    """The address of the page that explains an order."""
    return f"/console/order/explained?{urlencode({'mch_id': key[0], 'out_trade_no': key[1]})}"


def as_of(order: Order, now: datetime) -> Order:
    """The order with everything that was due by now."""
    return settled(order, now)[0]


def code_url(order: Order) -> str:
    """The text of the QR code that the customer scans; empty if there is none."""
    if order.asked.get("trade_type") != "NATIVE":
        return ""
    return str(preorder_fields(order).get("code_url", ""))


def qr(text: str) -> str:
    """A QR code as SVG markup, black on white in dark pages too."""
    return segno.make(text, error="m").svg_inline(
        omitsize=True, border=3, light="#fff", dark="#000"
    )


def is_waiting(order: Order, refunds: Iterable[BookedRefund], now: datetime) -> bool:
    """Whether something will still happen by itself to the order or to one of its refunds."""
    ends_later = any(each.becomes_at is not None and each.becomes_at > now for each in refunds)
    return ends_later or order.status is Status.OPEN or order.ends_at is not None
