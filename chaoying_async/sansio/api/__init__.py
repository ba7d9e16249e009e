"""The document, a chapter a module: every request and what it brings back."""

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
