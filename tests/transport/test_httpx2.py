"""M-01, M-27: transports of httpx2, whose classes have httpx's names, are httpx's to us."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import httpx
import httpx2
import pytest

from chaoying_async import GatewaySession, OutcomeUnknownError, RequestNotSentError
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.transport import TransportEngine
from tests.engines import NOT_SENT, UNKNOWN, call, failure
from tests.factories import CREDENTIALS, MCH_ID, answer_fields, body_of, every_request

PAY = every_request()["pay"]
SECRET = "oSECRETopenid"


def engine(handler: Any) -> TransportEngine:
    transport: Any = httpx2.MockTransport(handler)
    return TransportEngine(transport)


class ConnectError(Exception):
    """A class of that name, of nobody's."""


class Derived(httpx2.ConnectError):
    """A user's own, below httpx2's."""


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (httpx2.ConnectError("x"), NOT_SENT), (httpx2.PoolTimeout("x"), NOT_SENT),
        (Derived("x"), NOT_SENT), (httpx.ConnectError("x"), NOT_SENT),
        (httpx2.ConnectTimeout("x"), UNKNOWN), (httpx2.ProxyError("x"), UNKNOWN),
        (httpx2.UnsupportedProtocol("x"), UNKNOWN), (httpx2.ReadError("x"), UNKNOWN),
        (httpx2.WriteError("x"), UNKNOWN), (httpx2.RemoteProtocolError("x"), UNKNOWN),
        (ConnectError("x"), UNKNOWN),
        (type("ConnectError", (OSError,), {"__module__": "httpx2"})(), UNKNOWN),
    ],
)  # fmt: skip
async def test_m01_the_cautious_table_holds_for_httpx2(
    raised: Exception, expected: type[ChaoyingError]
) -> None:
    """M-01: the package's very own two classes prove it; a class that has their name does not."""

    def broken(_request: httpx2.Request) -> httpx2.Response:
        raise raised

    error = await failure(engine(broken), f"https://example.test/pay?sign={SECRET}", method="GET")
    assert type(error) is expected


async def test_m27_what_httpx2_says_stays_out_of_our_errors() -> None:
    """M-27: neither its text nor the request that hangs on it."""

    def broken(request: httpx2.Request) -> httpx2.Response:
        inner = httpx2.RemoteProtocolError(f"illegal {SECRET}", request=request)
        raise httpx2.ConnectError(f"cannot {SECRET}", request=request) from inner

    error: BaseException | None = await failure(engine(broken), "https://h/", body=SECRET.encode())
    while error is not None:
        assert SECRET not in f"{error!r} {error} {vars(error)}"
        with pytest.raises((RuntimeError, AttributeError)):
            error.request  # type: ignore[attr-defined]  # noqa: B018
        error = error.__cause__ or error.__context__


async def test_its_mock_transport_answers_async_and_not() -> None:
    """It gets its own package's request, with method, URL, headers, body and time-outs."""
    seen: list[httpx2.Request] = []

    def plain(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, text="ok")

    async def slow(request: httpx2.Request) -> httpx2.Response:
        return plain(request)

    for handler in (plain, slow):
        assert await call(engine(handler), "https://example.test/pay?a=%7e") == (200, b"ok")
    for request in seen:
        assert isinstance(request, httpx2.Request)
        assert request.content == b"out_trade_no=A1"
        assert request.headers["accept-encoding"] == "identity"
        assert request.extensions["timeout"]["read"] == 5.0


async def test_a_session_pays_through_it_and_says_what_was_not_sent() -> None:
    """M-01, M-02: as over httpx's."""
    answers: list[Any] = [
        httpx2.Response(200, content=body_of(answer_fields("pay"))),
        httpx2.ConnectError("refused"),
        httpx2.ReadError("cut"),
    ]

    def answer(_request: httpx2.Request) -> httpx2.Response:
        given = answers.pop(0)
        if isinstance(given, Exception):
            raise given
        found: httpx2.Response = given
        return found

    transport: Any = httpx2.MockTransport(answer)
    async with GatewaySession(
        CREDENTIALS, mch_id=MCH_ID, op_user_id="op1", transport=transport
    ) as till:
        assert (await till.send(PAY)).result is not None
        with pytest.raises(RequestNotSentError):
            await till.send(PAY)
        with pytest.raises(OutcomeUnknownError):
            await till.send(PAY)


ALIASED = """
import httpx2
httpx2.alias_httpx()
import asyncio, httpx
from chaoying_async import GatewaySession, OrderQuery, PayType, RequestNotSentError, Credentials
assert httpx is httpx2

def refused(request):
    raise httpx.ConnectError("x", request=request)

async def main():
    credentials = Credentials(agent_id="a", key="k" * 16, pid="p")
    ways = [
        {"transport": httpx.MockTransport(refused)},
        {"proxy": "http://u:pw@127.0.0.1:1"},
        {"transport": httpx.AsyncHTTPTransport(proxy="http://127.0.0.1:1")},
    ]
    for way in ways:
        async with GatewaySession(credentials, mch_id="1", read_retries=0, **way) as till:
            try:
                await till.send(OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1"))
            except RequestNotSentError as error:
                assert not error.__cause__.args or "x" not in error.__cause__.args, error.__cause__
            else:
                raise SystemExit("no error")

asyncio.run(main())
"""


@pytest.mark.outside
def test_a_program_that_calls_httpx2_httpx_loses_nothing() -> None:
    """M-01: ``httpx2.alias_httpx()`` before anything is imported."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALIASED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
