"""The sandbox spoken to by hand: requests signed here, with nothing of the client's."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from chaoying_async import GatewaySession
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.bank.entities import Consequence, Notify
from chaoying_async.sandbox.bank.table import Table
from chaoying_async.sandbox.document.endpoints import ROUTES
from chaoying_async.sandbox.document.http_messages import HttpRequest, HttpResponse
from chaoying_async.sandbox.serving.gateway import SandboxGateway, World
from chaoying_async.sansio.credentials import Credentials, SortOrder

KEY = "key-of-the-sandbox-tests"
AGENT = "13000000000000000"
START = datetime(2026, 1, 1, 4, 0, tzinfo=UTC)

#: Endpoint to a request that is right in every way, but for what every request carries.
VALID: Mapping[str, Mapping[str, str]] = {
    "pay": {
        "mch_id": "00000001",
        "out_trade_no": "A100011",
        "body": "image形象店 + 公仔 100%",
        "total_fee": "1000",
        "auth_code": "130000000000001111",
    },
    "facepay": {
        "paytype": "WECHAT",
        "mch_id": "00000001",
        "openid": "oHmbktxFlpoEPo2Ol5GOJniV2q-A",
        "out_trade_no": "A100011",
        "body": "b",
        "total_fee": "1000",
        "face_code": "120061098828009406",
    },
    "orderquery": {"paytype": "WECHAT", "mch_id": "00000001", "out_trade_no": "A100011"},
    "refund": {
        "paytype": "WECHAT",
        "mch_id": "00000001",
        "out_trade_no": "A100011",
        "out_refund_no": "TK-1",
        "total_fee": "1000",
        "refund_fee": "1000",
        "op_user_id": "01",
    },
    "refundquery": {"paytype": "WECHAT", "mch_id": "00000001", "out_refund_no": "TK-1"},
    "cancel": {
        "paytype": "WECHAT",
        "mch_id": "00000001",
        "out_trade_no": "A100011",
        "op_user_id": "01",
    },
    "WECHAT_PreOrder": {
        "mch_id": "00000001",
        "body": "b",
        "out_trade_no": "A100011",
        "total_fee": "1000",
        "trade_type": "NATIVE",
        "product_id": "1",
    },
    "ALIPAY_PreOrder": {
        "mch_id": "00000001",
        "body": "b",
        "out_trade_no": "A100011",
        "total_fee": "1000",
        "trade_type": "NATIVE",
    },
    "getfaceauth": {
        "paytype": "WECHAT",
        "mch_id": "00000001",
        "store_id": "test_store_01",
        "store_name": "测试门店01",
        "device_id": "00000001",
        "rawdata": "00000001",
    },
    "authcodetoopenid": {
        "mch_id": "00000001",
        "sub_appid": "wx4da448cd29920000",
        "auth_code": "130000000000001111",
    },
    "WXA_Code2Session": {"appid": "wx4da448cd29920000", "js_code": "023jh17A0Tlixd1ql75A0aLc7A0j"},
    "Mch_Reg": {"FullName": "新商户有限公司", "key1": "aaa"},
    "GetMchSMSValid": {"mobile": "13800000000"},
    "GetMchId": {"username": "13800000000", "password": "12345678"},
    "GetPartnerId": {"mch_id": "00000001"},
    "GetMchInfo": {"mch_id": "00000001"},
    "wx_addsubdevconfig": {"mch_id": "00000001", "jsapi_path": "http://a.com/pay/"},
    "PayBoxConfGet": {
        "pid": "CySoftPayBox",
        "device_info": "CySoftPayBox",
        "op_device_id": "000063066004189990000194",
    },
    "QrConfGet": {
        "pid": "CySoftPayBox",
        "device_info": "CySoftPayBox",
        "op_device_id": "000063066004189990000194",
        "op_shop_id": "id_shop",
    },
}


def sign(fields: Mapping[str, str], key: str = KEY) -> str:
    """MD5 over the sorted names, as the document has it."""
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name])
    return hashlib.md5(f"{text}&key={key}".encode()).hexdigest().upper()


def path_of(endpoint: str) -> str:
    if endpoint == "QrConfGet":
        return "/qrpay/00000001"
    paths = {name: path for (_, path), name in ROUTES.items()}
    return paths.get(endpoint, "/UnifiedPay/Gateway")


def http_request(endpoint: str, fields: Mapping[str, str]) -> HttpRequest:
    if endpoint in {"PayBoxConfGet", "QrConfGet"}:
        return HttpRequest(
            method="GET",
            path=path_of(endpoint),
            query=urlencode(fields),
            user_agent="CySoftPayBox",
        )
    return HttpRequest(
        method="POST",
        path=path_of(endpoint),
        content_type="application/x-www-form-urlencoded; charset=utf-8",
        body=urlencode(fields).encode(),
    )


class Till:
    """One caller of one sandbox gateway, with time in hand."""

    def __init__(self, *, sign_failures: bool = True, order: SortOrder = SortOrder.ASCII) -> None:
        self.time = START
        self.events: list[Consequence] = []
        credentials = Credentials(agent_id=AGENT, key=KEY, pid="till", sort_order=order)
        self.gateway = SandboxGateway(
            World(credentials=credentials, sign_failures=sign_failures),
            self,
            random.Random(1),
            on_event=self.events.append,
        )

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("the ledger never waits")

    def timeout(self, seconds: float | None) -> Any:
        raise AssertionError("the ledger never waits")

    def later(self, **delta: float) -> None:
        self.time += timedelta(**delta)

    def call(self, endpoint: str, **changes: str | None) -> dict[str, Any]:
        """Send a valid request with these changes (None: left out); the reply's members."""
        return parsed(self.post(endpoint, self.signed(endpoint, **changes)))

    def signed(self, endpoint: str, **changes: str | None) -> dict[str, str]:
        common = {"agent_id": AGENT, "pid": "till", "version": "1.0"}
        if path_of(endpoint) == "/UnifiedPay/Gateway":
            common["method"] = endpoint
        fields = {
            name: value
            for name, value in {**common, **VALID[endpoint], **changes}.items()
            if value is not None
        }
        return {**fields, "sign": fields.get("sign") or sign(fields)}

    def post(self, endpoint: str, fields: Mapping[str, str]) -> HttpResponse:
        return self.gateway.answer(http_request(endpoint, fields))

    def notified(self) -> list[str]:
        return [event.key[1] for event in self.events if isinstance(event, Notify)]


def in_any_order(monkeypatch: pytest.MonkeyPatch, *, backwards: bool) -> None:
    """The sandbox's tables are gone through by name: forwards or backwards, not by hash."""

    def names(table: Table[Any, Any]) -> Iterator[Any]:
        return iter(sorted((key for shard in table._shards for key in shard), reverse=backwards))

    monkeypatch.setattr(Table, "__iter__", names)


def parsed(reply: HttpResponse) -> dict[str, Any]:
    assert reply.status == 200, reply
    members = json.loads(reply.body)
    if "sign" in members:
        unsigned = {name: str(value) for name, value in members.items() if name != "sign"}
        assert members["sign"] == sign(unsigned)
    assert isinstance(members, dict)
    return members


def said(reply: Mapping[str, Any]) -> tuple[str | None, ...]:
    """The three status fields of a reply."""
    return tuple(reply.get(name) for name in ("state", "trade_state", "code"))


PAID = ("SUCCESS", "SUCCESS", "10000")
DONE = PAID
WAITING = ("SUCCESS", "NEED_QUERY", "10001")
UNPAID = ("SUCCESS", "NEED_QUERY", "10003")
CLOSED = ("SUCCESS", "FAIL", "10004")
REVOKED = ("SUCCESS", "FAIL", "10005")
FAILED = ("SUCCESS", "FAIL", "10006")
REFUNDED = ("SUCCESS", "REFUND", "10002")


def refused(code: str) -> tuple[str | None, ...]:
    return ("FAIL", None, code)


@asynccontextmanager
async def session_with(sandbox: Sandbox, **options: Any) -> AsyncGenerator[GatewaySession]:
    given: dict[str, Any] = {"transport": sandbox.transport, "clock": sandbox.clock, **options}
    async with GatewaySession(
        given.pop("credentials", sandbox.credentials),
        mch_id=sandbox.mch_id,
        op_user_id="cashier",
        **given,
    ) as session:
        yield session
