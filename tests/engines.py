"""Every engine of the package behind one name each, and servers that answer all wrong."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import httpx2
import pytest
import trustme

from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import ChaoyingError, RequestNotSentError, TransportError
from chaoying_async.transport import AiohttpTransport, Engine, HttpxEngine, TransportEngine
from chaoying_async.transport.tls import tls_context
from tests.tcp_server import Link

NOT_SENT, UNKNOWN = RequestNotSentError, TransportError
HEADERS = (("Content-Type", "application/x-www-form-urlencoded"),)
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=15)
PATIENT = httpx.Timeout(5.0)
SECRET = "oSECRETopenid"

Make = Callable[..., Engine]


def own(kind: type[AiohttpTransport | HttpxEngine]) -> Make:
    def make(**options: Any) -> Engine:
        settings: dict[str, Any] = {"limits": LIMITS, "clock": SystemClock()}
        return kind(**settings | options)

    return make


def foreign(**options: Any) -> Engine:
    options.pop("clock", None)
    settings: dict[str, Any] = {"verify": tls_context(True, None, trust_env=False)}
    return TransportEngine(httpx.AsyncHTTPTransport(trust_env=False, **settings | options))


def foreign2(**options: Any) -> Engine:
    """A user's transport of the other package with httpx's names."""
    options.pop("clock", None)
    settings: dict[str, Any] = {"verify": tls_context(True, None, trust_env=False)}
    transport: Any = httpx2.AsyncHTTPTransport(trust_env=False, **settings | options)
    return TransportEngine(transport)


ENGINES: dict[str, Make] = {
    "aiohttp": own(AiohttpTransport),
    "httpx": own(HttpxEngine),
    "user": foreign,
    "httpx2": foreign2,
}


@asynccontextmanager
async def running(kind: str, **options: Any) -> AsyncIterator[Engine]:
    engine = ENGINES[kind](**options)
    try:
        yield engine
    finally:
        await engine.aclose()
        if isinstance(engine, TransportEngine):  # not ours, so not closed by it
            await engine._transport.aclose()


async def call(
    engine: Engine,
    url: str,
    *,
    method: str = "POST",
    body: bytes = b"out_trade_no=A1",
    timeout: httpx.Timeout = PATIENT,
) -> tuple[int, bytes]:
    answer = await engine.round_trip(
        method, url, HEADERS, body if method == "POST" else b"", timeout=timeout, max_bytes=100_000
    )
    return answer.status, answer.body


async def failure(engine: Engine, url: str, **options: Any) -> ChaoyingError:
    with pytest.raises(ChaoyingError) as caught:
        await call(engine, url, **options)
    return caught.value


async def garbage_status_line(link: Link) -> None:
    await link.request()
    await link.send(f"{SECRET} is no status line\r\n\r\n".encode())


async def garbage_chunk(link: Link) -> None:
    await link.request()
    await link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz" + SECRET.encode())


async def silent(link: Link) -> None:
    await link.request()
    await link.hung_up()


class Tls(NamedTuple):
    """A certificate authority, a server with its certificate, a client that trusts it."""

    authority: trustme.CA
    server: ssl.SSLContext
    client: ssl.SSLContext


@functools.cache
def tls() -> Tls:
    """One for all tests, with a certificate for ``localhost``."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Tls(authority, server, client)
