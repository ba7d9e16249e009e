"""What each field of a request must look like, and what it is on the wire.

The rule of one field stands in its annotation (``out_trade_no: OrderNumber``). It answers
``problem(value)`` with a sentence or None, and turns the value into the text that is signed and
sent. No rule repeats a value, and none checks a length that the document does not give (C 108).
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

import attrs

from chaoying_async.sansio.enums import IsMinipg, LimitPay, PayType, TradeType, Undocumented
from chaoying_async.sansio.model import Model, fields_of, model, name_of
from chaoying_async.sansio.printable import unclean
from chaoying_async.sansio.signing import ambiguity
from chaoying_async.sansio.values import format_time

#: Years that have four digits in GMT+8 too: the last evening of 9999 is in 10000 there.
_YEARS = range(1000, 9999)


@runtime_checkable
class Rule(Protocol):
    """What one field may hold."""

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, without repeating it; None if nothing is wrong."""
        ...

    def wire(self, value: Any) -> str:
        """The text that is signed and sent."""
        ...


def is_absent(value: Any) -> bool:
    """Whether a field was left out: None, or the empty text that a form has for it (C 8)."""
    return value is None or value == ""


def text_problem(value: Any) -> str | None:
    """What is wrong with a value for any text field: it is no text, or ambiguous (M-04)."""
    if not isinstance(value, str):
        return f"must be text, not {type(value).__name__}"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds half a surrogate pair, which UTF-8 lacks"
    return ambiguity("value", value) if "&" in value else None


class _Text:
    """Rules whose value is text already."""

    __slots__ = ()

    def wire(self, value: str) -> str:
        return str.__str__(value)


@attrs.frozen
class TextRule(_Text):
    """Text, in a given form where the document gives one."""

    pattern: str = ""
    """The form of the whole text; empty where any text will do."""
    says: str = ""
    """What is wrong with a text of another form."""

    def problem(self, value: Any) -> str | None:
        if problem := text_problem(value):
            return problem
        if self.pattern and re.fullmatch(self.pattern, value) is None:
            return self.says
        return None


@attrs.frozen
class IdentifierRule(_Text):
    """A number or a code as somebody gave it out: nothing in it that nobody sees.

    A carriage return that a file or a scanner left at its end would be signed and sent, and the
    gateway would know no such merchant, order or payment code.
    """

    def problem(self, value: Any) -> str | None:
        return text_problem(value) or unclean(value) or None


@attrs.frozen
class AmountRule:
    """A whole number of fen, at least 1 (M-12); an item's price may be 0."""

    least: int = 1
    """The smallest amount that may be sent."""

    def problem(self, value: Any) -> str | None:
        if not isinstance(value, int) or isinstance(value, bool):
            kind = type(value).__name__
            return f'must be a whole number of fen (int, Fen or fen("12.30")), not {kind}'
        if self.least <= value < 10**15:
            return None
        return f"must be at least {self.least} fen and at most 15 digits"

    def wire(self, value: int) -> str:
        return int.__repr__(value)


@attrs.frozen
class CodeRule:
    """A value of one of the document's code tables, or one wrapped in ``Undocumented``."""

    table: type[StrEnum]
    """The code table."""

    def problem(self, value: Any) -> str | None:
        if isinstance(value, Undocumented):
            return text_problem(value)
        # A member of another table must not pass for being equal text.
        foreign = isinstance(value, StrEnum) and not isinstance(value, self.table)
        if isinstance(value, str) and not foreign and value in self.table._value2member_map_:
            return None
        return (
            f"must be one of {', '.join(self.table)} ({self.table.__name__}), "
            'or Undocumented("...") to send it all the same'
        )

    def wire(self, value: str) -> str:
        return str(value.value) if isinstance(value, StrEnum) else str.__str__(value)


@attrs.frozen
class TimeRule:
    """A datetime with a time zone; sent as ``yyyyMMddHHmmss`` in GMT+8 (C 68)."""

    def problem(self, value: Any) -> str | None:
        if not isinstance(value, datetime):
            return f"must be a datetime, not {type(value).__name__}"
        if value.utcoffset() is None:
            return "must have a time zone, for example datetime.now(UTC)"
        return None if value.year in _YEARS else "must be in a year of four digits"

    def wire(self, value: datetime) -> str:
        return format_time(value)


@attrs.frozen
class IpRule(_Text):
    """An IPv4 or IPv6 address, as text and without a zone (C 108)."""

    def problem(self, value: Any) -> str | None:
        try:
            ipaddress.ip_address(str.__str__(value) if isinstance(value, str) else "")
        except ValueError:
            return "must be an IP address"
        return "must be an IP address without a zone" if "%" in value else None


@attrs.frozen
class UrlRule(_Text):
    """An absolute http(s) address without a query or fragment (C 86)."""

    def problem(self, value: Any) -> str | None:
        if problem := text_problem(value):
            return problem
        if not absolute_url(value):
            return "must be an absolute http or https address"
        if "?" in value or "#" in value:
            return "must not carry parameters: put what you need into the path"
        return None


@attrs.frozen
class UrlListRule(_Text):
    """Absolute http(s) addresses, separated by an ASCII semicolon (C 76)."""

    def problem(self, value: Any) -> str | None:
        if problem := text_problem(value):
            return problem
        if not all(map(absolute_url, value.split(";"))):
            return "must be absolute http or https addresses, separated by semicolons"
        return None


def absolute_url(text: str) -> bool:
    """Whether it is ``http(s)://host...`` with nothing that could hide another host.

    A port has to be one: 1 to 65535.
    """
    if re.search(r"[\x00-\x20\x7f\\]", text) or not text.isprintable() or unclean(text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@model
class GoodsDetail(Model):
    """One item of ``goods_detail`` (商品详情) in a request; ``price`` is in fen."""

    goods_id: str
    """Your product code: letters, digits, hyphens or underscores.
    （商品编码，由字母、数字、中划线、下划线组成）
    """
    pay_goods_id: str | None = None
    """The product code that WeChat or Alipay knows.（微信/支付宝的商品编码，没有可不传）"""
    goods_name: str | None = None
    """The product's name.（商品名称）"""
    quantity: int
    """How many of it, at least 1.（商品数量，整数）"""
    price: int
    """The unit price in fen; 0 for a gift.（商品单价，单位分，赠品为 0）"""

    def problems(self) -> list[str]:
        """Every rule that this item breaks."""
        found = []
        if not isinstance(self.goods_id, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", self.goods_id):
            found.append("goods_id must be letters, digits, - or _")
        for name in ("pay_goods_id", "goods_name"):
            value = getattr(self, name)
            if value is not None and (problem := text_problem(value)):
                found.append(f"{name} {problem}")
        if (
            not isinstance(self.quantity, int)
            or isinstance(self.quantity, bool)
            or self.quantity < 1
        ):
            found.append("quantity must be a whole number, at least 1")
        if problem := AmountRule(least=0).problem(self.price):
            found.append(f"price {problem}")
        return found

    def as_json(self) -> dict[str, str | int]:
        """The item in the document's order, numbers as JSON numbers, empty members left out."""
        members = {name_of(field): getattr(self, field.name) for field in fields_of(type(self))}
        return {
            name: int(value) if isinstance(value, int) else value
            for name, value in members.items()
            if value not in (None, "")
        }


@attrs.frozen
class GoodsRule:
    """A sequence of :class:`GoodsDetail`, sent as compact JSON with real UTF-8 (C 73)."""

    def problem(self, value: Any) -> str | None:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            return "must be a list of GoodsDetail"
        found = []
        for index, item in enumerate(value):
            if isinstance(item, GoodsDetail):
                found += [f"item {index}: {problem}" for problem in item.problems()]
            else:
                found.append(f"item {index}: must be a GoodsDetail")
        if found:
            return "; ".join(found)
        return text_problem(self.wire(value))

    def wire(self, value: Sequence[GoodsDetail]) -> str:
        if not value:
            return ""
        items = [item.as_json() for item in value]
        return json.dumps(items, ensure_ascii=False, separators=(",", ":"))


# What fields are annotated with; an optional one reads ``Text | None``.
Text = Annotated[str, TextRule()]
Identifier = Annotated[str, IdentifierRule()]
#: ``out_trade_no`` of pay, facepay and cancel (C 49).
OrderNumber = Annotated[
    str, TextRule(r"[A-Za-z0-9_]{5,32}", "must be 5 to 32 letters, digits or underscores")
]
#: ``out_trade_no`` of both pre-orders, which must not have an underscore (C 49).
PlainOrderNumber = Annotated[
    str, TextRule(r"[A-Za-z0-9]{5,32}", "must be 5 to 32 letters or digits (no underscore here)")
]
#: ``out_refund_no``, which may have hyphens (C 53).
RefundNumber = Annotated[
    str, TextRule(r"[A-Za-z0-9_-]{1,32}", "must be 1 to 32 letters, digits, - or _")
]
#: A field whose example is the placeholder "-", which is never sent (C 72).
Placeholder = Annotated[str, TextRule(r"(?!-\Z)(?s:.*)", 'must not be the placeholder "-"')]
#: One APPID, where the document takes "1 with each call" (C 75).
AppId = Annotated[
    str,
    TextRule(r"[^\s,;|/，；、]+", "must be one APPID: the gateway takes one with each call"),
]
Amount = Annotated[int, AmountRule()]
Time = Annotated[datetime, TimeRule()]
Ip = Annotated[str, IpRule()]
Url = Annotated[str, UrlRule()]
UrlList = Annotated[str, UrlListRule()]
Goods = Annotated[Sequence[GoodsDetail], GoodsRule()]
# Of a code table: a member, or ``Undocumented("...")``.
PayTypeValue = Annotated[PayType | Undocumented, CodeRule(PayType)]
TradeTypeValue = Annotated[TradeType | Undocumented, CodeRule(TradeType)]
IsMinipgValue = Annotated[IsMinipg | Undocumented, CodeRule(IsMinipg)]
LimitPayValue = Annotated[LimitPay | Undocumented, CodeRule(LimitPay)]
