"""What the pages show of bytes, orders and moments: masked (M-27), and fit for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

import segno

from chaoying_async.sandbox.bank.entities import Key, Order, Status
from chaoying_async.sandbox.bank.order_life import settled
from chaoying_async.sandbox.bank.reply_fields import preorder_fields
from chaoying_async.sandbox.serving.masked import (
    address_of,
    answer_of,
    text_of,
    wire,
    without_access,
)
from chaoying_async.sansio.doctor.shown import MASK, is_hidden
from chaoying_async.sansio.values import GMT8

__all__ = [
    "address_of",
    "answer_of",
    "as_of",
    "code_url",
    "exact",
    "fields_of",
    "is_waiting",
    "moment",
    "order_link",
    "qr",
    "text_of",
    "wire",
    "without_access",
    "yuan",
]


def fields_of(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """Decoded fields for a table, sorted; what is personal as ``***``, addresses without access."""
    return [
        (name, MASK if is_hidden(name) else without_access(value))
        for name, value in sorted(fields.items())
    ]


def yuan(fen: int) -> str:
    """An amount for people: ¥4.03."""
    return f"¥{fen // 100}.{fen % 100:02d}"


def moment(at: datetime | None) -> str:
    """A moment in GMT+8, as the gateway's own times are."""
    return at.astimezone(GMT8).strftime("%m-%d %H:%M:%S") if at else ""


def exact(at: datetime) -> str:
    """A moment for machines, and for a tooltip."""
    return at.astimezone(GMT8).isoformat(timespec="milliseconds")


def order_link(key: Key, **more: str) -> str:
    """The address of an order's page."""
    query = urlencode({"mch_id": key[0], "out_trade_no": key[1], **more})
    return f"/console/order?{query}"


def as_of(order: Order, now: datetime) -> Order:
    """The order as it stands now, though nobody may have asked since."""
    return settled(order, now)[0]


def code_url(order: Order) -> str:
    """What the customer's QR code holds; empty if there is none to scan."""
    if order.asked.get("trade_type") != "NATIVE":
        return ""
    return str(preorder_fields(order).get("code_url", ""))


def qr(text: str) -> str:
    """A QR code as SVG markup, black on white in dark pages too."""
    return segno.make(text, error="m").svg_inline(
        omitsize=True, border=3, light="#fff", dark="#000"
    )


def is_waiting(order: Order) -> bool:
    """Whether something will still happen to it by itself."""
    return order.status is Status.OPEN or order.ends_at is not None
