"""A visitor of the console, in process: what the tests of its pages and of its guard share."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import httpx

from chaoying_async import Credentials
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.console.site import Console
from chaoying_async.sandbox.document.signature import signature
from chaoying_async.sandbox.serving.security import AccessGuard
from tests.factories import AUTH_CODE, KEY
from tests.sandbox_calls import path_of

ORDER = "/console/order?mch_id=00000001&out_trade_no="
OURS = {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1"}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens: the tests call it in process


class Merchant(httpx.AsyncBaseTransport):
    """Where notifications go; answers what it is told to."""

    def __init__(self) -> None:
        self.answer = b"success"
        self.heard: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.heard.append(await request.aread())
        return httpx.Response(200, content=self.answer)


class Visitor:
    """A browser at a console, and a shop beside it."""

    def __init__(self, *, token: str | None = None, clock: Any = None, kept: int = 500) -> None:
        self.merchant = Merchant()
        self.sandbox = Sandbox(
            clock=clock,
            credentials=Credentials(agent_id="13000000000000000", key=KEY, pid="sandbox"),
            notify_transport=self.merchant,
        )
        self.guard = AccessGuard(EVERYWHERE if token else "127.0.0.1", token)
        app = self.sandbox.app
        self.console = Console(self.sandbox._runtime, self.guard, kept=kept)
        app.console, app.guard = self.console, self.guard
        transport = httpx.ASGITransport(app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def page(self, path: str, language: str = "en") -> str:
        reply = await self.get(path, **{"accept-language": language})
        assert reply.status_code == 200, (path, reply.status_code)
        return reply.text

    async def post(
        self, path: str, form: dict[str, str] | None = None, **headers: str
    ) -> httpx.Response:
        form = {"form_token": self.guard.form_token, **(form or {})}
        return await self.client.post(path, data=form, headers=OURS | headers)

    async def send(self, endpoint: str, **fields: str) -> None:
        """A signed call of a shop's; ``spoil`` is no field, but makes the signature wrong."""
        spoil = fields.pop("spoil", "")
        given = {"agent_id": "13000000000000000", "pid": "shop", "version": "1.0", **fields}
        path = path_of(endpoint)
        if path == "/UnifiedPay/Gateway":
            given["method"] = endpoint
        sign = signature(given, self.sandbox.credentials)
        given["sign"] = sign[::-1] if spoil else sign
        kind = {"content-type": "application/x-www-form-urlencoded"}
        await self.client.post(path, content=urlencode(given), headers=kind)

    async def pay(self, number: str = "A100011", total: str = "1000", **more: str) -> None:
        common = {"mch_id": "00000001", "body": "b", "auth_code": AUTH_CODE}
        await self.send("pay", out_trade_no=number, total_fee=total, **{**common, **more})

    async def refund(self, order: str, number: str, fee: str, total: str = "2000") -> None:
        common = {"mch_id": "00000001", "paytype": "WECHAT", "op_user_id": "1"}
        fees = {"total_fee": total, "refund_fee": fee}
        await self.send("refund", out_trade_no=order, out_refund_no=number, **common, **fees)

    async def preorder(self, number: str = "A100012", total: str = "1405", **more: str) -> None:
        common = {"mch_id": "00000001", "body": "b", "trade_type": "NATIVE", "product_id": "1"}
        fields = {**common, "notify_url": "http://shop.invalid/notify", **more}
        await self.send("WECHAT_PreOrder", out_trade_no=number, total_fee=total, **fields)


def said(reply: httpx.Response) -> str:
    assert reply.status_code == 303, reply.text
    return reply.headers["location"]


PAGES = [
    "/console/",
    "/console/?q=A1000&state=PAID&wallet=WECHAT",
    "/console/messages",
    "/console/messages?bad=1&endpoint=pay&q=A1",
    "/console/message?id=1",
    "/console/message?id=2",
    "/console/notifications",
    "/console/faults",
    "/console/doctor",
    "/console/api",
    "/console/doctor?message=1",
    "/console/doctor?message=1&of=reply",
    f"{ORDER}A100011",
    f"{ORDER}A100012",
]
