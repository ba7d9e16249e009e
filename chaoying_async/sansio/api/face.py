"""刷脸支付: payment by face."""

from __future__ import annotations

from datetime import datetime

import attrs

from chaoying_async.sansio.api.details import Promotion
from chaoying_async.sansio.api.endpoint import Endpoint, Host, Request
from chaoying_async.sansio.api.field_rules import (
    Amount,
    Goods,
    Identifier,
    Ip,
    OrderNumber,
    PayTypeValue,
    Placeholder,
    Text,
)
from chaoying_async.sansio.enums import IsSubscribe, Method
from chaoying_async.sansio.meaning import Family
from chaoying_async.sansio.model import Model, frozen_list, model
from chaoying_async.sansio.values import Fen


@model
class GetFaceAuthResult(Model):
    """What :class:`GetFaceAuth` brings back: 获取SDK调用凭证."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    appid: str | None = None
    """The AppId of the service provider.（服务商 appid）"""
    sub_appid: str | None = None
    """The AppId of the sub-merchant, in service provider mode.（子商户 sub_appid，服务商模式）"""
    channel_mch_id: str | None = None
    """The merchant number of the service provider.（服务商商户号）"""
    sub_mch_id: str | None = None
    """The number of the sub-merchant, in service provider mode.（子商户号，服务商模式）"""
    authinfo: str | None = None
    """The credential that the SDK is called with; a secret.（SDK 调用凭证，须保密）"""
    expires_in: int | None = None
    """For how many seconds ``authinfo`` may be used again by the same terminal with the same
    parameters.
    （authinfo 的有效时间，单位秒）
    """
    nonce_str: str | None = None
    """A random string.（随机字符串）"""
    wx_mch_id: str | None = None
    """The WeChat Pay merchant number of the service provider.（微信服务商商户号）"""
    wx_sub_mch_id: str | None = None
    """The WeChat Pay number of the sub-merchant.（微信子商户号）"""


@model
class GetFaceAuth(Request[GetFaceAuthResult]):
    """``getfaceauth`` 获取SDK调用凭证: get face-payment SDK credential.

    Fetches the credential that the face-payment SDK starts with. The same terminal may use it again
    with the same parameters for ``expires_in`` seconds. The call is safe to repeat.
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
    """The wallet that is going to pay.（支付方式）"""
    sub_appid: Identifier | None = None
    """The AppId of the merchant's official account.（商户公众账号 Id）"""
    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """
    store_id: Identifier
    """The store's number.（门店编号）"""
    store_name: Text
    """The store's name.（门店名称）"""
    device_id: Identifier
    """The number of the terminal device.（终端设备编号）"""
    rawdata: Text
    """What the face-payment SDK gave out when it was initialised.（初始化数据）"""


@model
class FacePayResult(Model):
    """What :class:`FacePay` brings back: 提交支付."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    appid: str | None = None
    """The AppId of the official account that the call was made for.（调用接口提交的公众账号 ID）"""
    is_subscribe: IsSubscribe | str | None = None
    """Whether the customer follows the official account ``appid``.
    （用户是否关注公众账号，Y 关注、N 未关注）
    """
    openid: str | None = None
    """The customer under ``appid``.（用户在商户 appid 下的唯一标识）"""
    sub_appid: str | None = None
    """The AppId of the sub-merchant's official account.（子商户公众账号 ID）"""
    sub_is_subscribe: IsSubscribe | str | None = None
    """Whether the customer follows the sub-merchant's official account.
    （用户是否关注子公众账号，Y 关注、N 未关注）
    """
    sub_openid: str | None = None
    """The customer under ``sub_appid``; there only if the request had a ``sub_appid``.
    （子商户 appid 下用户唯一标识，请求时传 sub_appid 才返回）
    """
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
    attach: str | None = None
    """The extra data of the request, unchanged.（商家数据包，原样返回）"""
    time_end: datetime | None = None
    """When the payment was completed; aware, in GMT+8.（支付完成时间，GMT+8）"""
    nonce_str: str | None = None
    """A random string.（随机字符串）"""
    promotion_detail: tuple[Promotion, ...] | None = None
    """The promotions that applied.（营销详情）"""
    wx_mch_id: str | None = None
    """The WeChat Pay merchant number of the service provider.（微信服务商商户号）"""
    wx_sub_mch_id: str | None = None
    """The WeChat Pay number of the sub-merchant.（微信子商户号）"""


@model
class FacePay(Request[FacePayResult]):
    """``facepay`` 提交支付: submit a face payment.

    Charges a customer who was recognised by face (刷脸). It is :class:`Pay` with ``face_code`` and
    ``openid`` in place of the payment code; ``total_fee`` is in fen here too.
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
    """The wallet that pays; the answer has none, so keep it for later queries (C 33).
    （支付方式，响应中没有，请自行保存以便查询）
    """
    sub_appid: Identifier | None = None
    """The AppId of the merchant's official account.（商户公众账号 Id）"""
    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """
    openid: Identifier
    """The customer, as the face-payment SDK names them.（用户标识）"""
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
    face_code: Identifier
    """The credential that the face-payment SDK gave out; a secret.（人脸凭证，须保密）"""
    op_user_id: Identifier | None = None
    """The cashier's account. If it is left out, the session's is sent (on the command line:
    CHAOYING_OP_USER_ID); without that one, the merchant number counts.
    （操作员帐号，默认为商户号）
    """
    op_shop_id: Identifier | None = None
    """The store's number.（门店编号）"""
    op_device_id: Identifier | None = None
    """The till's number.（设备编号）"""
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
