"""The calls that a person makes through the console, signed as a shop's calls are."""

from __future__ import annotations

from collections.abc import Mapping

from chaoying_async.sandbox.bank.entities import Order
from chaoying_async.sandbox.bank.reply_fields import stamp
from chaoying_async.sandbox.document.endpoints import METHODS, ROUTES
from chaoying_async.sandbox.document.http_messages import HttpRequest, HttpResponse
from chaoying_async.sandbox.document.signature import signature
from chaoying_async.sandbox.serving.runtime import Runtime
from chaoying_async.sansio.wire.forms import encode_form

_OPERATOR = "console"
_PATHS = {endpoint: path for (_, path), endpoint in ROUTES.items()}
_CODES = {"WECHAT": "1300000000{:08d}", "ALIPAY": "2800000000{:08d}"}
_PREORDERS = {"WECHAT": "WECHAT_PreOrder", "ALIPAY": "ALIPAY_PreOrder"}
#: Wallets that an order can be made for here.
WALLETS = tuple(_PREORDERS)
#: How an order is made: the customer scans a code, or shows a code that is charged.
HOW = ("scan", "pay")


async def call(runtime: Runtime, endpoint: str, fields: Mapping[str, str]) -> HttpResponse:
    """One signed call, through the faults that are in force."""
    credentials = runtime.gateway.world.credentials
    given = {name: value for name, value in fields.items() if value}
    common = {
        "agent_id": credentials.agent_id,
        "pid": credentials.pid,
        "version": credentials.version,
        "nonce_str": runtime.gateway.nonce(),
    }
    path = _PATHS.get(endpoint, "/UnifiedPay/Gateway")
    if endpoint in METHODS:
        common["method"] = endpoint
    message = common | given
    signed = sorted({**message, "sign": signature(message, credentials)}.items())
    return await runtime.exchange(
        HttpRequest(
            method="POST",
            path=path,
            content_type="application/x-www-form-urlencoded; charset=utf-8",
            body=encode_form(signed).encode(),
        )
    )


def new_order(
    runtime: Runtime, *, mch_id: str, how: str, wallet: str, total_fee: int, scenario: int, url: str
) -> tuple[str, dict[str, str]]:
    """Endpoint and fields of a new order; a ``scenario`` above 0 wins over the amount's."""
    serial = runtime.gateway.ledger.serial + 1
    fields = {
        "mch_id": mch_id,
        "out_trade_no": f"C{stamp(runtime.clock.now())}{serial:06d}",
        "body": "sandbox console",
        "total_fee": str(total_fee),
        "op_user_id": _OPERATOR,
    }
    if how == "pay":
        return "pay", {**fields, "auth_code": _CODES[wallet].format(scenario)}
    later = {"trade_type": "NATIVE", "notify_url": url}
    if wallet == "WECHAT":
        later["product_id"] = "1"
    if scenario:
        later["buyer_id"] = f"console0000{scenario:03d}"
    return _PREORDERS[wallet], {**fields, **later}


def query(order: Order) -> dict[str, str]:
    """Fields of an ``orderquery``."""
    return {"mch_id": order.mch_id, "out_trade_no": order.out_trade_no, "paytype": order.paytype}


def cancel(order: Order) -> dict[str, str]:
    """Fields of a ``cancel``."""
    return {**query(order), "op_user_id": _OPERATOR}


def refund(order: Order, amount: int) -> dict[str, str]:
    """Fields of a ``refund`` of so many fen, under the order's next refund number."""
    return {
        **cancel(order),
        "out_refund_no": f"R{order.out_trade_no[-28:]}{len(order.refunds) + 1:02d}",
        "total_fee": str(order.payable),
        "refund_fee": str(amount),
    }
