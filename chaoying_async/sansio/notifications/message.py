"""Payment notifications (支付结果通知) as typed values: every field that the document names.

Nothing here answers anybody, stores anything or asks the time. What a notification *means* for an
order needs the order: until then treat it as a claim, however well it is signed (M-13).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final, Generic, Never, Self, TypeVar, overload

from chaoying_async.exceptions import ChaoyingError
from chaoying_async.sansio.api.details import FundBill, Promotion
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.enums import BankType, FeeType, PayType, State, TradeTypeResult
from chaoying_async.sansio.fieldnames import SECRET
from chaoying_async.sansio.model import Model, model, shown
from chaoying_async.sansio.notifications.facts import Facts, NotificationOutcome, Wallet
from chaoying_async.sansio.notifications.reading import (
    facts_of_fields,
    notification_outcome,
    verified_fields,
    wallet_of,
)
from chaoying_async.sansio.sealed import Secret, shy
from chaoying_async.sansio.values import Fen
from chaoying_async.sansio.wire.structure import read_text

#: The exact body that ends the redelivery, with status 200 and ``text/plain`` (C 85).
SUCCESS: Final = b"success"
#: Any other body asks for another delivery.
FAIL: Final = b"fail"

T = TypeVar("T")
E = TypeVar("E", bound=Enum)
M = TypeVar("M", bound=Model)


class _Field(Generic[T]):
    """A typed field of a notification, read from the verified text when it is asked for.

    The signature is what costs time, and a handler looks at a handful of the twenty fields.
    """

    def __init__(self, hint: Any) -> None:
        self.hint = hint

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name
        self.secret = name in SECRET

    @overload
    def __get__(self, notification: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, notification: Notification, owner: type[Any]) -> T: ...
    def __get__(self, notification: Notification | None, owner: type[Any]) -> T | Self:
        if notification is None:
            return self
        value: Any = read_text(notification.raw.get(self.name), self.hint)
        if self.secret and value:
            value = Secret(value)
        return value  # type: ignore[no-any-return]  # it was read as the hint says


def _field(kind: type[T]) -> _Field[T | None]:
    return _Field(kind | None)


def _code(table: type[E]) -> _Field[E | str | None]:
    return _Field(table | str | None)


def _list(item: type[M]) -> _Field[tuple[M, ...] | None]:
    return _Field(tuple[item, ...] | None)  # type: ignore[valid-type]


@model
class Notification(Model):
    """A verified payment notification. Amounts are in fen, times aware in GMT+8.

    ``mch_id`` and ``out_trade_no`` are always there; every other field is None where it is absent
    or cannot be read, and ``raw`` has all of them as received. ``total_fee`` is "the total
    amount": the document does not say whether before or after coupons, so it is compared with care
    (M-13, C 45). Read :attr:`outcome` rather than single fields: a contradiction is neither paid
    nor failed.
    """

    raw: Mapping[str, str]
    """Every field as received, unknown ones too; nothing in it shows in a repr.
    （收到的全部字段）
    """

    mch_id = _Field[str](str)
    """The merchant's number, in the form that the gateway chose; always there.
    （超赢商户号，写法由网关决定，必有）
    """
    out_trade_no = _Field[str](str)
    """Your order number; always there.（商户订单号，必有）"""
    state = _code(State)
    """Whether the communication worked.（通讯状态）"""
    result_code = _field(str)
    """``SUCCESS``, or anything else for a failure.（状态码，SUCCESS 为成功，其他为失败）"""
    pay_result = _field(str)
    """``0`` for paid, anything else for a failure; text. Read :attr:`outcome` instead.
    （支付结果，0 为成功，其它为失败，请改看 outcome）
    """
    transaction_id = _field(str)
    """The platform's order number.（平台交易号）"""
    out_transaction_id = _field(str)
    """The wallet's order number.（第三方订单号）"""
    total_fee = _field(Fen)
    """"The total amount" in fen: the document does not say whether before or after coupons (C 45).
    （总金额，单位分，文档未说明是否已减去代金券）
    """
    coupon_fee = _field(Fen)
    """The coupons' part of the order amount, in fen; Alipay's page does not have it (C 89).
    （代金券金额，单位分，支付宝页未列出）
    """
    fee_type = _code(FeeType)
    """The currency (ISO 4217); CNY where it is absent.（货币类型，默认人民币 CNY）"""
    time_end = _field(datetime)
    """When the payment was completed; aware, in GMT+8.（支付完成时间，GMT+8）"""
    trade_type = _code(TradeTypeResult)
    """How the order was paid; an open set (C 82).（交易类型）"""
    bank_type = _code(BankType)
    """The bank or account that paid; an open set.（付款银行）"""
    device_info = _field(str)
    """The terminal, as the request named it.（终端设备号）"""
    nonce_str = _field(str)
    """A random string.（随机字符串）"""

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
            trade_state=self.raw.get("trade_state"),
        )

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """The documented fields of this kind of notification, all of them attributes."""
        classes = reversed(cls.__mro__)
        return tuple(
            name
            for part in classes
            for name, value in vars(part).items()
            if isinstance(value, _Field)
        )

    def __reduce_ex__(self, protocol: Any) -> Never:
        raise TypeError("a notification holds buyer ids and is not pickled (M-27): keep its body")

    def __repr__(self) -> str:
        known = [name for name in self.field_names() if self.raw.get(name)]
        parts = (f"{name}={shown(getattr(self, name))}" for name in known)
        return f"{type(self).__name__}({', '.join(parts)})"


@model
class WechatNotification(Notification):
    """``WECHAT_Notify`` 微信预下单结果通知."""

    sub_appid = _field(str)
    """The AppId of the sub-merchant's official account.（子商户公众账号 ID）"""
    sub_openid = _field(str)
    """The customer under ``sub_appid``; there if the customer follows that account.
    （子商户 appid 下用户唯一标识，用户关注时存在）
    """
    promotion_detail = _list(Promotion)
    """The promotions that applied.（营销详情）"""
    wx_mch_id = _field(str)
    """The WeChat Pay merchant number of the service provider.（微信服务商商户号）"""
    wx_sub_mch_id = _field(str)
    """The WeChat Pay number of the sub-merchant.（微信子商户号）"""

    @property
    def wallet(self) -> Wallet:
        """Always WECHAT."""
        return Wallet.WECHAT


@model
class AlipayNotification(Notification):
    """``ALIPAY_Notify`` 支付宝预下单结果通知.

    ``invoice_amount`` is text of unknown unit, ``fund_bill_list`` is in *yuan* (C 46);
    ``gmt_create`` stands in the document's example and in no table (C 57).
    """

    invoice_amount = _field(str)
    """How much of it an invoice may be made for: text, since the document names no unit; the
    example looks like fen (C 46).
    （可开发票的金额，文档未注明单位，示例应为分）
    """
    buyer_user_id = _field(str)
    """The buyer's Alipay user id.（买家支付宝用户 ID）"""
    buyer_logon_id = _field(str)
    """The buyer's Alipay account.（买家支付宝账号）"""
    fund_bill_list = _list(FundBill)
    """Where the money came from; its amounts are in *yuan* (C 46).
    （交易支付使用的资金渠道，其中金额单位元）
    """
    gmt_create = _field(datetime)
    """When the payment was begun; aware, in GMT+8. The document has it in an example only (C 57).
    （交易创建时间，GMT+8，仅见于示例）
    """

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
    ``pay.alipay...`` trade type means Alipay (C 82). What names neither wallet is read as
    WeChat's page. ``now`` (aware) lets previous keys count until they end (M-21).

    Raises :class:`~chaoying_async.exceptions.MalformedMessageError` for what is not a form, is too
    large, or lacks ``mch_id`` or ``out_trade_no``, and
    :class:`~chaoying_async.exceptions.SignatureVerificationError` (missing, wrong, ambiguous):
    answer ``fail`` to all of them. Pass the body as it came, never one that a framework parsed and
    encoded again: what is no bytes and no text is a :class:`TypeError`. Repeats are normal: nothing
    here knows whether the order was handled before.
    """
    if not isinstance(credentials, Credentials):
        wrong = type(credentials).__name__
        del body, credentials  # most likely a key
        raise TypeError(f"pass Credentials, not {wrong}")
    if isinstance(body, (bytes, str)):
        body = shy(body)  # whoever reports an error shows the locals of its frames (M-27)
    try:
        return typed(verified_fields(body, credentials, now), kind)
    except ChaoyingError as error:
        raise error.with_traceback(None)  # noqa: B904 - itself, without the frames that read it


def typed(
    fields: Mapping[str, str], kind: Wallet | None = None
) -> WechatNotification | AlipayNotification:
    """A notification of fields that are verified already."""
    return _MODELS[kind or wallet_of(fields) or Wallet.WECHAT](raw=fields)


def facts_of(notification: Notification) -> Facts:
    """The facts in a verified notification."""
    return facts_of_fields(notification.raw, notification.wallet)


def notification_of(facts: Facts) -> Notification:
    """The notification that these facts were read from, without what was not kept of it."""
    wallet = Wallet.ALIPAY if facts.paytype == PayType.ALIPAY else Wallet.WECHAT
    return typed(facts.raw, wallet)
