"""What the document packs as JSON text into a single field (C 100)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from chaoying_async.sansio.enums import (
    FundChannel,
    PaymentChannelId,
    PromotionScope,
    PromotionType,
    RefundChannel,
    RefundStatus,
)
from chaoying_async.sansio.model import Model, model
from chaoying_async.sansio.values import Fen


@model
class PromotionGoods(Model):
    """One item that a promotion applied to; not the ``goods_detail`` of a request.

    Known from examples, where the amounts look like fen.
    """

    goods_id: str | None = None
    """The product code.（商品编码）"""
    quantity: int | None = None
    """How many of it.（商品数量）"""
    price: Fen | None = None
    """The unit price, by the look of the example in fen.（商品单价，单位应为分）"""
    discount_amount: Fen | None = None
    """The discount, by the look of the example in fen.（优惠金额，单位应为分）"""
    goods_remark: str | None = None
    """A remark.（商品备注）"""


@model
class Promotion(Model):
    """One entry of ``promotion_detail`` (营销详情); the document shows it in examples only.

    The amounts there look like fen.
    """

    promotion_id: str | None = None
    """The id of the promotion.（优惠编号）"""
    name: str | None = None
    """The name of the promotion.（优惠名称）"""
    scope: PromotionScope | str | None = None
    """What the promotion applies to; an open set.（优惠范围）"""
    type: PromotionType | str | None = None
    """The kind of promotion; an open set.（优惠类型）"""
    amount: Fen | None = None
    """The discount, by the look of the example in fen.（优惠金额，单位应为分）"""
    activity_id: str | None = None
    """The id of the campaign.（活动编号）"""
    wxpay_contribute: Fen | None = None
    """WeChat's part of the discount, by the look of the example in fen.（微信出资，单位应为分）"""
    merchant_contribute: Fen | None = None
    """The merchant's part of the discount, by the look of the example in fen.
    （商户出资，单位应为分）
    """
    other_contribute: Fen | None = None
    """The part of the discount that others pay, by the look of the example in fen.
    （其他出资，单位应为分）
    """
    goods_detail: tuple[PromotionGoods, ...] | None = None
    """The goods that it applied to.（优惠所涉商品）"""


@model
class RefundItem(Model):
    """One entry of ``refund_list`` (退款单集合): ``refund_status`` alone says how it ended (C 40).

    ``base_refund_fee`` is what was applied for, ``refund_fee`` what was returned, both in fen: with
    coupons they differ, so compare the first one (C 43).
    """

    serial_no: str | None = None
    """The refund's position by the time it was applied for; text, and where it starts is not
    promised (C 102).
    （退款序号，按退款申请时间升序排列，起始值不定）
    """
    refund_id: str | None = None
    """The platform's refund number.（平台退款单号）"""
    out_refund_id: str | None = None
    """The wallet's refund number.（第三方退款单号）"""
    out_refund_no: str | None = None
    """Your refund number.（商户退款单号）"""
    refund_channel: RefundChannel | str | None = None
    """The way that the money goes back; ORIGINAL where it is absent.（退款渠道，默认原路退款）"""
    base_refund_fee: Fen | None = None
    """What was applied for, in fen: compare this one (C 43).
    （当次退款申请金额，单位分，用它核对）
    """
    refund_fee: Fen | None = None
    """What was actually returned, in fen; less than applied for where coupons were used (C 43).
    （当次实际退款金额，单位分，用过代金券时小于申请金额）
    """
    coupon_refund_fee: Fen | None = None
    """The coupons' part of the refund, in fen; the rest is cash.
    （代金券退款金额，单位分；退款金额减去它为现金）
    """
    refund_status: RefundStatus | str | None = None
    """How this refund stands; the only field that says how it ended (C 40).
    （退款状态，只有它说明退款结果）
    """
    refund_time: datetime | None = None
    """When the money went back; aware, in GMT+8.（退款时间，GMT+8）"""


@model
class Partner(Model):
    """One WeChat sub-merchant of ``partner_list`` (微信子商户)."""

    pay_channel: PaymentChannelId | str | None = None
    """The channel of the payments; an open set (C 103).（所属支付通道编码）"""
    appid: str | None = None
    """The AppId of the official account.（公众号 AppId）"""
    partner_id: str | None = None
    """The WeChat sub-merchant number; absent until WeChat has approved it.
    （微信子商户号，在微信方未报备通过则为空）
    """


@model
class FundBill(Model):
    """One funding source of ``fund_bill_list`` (资金渠道).

    ``amount`` is in *yuan*, unlike every other amount (C 46).
    """

    amount: Decimal | None = None
    """What this source paid, in *yuan*, unlike every other amount (C 46).
    （该渠道支付的金额，单位元，其他金额都是分）
    """
    fundChannel: FundChannel | str | None = None
    """The source of the money; an open set.（资金渠道）"""
