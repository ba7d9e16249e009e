"""预下单支付: orders that the customer pays later, by QR code, in an app or in a mini program."""

from __future__ import annotations

import json
from typing import Any

import attrs

from chaoying_async.sansio.api.values import IsMinipgValue, LimitPayValue, TradeTypeValue
from chaoying_async.sansio.checks import both_or_none, in_order, needed_when
from chaoying_async.sansio.models import Model, frozen_list, model
from chaoying_async.sansio.outcome import Family
from chaoying_async.sansio.request import Endpoint, Host, Request
from chaoying_async.sansio.rules import (
    Amount,
    Goods,
    Ip,
    Placeholder,
    PlainOrderNumber,
    Text,
    Time,
    Url,
)


class _PayInfo(Model):
    """Pre-order results that may carry what the wallet is started with."""

    __slots__ = ()
    pay_info: str | None

    def pay_info_json(self) -> Any:
        """``pay_info`` parsed, for reading; hand the text itself to the wallet unchanged (C 106).

        None when there is none or it is not JSON.
        """
        try:
            return None if self.pay_info is None else json.loads(self.pay_info)
        except (ValueError, RecursionError):
            return None


@model
class WechatPreOrderResult(_PayInfo):
    """What :class:`WechatPreOrder` brings back: 微信预下单."""

    mch_id: str | None = None
    appid: str | None = None
    sub_openid: str | None = None
    out_trade_no: str | None = None
    token_id: str | None = None
    pay_info: str | None = None
    code_img_url: str | None = None
    code_url: str | None = None
    services: str | None = None
    nonce_str: str | None = None
    wx_mch_id: str | None = None
    wx_sub_mch_id: str | None = None


@model
class WechatPreOrder(Request[WechatPreOrderResult]):
    """``WECHAT_PreOrder`` 微信预下单: WeChat pre-order.

    Make an order that the customer pays in WeChat. A result means that the order *exists*, not that
    anybody has paid (C 24): wait for the notification or query. JSPAY brings ``pay_info``, NATIVE
    ``code_url`` (draw the QR code from it; ``code_img_url`` is not to be fetched, C 105). The
    document prints these answers without a signature, so ``Reply.signed`` is mostly False.
    ``notify_url`` carries no parameters (C 86). Moves money: sent once.
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
        needed_when("trade_type", ("JSPAY", "APP", "APP_BANK"), "sub_appid"),
        needed_when("trade_type", ("JSPAY",), "buyer_id"),
        in_order("time_start", "time_expire"),
    )
    advice = (needed_when("trade_type", ("NATIVE",), "product_id"),)  # C 63

    nonce_str: Text | None = None
    mch_id: Text | None = None
    sub_appid: Text | None = None
    is_minipg: IsMinipgValue | None = None
    buyer_id: Text | None = None
    device_info: Text | None = None
    body: Text
    attach: Text | None = None
    out_trade_no: PlainOrderNumber
    total_fee: Amount
    mch_create_ip: Ip | None = None
    time_start: Time | None = None
    time_expire: Time | None = None
    notify_url: Url | None = None
    op_user_id: Text | None = None
    op_shop_id: Text | None = None
    limit_pay: LimitPayValue | None = None
    trade_type: TradeTypeValue
    product_id: Text | None = None
    goods_tag: Text | None = None
    goods_detail: Goods | None = attrs.field(default=None, converter=frozen_list)
    profit_sharing: Text | None = None
    profit_sharing_receiver: Placeholder | None = None


@model
class AlipayPreOrderResult(_PayInfo):
    """What :class:`AlipayPreOrder` brings back: 支付宝预下单."""

    mch_id: str | None = None
    out_trade_no: str | None = None
    pay_info: str | None = None
    pay_url: str | None = None
    code_img_url: str | None = None
    code_url: str | None = None
    nonce_str: str | None = None


@model
class AlipayPreOrder(Request[AlipayPreOrderResult]):
    """``ALIPAY_PreOrder`` 支付宝预下单: Alipay pre-order.

    Make an order that the customer pays in Alipay. As :class:`WechatPreOrder`; ``time_start`` and
    ``time_expire`` only together, and JSPAY needs ``buyer_id`` or ``buyer_logon_id`` (C 65).
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
    needed = ("mch_id",)
    checks = (
        needed_when("trade_type", ("JSPAY",), "buyer_logon_id", "buyer_id"),
        both_or_none("time_start", "time_expire"),
        in_order("time_start", "time_expire"),
    )
    advice = (needed_when("trade_type", ("JSPAY",), "product_id"),)  # C 63

    nonce_str: Text | None = None
    mch_id: Text | None = None
    device_info: Text | None = None
    body: Text
    attach: Text | None = None
    out_trade_no: PlainOrderNumber
    total_fee: Amount
    mch_create_ip: Ip | None = None
    time_start: Time | None = None
    time_expire: Time | None = None
    goods_tag: Text | None = None
    notify_url: Url | None = None
    op_user_id: Text | None = None
    op_shop_id: Text | None = None
    limit_pay: LimitPayValue | None = None
    trade_type: TradeTypeValue
    product_id: Text | None = None
    buyer_logon_id: Text | None = None
    buyer_id: Text | None = None
