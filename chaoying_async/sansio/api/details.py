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
from chaoying_async.sansio.models import Model, model
from chaoying_async.sansio.values import Fen


@model
class PromotionGoods(Model):
    """One item that a promotion applied to; not the ``goods_detail`` of a request."""

    goods_id: str | None = None
    quantity: int | None = None
    price: Fen | None = None
    discount_amount: Fen | None = None
    goods_remark: str | None = None


@model
class Promotion(Model):
    """One entry of ``promotion_detail`` (优惠详情). Known from examples; amounts look like fen."""

    promotion_id: str | None = None
    name: str | None = None
    scope: PromotionScope | str | None = None
    type: PromotionType | str | None = None
    amount: Fen | None = None
    activity_id: str | None = None
    wxpay_contribute: Fen | None = None
    merchant_contribute: Fen | None = None
    other_contribute: Fen | None = None
    goods_detail: tuple[PromotionGoods, ...] | None = None


@model
class RefundItem(Model):
    """One entry of ``refund_list`` (退款列表): ``refund_status`` alone says how it ended (C 40).

    ``base_refund_fee`` is what was applied for, ``refund_fee`` what was returned, both in fen: with
    vouchers they differ, so compare the first one (C 43). ``serial_no`` is text (C 102).
    """

    serial_no: str | None = None
    refund_id: str | None = None
    out_refund_id: str | None = None
    out_refund_no: str | None = None
    refund_channel: RefundChannel | str | None = None
    base_refund_fee: Fen | None = None
    refund_fee: Fen | None = None
    coupon_refund_fee: Fen | None = None
    refund_status: RefundStatus | str | None = None
    refund_time: datetime | None = None


@model
class Partner(Model):
    """One WeChat sub-merchant; ``partner_id`` is missing until WeChat approves it."""

    pay_channel: PaymentChannelId | str | None = None
    appid: str | None = None
    partner_id: str | None = None


@model
class FundBill(Model):
    """One funding source; ``amount`` is in *yuan*, unlike every other amount (C 46)."""

    amount: Decimal | None = None
    fundChannel: FundChannel | str | None = None
