"""被扫支付: the cashier scans the customer; and the calls that follow a payment of any kind."""

from __future__ import annotations

from datetime import datetime

import attrs

from chaoying_async.sansio.api.details import Promotion, RefundItem
from chaoying_async.sansio.api.values import PayTypeValue
from chaoying_async.sansio.checks import at_least_one, not_above, should_be_short
from chaoying_async.sansio.enums import FeeType, Method, PayType, RefundChannel, TradeTypeResult
from chaoying_async.sansio.models import Model, frozen_list, model
from chaoying_async.sansio.outcome import Family
from chaoying_async.sansio.request import Endpoint, Host, Request
from chaoying_async.sansio.rules import (
    Amount,
    Goods,
    Ip,
    OrderNumber,
    Placeholder,
    RefundNumber,
    Text,
)
from chaoying_async.sansio.values import Fen


@model
class PayResult(Model):
    """What :class:`Pay` brings back: 提交支付."""

    mch_id: str | None = None
    appid: str | None = None
    openid: str | None = None
    sub_appid: str | None = None
    sub_openid: str | None = None
    buyer_user_id: str | None = None
    transaction_id: str | None = None
    out_transaction_id: str | None = None
    out_trade_no: str
    #: Fen, the order amount (payable): compare this one with your order (C 42).
    base_fee: Fen
    #: Fen, what the customer actually paid (C 42).
    total_fee: Fen
    coupon_fee: Fen | None = None
    fee_type: FeeType | str | None = None
    attach: str | None = None
    time_end: datetime | None = None
    paytype: PayType | str | None = None
    nonce_str: str | None = None
    promotion_detail: tuple[Promotion, ...] | None = None
    wx_mch_id: str | None = None
    wx_sub_mch_id: str | None = None


@model
class Pay(Request[PayResult]):
    """``pay`` 提交支付: submit a micropay (merchant scans the customer code).

    Charge the code that the customer shows at the till (被扫). ``total_fee`` is in fen. A result
    means *paid* (C 24); compare ``base_fee`` with your order. Moves money: sent once, and any
    unclear end is an :class:`~chaoying_async.exceptions.OutcomeUnknownError`; ask
    :class:`OrderQuery` before anything else. Every attempt needs its own ``out_trade_no`` (C 51).
    There is no ``paytype`` here, but the follow-up calls want one: see
    :meth:`PayType.from_auth_code` (C 32).
    """

    endpoint = Endpoint(
        name="pay",
        title="提交支付",
        family=Family.PAY,
        host=Host.PAY,
        path="/UnifiedPay/Gateway",
        gateway_method=Method.pay,
    )
    result_type = PayResult
    needed = ("mch_id",)
    advice = (
        should_be_short("op_device_id", 8, "may have at most 8 characters for UnionPay (C 70)"),
    )

    sub_appid: Text | None = None
    mch_id: Text | None = None
    out_trade_no: OrderNumber
    device_info: Text | None = None
    body: Text
    attach: Text | None = None
    total_fee: Amount
    mch_create_ip: Ip | None = None
    auth_code: Text
    op_user_id: Text | None = None
    op_shop_id: Text | None = None
    op_device_id: Text | None = None
    goods_tag: Text | None = None
    goods_detail: Goods | None = attrs.field(default=None, converter=frozen_list)
    profit_sharing: Text | None = None
    profit_sharing_receiver: Placeholder | None = None


@model
class OrderQueryResult(Model):
    """What :class:`OrderQuery` brings back: 订单查询."""

    mch_id: str | None = None
    appid: str | None = None
    openid: str | None = None
    sub_appid: str | None = None
    sub_openid: str | None = None
    buyer_user_id: str | None = None
    out_trade_no: str
    transaction_id: str | None = None
    out_transaction_id: str | None = None
    #: Fen, the order amount (payable): compare this one with your order (C 42).
    base_fee: Fen
    #: Fen, what the customer actually paid (C 42).
    total_fee: Fen
    coupon_fee: Fen | None = None
    fee_type: FeeType | str | None = None
    attach: str | None = None
    time_end: datetime | None = None
    nonce_str: str | None = None
    trade_type: TradeTypeResult | str | None = None
    paytype: PayType | str | None = None
    promotion_detail: tuple[Promotion, ...] | None = None
    wx_mch_id: str | None = None
    wx_sub_mch_id: str | None = None


@model
class OrderQuery(Request[OrderQueryResult]):
    """``orderquery`` 订单查询: query an order.

    Ask how an order ended. One of ``out_trade_no`` (which wins) and ``transaction_id`` is needed,
    and ``paytype`` always. A result means *paid*. Safe to repeat. "Not found" (20007) right after
    a lost answer may mean "not there yet" (C 38).
    """

    endpoint = Endpoint(
        name="orderquery",
        title="订单查询",
        family=Family.QUERY,
        host=Host.PAY,
        path="/UnifiedPay/Gateway",
        gateway_method=Method.orderquery,
        repeatable=True,
    )
    result_type = OrderQueryResult
    needed = ("mch_id",)
    checks = (at_least_one("out_trade_no", "transaction_id"),)

    paytype: PayTypeValue
    mch_id: Text | None = None
    out_trade_no: Text | None = None
    transaction_id: Text | None = None


@model
class RefundResult(Model):
    """What :class:`Refund` brings back: 交易退款."""

    mch_id: str | None = None
    out_trade_no: str | None = None
    transaction_id: str | None = None
    out_transaction_id: str | None = None
    out_refund_no: str | None = None
    refund_id: str | None = None
    refund_channel: RefundChannel | str | None = None
    base_fee: Fen | None = None
    total_fee: Fen | None = None
    base_refund_fee: Fen | None = None
    refund_fee: Fen | None = None
    coupon_refund_fee: Fen | None = None
    paytype: PayType | str | None = None
    nonce_str: str | None = None


@model
class Refund(Request[RefundResult]):
    """``refund`` 交易退款: refund.

    Return money of a paid order. ``total_fee`` is the order amount (the ``base_fee`` of the
    answers, never what was paid, C 42), ``refund_fee`` what is applied for; both in fen. A result
    means *accepted*: the money is back only when :class:`RefundQuery` says so (C 40). Moves money:
    sent once. ``out_refund_no`` belongs to the refund you intend: when the answer is unclear,
    query it with the same number, and never try a new one before the first is known to have failed
    (C 52, M-25).
    """

    endpoint = Endpoint(
        name="refund",
        title="交易退款",
        family=Family.REFUND,
        host=Host.PAY,
        path="/UnifiedPay/Gateway",
        gateway_method=Method.refund,
    )
    result_type = RefundResult
    needed = (
        "mch_id",
        "op_user_id",
    )
    checks = (
        at_least_one("out_trade_no", "transaction_id"),
        not_above("refund_fee", "total_fee"),
    )

    paytype: PayTypeValue
    mch_id: Text | None = None
    out_trade_no: Text | None = None
    transaction_id: Text | None = None
    out_refund_no: RefundNumber
    total_fee: Amount
    refund_fee: Amount
    op_user_id: Text | None = None


@model
class RefundQueryResult(Model):
    """What :class:`RefundQuery` brings back: 退款查询."""

    mch_id: str | None = None
    out_trade_no: str | None = None
    transaction_id: str | None = None
    out_transaction_id: str | None = None
    refund_count: int | None = None
    base_refund_fee_summary: Fen | None = None
    refund_fee_summary: Fen | None = None
    refund_list: tuple[RefundItem, ...]
    paytype: PayType | str | None = None
    nonce_str: str | None = None
    wx_mch_id: str | None = None
    wx_sub_mch_id: str | None = None


@model
class RefundQuery(Request[RefundQueryResult]):
    """``refundquery`` 退款查询: query refunds.

    Ask how a refund ended, by ``out_refund_no`` (which wins) or ``refund_id``; order numbers do
    not work (since v2.5.1). Look at the ``refund_status`` of your entry in ``refund_list``, not at
    ``trade_state``. Safe to repeat; bank cards take 1 to 3 working days.
    """

    endpoint = Endpoint(
        name="refundquery",
        title="退款查询",
        family=Family.REFUND_QUERY,
        host=Host.PAY,
        path="/UnifiedPay/Gateway",
        gateway_method=Method.refundquery,
        repeatable=True,
    )
    result_type = RefundQueryResult
    needed = ("mch_id",)
    checks = (at_least_one("out_refund_no", "refund_id"),)

    paytype: PayTypeValue
    mch_id: Text | None = None
    out_refund_no: RefundNumber | None = None
    refund_id: Text | None = None


@model
class CancelResult(Model):
    """What :class:`Cancel` brings back: 交易撤销."""

    mch_id: str | None = None
    out_trade_no: str | None = None
    paytype: PayType | str | None = None
    nonce_str: str | None = None
    wx_mch_id: str | None = None
    wx_sub_mch_id: str | None = None


@model
class Cancel(Request[CancelResult]):
    """``cancel`` 交易撤销: cancel an order.

    Close an unpaid order, or give a paid one back (C 36). Only for orders younger than 5 minutes,
    and not before 15 seconds (C 34, C 35). Moves money: sent once. A result means that it was
    carried out; an unclear end must be queried before the goods are sold again.
    """

    endpoint = Endpoint(
        name="cancel",
        title="交易撤销",
        family=Family.CANCEL,
        host=Host.PAY,
        path="/UnifiedPay/Gateway",
        gateway_method=Method.cancel,
    )
    result_type = CancelResult
    needed = (
        "mch_id",
        "op_user_id",
    )

    paytype: PayTypeValue
    mch_id: Text | None = None
    out_trade_no: OrderNumber
    op_user_id: Text | None = None


@model
class AuthCodeToOpenIdResult(Model):
    """What :class:`AuthCodeToOpenId` brings back: 付款码查询买家Id."""

    mch_id: str | None = None
    paytype: PayType | str | None = None
    auth_code: str | None = None
    sub_appid: str | None = None
    sub_openid: str | None = None
    nonce_str: str | None = None
    wx_mch_id: str | None = None
    wx_sub_mch_id: str | None = None


@model
class AuthCodeToOpenId(Request[AuthCodeToOpenIdResult]):
    """``authcodetoopenid`` 付款码查询买家Id: look up the buyer id behind a payment code.

    Who stands behind a payment code. Beware: after this call only this merchant can charge the
    code, until the wallet shows a new one (C 41).
    """

    endpoint = Endpoint(
        name="authcodetoopenid",
        title="付款码查询买家Id",
        family=Family.LOOKUP,
        host=Host.PAY,
        path="/UnifiedPay/Gateway",
        gateway_method=Method.authcodetoopenid,
        repeatable=True,
    )
    result_type = AuthCodeToOpenIdResult
    needed = ("mch_id",)

    mch_id: Text | None = None
    sub_appid: Text | None = None
    auth_code: Text
