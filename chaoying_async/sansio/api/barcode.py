"""被扫支付: the cashier scans the payment code of the customer."""

from __future__ import annotations

from datetime import datetime

import attrs

from chaoying_async.sansio.api.combined_rules import ShouldBeShort
from chaoying_async.sansio.api.details import Promotion
from chaoying_async.sansio.api.endpoint import Endpoint, Host, Request
from chaoying_async.sansio.api.field_rules import (
    Amount,
    Goods,
    Identifier,
    Ip,
    OrderNumber,
    Placeholder,
    Text,
)
from chaoying_async.sansio.enums import FeeType, Method, PayType
from chaoying_async.sansio.meaning import Family
from chaoying_async.sansio.model import Model, frozen_list, model
from chaoying_async.sansio.values import Fen


@model
class PayResult(Model):
    """What :class:`Pay` brings back: 提交支付."""

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
    transaction_id: str | None = None
    """The platform's order number.（平台交易号）"""
    out_transaction_id: str | None = None
    """The wallet's order number.（第三方订单号）"""
    out_trade_no: str
    """Your order number.（商户订单号）"""
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
    paytype: PayType | str | None = None
    """The wallet that paid.（支付方式）"""
    nonce_str: str | None = None
    """A random string.（随机字符串）"""
    promotion_detail: tuple[Promotion, ...] | None = None
    """The promotions that applied.（营销详情）"""
    wx_mch_id: str | None = None
    """The WeChat Pay merchant number of the service provider.（微信服务商商户号）"""
    wx_sub_mch_id: str | None = None
    """The WeChat Pay number of the sub-merchant.（微信子商户号）"""


@model
class Pay(Request[PayResult]):
    """``pay`` 提交支付: submit a micropay (merchant scans the customer code).

    Charges the code that the customer shows at the till. ``total_fee`` is in fen. A result means
    *paid* (C 24); compare its ``base_fee`` with your order. The call moves money, so it is sent
    once, and an unclear end is an :class:`~chaoying_async.exceptions.OutcomeUnknownError`: send
    :class:`OrderQuery` next. Every attempt needs its own ``out_trade_no`` (C 51). This call has no
    ``paytype``, but those that follow want one: see :meth:`PayType.from_auth_code` (C 32).
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
        ShouldBeShort("op_device_id", 8, "may have at most 8 characters for UnionPay (C 70)"),
    )

    sub_appid: Identifier | None = None
    """The AppId of the merchant's official account.（商户公众账号 Id）"""
    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """
    out_trade_no: OrderNumber
    """Your order number, one of its own for every attempt: 5 to 32 letters, digits or underscores;
    case counts.
    （商户订单号，每次支付各用一个，5 到 32 个字母、数字或下划线，区分大小写）
    """
    device_info: Identifier | None = None
    """Your number for the terminal. If it is left out, the session's is sent (the command line has
    none). QQ Wallet demands one (C 69).
    （终端设备号，商户自定义；QQ 钱包必传）
    """
    body: Text
    """What is being sold, as the customer reads it.（商品描述）"""
    attach: Text | None = None
    """Extra data of yours that comes back unchanged.（商户附加信息，原样返回）"""
    total_fee: Amount
    """The order amount in fen, before any coupon.（总金额，即订单金额，单位分）"""
    mch_create_ip: Ip | None = None
    """The IP address of the machine that calls the gateway; the document shows IPv4 (C 108).
    （调用支付 API 的机器 IP）
    """
    auth_code: Identifier
    """The payment code that the customer's wallet shows; a secret while it is valid.
    （付款码，扫描用户展示的条码或二维码得到，有效期内须保密）
    """
    op_user_id: Identifier | None = None
    """The cashier's account. If it is left out, the session's is sent (on the command line:
    CHAOYING_OP_USER_ID); without that one, the merchant number counts.
    （操作员帐号，默认为商户号）
    """
    op_shop_id: Identifier | None = None
    """The store's number.（门店编号）"""
    op_device_id: Identifier | None = None
    """The till's number; at most 8 characters for UnionPay (C 70).
    （设备编号，云闪付等银联 APP 限长 8 个字符）
    """
    goods_tag: Text | None = None
    """The promotion tag of the order, for coupons and discounts.
    （订单优惠标记，用于优惠券或者满减）
    """
    goods_detail: Goods | None = attrs.field(default=None, converter=frozen_list)
    """The goods in the order. Their sum is not compared with ``total_fee`` (C 73).
    （商品详情，单价单位分，不与总金额核对）
    """
    profit_sharing: Text | None = None
    """Whether the amount is shared; the document's example is ``N``, and it lists no values (C 72).
    （分账标识，文档示例为 N，未列出取值）
    """
    profit_sharing_receiver: Placeholder | None = None
    """Who gets which share; the document does not say in what form (C 72).
    （分账明细，文档未说明格式）
    """


@model
class AuthCodeToOpenIdResult(Model):
    """What :class:`AuthCodeToOpenId` brings back: 付款码查询买家Id."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    paytype: PayType | str | None = None
    """The wallet that shows the code.（支付方式）"""
    auth_code: str | None = None
    """The payment code that was looked up; a secret while it is valid.
    （所查询的付款码，有效期内须保密）
    """
    sub_appid: str | None = None
    """The AppId of the merchant's official account.（商户公众账号 Id）"""
    sub_openid: str | None = None
    """The buyer behind the payment code.（买家 Id）"""
    nonce_str: str | None = None
    """A random string.（随机字符串）"""
    wx_mch_id: str | None = None
    """The WeChat Pay merchant number of the service provider.（微信服务商商户号）"""
    wx_sub_mch_id: str | None = None
    """The WeChat Pay number of the sub-merchant.（微信子商户号）"""


@model
class AuthCodeToOpenId(Request[AuthCodeToOpenIdResult]):
    """``authcodetoopenid`` 付款码查询买家Id: look up the buyer id behind a payment code.

    Tells who stands behind a payment code. Beware: after this call only this merchant can charge
    the code, until the wallet shows a new one (C 41).
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

    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """
    sub_appid: Identifier | None = None
    """The AppId of the merchant's official account.（商户公众账号 Id）"""
    auth_code: Identifier
    """The payment code that the customer's wallet shows; a secret while it is valid.
    （付款码，扫描用户展示的条码或二维码得到，有效期内须保密）
    """
