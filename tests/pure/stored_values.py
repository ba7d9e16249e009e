"""One value for each case of what stores and inboxes keep: ``tests/data/stored`` has their texts.

The texts were written by the code of commit 0df9a62, with this file (and its names) in its tree::

    python -c "from tests.pure.stored_values import write; write('tests/data/stored')"
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs

from chaoying_async import (
    Fen,
    GatewayUnavailableError,
    MissingSignatureError,
    OrderQuery,
    PaidOrder,
    PaidSource,
    ParameterError,
    PayType,
    PollSchedule,
    PollStatus,
    Refund,
    RefundQuery,
    RequestNotSentError,
    Undocumented,
)
from chaoying_async.exceptions import GatewayError, OrderNotFoundError
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.model import fields_of, name_of
from chaoying_async.sansio.notifications.facts import (
    Facts,
    Wallet,
    facts_of_order,
    to_text,
    without_raw,
)
from chaoying_async.sansio.notifications.message import facts_of, typed
from chaoying_async.sansio.notifications.reading import unreadable_facts
from chaoying_async.sansio.paid import RefundedOrder, paid_order, refunded_order
from chaoying_async.sansio.payments.intent import Intent, OrderRecord
from chaoying_async.sansio.payments.moves import (
    CancelNews,
    Cancels,
    CheckoutEnd,
    CheckoutReason,
    CheckoutStatus,
)
from chaoying_async.sansio.payments.order_numbers import OrderNumbers
from chaoying_async.sansio.payments.refunds import RefundIntent
from chaoying_async.sansio.polling.record import EndedOrder, PendingOrder
from chaoying_async.sansio.polling.status import Says, Standing
from chaoying_async.sansio.redact import without_personal
from chaoying_async.sansio.values import GMT8
from tests.factories import (
    CREDENTIALS,
    MCH_ID,
    OPENID,
    ORDER,
    REFUND,
    TRANSACTION,
    answer_fields,
    body_of,
)

_STARTED = datetime(2026, 1, 1, 8, 30, 5, 250000, tzinfo=UTC)
_PAID_AT = datetime(2026, 1, 1, 16, 30, 7, tzinfo=GMT8)
_ECNY = Undocumented("ECNY")

_QUERY = OrderQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_trade_no=ORDER)
QUERY_WITHOUT_MERCHANT = OrderQuery(paytype=PayType.WECHAT, out_trade_no=ORDER)
_REFUND_QUERY = RefundQuery(paytype=PayType.ALIPAY, mch_id=MCH_ID, out_refund_no=REFUND)


def _answered(request: Request[Any], name: str, **changes: Any) -> Reply[Any]:
    """The reply to a request, read from bytes as a session reads it."""
    body = body_of(answer_fields(name, **changes))
    return read_reply(build_request(request, CREDENTIALS), 200, body, CREDENTIALS, now=None)


_PAID_REPLY = _answered(
    _QUERY,
    "orderquery",
    base_fee="12300",
    total_fee="12000",
    coupon_fee="300",
    fee_type="CNY",
    out_transaction_id="2026010122001400001",
    attach="桌号 7 & more",
    msg="支付成功",
    future_field="unknown",
)
_REFUNDED_REPLY = _answered(
    _QUERY,
    "orderquery",
    trade_state="REFUND",
    code="10002",
    refund_fee_summary="40",
    base_refund_fee_summary="50",
    paytype="ECNY",
)
_CLOSED_REPLY = _answered(_QUERY, "orderquery", trade_state="FAIL", code="10004", base_fee=None)
_ODD_REPLY = _answered(_QUERY, "orderquery", trade_state="银行处理中", code="99999", base_fee=None)
_REFUND_REPLY = _answered(
    _REFUND_QUERY,
    "refundquery",
    refund_list=json.dumps(
        [
            {"out_refund_no": "R-other", "refund_status": "FAIL"},
            {
                "out_refund_no": REFUND,
                "refund_id": "50000000482019052409653860000",
                "serial_no": "007",
                "refund_channel": "ORIGINAL",
                "base_refund_fee": "50",
                "refund_fee": "40",
                "coupon_refund_fee": "10",
                "refund_status": "SUCCESS",
                "refund_time": "20260103101112",
                "refund_to": "零钱",
            },
        ]
    ),
)


def _paid(source: PaidSource = PaidSource.QUERY, **changes: Any) -> PaidOrder:
    order: Any = paid_order(
        _PAID_REPLY.result, mch_id="00000002", raw=_PAID_REPLY.raw, source=source
    )
    changed: PaidOrder = attrs.evolve(order, **changes)
    return changed


def _bare(**changes: Any) -> PaidOrder:
    return PaidOrder(mch_id="m", out_trade_no="订单1", source=PaidSource.NOTIFICATION, **changes)


def _in_refund() -> RefundedOrder:
    order = refunded_order(_REFUNDED_REPLY.raw, mch_id="00000002")
    assert order is not None
    return order


def _refusal(kind: type[GatewayError] = OrderNotFoundError, **given: Any) -> GatewayError:
    told: dict[str, Any] = {"state": "FAIL", "code": "20007", "msg": "订单不存在"} | given
    error = kind("state FAIL, code 20007: 订单不存在", raw={"openid": OPENID}, **told)
    return error.about("orderquery", ORDER)


WAITING: Mapping[str, PendingOrder] = {
    "just begun": PendingOrder(
        query=_QUERY, expected=None, schedule=PollSchedule(), started=_STARTED
    ),
    "an amount, an attempt number, a wallet that nobody listed": PendingOrder(
        query=OrderQuery(paytype=_ECNY, mch_id=MCH_ID, out_trade_no=OrderNumbers("A10001").next()),
        expected=Fen(12300),
        schedule=PollSchedule(),
        started=_STARTED,
        attempts=3,
        sent=15.25,
        standing=Standing(Says.TROUBLE, None, counts=False, seen=True, troubles=2),
    ),
    "a pre-order until it expires, asked in another time zone": PendingOrder(
        query=OrderQuery(paytype=PayType.ALIPAY, mch_id=MCH_ID, transaction_id=TRANSACTION),
        expected=100,
        schedule=PollSchedule.preorder(_STARTED + timedelta(minutes=7)).begun(_STARTED),
        started=_STARTED.astimezone(timezone(timedelta(hours=-5))),
        attempts=12,
        sent=99.5,
        standing=Standing(Says.ABSENT, PollStatus.NOT_FOUND, counts=True),
    ),
    "a refund, by two numbers": PendingOrder(
        query=RefundQuery(
            paytype=PayType.UNIONPAY,
            mch_id=MCH_ID,
            out_refund_no=REFUND,
            refund_id="50000000482019052409653860000",
        ),
        expected=50,
        schedule=PollSchedule.refunds(),
        started=_STARTED,
        standing=Standing(Says.ENDED, PollStatus.CLOSED, counts=False, seen=True),
    ),
}


def _ended(status: PollStatus, **given: Any) -> EndedOrder:
    told: dict[str, Any] = {
        "query": _QUERY,
        "reply": None,
        "paid": None,
        "error": None,
        "attempts": 4,
        "elapsed": 20.125,
    }
    return EndedOrder(status=status, **(told | given))


ENDED: Mapping[str, EndedOrder] = {
    "paid": _ended(PollStatus.PAID, reply=_PAID_REPLY, paid=_paid()),
    "paid, learnt from a notification": _ended(
        PollStatus.PAID, paid=_paid(PaidSource.NOTIFICATION, paytype="ECNY"), attempts=0
    ),
    "paid, confirmed": _ended(PollStatus.PAID, paid=_paid(PaidSource.CONFIRM)),
    "paid, and little known": _ended(PollStatus.PAID, paid=_bare()),
    "another amount": _ended(PollStatus.MISMATCH, reply=_PAID_REPLY, paid=_paid()),
    "in refund": _ended(PollStatus.REFUNDED, reply=_REFUNDED_REPLY, paid=_in_refund()),
    "closed": _ended(PollStatus.CLOSED, reply=_CLOSED_REPLY),
    "a code and a state that nobody listed": _ended(PollStatus.EXPIRED, reply=_ODD_REPLY),
    "a refund that came back": _ended(
        PollStatus.REFUNDED, query=_REFUND_QUERY, reply=_REFUND_REPLY
    ),
    "not found": _ended(PollStatus.NOT_FOUND, error=_refusal()),
    "a parameter is wrong": _ended(
        PollStatus.REFUSED,
        error=ParameterError({"mch_id": "is required", "op_user_id": "太长"}).about("orderquery"),
    ),
    "the gateway is away": _ended(
        PollStatus.EXPIRED, error=GatewayUnavailableError("HTTP status 503", status=503)
    ),
    "no signature": _ended(
        PollStatus.EXPIRED, error=MissingSignatureError("the message carries no signature")
    ),
    "an error of somebody else's": _ended(PollStatus.EXPIRED, error=RuntimeError("a secret")),
    "an error of the user's own kind": _ended(
        PollStatus.EXPIRED, error=type("ShopError", (RequestNotSentError,), {})("unplugged")
    ),
}


#: What is said after reading, where it is not what the error said.
SAID: Mapping[str, str] = {
    "an error of somebody else's": "the query ended with RuntimeError",
    **dict.fromkeys((name for name, value in ENDED.items() if value.error is None), "None"),
}


def _intent(**given: Any) -> Intent:
    told: dict[str, Any] = {
        "mch_id": MCH_ID,
        "out_trade_no": ORDER,
        "order_no": "A10001",
        "total_fee": 12300,
        "op_user_id": "操作员",
        "started": _STARTED,
        "paytype": "WECHAT",
        "certain": False,
    }
    return Intent(**(told | given))


INTENTS: Mapping[str, Intent] = {
    "just begun": _intent(),
    "no wallet known": _intent(paytype=None),
    "a wallet that nobody listed, and all that can be learnt": _intent(
        paytype="数字人民币",
        certain=True,
        seen=True,
        suspect=True,
        answered=True,
        used=True,
        ahead=-0.75,
        cancels=Cancels(
            tries=3, left=2, refused=1, absent=1, carried_out=True, last=CancelNews.UNCLEAR
        ),
    ),
    "the task was cancelled": _intent(interrupted=True, answered=True),
    "paid": _intent(
        answered=True,
        ahead=2.0,
        end=CheckoutEnd(CheckoutStatus.PAID),
        paid=_paid(paytype=PayType.WECHAT),
    ),
    "paid by another call, in refund": _intent(
        end=CheckoutEnd(CheckoutStatus.UNKNOWN, CheckoutReason.REFUNDED), paid=_in_refund()
    ),
    "paid after the cancel, confirmed": _intent(
        end=CheckoutEnd(CheckoutStatus.PAID_AFTER_CANCEL),
        paid=_paid(PaidSource.CONFIRM),
        cancels=Cancels(tries=1, left=1, carried_out=True, last=CancelNews.CARRIED_OUT),
    ),
    "failed": _intent(end=CheckoutEnd(CheckoutStatus.FAILED, CheckoutReason.NOT_FOUND)),
}
ORDERS: Mapping[str, OrderRecord] = {
    "under way": OrderRecord(out_trade_no=ORDER, attempt=0, started=_STARTED),
    "paid": OrderRecord(
        out_trade_no="A1000112", attempt=12, started=_STARTED, status=CheckoutStatus.PAID
    ),
    "free again": OrderRecord(
        out_trade_no=ORDER, attempt=1, started=_PAID_AT, status=CheckoutStatus.FAILED
    ),
    "released": OrderRecord(
        out_trade_no=ORDER,
        attempt=1,
        started=_STARTED,
        status=CheckoutStatus.FAILED,
        released=_PAID_AT,
        was=CheckoutStatus.UNKNOWN,
    ),
}


def _refund(**given: Any) -> Refund:
    told: dict[str, Any] = {
        "paytype": PayType.WECHAT,
        "out_trade_no": ORDER,
        "out_refund_no": REFUND,
        "total_fee": Fen(12300),
        "refund_fee": 50,
    }
    return Refund(**(told | given))


REFUNDS: Mapping[str, RefundIntent] = {
    "just begun": RefundIntent(refund=_refund(), mch_id=MCH_ID, started=_STARTED),
    "everything that it may hold": RefundIntent(
        refund=_refund(
            paytype=_ECNY,
            mch_id="00000002",
            transaction_id=TRANSACTION,
            op_user_id="操作员",
            extra={"reason": "退货"},
        ),
        mch_id="00000002",
        started=_STARTED,
        accepted=True,
        status=PollStatus.REFUNDED,
    ),
    "refused, and not found since": RefundIntent(
        refund=_refund(),
        mch_id=MCH_ID,
        started=_STARTED,
        refusal=_refusal(GatewayError, code="20006", msg="系统错误"),
        absent=6,
        absent_since=_STARTED + timedelta(minutes=1),
        absent_until=_STARTED + timedelta(minutes=40),
        status=PollStatus.NOT_FOUND,
    ),
    "refused without a word": RefundIntent(
        refund=_refund(),
        mch_id=MCH_ID,
        started=_STARTED,
        refusal=_refusal(GatewayError, code=None, msg=None),
    ),
}

_TOLD = {
    "mch_id": MCH_ID,
    "out_trade_no": ORDER,
    "state": "SUCCESS",
    "result_code": "SUCCESS",
    "pay_result": "0",
    "transaction_id": TRANSACTION,
    "out_transaction_id": "2026010122001400001",
    "total_fee": "12300",
    "coupon_fee": "300",
    "fee_type": "CNY",
    "time_end": "20260101163007",
    "trade_type": "pay.weixin.jspay",
    "attach": '桌号 7, openid=oSECRET, {"sub_openid": "oSECRET", "a": 1}',
    "nonce_str": "5K8264",
    "sign": "0123456789ABCDEF0123456789ABCDEF",
    "sub_openid": OPENID,
}


def _notified(wallet: Wallet = Wallet.WECHAT, **changes: str) -> Facts:
    return facts_of(typed(_TOLD | changes, wallet))


FACTS: Mapping[str, Facts] = {
    "paid": _notified(),
    "paid with Alipay": _notified(
        Wallet.ALIPAY,
        buyer_user_id="2088SECRET",
        buyer_logon_id="138******00",
        fund_bill_list='[{"amount":"123.00","fundChannel":"ALIPAYACCOUNT"}]',
    ),
    "not paid": _notified(result_code="FAIL", pay_result="1", time_end="", transaction_id=""),
    "unclear": _notified(result_code="FAIL"),
    "cannot be believed": unreadable_facts(_TOLD, "its attach holds &total_fee=", Wallet.WECHAT),
    "more than is kept": _notified(attach="附" * 3000, body="茶" * 700),
    "more than is kept, and its raw fields were forgotten": _notified(attach="附" * 3000),
    "numbers too long to be kept": _notified(transaction_id="9" * 129),
    "learnt by a query": facts_of_order(_paid()),
    "learnt by a query, as its record says": facts_of_order(_paid(), "CONFIRM"),
    "in refund": facts_of_order(_in_refund()),
    "a user's own order": facts_of_order(
        _bare(
            payable=Fen(100),
            paytype="ECNY",
            time_end=_PAID_AT,
            raw={"fee_type": "CNY", "when": _PAID_AT, "lines": [{"qty": 2, "openid": OPENID}]},
        )
    ),
    "its raw fields were forgotten": _notified(total_fee="100"),
}
#: As earlier versions wrote what an order's record holds.
PAID_ORDERS: Mapping[str, PaidOrder] = {
    "learnt by a query": _paid(),
    "confirmed, of a wallet that nobody listed": _paid(PaidSource.CONFIRM, paytype="ECNY"),
    "little known": _bare(),
}


def order_text(order: PaidOrder) -> str:
    """A paid order as earlier versions wrote it into an inbox."""
    names = [name_of(field) for field in fields_of(PaidOrder) if field.name != "fee_type"]
    told = {name: getattr(order, name) for name in names} | {"raw": without_personal(order.raw)}
    return json.dumps(told, default=plain, separators=(",", ":"))


def plain(value: object) -> str:
    """A user's own values as a message's text has them."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def texts() -> dict[str, dict[str, str]]:
    """Kind of record -> case -> what is written."""
    facts = {name: to_text(value) for name, value in FACTS.items()}
    facts |= {name: without_raw(text) for name, text in facts.items() if "forgotten" in name}
    return {
        "waiting": {name: value.text(MCH_ID) for name, value in WAITING.items()},
        "ended": {name: value.text(MCH_ID) for name, value in ENDED.items()},
        "checkout": {name: value.text() for name, value in INTENTS.items()},
        "checkout-order": {name: value.text() for name, value in ORDERS.items()},
        "refund": {name: value.text() for name, value in REFUNDS.items()},
        "message": facts,
        "paid-order": {name: order_text(value) for name, value in PAID_ORDERS.items()},
    }


def write(folder: str) -> None:
    """One file for each kind."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for kind, cases in texts().items():
        text = json.dumps(cases, ensure_ascii=False, indent=1)
        (Path(folder) / f"{kind}.json").write_text(text + "\n", encoding="utf-8")
