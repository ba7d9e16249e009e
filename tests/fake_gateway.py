"""A gateway in this process, as a transport: honest unless a test scripts it, counting requests."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import httpx

from chaoying_async import Credentials, GatewaySession
from chaoying_async.sansio.signing import sign_for
from tests.factories import CREDENTIALS, MCH_ID, answer_fields

#: What a step does: raise, answer with a status or a body, or anything at all.
Step = (
    BaseException
    | int
    | bytes
    | httpx.Response
    | Callable[[httpx.Request], Awaitable[httpx.Response]]
)

_REPEATED = ("mch_id", "out_trade_no", "transaction_id", "out_refund_no", "refund_id", "paytype")


class FakeGateway(httpx.AsyncBaseTransport):
    """Answers each request by the next step of its script, and honestly when that has run out."""

    def __init__(self, *script: Step, agents: Mapping[str, Credentials] | None = None) -> None:
        self.script: deque[Step] = deque(script)
        self.agents = agents or {CREDENTIALS.agent_id: CREDENTIALS}
        self.requests: list[httpx.Request] = []
        self.forms: list[dict[str, str]] = []
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = (await request.aread()).decode() or request.url.query.decode()
        self.requests.append(request)
        self.forms.append(dict(parse_qsl(body, keep_blank_values=True, strict_parsing=True)))
        step: Step = self.script.popleft() if self.script else 200
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, httpx.Response):
            return step
        if callable(step):
            return await step(request)
        if isinstance(step, bytes):
            return httpx.Response(200, content=step)
        return httpx.Response(step, content=self.honest(request))

    def honest(self, request: httpx.Request) -> bytes:
        """What a gateway with nothing to hide says; the sandbox takes this place."""
        return self.answer(self.forms[-1], request.url.path)

    def answer(self, form: Mapping[str, str], path: str, **changes: Any) -> bytes:
        """The signed success that this request deserves."""
        name = form.get("method") or path.rpartition("/")[2]
        name = "QrConfGet" if path.startswith("/qrpay/") else name
        fields = answer_fields(name) | {key: form[key] for key in _REPEATED if key in form}
        if name in ("pay", "facepay"):
            fields |= {"base_fee": form["total_fee"], "total_fee": form["total_fee"]}
        fields |= changes
        fields["sign"] = sign_for(self.agents[form["agent_id"]], fields)
        return json.dumps(fields).encode()

    async def aclose(self) -> None:
        self.closed = True


def session(gateway: httpx.AsyncBaseTransport | None, **options: Any) -> GatewaySession:
    """A session of the test's merchant over that transport."""
    settings: dict[str, Any] = {"mch_id": MCH_ID, "op_user_id": "op1", "transport": gateway}
    return GatewaySession(options.pop("credentials", CREDENTIALS), **settings | options)


class Trickle(httpx.AsyncByteStream):
    """A body that comes a byte at a time, with a pause before each."""

    def __init__(self, data: bytes, pause: Callable[[], Awaitable[None]]) -> None:
        self._data, self._pause = data, pause
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for byte in self._data:
            await self._pause()
            yield bytes([byte])

    async def aclose(self) -> None:
        self.closed = True
