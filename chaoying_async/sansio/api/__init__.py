"""The document, a chapter a module: every request and what it brings back.

- ``endpoint``: what every request, reply and address is made of.
- ``field_rules``: what each field of a request must look like.
- ``combined_rules``: what several fields must look like together.
- ``barcode``: charge the payment code of a customer (被扫支付).
- ``follow_up``: what follows a payment of any kind: query it, give money back, cancel it.
- ``face``: charge a customer who was recognised by face (刷脸支付).
- ``preorder``: orders that the customer pays later, by QR code or inside a wallet (预下单支付).
- ``merchant``: merchants, their numbers and settings, and mini program logins (运维管理).
- ``terminal``: how a payment terminal learns whose it is (运维管理).
- ``details``: what the document packs as JSON text into a single field.
"""

from __future__ import annotations

from typing import Any

from chaoying_async.sansio.api.barcode import AuthCodeToOpenId, Pay
from chaoying_async.sansio.api.endpoint import Request
from chaoying_async.sansio.api.face import FacePay, GetFaceAuth
from chaoying_async.sansio.api.follow_up import Cancel, OrderQuery, Refund, RefundQuery
from chaoying_async.sansio.api.merchant import (
    GetMchId,
    GetMchInfo,
    GetMchSmsValid,
    GetPartnerId,
    MchReg,
    WxaCode2Session,
    WxAddSubDevConfig,
)
from chaoying_async.sansio.api.preorder import AlipayPreOrder, WechatPreOrder
from chaoying_async.sansio.api.terminal import PayBoxConfGet, QrConfGet

#: Every request of the document, in its order.
REQUESTS: tuple[type[Request[Any]], ...] = (
    GetFaceAuth,
    FacePay,
    Pay,
    OrderQuery,
    Refund,
    RefundQuery,
    Cancel,
    AuthCodeToOpenId,
    WechatPreOrder,
    AlipayPreOrder,
    MchReg,
    GetMchSmsValid,
    GetMchId,
    GetPartnerId,
    GetMchInfo,
    WxaCode2Session,
    WxAddSubDevConfig,
    PayBoxConfGet,
    QrConfGet,
)
