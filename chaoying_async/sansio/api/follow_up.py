"""What follows a payment of any kind: query it, give money back, cancel it (被扫支付)."""

from __future__ import annotations

from datetime import datetime

from chaoying_async.sansio.api.combined_rules import AtLeastOne, NotAbove
from chaoying_async.sansio.api.details import Promotion, RefundItem
from chaoying_async.sansio.api.endpoint import Endpoint, Host, Request
from chaoying_async.sansio.api.field_rules import (
    Amount,
    Identifier,
    OrderNumber,
    PayTypeValue,
    RefundNumber,
)
from chaoying_async.sansio.enums import FeeType, Method, PayType, RefundChannel, TradeTypeResult
from chaoying_async.sansio.meaning import Family
from chaoying_async.sansio.model import Model, model
from chaoying_async.sansio.values import Fen


@model
class OrderQueryResult(Model):
    """What :class:`OrderQuery` brings back: 订单查询."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    appid: str | None = None
    """The AppId of the official account that the call was made for.（调用接口提交的公众账号 ID）"""
    openid: str | None = None
    """The customer under ``appid``.（用户在商户 appid 下的唯一标识）"""
    sub_appid: str | None = None
    """The AppId of the sub-merchant's official account.（子商户公众账号 ID）"""
    sub_openid: str | None = None
    """The customer under ``sub_appid``; there only if the request had a ``sub_appid``.
    （子商户 appid 下用户唯一标识，请求时传 sub_appid 才返回）
    """
    buyer_user_id: str | None = None
    """The buyer's id in the wallet.（买家 Id）"""
    out_trade_no: str
    """Your order number.（商户订单号）"""
    transaction_id: str | None = None
    """The platform's order number.（平台交易号）"""
    out_transaction_id: str | None = None
    """The wallet's order number.（第三方订单号）"""
    base_fee: Fen
    """The order amount (payable) in fen: compare this one with your order (C 42).
    （订单应付金额，单位分，用它核对订单）
    """
    total_fee: Fen
    """What the customer actually paid, in fen; less than the order amount after a coupon (C 42).
    （订单实付金额，单位分，有代金券时小于应付金额，不用它核对订单）
    """
    coupon_fee: Fen | None = None
    """The coupons' part of the order amount, in fen; the rest was paid in cash.
    （代金券金额，单位分；订单金额减去它为现金支付金额）
    """
    fee_type: FeeType | str | None = None
    """The currency (ISO 4217); CNY where it is absent.（货币类型，默认人民币 CNY）"""
    attach: str | None = None
    """The extra data of the request, unchanged.（商家数据包，原样返回）"""
    time_end: datetime | None = None
    """When the payment was completed; aware, in GMT+8.（支付完成时间，GMT+8）"""
    nonce_str: str | None = None
    """A random string.（随机字符串）"""
    trade_type: TradeTypeResult | str | None = None
    """How the order was paid; an open set (C 82).（交易类型）"""
    paytype: PayType | str | None = None
    """The wallet that paid.（支付方式）"""
    promotion_detail: tuple[Promotion, ...] | None = None
    """The promotions that applied.（营销详情）"""
    wx_mch_id: str | None = None
    """The WeChat Pay merchant number of the service provider.（微信服务商商户号）"""
    wx_sub_mch_id: str | None = None
    """The WeChat Pay number of the sub-merchant.（微信子商户号）"""


@model
class OrderQuery(Request[OrderQueryResult]):
    """``orderquery`` 订单查询: query an order.

    Asks how an order ended, by ``out_trade_no`` (which wins) or ``transaction_id``. A result means
    *paid*. The call is safe to repeat. "Not found" (20007) right after a lost answer may mean "not
    there yet" (C 38).
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
    checks = (AtLeastOne(("out_trade_no", "transaction_id")),)

    paytype: PayTypeValue
    """The wallet that the order was paid with; under a wrong one the order is not found.
    （支付方式，填错则查不到订单）
    """
    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """
    out_trade_no: Identifier | None = None
    """Your order number; one of the two numbers is required, and this one wins where both are
    given.
    （商户订单号，与平台交易号至少一个，同时存在时优先）
    """
    transaction_id: Identifier | None = None
    """The platform's order number, where yours is not at hand; one of the two numbers is required.
    （平台交易号，与商户订单号至少一个）
    """


@model
class RefundResult(Model):
    """What :class:`Refund` brings back: 交易退款."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    out_trade_no: str | None = None
    """Your order number.（商户订单号）"""
    transaction_id: str | None = None
    """The platform's order number.（平台交易号）"""
    out_transaction_id: str | None = None
    """The wallet's order number, although the document calls it a refund number (C 56).
    （第三方订单号，文档称第三方退款单号）
    """
    out_refund_no: str | None = None
    """Your refund number.（商户退款单号）"""
    refund_id: str | None = None
    """The platform's refund number.（平台退款单号）"""
    refund_channel: RefundChannel | str | None = None
    """The way that the money goes back; ORIGINAL where it is absent.（退款渠道，默认原路退款）"""
    base_fee: Fen | None = None
    """The order amount (payable) in fen.（订单应付金额，单位分）"""
    total_fee: Fen | None = None
    """What the customer actually paid for the order, in fen.（订单实付金额，单位分，不用它核对）"""
    base_refund_fee: Fen | None = None
    """The refund that was applied for, in fen: compare this one (C 43).
    （申请退款金额，单位分，用它核对）
    """
    refund_fee: Fen | None = None
    """What was actually returned, in fen; less than applied for where coupons were used (C 43).
    （实际退款金额，单位分，用过代金券时小于申请金额）
    """
    coupon_refund_fee: Fen | None = None
    """The coupons' part of the refund, in fen; the rest is cash.
    （代金券退款金额，单位分；退款金额减去它为现金）
    """
    paytype: PayType | str | None = None
    """The wallet that paid.（支付方式）"""
    nonce_str: str | None = None
    """A random string.（随机字符串）"""


@model
class Refund(Request[RefundResult]):
    """``refund`` 交易退款: refund.

    Gives back money of a paid order. ``total_fee`` is the order amount (the ``base_fee`` of the
    answers, never what was paid, C 42), ``refund_fee`` what is applied for; both in fen. A result
    means *accepted*: the money is back only when :class:`RefundQuery` says so (C 40). The call
    moves money, so it is sent once. When the answer is unclear, query the refund with the same
    ``out_refund_no``, and never try a new number before the first refund is known to have failed
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
        AtLeastOne(("out_trade_no", "transaction_id")),
        NotAbove("refund_fee", "total_fee"),
    )

    paytype: PayTypeValue
    """The wallet that the order was paid with.（支付方式，与原订单一致）"""
    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """
    out_trade_no: Identifier | None = None
    """Your order number; one of the two numbers is required, and this one wins where both are
    given.
    （商户订单号，与平台单号至少一个，同时存在时优先）
    """
    transaction_id: Identifier | None = None
    """The platform's order number, where yours is not at hand; one of the two numbers is required.
    （平台单号，与商户订单号至少一个）
    """
    out_refund_no: RefundNumber
    """Your number for the refund that you intend: 1 to 32 letters, digits, hyphens or underscores.
    Keep it until the refund is known to have failed (C 52).
    （商户退款单号，1 到 32 个字母、数字、中划线或下划线；确知退款失败之前不要更换）
    """
    total_fee: Amount
    """The order amount (``base_fee``) in fen, not what the customer paid (C 42).
    （订单应付金额，单位分，不是实付金额）
    """
    refund_fee: Amount
    """What is to go back, in fen; it returns as ``base_refund_fee`` (C 43).
    （申请退款金额，单位分，响应中为 base_refund_fee）
    """
    op_user_id: Identifier | None = None
    """The cashier's account. If it is left out, the session's is sent (on the command line:
    CHAOYING_OP_USER_ID).
    （操作员帐号）
    """


@model
class RefundQueryResult(Model):
    """What :class:`RefundQuery` brings back: 退款查询."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    out_trade_no: str | None = None
    """Your order number.（商户订单号）"""
    transaction_id: str | None = None
    """The platform's order number.（平台交易号）"""
    out_transaction_id: str | None = None
    """The wallet's order number.（第三方订单号）"""
    refund_count: int | None = None
    """How many refunds the order has.（退款笔数）"""
    base_refund_fee_summary: Fen | None = None
    """The sum of the refunds applied for, in fen.（申请退款汇总金额，单位分）"""
    refund_fee_summary: Fen | None = None
    """The sum of what was actually returned, in fen.（实际退款汇总金额，单位分）"""
    refund_list: tuple[RefundItem, ...]
    """Every refund of the order; yours is the one with your ``out_refund_no``.
    （退款单集合，以 out_refund_no 找到所查的一笔）
    """
    paytype: PayType | str | None = None
    """The wallet that paid.（支付方式）"""
    nonce_str: str | None = None
    """A random string.（随机字符串）"""
    wx_mch_id: str | None = None
    """The WeChat Pay merchant number of the service provider.（微信服务商商户号）"""
    wx_sub_mch_id: str | None = None
    """The WeChat Pay number of the sub-merchant.（微信子商户号）"""


@model
class RefundQuery(Request[RefundQueryResult]):
    """``refundquery`` 退款查询: query refunds.

    Asks how a refund ended, by ``out_refund_no`` (which wins) or ``refund_id``; order numbers do
    not work (since v2.5.1). Look at the ``refund_status`` of your entry in ``refund_list``, not at
    ``trade_state``. The call is safe to repeat; refunds to bank cards take 1 to 3 working days.
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
    checks = (AtLeastOne(("out_refund_no", "refund_id")),)

    paytype: PayTypeValue
    """The wallet that the order was paid with; under a wrong one the refund is not found.
    （支付方式，填错则查不到退款）
    """
    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """
    out_refund_no: RefundNumber | None = None
    """Your refund number; one of the two numbers is required, and this one wins where both are
    given.
    （商户退款单号，与平台退款单号至少一个，同时存在时优先）
    """
    refund_id: Identifier | None = None
    """The platform's refund number, where yours is not at hand; one of the two numbers is required.
    （平台退款单号，与商户退款单号至少一个）
    """


@model
class CancelResult(Model):
    """What :class:`Cancel` brings back: 交易撤销."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    out_trade_no: str | None = None
    """Your order number.（商户订单号）"""
    paytype: PayType | str | None = None
    """The wallet that paid.（支付方式）"""
    nonce_str: str | None = None
    """A random string.（随机字符串）"""
    wx_mch_id: str | None = None
    """The WeChat Pay merchant number of the service provider.（微信服务商商户号）"""
    wx_sub_mch_id: str | None = None
    """The WeChat Pay number of the sub-merchant.（微信子商户号）"""


@model
class Cancel(Request[CancelResult]):
    """``cancel`` 交易撤销: cancel an order.

    Closes an unpaid order, or gives a paid one back (C 36). The order must be younger than 5
    minutes and older than 15 seconds (C 34, C 35). The call moves money, so it is sent once. A
    result means that it was carried out; after an unclear end the order must be queried before the
    goods are sold again.
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
    """The wallet that the order was to be paid with.（支付方式，与原订单一致）"""
    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """
    out_trade_no: OrderNumber
    """Your number of the order that is to be cancelled.（商户订单号）"""
    op_user_id: Identifier | None = None
    """The cashier's account. If it is left out, the session's is sent (on the command line:
    CHAOYING_OP_USER_ID).
    （操作员帐号）
    """
