"""The fields of every answer and notification about an order, as the document prints them.

Every value is text; lists travel as JSON inside strings. Nothing here signs or decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from chaoying_async.sandbox.bank.entities import BookedRefund, Order, OrderKind, RefundState, Status
from chaoying_async.sandbox.bank.scenarios import SCENARIOS
from chaoying_async.sandbox.document.draft_reply import DraftReply, success
from chaoying_async.sansio.values import GMT8

WX_NUMBERS = {"wx_mch_id": "1264300000", "wx_sub_mch_id": "1266500000"}
_APPID = "wx2b029c08a6232582"
_OPENID = "oHmbktxFlpoEPo2Ol5GOJniV2q-A"
_BUYER = "2088822494428000"


def stamp(moment: datetime) -> str:
    """``yyyyMMddHHmmss`` in GMT+8."""
    at = moment.astimezone(GMT8)  # by hand: three times as fast as strftime
    date = f"{at.year:04d}{at.month:02d}{at.day:02d}"
    return f"{date}{at.hour:02d}{at.minute:02d}{at.second:02d}"


def packed(value: object) -> str:
    """JSON as it travels inside a string: compact, in real UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _filled(**fields: object) -> dict[str, str | int]:
    return {name: str(value) for name, value in fields.items() if value not in (None, "")}


def shown_number(order: Order) -> str:
    """The order number in replies: another order's in the scenario ``wrong-order``."""
    strays = SCENARIOS[order.scenario].strays
    return (
        f"{order.out_trade_no[:-1]}{'Y' if order.out_trade_no[-1] == 'X' else 'X'}"
        if strays
        else order.out_trade_no
    )


def shown_amounts(order: Order) -> dict[str, str | int]:
    """base_fee, total_fee and coupon_fee, wrong by as much as the scenario says."""
    off_by = SCENARIOS[order.scenario].off_by
    return _filled(
        base_fee=order.payable + off_by,
        total_fee=order.paid + off_by,
        coupon_fee=order.coupon or None,
    )


def _promotion(order: Order) -> str | None:
    """promotion_detail, wrapped twice as the examples show it (C 101)."""
    if not order.coupon:
        return None
    promotion = {
        "promotion_id": "6348962444",
        "name": "沙箱优惠",
        "scope": "SINGLE",
        "type": "DISCOUNT",
        "amount": order.coupon,
        "activity_id": "9447213",
        "wxpay_contribute": 0,
        "merchant_contribute": order.coupon,
        "other_contribute": 0,
        "goods_detail": [],
    }
    return packed({"promotion_detail": [promotion]})


def _wx(order: Order) -> dict[str, str]:
    return WX_NUMBERS if order.paytype == "WECHAT" else {}


def _whole_payment(order: Order) -> dict[str, str | int]:
    """The fields that pay, facepay and orderquery share for a paid order."""
    return _filled(
        mch_id=order.mch_id,
        sub_appid=order.asked.get("sub_appid"),
        out_trade_no=shown_number(order),
        transaction_id=order.transaction_id,
        out_transaction_id=order.out_transaction_id,
        **shown_amounts(order),
        attach=order.asked.get("attach"),
        time_end=stamp(order.paid_at) if order.paid_at else None,
        promotion_detail=_promotion(order),
        **_wx(order),
    )


def _buyer(order: Order) -> dict[str, str | int]:
    if order.paytype != "WECHAT":
        return _filled(buyer_user_id=_BUYER)
    sub = _OPENID if order.asked.get("sub_appid") else None
    return _filled(appid=_APPID, openid=_OPENID, sub_openid=sub)


def pay_fields(order: Order) -> dict[str, str | int]:
    """Success fields of ``pay``."""
    return _whole_payment(order) | _buyer(order) | {"fee_type": "CNY", "paytype": order.paytype}


def facepay_fields(order: Order) -> dict[str, str | int]:
    """Success fields of ``facepay``: without paytype (C 33), with ``is_subscribe``."""
    return _whole_payment(order) | _filled(
        appid=_APPID,
        openid=order.asked.get("openid"),
        is_subscribe="N",
        sub_appid=order.asked.get("sub_appid") or _APPID,
        sub_openid=_OPENID,
        sub_is_subscribe="N",
    )


def orderquery_fields(order: Order) -> dict[str, str | int]:
    """Success fields of ``orderquery``."""
    return pay_fields(order) | {"trade_type": trade_type(order)}


def trade_type(order: Order) -> str:
    """``trade_type`` of results: WeChat is spelled wechat here and weixin in notifications."""
    wallet = order.paytype.lower()
    asked = order.asked.get("trade_type", "micropay").lower()
    if order.kind is OrderKind.WECHAT_PREORDER:
        wallet = "weixin"
    return f"pay.{wallet}.{asked}"


#: The status fields that pay, facepay and orderquery answer of an order that is not paid.
STANDINGS: Mapping[Status, tuple[str, str, str]] = {
    Status.OPEN: ("NEED_QUERY", "10001", "支付中"),
    Status.CLOSED: ("FAIL", "10004", "已关闭"),
    Status.REVOKED: ("FAIL", "10005", "已撤销"),
    Status.FAILED: ("FAIL", "10006", "支付错误"),
}
#: A pre-order that nobody has begun to pay.
_UNPAID = ("NEED_QUERY", "10003", "未支付")
PREORDERS = (OrderKind.WECHAT_PREORDER, OrderKind.ALIPAY_PREORDER)


def standing(
    order: Order, fields: Mapping[str, str | int], *, refunded: bool = False
) -> DraftReply:
    """The answer about how an order stands; ``fields`` are those of a plain success."""
    if order.status is Status.PAID and not refunded:
        return success(fields)
    if order.status is Status.PAID:
        trade_state, code, msg = "REFUND", "10002", "转入退款"
    elif order.status is Status.OPEN and order.kind in PREORDERS:
        trade_state, code, msg = _UNPAID
    else:
        trade_state, code, msg = STANDINGS[order.status]
    if order.status is Status.FAILED:
        msg = SCENARIOS[order.scenario].msg or msg
    named = _filled(mch_id=order.mch_id, out_trade_no=shown_number(order), paytype=order.paytype)
    told = {name: value for name, value in named.items() if name in fields}  # facepay: no paytype
    return DraftReply(code=code, trade_state=trade_state, msg=msg, fields=told)


def cancel_fields(order: Order) -> dict[str, str | int]:
    """Success fields of ``cancel``."""
    named = _filled(mch_id=order.mch_id, out_trade_no=shown_number(order), paytype=order.paytype)
    return named | _wx(order)


def refund_fields(order: Order, refund: BookedRefund) -> dict[str, str | int]:
    """Success fields of ``refund``."""
    return _filled(
        mch_id=order.mch_id,
        out_trade_no=shown_number(order),
        transaction_id=order.transaction_id,
        out_transaction_id=order.out_transaction_id,
        out_refund_no=refund.out_refund_no,
        refund_id=refund.refund_id,
        refund_channel="ORIGINAL",
        base_fee=order.payable,
        total_fee=order.paid,
        base_refund_fee=refund.base,
        refund_fee=refund.cash,
        coupon_refund_fee=refund.coupon or None,
        paytype=order.paytype,
    )


def refundquery_fields(
    order: Order, refunds: Iterable[BookedRefund], now: datetime
) -> dict[str, str | int]:
    """Success fields of ``refundquery``: every refund of the order, and their sums."""
    refunds = list(refunds)
    made = [refund for refund in refunds if refund.state_at(now) is not RefundState.FAIL]
    named = _filled(
        mch_id=order.mch_id,
        out_trade_no=shown_number(order),
        transaction_id=order.transaction_id,
        out_transaction_id=order.out_transaction_id,
        refund_count=len(refunds),
        base_refund_fee_summary=sum(refund.base for refund in made),
        refund_fee_summary=sum(refund.cash for refund in made),
        refund_list=packed([_entry(at, refund, now) for at, refund in enumerate(refunds)]),
        paytype=order.paytype,
    )
    return named | _wx(order)


def _entry(position: int, refund: BookedRefund, now: datetime) -> dict[str, str | int]:
    state = refund.state_at(now)
    # The example's own format, which the table contradicts (C 99).
    done = (refund.becomes_at or refund.created).astimezone(GMT8)
    return _filled(
        serial_no=position,
        refund_id=refund.refund_id,
        out_refund_id=refund.out_refund_id,
        out_refund_no=refund.out_refund_no,
        base_refund_fee=refund.base,
        refund_fee=refund.cash,
        coupon_refund_fee=refund.coupon or None,
        refund_status=state,
        refund_channel="ORIGINAL",
        refund_time=done.strftime("%Y-%m-%d %H:%M:%S") if state is RefundState.SUCCESS else None,
    )


def preorder_fields(order: Order) -> dict[str, str | int]:
    """Success fields of both pre-orders: the order exists, nobody has paid (C 24)."""
    asked = order.asked.get("trade_type")
    native = asked == "NATIVE"
    prepay = f"wx{stamp(order.created)}{order.serial:016d}"
    if order.kind is OrderKind.ALIPAY_PREORDER:
        code_url = f"https://qr.alipay.com/bax{order.serial:024d}"
        info = packed({"tradeNO": order.out_transaction_id})
        return _filled(
            mch_id=order.mch_id,
            out_trade_no=shown_number(order),
            pay_info=None if native else info,
            pay_url=None if native else f"https://pay.sandbox.invalid/alipay/{order.serial}",
            code_img_url=_picture(order) if native else None,
            code_url=code_url if native else None,
        )
    named = _filled(
        mch_id=order.mch_id,
        appid=_APPID,
        sub_openid=order.asked.get("buyer_id") or _OPENID,
        out_trade_no=shown_number(order),
        token_id=f"sandbox{order.serial:025d}",
        pay_info=None if native else _wechat_pay_info(order, prepay),
        code_img_url=_picture(order) if native else None,
        code_url=f"weixin://wxpay/bizpayurl?pr=sandbox{order.serial}" if native else None,
    )
    return named | WX_NUMBERS


def _picture(order: Order) -> str:
    return f"https://pay.sandbox.invalid/qrcode/{order.serial}.png"


def _wechat_pay_info(order: Order, prepay: str) -> str:
    milliseconds = str(int(order.created.timestamp() * 1000))
    return packed(
        {
            "appId": order.asked.get("sub_appid", _APPID),
            "timeStamp": milliseconds,
            "status": "0",
            "signType": "MD5",
            "package": f"prepay_id={prepay}",
            "callback_url": "",
            "nonceStr": milliseconds,
            "paySign": f"{order.serial:032X}",
        }
    )


def notification_fields(order: Order, nonce: str, *, total_is_paid: bool) -> dict[str, str]:
    """The result notification of a pre-order, unsigned; what it adds to its page is undocumented.

    ``total_is_paid``: ``total_fee`` is what the customer paid, else the order amount; the document
    does not say which (C 45).
    """
    paid = order.status is Status.PAID
    off_by = SCENARIOS[order.scenario].off_by
    total = (order.paid if total_is_paid else order.payable) + off_by
    fields = _filled(
        state="SUCCESS",
        result_code="SUCCESS" if paid else "FAIL",
        pay_result="0" if paid else "1",
        mch_id=order.mch_id,
        device_info=order.asked.get("device_info"),
        out_trade_no=order.out_trade_no,
        transaction_id=order.transaction_id,
        out_transaction_id=order.out_transaction_id,
        fee_type="CNY",
        total_fee=total,
        time_end=stamp(order.paid_at or order.ended or order.created),
        trade_type=trade_type(order),
        nonce_str=nonce,
    )
    page = _alipay_page if order.kind is OrderKind.ALIPAY_PREORDER else _wechat_page
    return {name: str(value) for name, value in (fields | page(order)).items()}


def _wechat_page(order: Order) -> dict[str, str | int]:
    page = _filled(
        bank_type="CFT",
        coupon_fee=order.coupon or None,
        sub_appid=order.asked.get("sub_appid"),
        sub_openid=order.asked.get("buyer_id"),
        promotion_detail=_promotion(order),
    )
    return page | WX_NUMBERS


def _alipay_page(order: Order) -> dict[str, str | int]:
    bill = {"amount": f"{order.paid // 100}.{order.paid % 100:02d}", "fundChannel": "ALIPAYACCOUNT"}
    return _filled(
        bank_type="ALIPAYACCOUNT",
        buyer_user_id=order.asked.get("buyer_id") or _BUYER,
        buyer_logon_id=order.asked.get("buyer_logon_id") or "138****0000",
        fund_bill_list=packed([bill]),
        invoice_amount=order.paid,
        gmt_create=stamp(order.created),  # in the example, in no table (C 57)
    )
