"""What is known of a paid order, and of one that has gone into refund, all of it or a part (C 39).

The document promises the fields of a query's answer for paid orders only. So an order in refund is
read from the fields as received, as far as they are there; how much came back is often not said.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.currency import amount_in_words, fee_type_in, figure
from chaoying_async.sansio.enums import PayType, Undocumented
from chaoying_async.sansio.model import Model, model
from chaoying_async.sansio.sealed import SealedMap
from chaoying_async.sansio.values import Fen, fen_or_none, parse_time


class PaidSource(StrEnum):
    """How a payment was learnt."""

    NOTIFICATION = "NOTIFICATION"
    """A verified notification told of it.（支付结果通知）"""
    QUERY = "QUERY"
    """The answer to a query, or to the payment itself, told of it.（查询或支付的响应）"""
    CONFIRM = "CONFIRM"
    """A notification told of it, and a query confirmed it.（通知，并经查询确认）"""


@model
class PaidOrder(Model):
    """A paid order, whichever way it was learnt (M-13). Amounts are in fen.

    ``payable`` is the order amount (``base_fee``); None where only a notification was seen and
    nothing compared it. ``paid`` is what the customer paid after coupons: never compare it with
    the order. ``mch_id`` is the one that was asked for, never the reply's (M-18).
    """

    mch_id: str
    """The merchant that was asked for, never the one that a reply names (M-18).
    （超赢商户号，取自请求，从不取自响应）
    """
    out_trade_no: str
    """Your order number.（商户订单号）"""
    transaction_id: str | None = None
    """The platform's order number.（平台交易号）"""
    out_transaction_id: str | None = None
    """The wallet's order number.（第三方订单号）"""
    payable: Fen | None = None
    """The order amount (``base_fee``) in fen; None where only a notification was seen and nothing
    compared it.
    （应付金额，单位分，只见过通知而未核对时为 None）
    """
    paid: Fen | None = None
    """What the customer paid after coupons, in fen: never compare it with the order.
    （实付金额，单位分，不能用它核对订单）
    """
    coupon_fee: Fen | None = None
    """The coupons' part of the order amount, in fen.（代金券金额，单位分）"""
    paytype: PayType | str | None = None
    """The wallet that paid; None where nothing says so.（支付方式）"""
    time_end: datetime | None = None
    """When the payment was completed; aware, in GMT+8.（支付完成时间，GMT+8）"""
    source: PaidSource
    """How the payment was learnt.（得知支付的途径）"""
    raw: Mapping[str, Any] = SealedMap({})
    """Every field of the message that told of it, as received; of an order that was written down in
    between those about the buyer are not there, or none is.
    （收到的全部字段，中间落过库的订单没有买家信息，或者为空）
    """
    fee_type: str | None = attrs.field(
        default=attrs.Factory(lambda self: fee_type_in(self.raw), takes_self=True)
    )
    """The currency of ``payable``; None where nothing names one, which is CNY.
    （币种，未给出时为 None，即人民币）
    """


def known_numbers(*numbers: str | None) -> frozenset[str]:
    """The transaction numbers that are there: a payment is known by any of them (M-13)."""
    return frozenset(number for number in numbers if number)


def check_paid(paid_order: object) -> None:
    """Raise a ParameterError for what is no paid order, as an outcome that is not paid has none."""
    if not isinstance(paid_order, PaidOrder):
        rule = f"is {type(paid_order).__name__}: only what is paid has one, so look at the status"
        raise ParameterError({"paid_order": rule})


def paid_order(
    result: Any, *, mch_id: str, raw: Mapping[str, Any], source: PaidSource = PaidSource.QUERY
) -> PaidOrder:
    """The paid order in a pay, facepay or orderquery *result*: only those say paid (C 24)."""
    return PaidOrder(
        mch_id=mch_id,
        out_trade_no=result.out_trade_no,
        transaction_id=result.transaction_id,
        out_transaction_id=result.out_transaction_id,
        payable=result.base_fee,
        paid=result.total_fee,
        coupon_fee=result.coupon_fee,
        paytype=getattr(result, "paytype", None),  # facepay answers have none (C 33)
        time_end=result.time_end,
        source=source,
        raw=raw,
    )


#: How much came back, and of what: cash of the cash that was paid, what was applied for of the
#: order amount (C 43). Held against the other one, a part would look like the whole.
_CAME_BACK = (
    ("refund_fee_summary", "total_fee"),
    ("refund_fee", "total_fee"),
    ("base_refund_fee_summary", "base_fee"),
    ("base_refund_fee", "base_fee"),
)


@model
class RefundedOrder(PaidOrder):
    """What is known of an order in refund. It was paid; it is not to be delivered unlooked at.

    ``payable``, ``paid``, ``time_end`` and the transaction numbers are there where the gateway
    named them. ``refunded`` is how much came back, in fen; None where nothing says so: then it may
    be all of it, or a part. ``refunded_of`` is the amount in fen that it is a part of. A handler's
    ``settle`` sets such an order aside.
    """

    refunded: Fen | None = None
    """How much came back, in fen; None where nothing says so: all of it, or a part.
    （已退金额，单位分，未知时为 None，可能是全部，也可能是一部分）
    """
    refunded_of: Fen | None = None
    """The amount in fen that ``refunded`` is a part of, before or after coupons as that is; None
    where the answer does not name it.
    （已退金额所对应的总额，单位分，响应未给出时为 None）
    """


def refunded_order(
    raw: Mapping[str, Any], *, mch_id: str | None = None, out_trade_no: str | None = None
) -> RefundedOrder | None:
    """The order in an answer that says REFUND; None where nobody names it.

    ``mch_id`` and ``out_trade_no`` are the request's, which the answer may leave out (M-18).
    """
    fields = {name: value for name, value in raw.items() if isinstance(value, str) and value}
    merchant, number = mch_id or fields.get("mch_id"), fields.get("out_trade_no") or out_trade_no
    if not merchant or not number:
        return None
    time_end, paytype = fields.get("time_end"), fields.get("paytype")
    back, whole = _came_back({name: fen_or_none(fields.get(name)) for name in _AMOUNTS})
    return RefundedOrder(
        mch_id=merchant,
        out_trade_no=number,
        transaction_id=fields.get("transaction_id"),
        out_transaction_id=fields.get("out_transaction_id"),
        payable=fen_or_none(fields.get("base_fee")),
        paid=fen_or_none(fields.get("total_fee")),
        coupon_fee=fen_or_none(fields.get("coupon_fee")),
        paytype=PayType.__members__.get(paytype or "", paytype),
        time_end=None if time_end is None else parse_time(time_end),
        source=PaidSource.QUERY,
        raw=raw,
        refunded=back,
        refunded_of=whole,
    )


_AMOUNTS = frozenset(name for pair in _CAME_BACK for name in pair)


def _came_back(amounts: Mapping[str, Fen | None]) -> tuple[Fen | None, Fen | None]:
    """The first amount that can be held against its whole, else the first; 0 says nothing."""
    found = [(amounts[back], amounts[whole]) for back, whole in _CAME_BACK if amounts[back]]
    compared = [pair for pair in found if pair[1] is not None]
    return (compared or found or [(None, None)])[0]


def advice_in_refund(order: PaidOrder | None) -> str:
    """What to do about an order in refund, in a sentence.

    An answer about an order says nothing of refunds that have not ended: of one that came back in
    part, more may (M-25). So its rest is never to be delivered by this answer alone.
    """
    back = order.refunded if isinstance(order, RefundedOrder) else None
    if order is None or back is None:
        return (
            "it was paid, and all of it or a part came back: its refunds say how much "
            "(refundquery); deliver nothing before you know, and do not charge again"
        )
    whole = order.refunded_of if isinstance(order, RefundedOrder) else None
    if whole is not None and back >= whole:
        all_of_it = amount_in_words(back, order.fee_type)
        return f"it was paid, and all of it came back ({all_of_it}): deliver nothing"
    came = amount_in_words(back if whole is None else whole, order.fee_type)
    if whole is not None:
        came = f"{figure(back, order.fee_type)} of {came}"
    return (
        f"it was paid, and {came} came back so far; more may: deliver nothing before its refunds "
        "have ended (refundquery), and do not charge again"
    )


def requested_paytype(paytype: str) -> PayType | Undocumented:
    """A ``paytype`` that was stored or received, as requests take it."""
    known = paytype in PayType._value2member_map_
    return PayType(paytype) if known else Undocumented(paytype)


def paid_under(paid: PaidOrder, paytype: str | None) -> PaidOrder:
    """The paid order with the wallet it was asked under, where the answer has none (C 33)."""
    model: Any = paid  # attrs' own, but for type checkers dataclass-like
    found: PaidOrder = attrs.evolve(model, paytype=paid.paytype or paytype)
    return found
