"""M-01: whether a request left is decided alike for every engine, wherever a connection breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from chaoying_async.exceptions import ChaoyingError, RequestNotSentError, TransportError
from tests.engines import (
    ENGINES,
    NOT_SENT,
    PATIENT,
    UNKNOWN,
    call,
    failure,
    garbage_chunk,
    garbage_status_line,
    running,
    silent,
    tls,
)
from tests.sizes import thinned
from tests.tcp_server import OK, Link, Script, TcpServer, polite, refused_port


@pytest.fixture(params=ENGINES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ------------------------------------------------------------------ after the connection is there


async def reset_mid_request(link: Link) -> None:
    await link.byte()
    link.reset()


async def close_after_request(link: Link) -> None:
    await link.request()


async def reset_after_request(link: Link) -> None:
    await link.request()
    link.reset()


async def close_mid_head(link: Link) -> None:
    await link.request()
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Le")


async def close_mid_body(link: Link) -> None:
    await link.request()
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")


async def close_mid_chunk(link: Link) -> None:
    await link.request()
    await link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf")


async def oversized_head(link: Link) -> None:
    await link.request()
    await link.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n")


async def switching(link: Link) -> None:
    await link.request()
    await link.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    )
    await link.hung_up()


#: Stage -> what the server does. From the first byte on, no engine may say "not sent".
BROKEN: dict[str, Callable[[Link], Awaitable[None]]] = {
    "mid-request": reset_mid_request,
    "after the request": close_after_request,
    "after the request, reset": reset_after_request,
    "mid-head": close_mid_head,
    "mid-body": close_mid_body,
    "mid-chunk": close_mid_chunk,
    "garbage status line": garbage_status_line,
    "garbage chunk": garbage_chunk,
    "oversized head": oversized_head,
}


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("stage", BROKEN)
async def test_m01_once_a_byte_was_read_the_outcome_is_unknown_and_nothing_is_sent_again(
    kind: str, stage: str, method: str
) -> None:
    """M-01, M-02: cut anywhere behind the first byte; the server sees one request, once."""
    async with TcpServer(BROKEN[stage]) as server, running(kind) as engine:
        error = await failure(engine, server.url("/pay"), method=method)
        await asyncio.sleep(0)
    assert type(error) is UNKNOWN
    assert server.connections == 1
    assert len(server.requests) <= 1


async def test_m01_a_connection_closed_on_accept_is_not_sent_only_if_no_byte_arrived(
    kind: str,
) -> None:
    """M-01: between connect and write either answer may be true; the claim must match the fact."""

    async def close_at_once(link: Link) -> None:
        link.reset()

    async with TcpServer(close_at_once) as server, running(kind) as engine:
        error = await failure(engine, server.url())
    assert type(error) in {UNKNOWN, NOT_SENT}
    assert type(error) is UNKNOWN or not server.received
    assert server.connections == 1


async def test_r24_cut_at_any_byte_of_request_or_reply_it_is_sent_at_most_once(kind: str) -> None:
    """M-02: one byte boundary in five, with FULL=1 each; one call, one connection."""
    async with TcpServer(polite) as server, running(kind) as engine:
        await call(engine, server.url("/pay"))
    length = len(server.requests[0])

    for cut in thinned(range(1, length + len(OK)), every=11, usual=5):

        async def cutting(link: Link, cut: int = cut) -> None:
            link.server.received += await link.reader.readexactly(min(cut, length))
            if cut > length:
                await link.send(OK[: cut - length])
            else:
                link.reset()

        async with TcpServer(cutting) as server, running(kind) as engine:
            assert type(await failure(engine, server.url("/pay"))) is UNKNOWN
        assert server.connections == 1
        assert len(server.received) == min(cut, length)


async def test_m01_a_read_time_out_is_unknown(kind: str) -> None:
    """M-01: the server has the request and says nothing."""
    async with TcpServer(silent) as server, running(kind) as engine:
        timeout = httpx.Timeout(5.0, read=0.05)
        assert type(await failure(engine, server.url(), timeout=timeout)) is UNKNOWN
    assert len(server.requests) == 1


async def test_m01_a_write_time_out_is_unknown(kind: str) -> None:
    """M-01: the server takes a little of the request and then nothing more."""

    async def deaf(link: Link) -> None:
        link.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with TcpServer(deaf) as server, running(kind) as engine:
        timeout = httpx.Timeout(5.0, write=0.05)
        error = await failure(engine, server.url(), body=bytes(30_000_000), timeout=timeout)
    assert type(error) is UNKNOWN
    assert server.connections == 1


async def test_m01_an_unasked_switch_of_protocols_is_unknown(kind: str) -> None:
    """M-01: status 101 is no answer to a payment, and its connection is not used again."""
    async with TcpServer(switching) as server, running(kind) as engine:
        try:
            status, _ = await call(engine, server.url(), timeout=httpx.Timeout(0.1))
        except TransportError as error:
            assert type(error) is UNKNOWN
        else:
            assert status == 101
    assert len(server.requests) == 1


# ------------------------------------------------------------------ before the connection is there

#: Stage -> class by engine. The user's own transport proves less (M-01).
EARLY: dict[str, dict[str, type[ChaoyingError]]] = {
    "refused": {"aiohttp": NOT_SENT, "httpx": NOT_SENT, "user": NOT_SENT},
    "DNS": {"aiohttp": NOT_SENT, "httpx": NOT_SENT, "user": NOT_SENT},
    "TLS failure": {"aiohttp": NOT_SENT, "httpx": NOT_SENT, "user": NOT_SENT},
    "untrusted certificate": {"aiohttp": NOT_SENT, "httpx": NOT_SENT, "user": NOT_SENT},
    "TLS cut": {"aiohttp": NOT_SENT, "httpx": NOT_SENT, "user": NOT_SENT},
    "connect time-out": {"aiohttp": NOT_SENT, "httpx": NOT_SENT, "user": UNKNOWN},
    "pool full": {"aiohttp": NOT_SENT, "httpx": NOT_SENT, "user": NOT_SENT},
    "proxy refused": {"aiohttp": NOT_SENT, "httpx": NOT_SENT, "user": NOT_SENT},
    "proxy says no": {"aiohttp": NOT_SENT, "httpx": NOT_SENT, "user": UNKNOWN},
    "proxy hangs up": {"aiohttp": NOT_SENT, "httpx": UNKNOWN, "user": UNKNOWN},
    "no such URL": {"aiohttp": NOT_SENT, "httpx": NOT_SENT, "user": NOT_SENT},
}
URLS_OUT_OF_THE_QUESTION = [
    "ftp://127.0.0.1/",
    "http://",
    "/pay",
    "http://user:pw@127.0.0.1/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1/a b",
    "http://127.0.0.1/a\r\nX: y",
    "http://127.0.0.1/支付",
    "http://bad host/",
    "http://[::1/",
]


@pytest.fixture(autouse=True)
def _handshake_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's side of a broken handshake is logged by asyncio; that is not the subject."""
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", True)


async def plain(link: Link) -> None:
    await link.reader.read(1)
    await link.send(b"HTTP/1.1 400 This port speaks no TLS\r\n\r\n")


async def hang_up(link: Link) -> None:
    await link.reader.read(1)


async def ignore(link: Link) -> None:
    await link.reader.read(1)
    await asyncio.Event().wait()


async def refuse_tunnel(link: Link) -> None:
    assert (await link.reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT ")
    await link.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")


async def drop_tunnel(link: Link) -> None:
    await link.reader.readuntil(b"\r\n\r\n")


async def at(kind: str, url: str, **options: Any) -> ChaoyingError:
    async with running(kind) as engine:
        return await failure(engine, url, **options)


async def when_tls_meets(kind: str, script: Script, **options: Any) -> ChaoyingError:
    async with TcpServer(script) as server:
        error = await at(kind, server.url("/", "https"), **options)
    assert server.connections == 1
    return error


async def when_untrusted(kind: str) -> ChaoyingError:
    async with TcpServer(polite, tls().server) as server:
        error = await at(kind, server.url())
    assert server.requests == []
    return error


async def when_slow(kind: str) -> ChaoyingError:
    return await when_tls_meets(kind, ignore, timeout=httpx.Timeout(5.0, connect=0.05))


async def through_proxy(kind: str, script: Script) -> ChaoyingError:
    async with TcpServer(script) as server, running(kind, proxy=server.url()) as engine:
        return await failure(engine, "https://gateway.invalid/pay")


async def through_nothing(kind: str) -> ChaoyingError:
    async with running(kind, proxy=f"http://127.0.0.1:{refused_port()}") as engine:
        return await failure(engine, "https://gateway.invalid/pay")


async def when_pool_is_full(kind: str) -> ChaoyingError:
    one = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    async with TcpServer(silent) as server, running(kind, limits=one) as engine:
        busy = asyncio.create_task(call(engine, server.url()))
        while not server.requests:
            await asyncio.sleep(0)
        error = await failure(engine, server.url(), timeout=httpx.Timeout(5.0, pool=0.02))
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
    assert len(server.requests) == 1
    return error


HOW: dict[str, Callable[[str], Awaitable[ChaoyingError]]] = {
    "refused": lambda kind: at(kind, f"http://127.0.0.1:{refused_port()}/pay"),
    "DNS": lambda kind: at(kind, "http://gateway.invalid/pay"),
    "TLS failure": lambda kind: when_tls_meets(kind, plain),
    "untrusted certificate": when_untrusted,
    "TLS cut": lambda kind: when_tls_meets(kind, hang_up),
    "connect time-out": when_slow,
    "pool full": when_pool_is_full,
    "proxy refused": through_nothing,
    "proxy says no": lambda kind: through_proxy(kind, refuse_tunnel),
    "proxy hangs up": lambda kind: through_proxy(kind, drop_tunnel),
    "no such URL": lambda kind: at(kind, "ftp://127.0.0.1/"),
}


@pytest.mark.parametrize("stage", EARLY)
async def test_m01_what_failed_before_the_first_byte_is_not_sent(kind: str, stage: str) -> None:
    """M-01: refused, DNS, TLS, pool, proxy; and the cautious column for a user's transport."""
    error = await HOW[stage](kind)
    assert type(error) is EARLY[stage]["user" if kind == "httpx2" else kind]


@pytest.mark.parametrize("url", URLS_OUT_OF_THE_QUESTION)
async def test_m01_a_url_that_cannot_be_sent_as_it_is_is_not_sent(kind: str, url: str) -> None:
    """M-01: refused before a connection is opened, and never repaired."""
    async with running(kind) as engine:
        assert type(await failure(engine, url)) is NOT_SENT


@pytest.mark.parametrize("header", [("X\r\n", "1"), ("X", "1\r\nY: 2"), ("X", "支"), ("", "1")])
async def test_m01_a_header_that_would_break_the_request_is_not_sent(
    kind: str, header: tuple[str, str]
) -> None:
    """M-01: no engine lets a line break through into the head."""
    async with TcpServer(polite) as server, running(kind) as engine:
        with pytest.raises(RequestNotSentError):
            await engine.round_trip(
                "POST", server.url(), [header], b"", timeout=PATIENT, max_bytes=100
            )
    assert server.received == b""


# ------------------------------------------------------------------ kept connections


async def test_m01_a_kept_connection_that_dies_on_the_next_request_is_unknown(kind: str) -> None:
    """M-01: stale keep-alive; the server had read the request when it hung up. Never re-sent."""

    async def once(link: Link) -> None:
        await link.request()
        if link.number == 1:
            await link.send(OK)
            await link.request()

    for method in ("POST", "GET"):
        async with TcpServer(once) as server, running(kind) as engine:
            await call(engine, server.url(), method=method)
            if kind == "httpx":  # keeps no connection (M-06), so it cannot meet a stale one
                assert type(await failure(engine, server.url(), method=method)) is UNKNOWN
                assert server.connections == 2
            else:
                assert type(await failure(engine, server.url(), method=method)) is UNKNOWN
                assert server.connections == 1
        assert len(server.requests) == 2


async def test_m06_a_kept_connection_that_the_server_closed_is_replaced_before_a_byte_leaves(
    kind: str,
) -> None:
    """M-06: an end of file that waits unread in the kernel is seen before anything is written."""

    async def one_each(link: Link) -> None:
        await link.request()
        await link.send(OK)

    async with TcpServer(one_each) as server, running(kind) as engine:
        for _ in range(5):
            assert await call(engine, server.url()) == (200, b"ok")
            # Closed by the kernel at once, without a turn of the loop for the client to notice.
            for link in server.links:
                sock = link.writer.get_extra_info("socket")
                if not link.writer.transport.is_closing() and sock.fileno() >= 0:
                    sock.shutdown(1)
    assert len(server.requests) == 5


async def test_a_connection_serves_many_requests_with_tls_and_without() -> None:
    """Keep-alive works in spite of all the caution, chunked replies included."""

    async def both_ways(link: Link) -> None:
        while True:
            await link.request()
            await link.send(OK)
            await link.request()
            await link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
            await asyncio.sleep(0)
            await link.send(b"0\r\n\r\n")

    for secured in (None, tls().server):
        async with (
            TcpServer(both_ways, secured) as server,
            running("aiohttp", verify=tls().client) as engine,
        ):
            for _ in range(10):
                assert await call(engine, server.url()) == (200, b"ok")
        assert server.connections == 1
        assert len(server.requests) == 10
