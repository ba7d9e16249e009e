"""刷脸支付: payment by face."""

from __future__ import annotations

from datetime import datetime

import attrs

from chaoying_async.sansio.api.details import Promotion
from chaoying_async.sansio.api.values import PayTypeValue
from chaoying_async.sansio.enums import IsSubscribe, Method
from chaoying_async.sansio.models import Model, frozen_list, model
from chaoying_async.sansio.outcome import Family
from chaoying_async.sansio.request import Endpoint, Host, Request
from chaoying_async.sansio.rules import Amount, Goods, Ip, OrderNumber, Placeholder, Text
from chaoying_async.sansio.values import Fen


@model
class GetFaceAuthResult(Model):
    """What :class:`GetFaceAuth` brings back: 获取SDK调用凭证."""

    mch_id: str | None = None
    appid: str | None = None
    sub_appid: str | None = None
    channel_mch_id: str | None = None
    sub_mch_id: str | None = None
    authinfo: str | None = None
    expires_in: int | None = None
    nonce_str: str | None = None
    wx_mch_id: str | None = None
    wx_sub_mch_id: str | None = None


@model
class GetFaceAuth(Request[GetFaceAuthResult]):
    """``getfaceauth`` 获取SDK调用凭证: get face-payment SDK credential.

    The credential that the face-payment SDK starts with. ``authinfo`` may be reused by the same
    terminal with the same parameters for ``expires_in`` seconds. Safe to repeat.
    """

    endpoint = Endpoint(
        name="getfaceauth",
        title="获取SDK调用凭证",
        family=Family.LOOKUP,
        host=Host.API,
        path="/UnifiedPay/Gateway",
        gateway_method=Method.getfaceauth,
        repeatable=True,
    )
    result_type = GetFaceAuthResult
    needed = ("mch_id",)

    paytype: PayTypeValue
    sub_appid: Text | None = None
    mch_id: Text | None = None
    store_id: Text
    store_name: Text
    device_id: Text
    rawdata: Text


@model
class FacePayResult(Model):
    """What :class:`FacePay` brings back: 提交支付."""

    mch_id: str | None = None
    appid: str | None = None
    is_subscribe: IsSubscribe | str | None = None
    openid: str | None = None
    sub_appid: str | None = None
    sub_is_subscribe: IsSubscribe | str | None = None
    sub_openid: str | None = None
    transaction_id: str | None = None
    out_transaction_id: str | None = None
    out_trade_no: str
    #: Fen, the order amount (payable): compare this one with your order (C 42).
    base_fee: Fen
    #: Fen, what the customer actually paid (C 42).
    total_fee: Fen
    coupon_fee: Fen | None = None
    attach: str | None = None
    time_end: datetime | None = None
    nonce_str: str | None = None
    promotion_detail: tuple[Promotion, ...] | None = None
    wx_mch_id: str | None = None
    wx_sub_mch_id: str | None = None


@model
class FacePay(Request[FacePayResult]):
    """``facepay`` 提交支付: submit a face payment.

    Charge a customer who was recognised by face (刷脸). As :class:`Pay`, but with ``face_code`` and
    ``openid``. The answer has no ``paytype``: keep the request's for later queries (C 33). QQ
    Wallet needs ``device_info`` (C 69).
    """

    endpoint = Endpoint(
        name="facepay",
        title="提交支付",
        family=Family.PAY,
        host=Host.PAY,
        path="/UnifiedPay/Gateway",
        gateway_method=Method.facepay,
    )
    result_type = FacePayResult
    needed = ("mch_id",)

    paytype: PayTypeValue
    sub_appid: Text | None = None
    mch_id: Text | None = None
    openid: Text
    out_trade_no: OrderNumber
    device_info: Text | None = None
    body: Text
    attach: Text | None = None
    total_fee: Amount
    mch_create_ip: Ip | None = None
    face_code: Text
    op_user_id: Text | None = None
    op_shop_id: Text | None = None
    op_device_id: Text | None = None
    goods_tag: Text | None = None
    goods_detail: Goods | None = attrs.field(default=None, converter=frozen_list)
    profit_sharing: Text | None = None
    profit_sharing_receiver: Placeholder | None = None
