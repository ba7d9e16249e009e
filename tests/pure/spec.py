"""The document as data (tests/data/spec), and how its names are spelt in the code."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs

from chaoying_async.sansio import enums
from chaoying_async.sansio.api import REQUESTS, details
from chaoying_async.sansio.api.endpoint import Request, field_specs
from chaoying_async.sansio.api.field_rules import GoodsDetail
from chaoying_async.sansio.enums import IsMinipg, LimitPay, PayType, TradeType
from chaoying_async.sansio.model import Model, fields_of, name_of
from chaoying_async.sansio.notifications.message import (
    AlipayNotification,
    Notification,
    WechatNotification,
)
from chaoying_async.sansio.values import GMT8

Row = Mapping[str, Any]

ROOT = Path(__file__).parents[1] / "data" / "spec"
EXAMPLES = ROOT / "examples"


def load(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text("utf-8"))


DOCUMENT = load("v2.9.0.toml")
ENDPOINTS: Mapping[str, Row] = DOCUMENT["endpoints"]
CODE_TABLES: Mapping[str, Row] = load("enums.toml")["enums"]
INDEX: Mapping[str, Row] = {
    row["file"]: row
    for row in tomllib.loads((EXAMPLES / "INDEX.toml").read_text("utf-8"))["example"]
}

#: The document's key of an endpoint to our request class.
CLASSES: Mapping[str, type[Request[Any]]] = {cls.endpoint.name: cls for cls in REQUESTS}
NOTIFICATIONS: Mapping[str, type[Notification]] = {
    "WECHAT_Notify": WechatNotification,
    "ALIPAY_Notify": AlipayNotification,
}

#: The document's name of a code table to our class. ``pay_channel_observed`` was folded into the
#: table it belongs to, and ``user_agent`` is a header, not a code.
TABLES: Mapping[str, type[StrEnum]] = {
    "state": enums.State,
    "code": enums.Code,
    "scene": enums.Scene,
    "trade_state": enums.TradeState,
    "paytype": enums.PayType,
    "picType": enums.PicType,
    "typeId": enums.TypeId,
    "DealType": enums.DealType,
    "LegalPersonType": enums.LegalPersonType,
    "LegalPersonCertType": enums.LegalPersonCertType,
    "flag_type": enums.FlagType,
    "AccountType": enums.AccountType,
    "IdCardType": enums.IdCardType,
    "PaymentChannelId": enums.PaymentChannelId,
    "pay_channel_observed": enums.PaymentChannelId,
    "refund_status": enums.RefundStatus,
    "refund_channel": enums.RefundChannel,
    "mch_state": enums.MchState,
    "trade_type_request": enums.TradeType,
    "trade_type_result": enums.TradeTypeResult,
    "is_subscribe": enums.IsSubscribe,
    "is_minipg": enums.IsMinipg,
    "limit_pay": enums.LimitPay,
    "result_code": enums.ResultCode,
    "pay_result": enums.PayResultCode,
    "notify_reply": enums.NotifyReply,
    "fee_type": enums.FeeType,
    "method": enums.Method,
    "profit_sharing": enums.ProfitSharing,
    "bank_type": enums.BankType,
    "fund_channel": enums.FundChannel,
    "promotion_scope": enums.PromotionScope,
    "promotion_type": enums.PromotionType,
}

#: The document's name of a nested structure to our model. ``promotion_detail`` is only a wrapper
#: around ``promotion`` (C 101), and ``pay_info`` goes to the wallet unread (C 106).
STRUCTURES: Mapping[str, type[Model]] = {
    "goods_detail_item": GoodsDetail,
    "refund_list_item": details.RefundItem,
    "partner_list_item": details.Partner,
    "promotion": details.Promotion,
    "promotion_goods": details.PromotionGoods,
    "fund_bill_item": details.FundBill,
}


def example(name: str) -> str:
    """A printed example without the line feed that its file adds."""
    return (EXAMPLES / name).read_text("utf-8").removesuffix("\n")


def top_level_rows() -> Iterator[Row]:
    for endpoint in ENDPOINTS.values():
        for part in ("common", "request", "envelope", "response"):
            yield from (row for row in endpoint.get(part, ()) if row["name"] != "-")


def wire_names(model: type[Any]) -> dict[str, attrs.Attribute[Any]]:
    """A model's fields by the name that they have on the wire."""
    if issubclass(model, Notification):  # its fields are read when they are asked for
        return {name: getattr(model, name) for name in model.field_names()}
    return {
        name: field
        for field in attrs.fields(model)
        if (name := field.metadata.get("wire", name_of(field)))
    }


_GOODS = (
    GoodsDetail(goods_id="CY000", goods_name="促销单品", quantity=1, price=1),
    GoodsDetail(goods_id="CY-1_x", pay_goods_id="20010001", quantity=2, price=150),
)
_VALUES: Mapping[str, Any] = {
    "notify_url": "https://shop.example/notify/7",
    "jsapi_path": "http://a.com/pay/;http://b.com/pay/",
    "goods_detail": _GOODS,
    "time_start": datetime(2019, 5, 24, 10, 28, 40, tzinfo=GMT8),
    "time_expire": datetime(2019, 5, 24, 10, 58, 40, tzinfo=GMT8),
    "is_minipg": IsMinipg.MINI_PROGRAM,
    "limit_pay": LimitPay.NO_CREDIT,
    "paytype": PayType.WECHAT,
    "trade_type": TradeType.JSPAY,
    "mch_create_ip": "114.114.114.114",
    "op_device_id": "dev_01",
    "profit_sharing_receiver": "as support says",
    "out_trade_no": "1497769914931",
    "out_refund_no": "TK-1497769914931-01",
    "total_fee": 4,
    "refund_fee": 2,
    "body": "image形象店-深圳腾大- QQ公仔",
    "url": "https://qrpay.storepos.cn/qrpay/00000001?op_shop_id=id_shop&op_user_id=id_user",
}
#: Of two that exclude each other (C 74), one.
_LEFT_OUT = frozenset({"receipt_appid"})


def full_values(cls: type[Request[Any]]) -> dict[str, Any]:
    """A good value for every field of a request class."""
    names = [spec.name for spec in field_specs(cls) if spec.name not in _LEFT_OUT]
    values = {name: _VALUES.get(name, f"{name}-1") for name in names if name != "pid"}
    return values | ({"url": _VALUES["url"]} if cls.endpoint.name == "QrConfGet" else {})


def full_request(cls: type[Request[Any]], **changes: Any) -> Request[Any]:
    """A request with every field filled in, and some of them changed."""
    return cls(**(full_values(cls) | changes))


def changed(request: Request[Any], **changes: Any) -> Request[Any]:
    """A request like another one, but for some fields."""
    kept = {name_of(field): getattr(request, name_of(field)) for field in fields_of(type(request))}
    return type(request)(**(kept | changes))
