"""M-27: what hangs on our errors, causes and their attributes included, holds no secret."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from chaoying_async import ChaoyingError, GatewayError, GatewaySession, Hosts
from chaoying_async.transport import TransportEngine
from tests.engines import (
    SECRET,
    failure,
    garbage_chunk,
    garbage_status_line,
    running,
)
from tests.factories import CREDENTIALS, KEY, MCH_ID, answer_fields, body_of, every_request
from tests.fake_gateway import FakeGateway, session
from tests.tcp_server import Link, Script, TcpServer

PASSWORD = "pr0xyPASSWORD"
BASIC = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
REQUESTS = every_request()
_DEEP = 12


def reachable(thing: Any, depth: int = _DEEP, seen: set[int] | None = None) -> Iterator[str]:
    """Every text that can be reached over attributes, items and causes; frames left aside."""
    seen = set() if seen is None else seen
    if depth < 0 or id(thing) in seen or isinstance(thing, (type, int, float)) or callable(thing):
        return
    seen.add(id(thing))
    if isinstance(thing, (str, bytes)):
        yield thing if isinstance(thing, str) else thing.decode("latin-1")
        return
    parts: list[Any] = []
    if isinstance(thing, Mapping):
        parts += [*thing.keys(), *thing.values()]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        parts += thing
    for name in dir(thing):
        if name in {"__traceback__", "__class__", "__doc__", "__module__", "__dict__"}:
            continue
        if not name.startswith("__") or name in {"__cause__", "__context__", "__notes__"}:
            try:
                parts.append(getattr(thing, name))
            except Exception:  # noqa: BLE001, S112 - a property that refuses shows nothing
                continue
    for part in parts:
        yield from reachable(part, depth - 1, seen)
    yield repr(thing)


def clean(error: BaseException, *secrets: str) -> None:
    for text in reachable(error):
        for secret in secrets:
            assert secret not in text, text


async def refuse(link: Link) -> None:
    await link.reader.readuntil(b"\r\n\r\n")
    await link.send(
        f"HTTP/1.1 407 {BASIC}\r\nX-Echo: {BASIC}\r\nContent-Length: 0\r\n\r\n".encode()
    )


async def hang_up(link: Link) -> None:
    await link.reader.readuntil(b"\r\n\r\n")


async def talk_nonsense(link: Link) -> None:
    await link.reader.readuntil(b"\r\n\r\n")
    await link.send(f"no HTTP {BASIC}\r\n\r\n".encode())


@pytest.mark.parametrize("kind", ["aiohttp", "httpx", "user", "httpx2"])
@pytest.mark.parametrize("script", [refuse, hang_up, talk_nonsense, None])
async def test_a_proxy_that_refuses_leaves_no_password_behind(
    kind: str, script: Script | None
) -> None:
    """M-27: neither plain nor in base64, in the chain that ends with the engine's own error."""
    async with TcpServer(script or hang_up) as proxy:
        port = 1 if script is None else proxy.port
        url = f"http://user:{PASSWORD}@127.0.0.1:{port}"
        async with running(kind, proxy=url) as engine:
            error = await failure(engine, "https://gateway.invalid/pay")
            assert error.__cause__ is not None
            clean(error, PASSWORD, BASIC)


@pytest.mark.parametrize("script", [refuse, hang_up, talk_nonsense])
async def test_a_sessions_error_leaves_none_either(script: Script) -> None:
    """M-27: nor the payment code, the key and the signature, all the way down."""
    async with TcpServer(script) as proxy:
        till = GatewaySession(
            CREDENTIALS,
            mch_id=MCH_ID,
            op_user_id="op1",
            hosts=Hosts.single("https://gateway.invalid"),
            proxy=f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}",
        )
        async with till:
            with pytest.raises(ChaoyingError) as caught:
                await till.send(REQUESTS["pay"])
    clean(caught.value, PASSWORD, BASIC, KEY, REQUESTS["pay"].auth_code)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["aiohttp", "httpx", "user", "httpx2"])
@pytest.mark.parametrize("script", [garbage_status_line, garbage_chunk])
async def test_what_an_engine_could_not_read_hangs_on_no_error(kind: str, script: Script) -> None:
    """M-27: the request that the engine's error knows, and the bytes of the reply."""
    async with TcpServer(script) as server, running(kind) as engine:
        for method in ("GET", "POST"):
            error = await failure(
                engine, server.url(f"/pay?sign={SECRET}"), method=method, body=SECRET.encode()
            )
            clean(error, SECRET)


def _with_request(request: httpx.Request) -> Exception:
    return httpx.ReadError(f"x {SECRET}", request=request)


def _with_response(request: httpx.Request) -> Exception:
    response = httpx.Response(500, text=SECRET, request=request)
    return httpx.HTTPStatusError(SECRET, request=request, response=response)


def _undecodable(_request: httpx.Request) -> Exception:
    return UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, "bad")


def _in_a_group(request: httpx.Request) -> Exception:
    return ExceptionGroup("several", [_with_request(request), ValueError(SECRET)])


def _in_context(request: httpx.Request) -> Exception:
    error = OSError("reset")
    error.__context__ = _with_response(request)
    error.__cause__ = LookupError("elsewhere")
    return error


@pytest.mark.parametrize(
    "make", [_with_request, _with_response, _undecodable, _in_a_group, _in_context]
)
async def test_what_a_users_transport_raises_is_emptied(
    make: Callable[[httpx.Request], Exception],
) -> None:
    """M-27: its request holds the payment code, its response the buyer."""

    def broken(request: httpx.Request) -> httpx.Response:
        raise make(request)

    engine = TransportEngine(httpx.MockTransport(broken))
    clean(await failure(engine, "https://h/pay", body=SECRET.encode()), SECRET)


async def test_what_the_caller_is_handling_is_left_as_it_is() -> None:
    """It is his: he may still log it, or raise it again."""
    engine = TransportEngine(httpx.MockTransport(lambda request: _raised(_with_request(request))))
    try:
        int("his own")
    except ValueError as his:
        error = await failure(engine, "https://h/pay", body=SECRET.encode())
        assert "his own" in str(his)
        assert his.__traceback__ is not None
    clean(error, SECRET)


def _raised(error: Exception) -> httpx.Response:
    raise error


@pytest.mark.parametrize("name", ["pay", "refund", "orderquery"])
@pytest.mark.parametrize("code", ["20005", "20004", "20008"])
async def test_a_gateway_that_echoes_the_key_puts_it_into_no_error(name: str, code: str) -> None:
    """M-27: `.raw` of a refusal included, and of the one inside an unknown outcome."""
    fields = answer_fields(name, state="FAIL", code=code, msg=f"sign error a=1&key={KEY}")
    fields |= {"debug": f"key={KEY}", KEY: "as a name"}
    async with session(FakeGateway(body_of(fields, signed=False)), read_retries=0) as till:
        with pytest.raises(ChaoyingError) as caught:
            await till.send(REQUESTS[name])
    clean(caught.value, KEY)
    error: Any = caught.value
    refusal = error if isinstance(error, GatewayError) else getattr(error, "refusal", None)
    if refusal is not None:
        assert refusal.raw["debug"] == "key=***"
        assert all(KEY not in f"{each} {refusal.raw[each]}" for each in refusal.raw)
