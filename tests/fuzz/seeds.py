"""Inputs to begin with: what the document shows, and lives of an order at the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlencode

from chaoying_async.sandbox.document.endpoints import METHODS
from tests.fuzz.targets import NEXT, ROUTED
from tests.pure.factories import form, notification, paid, signed
from tests.sandbox_calls import VALID, path_of

_ALIPAY = {"trade_type": "pay.alipay.native", "buyer_logon_id": "a@b.c", "buyer_user_id": "2088"}
#: Requests that follow one another at the sandbox.
_LIVES = (
    *(("pay", "orderquery", "refund", "refundquery"), ("facepay", "cancel", "orderquery")),
    *(("WECHAT_PreOrder", "cancel"), ("ALIPAY_PreOrder", "orderquery")),
    *((endpoint,) for endpoint in sorted(VALID)),
)


def _notifications() -> Iterator[bytes]:
    for fields in (notification(), notification(**_ALIPAY), notification(pay_result="1")):
        yield b"u" + form(signed(fields))
        yield b"s" + form(fields)


def _replies() -> Iterator[bytes]:
    for members in (paid(), paid(trade_state="NOTPAY"), paid(state="FAIL", code="20007")):
        for flag, told in ((b"u", signed(members)), (b"s", members)):
            yield flag + b"\0" + json.dumps(told).encode()


def _lives() -> Iterator[bytes]:
    for calls in _LIVES:
        yield NEXT.join(map(_call, calls))


def _call(endpoint: str) -> bytes:
    common = {"agent_id": "13000000000000000", "pid": "sandbox", "version": "1.0"}
    if endpoint in METHODS:
        common["method"] = endpoint
    path = path_of(endpoint)
    for byte, (_, routed) in ROUTED.items():
        if routed == path:
            return bytes([byte]) + b"s" + urlencode(common | dict(VALID[endpoint])).encode()
    return f"1s{path[1:]}\n{urlencode(common | dict(VALID[endpoint]))}".encode()


SEEDS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "notification": _notifications,
    "reply": _replies,
    "sandbox": _lives,
}
