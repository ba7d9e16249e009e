"""M-01, M-10, M-27: what engines write, keep and tell, and which errors leave them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp.client_proto import ResponseHandler

from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import ChaoyingError, MalformedMessageError, RequestNotSentError
from chaoying_async.transport import AiohttpTransport, HttpxEngine, TransportEngine, default_engine
from chaoying_async.transport.aiohttp_connections import AIOHTTP_NOT_SENT
from chaoying_async.transport.causes import Trip
from chaoying_async.transport.errors import FOREIGN_NOT_SENT, HTTPX_NOT_SENT, translate
from tests.engines import (
    ENGINES,
    HEADERS,
    LIMITS,
    NOT_SENT,
    SECRET,
    UNKNOWN,
    call,
    failure,
    garbage_chunk,
    garbage_status_line,
    running,
    silent,
    tls,
)
from tests.tcp_server import Link, TcpServer, polite, reply


@pytest.fixture(params=ENGINES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ------------------------------------------------------------------ what is written, what is kept


async def test_the_bytes_of_a_url_arrive_as_given(kind: str) -> None:
    """M-01: no engine rewrites an escape; the query was signed as it stands."""
    target = "/a%2fb%7E/~c;d='(*)'?x=%e4%bd%a0&y=a+b&z=%41|{}^`\"<>\\"
    async with TcpServer(polite) as server, running(kind) as engine:
        await call(engine, server.url(target), method="GET")
        await call(engine, server.url("?q=1#fragment"), method="GET")
    assert server.requests[0].split(b" ")[1] == target.encode()
    assert server.requests[1].split(b" ")[1] == b"/?q=1"


async def test_m10_redirects_are_returned_and_cookies_forgotten(kind: str) -> None:
    """M-10: a 3xx is an answer like any other; Set-Cookie changes nothing."""

    async def redirecting(link: Link) -> None:
        while True:
            await link.request()
            await link.send(
                b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nSet-Cookie: a=b\r\n"
                b"Content-Length: 0\r\n\r\n"
            )

    async with TcpServer(redirecting) as server, running(kind) as engine:
        assert await call(engine, server.url(), method="GET") == (302, b"")
        assert await call(engine, server.url()) == (302, b"")
    assert len(server.requests) == 2
    assert not any(b"ookie" in request for request in server.requests)


async def test_r38_the_environments_proxy_is_used_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Off by default for a payment client; a plain request then goes to the proxy whole."""
    for kind in ("aiohttp", "httpx"):
        async with TcpServer(polite) as server, TcpServer(polite) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url())
            async with running(kind, trust_env=False) as engine:
                await call(engine, server.url("/pay"))
            assert (len(server.requests), len(proxy.requests)) == (1, 0)
            async with running(kind, trust_env=True) as engine:
                await call(engine, "http://gateway.invalid/pay?a=%41")
            assert proxy.requests[0].startswith(b"POST http://gateway.invalid/pay?a=%41 HTTP/1.1")


async def test_r38_credentials_of_the_environments_proxy_reach_the_proxy_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """User and password stand in a field for the proxy, on either engine."""
    for kind in ("aiohttp", "httpx"):
        async with TcpServer(polite) as proxy:
            monkeypatch.setenv("http_proxy", f"http://user:pw@127.0.0.1:{proxy.port}")
            async with running(kind, trust_env=True) as engine:
                await call(engine, "http://gateway.invalid/pay")
            head = proxy.requests[0].lower()
            assert b"proxy-authorization: basic dxnlcjpwdw==" in head
            assert b"user:pw" not in head


async def tunnel(link: Link, port: int) -> None:
    """Answer CONNECT, and carry bytes both ways."""
    back, out = await asyncio.open_connection("127.0.0.1", port)
    await link.send(b"HTTP/1.1 200 OK\r\n\r\n")

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)

    try:
        await asyncio.gather(pump(link.reader, out), pump(back, link.writer))
    finally:
        out.close()


async def test_a_proxy_tunnel_carries_the_request_and_its_credentials_stay_with_the_proxy() -> None:
    """CONNECT with Proxy-Authorization, then TLS to the gateway inside it, reused."""
    connects: list[bytes] = []

    async def connected(link: Link) -> None:
        connects.append(await link.reader.readuntil(b"\r\n\r\n"))
        await tunnel(link, server.port)

    for kind in ("aiohttp", "httpx"):
        connects.clear()
        async with TcpServer(polite, tls().server) as server, TcpServer(connected) as proxy:
            url = f"http://user:pw@127.0.0.1:{proxy.port}"
            async with running(kind, verify=tls().client, proxy=url) as engine:
                assert await call(engine, server.url("/pay")) == (200, b"ok")
                assert await call(engine, server.url("/pay")) == (200, b"ok")
            await asyncio.sleep(0.01)
        assert len(connects) == (1 if kind == "aiohttp" else 2)
        assert b"proxy-authorization: basic dxnlcjpwdw==" in connects[0].lower()
        assert len(server.requests) == 2
        assert not any(b"roxy" in request for request in server.requests)


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
async def test_nothing_is_sent_on_a_connection_that_took_too_long(kind: str) -> None:
    """M-24: a proxy that answers late; each step was quick enough for httpx."""

    async def late(link: Link) -> None:
        until = asyncio.get_running_loop().time() + 0.06
        await link.reader.readuntil(b"\r\n\r\n")
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.01)
        await tunnel(link, server.port)

    timeout = httpx.Timeout(5.0, connect=0.05)
    async with (
        TcpServer(polite, tls().server) as server,
        TcpServer(late) as proxy,
        running(kind, verify=tls().client, proxy=proxy.url()) as engine,
    ):
        error = await failure(engine, server.url("/pay"), timeout=timeout)
    assert type(error) is NOT_SENT
    assert server.requests == []


async def test_r12_tls_is_verified_by_default_and_a_path_names_the_authority(
    kind: str, tmp_path: Path
) -> None:
    """An unknown certificate is refused; ``verify=`` may be a path for our own engines."""
    if kind in {"user", "httpx2"}:
        pytest.skip("its TLS settings are its own")
    pem = tmp_path / "ca.pem"
    tls().authority.cert_pem.write_to_path(pem)
    async with TcpServer(polite, tls().server) as server:
        async with running(kind, verify=str(pem)) as engine:
            assert await call(engine, server.url()) == (200, b"ok")
        async with running(kind, verify=False) as engine:
            assert await call(engine, server.url()) == (200, b"ok")
        async with running(kind, verify=True) as engine:
            assert type(await failure(engine, server.url())) is NOT_SENT


async def test_statuses_and_interim_answers_are_passed_on(kind: str) -> None:
    """M-10: 1xx is skipped, every other status is returned with its body."""

    async def interim(link: Link) -> None:
        await link.request()
        await link.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        await link.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")

    async with TcpServer(interim) as server, running(kind) as engine:
        assert await call(engine, server.url()) == (503, b"busy")


# ------------------------------------------------------------------ errors


def behind(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what caused it, and so on."""
    while error is not None:
        yield error
        error = error.__context__ if error.__cause__ is None else error.__cause__


async def test_m27_errors_hold_nothing_of_query_header_or_reply(kind: str) -> None:
    """M-27: not in the text, and not in the texts of what caused it either."""
    for script in (garbage_status_line, garbage_chunk):
        async with TcpServer(script) as server, running(kind) as engine:
            error = await failure(engine, server.url(f"/pay?sign={SECRET}"), method="GET")
        assert error.__cause__ is not None
        for each in behind(error):
            assert SECRET not in str(each) + repr(each) + repr(vars(each))
    async with running(kind) as engine:
        assert SECRET not in str(await failure(engine, f"http://127.0.0.1/ ?{SECRET}"))


def subclasses(base: type[BaseException], module: str) -> set[type[BaseException]]:
    found = {base}
    for cls in base.__subclasses__():
        if cls.__module__.startswith(module):
            found |= subclasses(cls, module)
    return found


@pytest.mark.parametrize(
    ("table", "every"),
    [
        (AIOHTTP_NOT_SENT, subclasses(aiohttp.ClientError, "aiohttp") | {TimeoutError, OSError}),
        (HTTPX_NOT_SENT, subclasses(httpx.HTTPError, "httpx") | {httpx.InvalidURL}),
        (FOREIGN_NOT_SENT, subclasses(httpx.HTTPError, "httpx") | {httpx.InvalidURL}),
    ],
)
def test_m01_every_error_of_an_engine_becomes_one_of_ours(
    table: tuple[type[BaseException], ...], every: set[type[Exception]]
) -> None:
    """M-01: only what the table names is "not sent", and nothing at all once writing began."""
    odd: list[type[Exception]] = [RuntimeError, ValueError, LookupError, RequestNotSentError]
    for cls in [*every, *odd]:
        exc = cls.__new__(cls)
        proven = isinstance(exc, table)
        assert type(translate(exc, table, Trip("h:1"))) is (NOT_SENT if proven else UNKNOWN)
        assert type(translate(exc, table, Trip("h:1", began=True))) is UNKNOWN


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (httpx.ConnectError("x"), NOT_SENT),
        (httpx.PoolTimeout("x"), NOT_SENT),
        (httpx.ConnectTimeout("x"), UNKNOWN),
        (httpx.ProxyError("x"), UNKNOWN),
        (httpx.UnsupportedProtocol("x"), UNKNOWN),
        (httpx.ReadError("x"), UNKNOWN),
        (RequestNotSentError("x"), UNKNOWN),
        (RuntimeError("Session is closed"), UNKNOWN),
        (aiohttp.ClientResponseError(None, ()), UNKNOWN),  # type: ignore[arg-type]
        (MalformedMessageError("x"), MalformedMessageError),
    ],
)
async def test_m01_a_users_transport_gets_the_cautious_table(
    raised: Exception, expected: type[ChaoyingError]
) -> None:
    """M-01: it may have sent and repeated; only two classes of httpx count as not sent."""

    def broken(request: httpx.Request) -> httpx.Response:
        raise raised

    error = await failure(TransportEngine(httpx.MockTransport(broken)), "https://example.test/pay")
    assert type(error) is expected
    assert expected is MalformedMessageError or error.__cause__ is raised


async def test_a_users_transport_sees_the_request_as_it_is() -> None:
    """``MockTransport`` and the like get method, URL, headers, body and time-outs."""
    seen: list[httpx.Request] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text="ok")

    engine = TransportEngine(httpx.MockTransport(answer))
    assert await call(engine, "https://example.test/pay") == (200, b"ok")
    (request,) = seen
    assert request.content == b"out_trade_no=A1"
    assert request.headers["content-type"] == HEADERS[0][1]
    assert request.headers["accept-encoding"] == "identity"
    assert request.extensions["timeout"]["read"] == 5.0


async def test_the_default_transport_is_an_httpx_transport_too() -> None:
    """Hooks and wrappers written for httpx work with it."""

    async def compressed(link: Link) -> None:
        await link.request()
        await link.send(reply(b"body", "X-Seen: yes"))

    async with TcpServer(compressed) as server:
        transport = AiohttpTransport(limits=LIMITS, clock=SystemClock())
        async with httpx.AsyncClient(transport=transport) as client:
            response = await client.post(server.url("/pay?a=%7e"), data={"a": "b"})
    assert (response.status_code, response.text) == (200, "body")
    assert response.headers["x-seen"] == "yes"
    assert server.requests[0].startswith(b"POST /pay?a=%7e HTTP/1.1\r\n")
    assert server.requests[0].endswith(b"\r\n\r\na=b")


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "limits": LIMITS, "verify": True, "cert": None, "proxy": None, "trust_env": False,
        "clock": SystemClock(),
    } | changes  # fmt: skip


def test_the_default_engine_is_aiohttps_and_httpxs_where_that_cannot_serve(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The fallback is chosen for SOCKS, for an aiohttp of another build, and without aiohttp."""
    assert isinstance(default_engine(**settings()), AiohttpTransport)
    assert isinstance(default_engine(**settings(proxy="socks5://127.0.0.1:1")), HttpxEngine)
    monkeypatch.delattr(ResponseHandler, "start_timeout")  # one of the names that are not public
    assert isinstance(default_engine(**settings()), HttpxEngine)
    assert "slower" in caplog.text
    monkeypatch.setitem(sys.modules, "chaoying_async.transport.aiohttp_connections", None)
    monkeypatch.delattr("chaoying_async.transport.aiohttp_connections")
    assert isinstance(default_engine(**settings()), HttpxEngine)


@pytest.mark.outside
def test_r37_importing_the_package_loads_no_engine() -> None:
    """aiohttp is loaded when an engine is built and not before."""
    code = "import sys, chaoying_async, chaoying_async.transport as t; t.TransportEngine; "
    code += "sys.exit(bool({'aiohttp', 'yarl'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_closed_engine_says_that_nothing_was_sent() -> None:
    """Before and after use, while waiting for the pool, and no RuntimeError of an engine."""
    for kind in ("aiohttp", "httpx"):
        one = httpx.Limits(max_connections=1)
        async with TcpServer(silent) as server, running(kind, limits=one) as engine:
            busy = asyncio.create_task(failure(engine, server.url()))
            waiting = asyncio.create_task(failure(engine, server.url()))
            while not server.requests:
                await asyncio.sleep(0)
            await engine.aclose()
            assert type(await waiting) is NOT_SENT
            assert type(await failure(engine, server.url())) is NOT_SENT
            if kind == "aiohttp":
                assert type(await busy) is UNKNOWN
            else:
                busy.cancel()
                await asyncio.gather(busy, return_exceptions=True)
        assert len(server.requests) == 1
