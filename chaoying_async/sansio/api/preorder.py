"""预下单支付: orders that the customer pays later, by QR code, in an app or in a mini program."""

from __future__ import annotations

import json
from typing import Any

import attrs

from chaoying_async.sansio.api.combined_rules import BothOrNone, InOrder, NeededWhen
from chaoying_async.sansio.api.endpoint import Endpoint, Host, Request
from chaoying_async.sansio.api.field_rules import (
    Amount,
    Goods,
    Identifier,
    Ip,
    IsMinipgValue,
    LimitPayValue,
    Placeholder,
    PlainOrderNumber,
    Text,
    Time,
    TradeTypeValue,
    Url,
)
from chaoying_async.sansio.meaning import Family
from chaoying_async.sansio.model import Model, frozen_list, model


class _PayInfo(Model):
    """What both pre-orders bring back: perhaps the text that a wallet is started with."""

    __slots__ = ()
    pay_info: str | None

    def pay_info_json(self) -> Any:
        """``pay_info`` parsed, for reading; hand the text itself to the wallet unchanged (C 106).

        None where there is no ``pay_info``, or where it is not JSON.
        """
        try:
            return None if self.pay_info is None else json.loads(self.pay_info)
        except (ValueError, RecursionError):
            return None


@model
class WechatPreOrderResult(_PayInfo):
    """What :class:`WechatPreOrder` brings back: 微信预下单."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    appid: str | None = None
    """The AppId of the official account that the call was made for.（调用接口提交的公众账号 ID）"""
    sub_openid: str | None = None
    """The customer under ``sub_appid``; there only if the request had a ``sub_appid``.
    （子商户 appid 下用户唯一标识，请求时传 sub_appid 才返回）
    """
    out_trade_no: str | None = None
    """Your order number.（商户订单号）"""
    token_id: str | None = None
    """A token of the order.（动态口令）"""
    pay_info: str | None = None
    """What WeChat is started with, as JSON text: hand it on unchanged (C 106). There for JSPAY.
    （支付信息，用以唤起微信支付；trade_type=JSPAY 时返回，须原样交给钱包）
    """
    code_img_url: str | None = None
    """Where a picture of the QR code lies: never fetched, draw it from ``code_url`` (C 105). There
    for NATIVE.
    （二维码图片地址，本库从不访问，请用 code_url 生成；trade_type=NATIVE 时返回）
    """
    code_url: str | None = None
    """What the QR code says: draw the picture from it. There for NATIVE.
    （二维码内容，商户据此自行生成二维码；trade_type=NATIVE 时返回）
    """
    services: str | None = None
    """The trade types that are supported, separated by vertical bars.
    （支持的交易类型，多个以竖线分割）
    """
    nonce_str: str | None = None
    """A random string.（随机字符串）"""
    wx_mch_id: str | None = None
    """The WeChat Pay merchant number of the service provider.（微信服务商商户号）"""
    wx_sub_mch_id: str | None = None
    """The WeChat Pay number of the sub-merchant.（微信子商户号）"""


@model
class WechatPreOrder(Request[WechatPreOrderResult]):
    """``WECHAT_PreOrder`` 微信预下单: WeChat pre-order.

    Makes an order that the customer pays in WeChat. ``total_fee`` is in fen. A result means that
    the order *exists*, not that anybody has paid (C 24): wait for the notification, or query. JSPAY
    brings back ``pay_info``, NATIVE ``code_url``. The document prints these answers without a
    signature, so ``Reply.signed`` is mostly False. The call moves money, so it is sent once.
    """

    endpoint = Endpoint(
        name="WECHAT_PreOrder",
        title="微信预下单",
        family=Family.PREORDER,
        host=Host.QRPAY,
        path="/Open/WECHAT_PreOrder",
        must_sign=False,
    )
    result_type = WechatPreOrderResult
    needed = ("mch_id",)
    checks = (
        NeededWhen("trade_type", ("JSPAY", "APP", "APP_BANK"), ("sub_appid",)),
        NeededWhen("trade_type", ("JSPAY",), ("buyer_id",)),
        InOrder("time_start", "time_expire"),
    )
    advice = (NeededWhen("trade_type", ("NATIVE",), ("product_id",)),)  # C 63

    nonce_str: Text | None = None
    """A random string.（随机字符串）"""
    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """
    sub_appid: Identifier | None = None
    """The AppId of the official account, or of the app. Needed for JSPAY, APP and APP_BANK (C 62).
    （公众号 AppId 或开放平台 APP 应用 AppId；JSPAY、APP、APP_BANK 必传）
    """
    is_minipg: IsMinipgValue | None = None
    """Whether the customer pays in a mini program or in an official account.
    （是否小程序支付：1 小程序、0 公众号）
    """
    buyer_id: Identifier | None = None
    """The customer under ``sub_appid`` (WeChat's authorisation gives it out). Needed for JSPAY.
    （在 sub_appid 下授权取得的买家 sub_openid；JSPAY 必传）
    """
    device_info: Identifier | None = None
    """Your number for the terminal. If it is left out, the session's is sent (the command line has
    none).
    （终端设备号，商户自定义）
    """
    body: Text
    """What is being sold, as the customer reads it.（商品描述）"""
    attach: Text | None = None
    """Extra data of yours that comes back unchanged.（商户附加信息，原样返回）"""
    out_trade_no: PlainOrderNumber
    """Your order number, one of its own for every attempt: 5 to 32 letters or digits, no underscore
    here (C 49); case counts.
    （商户订单号，每次支付各用一个，5 到 32 个字母或数字，不能有下划线，区分大小写）
    """
    total_fee: Amount
    """The order amount in fen, before any coupon.（总金额，即订单金额，单位分）"""
    mch_create_ip: Ip | None = None
    """The IP address of the machine that calls the gateway; the document shows IPv4 (C 108).
    （调用支付 API 的机器 IP）
    """
    time_start: Time | None = None
    """When the order becomes payable; any time zone, sent as GMT+8.
    （交易起始时间，以 GMT+8 发送）
    """
    time_expire: Time | None = None
    """When the order stops being payable; any time zone, sent as GMT+8.
    （交易结束时间，以 GMT+8 发送）
    """
    notify_url: Url | None = None
    """Where the notification goes: reachable from the gateway, without a query (C 86).
    （通知地址，须可直接访问，不能携带参数）
    """
    op_user_id: Identifier | None = None
    """The cashier's account. If it is left out, the session's is sent (on the command line:
    CHAOYING_OP_USER_ID); without that one, the merchant number counts.
    （操作员帐号，默认为商户号）
    """
    op_shop_id: Identifier | None = None
    """The store's number.（门店编号）"""
    limit_pay: LimitPayValue | None = None
    """``NO_CREDIT`` forbids credit cards; the document spells it in two ways (C 66).
    （指定支付方式，no_credit 指定不能使用信用卡，文档有大小写两种写法）
    """
    trade_type: TradeTypeValue
    """Where the customer pays: inside the wallet, by QR code or in an app.
    （交易类型：服务窗支付、原生扫码支付、APP 支付、APP 支付银行模式）
    """
    product_id: Identifier | None = None
    """Your product id that the QR code contains. The document demands it for NATIVE; its example
    has none, so a warning is all (C 63).
    （商品 ID，二维码中包含；文档称 trade_type=NATIVE 时必传，缺少时仅警告）
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
class AlipayPreOrderResult(_PayInfo):
    """What :class:`AlipayPreOrder` brings back: 支付宝预下单."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    out_trade_no: str | None = None
    """Your order number.（商户订单号）"""
    pay_info: str | None = None
    """What Alipay is started with, as JSON text: hand it on unchanged (C 106). There for JSPAY.
    （JSON 字符串，自行唤起支付宝钱包支付；trade_type=JSPAY 时返回，须原样交给钱包）
    """
    pay_url: str | None = None
    """A payment page for reference only: never fetched, make one of your own (C 105). There for
    JSPAY.
    （支付页面，仅供参考，本库从不访问，商户需自己实现；trade_type=JSPAY 时返回）
    """
    code_img_url: str | None = None
    """Where a picture of the QR code lies: never fetched, draw it from ``code_url`` (C 105). There
    for NATIVE.
    （二维码图片地址，本库从不访问，请用 code_url 生成；trade_type=NATIVE 时返回）
    """
    code_url: str | None = None
    """What the QR code says: draw the picture from it. There for NATIVE.
    （二维码内容，商户据此自行生成二维码；trade_type=NATIVE 时返回）
    """
    nonce_str: str | None = None
    """A random string.（随机字符串）"""


@model
class AlipayPreOrder(Request[AlipayPreOrderResult]):
    """``ALIPAY_PreOrder`` 支付宝预下单: Alipay pre-order.

    Makes an order that the customer pays in Alipay. ``total_fee`` is in fen. What
    :class:`WechatPreOrder` says holds here too.
    """

    endpoint = Endpoint(
        name="ALIPAY_PreOrder",
        title="支付宝预下单",
        family=Family.PREORDER,
        host=Host.QRPAY,
        path="/Open/ALIPAY_PreOrder",
        must_sign=False,
    )
    result_type = AlipayPreOrderResult
    extra_takes = frozenset({"goods_detail"})  # taken since after v2.9.0
    needed = ("mch_id",)
    checks = (
        NeededWhen("trade_type", ("JSPAY",), ("buyer_logon_id", "buyer_id")),
        BothOrNone("time_start", "time_expire"),
        InOrder("time_start", "time_expire"),
    )
    advice = (NeededWhen("trade_type", ("JSPAY",), ("product_id",)),)  # C 63

    nonce_str: Text | None = None
    """A random string.（随机字符串）"""
    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """
    device_info: Identifier | None = None
    """Your number for the terminal. If it is left out, the session's is sent (the command line has
    none).
    （终端设备号，商户自定义）
    """
    body: Text
    """What is being sold, as the customer reads it.（商品描述）"""
    attach: Text | None = None
    """Extra data of yours that comes back unchanged.（商户附加信息，原样返回）"""
    out_trade_no: PlainOrderNumber
    """Your order number, one of its own for every attempt: 5 to 32 letters or digits, no underscore
    here (C 49); case counts.
    （商户订单号，每次支付各用一个，5 到 32 个字母或数字，不能有下划线，区分大小写）
    """
    total_fee: Amount
    """The order amount in fen, before any coupon.（总金额，即订单金额，单位分）"""
    mch_create_ip: Ip | None = None
    """The IP address of the machine that calls the gateway; the document shows IPv4 (C 108).
    （调用支付 API 的机器 IP）
    """
    time_start: Time | None = None
    """When the order becomes payable; any time zone, sent as GMT+8. Only together with
    ``time_expire``.
    （交易起始时间，以 GMT+8 发送，须与交易结束时间同时传入）
    """
    time_expire: Time | None = None
    """When the order stops being payable; any time zone, sent as GMT+8. Only together with
    ``time_start``.
    （交易结束时间，以 GMT+8 发送，须与交易起始时间同时传入）
    """
    goods_tag: Text | None = None
    """The promotion tag of the order, for coupons and discounts.
    （订单优惠标记，用于优惠券或者满减）
    """
    notify_url: Url | None = None
    """Where the notification goes: reachable from the gateway, without a query (C 86).
    （通知地址，须可直接访问，不能携带参数）
    """
    op_user_id: Identifier | None = None
    """The cashier's account. If it is left out, the session's is sent (on the command line:
    CHAOYING_OP_USER_ID); without that one, the merchant number counts.
    （操作员帐号，默认为商户号）
    """
    op_shop_id: Identifier | None = None
    """The store's number.（门店编号）"""
    limit_pay: LimitPayValue | None = None
    """``NO_CREDIT`` forbids credit cards; the document spells it in two ways (C 66).
    （指定支付方式，no_credit 指定不能使用信用卡，文档有大小写两种写法）
    """
    trade_type: TradeTypeValue
    """Where the customer pays: inside the wallet, by QR code or in an app.
    （交易类型：服务窗支付、原生扫码支付、APP 支付、APP 支付银行模式）
    """
    product_id: Identifier | None = None
    """Your product id that the QR code contains. The document demands it for JSPAY; a warning is
    all (C 63).
    （商品 ID，二维码中包含；文档称 trade_type=JSPAY 时必传，缺少时仅警告）
    """
    buyer_logon_id: Identifier | None = None
    """The buyer's Alipay account. JSPAY needs this or ``buyer_id`` (C 65).
    （买家支付宝账号；JSPAY 时和 buyer_id 不能同时为空）
    """
    buyer_id: Identifier | None = None
    """The buyer's Alipay user id. JSPAY needs this or ``buyer_logon_id`` (C 65).
    （买家支付宝用户 ID；JSPAY 时和 buyer_logon_id 不能同时为空）
    """
