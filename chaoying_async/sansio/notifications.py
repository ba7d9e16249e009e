"""Payment notifications (支付结果通知): bytes in, a verified and typed value out.

Nothing here answers anybody, stores anything or asks the time. What a notification *means* for an
order needs the order: until then treat it as a claim, however well it is signed (M-13).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import attrs

from chaoying_async.exceptions import ChaoyingError, MalformedMessageError
from chaoying_async.sansio.api.details import FundBill, Promotion
from chaoying_async.sansio.codec import inner_list, parse_form, structure
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.enums import BankType, FeeType, State, TradeTypeResult
from chaoying_async.sansio.models import Model, model
from chaoying_async.sansio.outcome import NotificationOutcome, notification_outcome
from chaoying_async.sansio.signing import verify_for
from chaoying_async.sansio.values import Fen

#: The exact body that ends the redelivery, with status 200 and ``text/plain`` (C 85).
SUCCESS: Final = b"success"
#: Any other body asks for another delivery.
FAIL: Final = b"fail"

#: The document's samples have under 1 KiB.
MAX_BODY = 64 * 1024

_MCH_ID = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch


class Wallet(StrEnum):
    """Which of the two notification pages a ``notify_url`` serves (C 82)."""

    WECHAT = "WECHAT"
    ALIPAY = "ALIPAY"


@model
class Notification(Model):
    """A verified payment notification. Amounts are in fen, times aware in GMT+8.

    ``total_fee`` is "the total amount": the document does not say whether before or after coupons,
    so it is compared with care (M-13, C 45). ``raw`` has every field as received. Read
    :attr:`outcome` rather than single fields: a contradiction is neither paid nor failed.
    """

    mch_id: str
    out_trade_no: str
    state: State | str | None = None
    result_code: str | None = None
    pay_result: str | None = None
    transaction_id: str | None = None
    out_transaction_id: str | None = None
    total_fee: Fen | None = None
    coupon_fee: Fen | None = None
    fee_type: FeeType | str | None = None
    time_end: datetime | None = None
    trade_type: TradeTypeResult | str | None = None
    bank_type: BankType | str | None = None
    device_info: str | None = None
    nonce_str: str | None = None
    raw: Mapping[str, str] = attrs.field(
        factory=dict, repr=False, hash=False, metadata={"wire": ""}
    )

    @property
    def wallet(self) -> Wallet:
        """The page of the document that this notification was read by."""
        raise NotImplementedError

    @property
    def outcome(self) -> NotificationOutcome:
        """Paid, not paid, or unclear, from all decision fields together (M-15, C 80)."""
        return notification_outcome(
            self.state,
            self.result_code,
            self.pay_result,
            time_end=self.time_end,
            total_fee=self.total_fee,
        )


@model
class WechatNotification(Notification):
    """``WECHAT_Notify`` 微信预下单结果通知."""

    sub_appid: str | None = None
    sub_openid: str | None = None
    wx_mch_id: str | None = None
    wx_sub_mch_id: str | None = None

    @property
    def promotion_detail(self) -> tuple[Promotion, ...] | None:
        """The promotions, read when asked for; None when absent or unreadable."""
        return inner_list(self.raw.get("promotion_detail"), Promotion)

    @property
    def wallet(self) -> Wallet:
        """Always WECHAT."""
        return Wallet.WECHAT


@model
class AlipayNotification(Notification):
    """``ALIPAY_Notify`` 支付宝预下单结果通知. ``invoice_amount`` is text of unknown unit (C 46)."""

    invoice_amount: str | None = None
    buyer_user_id: str | None = None
    buyer_logon_id: str | None = None
    #: In the document's example, in no table (C 57).
    gmt_create: str | None = None

    @property
    def fund_bill_list(self) -> tuple[FundBill, ...] | None:
        """The funding sources, in *yuan*, read when asked for; None when absent or unreadable."""
        return inner_list(self.raw.get("fund_bill_list"), FundBill)

    @property
    def wallet(self) -> Wallet:
        """Always ALIPAY."""
        return Wallet.ALIPAY


_MODELS: Mapping[Wallet, type[WechatNotification | AlipayNotification]] = {
    Wallet.WECHAT: WechatNotification,
    Wallet.ALIPAY: AlipayNotification,
}


def parse_notification(
    body: bytes | str,
    credentials: Credentials,
    *,
    kind: Wallet | None = None,
    now: datetime | None = None,
) -> WechatNotification | AlipayNotification:
    """Verify a notification's body over every field as received, then type it.

    ``kind`` says which ``notify_url`` it came to; without it a ``buyer_user_id`` or a
    ``pay.alipay...`` trade type means Alipay (C 82). ``now`` (aware) lets previous keys count
    until they end (M-21).

    Raises :class:`~chaoying_async.exceptions.MalformedMessageError` for what is not a form, is too
    large, or lacks ``mch_id`` or ``out_trade_no``, and
    :class:`~chaoying_async.exceptions.SignatureVerificationError` (missing, wrong, ambiguous):
    answer ``fail`` to all of them. Pass the body as it came, never one that a framework parsed and
    encoded again. Repeats are normal: nothing here knows whether the order was handled before.
    """
    try:
        if len(body) > MAX_BODY:
            raise MalformedMessageError(f"the notification has more than {MAX_BODY} bytes")
        fields = parse_form(body)
        verify_for(credentials, fields, now)
        notification: WechatNotification | AlipayNotification = structure(
            fields, _MODELS[kind or _wallet_of(fields)]
        )
    except ChaoyingError as error:
        error.about("notification")
        raise
    object.__setattr__(notification, "raw", MappingProxyType(fields))
    return notification


def peek_mch_id(body: bytes | str) -> str:
    """The merchant that an *unverified* body names, only to choose whose key verifies it (M-20).

    Bounded and pattern-checked; a :class:`~chaoying_async.exceptions.MalformedMessageError`
    otherwise. Believe nothing else of the body before :func:`parse_notification` has passed with
    that key.
    """
    if len(body) > MAX_BODY:
        raise MalformedMessageError(f"the notification has more than {MAX_BODY} bytes")
    mch_id = parse_form(body).get("mch_id", "")
    if not _MCH_ID(mch_id):
        raise MalformedMessageError("the notification names no merchant")
    return mch_id


def _wallet_of(fields: Mapping[str, Any]) -> Wallet:
    alipay = fields.get("buyer_user_id") or fields.get("trade_type", "").startswith("pay.alipay")
    return Wallet.ALIPAY if alipay else Wallet.WECHAT
