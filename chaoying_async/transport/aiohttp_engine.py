"""The default engine: aiohttp's connections and parser, our own pool, one request each time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import httpx

from chaoying_async.exceptions import ChaoyingError, WrongEventLoopError
from chaoying_async.sansio.sealed import shy
from chaoying_async.transport.base import Answer, Headers, NativeTransport
from chaoying_async.transport.errors import not_sent, translate
from chaoying_async.transport.fair_queue import Gate
from chaoying_async.transport.proxies import Proxies, ProxyGiven, Via
from chaoying_async.transport.request_bytes import Address, parse_url, request_head, with_body
from chaoying_async.transport.tls import Cert, Verify, tls_context

if TYPE_CHECKING:
    from aiohttp import ClientRequest
    from aiohttp.http_parser import RawResponseMessage

    from chaoying_async.abc import Clock
    from chaoying_async.transport.aiohttp_connections import Line, Opener

_ROUTES_KEPT = 256


class _Origin:
    """One server as seen through one proxy, with the connections that lie idle, newest last."""

    __slots__ = ("idle", "request")

    def __init__(self, request: ClientRequest) -> None:
        self.request = request
        self.idle: deque[Line] = deque()


class _Route:
    """Everything about a kind of request that is the same each time: worked out once."""

    __slots__ = ("head", "origin")

    def __init__(self, origin: _Origin, head: bytes) -> None:
        self.origin, self.head = origin, head


class AiohttpTransport(NativeTransport):
    """A pooled HTTP/1.1 transport over aiohttp; the session's default when aiohttp is installed.

    ``round_trip`` is the way in for a session. ``handle_async_request`` makes it an httpx
    transport too, so it may be wrapped like any other; its errors are this library's in both.
    It belongs to the event loop of its first request, and must be closed there. ``max_bytes``
    limits replies that come through ``handle_async_request``.
    """

    def __init__(
        self,
        *,
        limits: httpx.Limits,
        verify: Verify = True,
        cert: Cert = None,
        proxy: ProxyGiven = None,
        trust_env: bool = False,
        clock: Clock,
        max_bytes: int = 1 << 20,
    ) -> None:
        # Here, not at the top: `import chaoying_async` must not load aiohttp.
        from chaoying_async.transport import aiohttp_connections  # noqa: PLC0415

        self._wire = aiohttp_connections
        self._context = tls_context(verify, cert, trust_env=trust_env)
        self._proxies = Proxies(proxy, trust_env=trust_env)
        self._gate = Gate(limits.max_connections, clock)
        keep = limits.max_keepalive_connections
        self._keep = float("inf") if keep is None else keep
        self._expiry = limits.keepalive_expiry
        self._max_bytes = max_bytes
        self._opener: Opener | None = None
        self._origins: dict[tuple[str, Via | None], _Origin] = {}
        self._routes: dict[tuple[str, str, Headers], _Route] = {}
        self._idle = 0
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def round_trip(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        *,
        timeout: httpx.Timeout,
        max_bytes: int,
    ) -> Answer:
        """See :class:`Engine`."""
        message, data = await self._exchange(method, url, headers, body, timeout, max_bytes)
        return Answer(message.code, tuple(message.headers.items()), data)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The same for an httpx request; the response is read already, its body decoded."""
        url = request.url
        target = request.extensions.get("target", url.raw_path).decode("latin-1")
        message, data = await self._exchange(
            request.method,
            f"{url.scheme}://{url.netloc.decode('ascii')}{target}",
            tuple(request.headers.multi_items()),
            await request.aread(),
            httpx.Timeout(**request.extensions.get("timeout", {"timeout": None})),
            self._max_bytes,
        )
        return Answer(message.code, tuple(message.headers.items()), data).response(request)

    async def aclose(self) -> None:
        """Close every connection; calls still under way or waiting end with an error."""
        self._closed = True
        self._gate.shut()
        if self._sweeping is not None:
            self._sweeping.cancel()
        opener, self._opener = self._opener, None
        if opener is not None:
            await opener.aclose()
        for origin in self._origins.values():
            while origin.idle:
                origin.idle.pop().forget()
        self._origins.clear()
        self._routes.clear()

    async def _exchange(  # noqa: PLR0917 - private, called in two places
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        timeout: httpx.Timeout,
        max_bytes: int,
    ) -> tuple[RawResponseMessage, bytes]:
        self._check_loop()
        route = self._route(method, url, headers)
        data = shy(with_body(route.head, method, body))
        if not self._gate.try_enter():
            await self._gate.enter(timeout.pool)
        line: Line | None = None
        began = False
        try:
            line = self._take(route.origin) or await self._open(route.origin, timeout.connect)
            line.begin()
            began = True
            answer = await line.exchange(data, (timeout.write, timeout.read))
            reply = await answer.body(max_bytes)
            self._put(route.origin, line, reusable=line.finish(answer.message))
            line = None
        except ChaoyingError as error:
            raise error.with_traceback(None)  # noqa: B904 - without the frames that read the reply
        except Exception as exc:
            raise translate(exc, self._wire.AIOHTTP_NOT_SENT, began=began) from exc
        else:
            return answer.message, shy(reply)
        finally:
            try:
                if line is not None:  # not read to the end: never to be used again (M-06)
                    line.drop()
            finally:
                self._gate.leave()

    def _check_loop(self) -> None:
        """Connections of another loop would be written to, and never be read."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise WrongEventLoopError(
                "this transport belongs to another event loop: make one per loop and asyncio.run"
            )

    def _route(self, method: str, url: str, headers: Headers) -> _Route:
        key = (method, url, headers if type(headers) is tuple else tuple(headers))
        route = self._routes.get(key)
        if route is not None:
            return route
        address = parse_url(url)
        via = self._proxies.to(address)
        target = address.target
        if via is not None and address.scheme == "http":  # no tunnel: the proxy gets the request
            target = address.origin + target
            headers = (*headers, *via.headers)
        head = request_head(method, target, address.authority, headers)
        route = _Route(self._origin(address, via), head)
        if "?" not in url:  # such URLs differ each time, and may carry what must not be kept
            if len(self._routes) >= _ROUTES_KEPT:
                self._routes.clear()
            self._routes[key] = route
        return route

    def _origin(self, address: Address, via: Via | None) -> _Origin:
        if self._closed:
            raise not_sent("the engine is closed")
        if self._opener is None:
            self._opener = self._wire.Opener(self._context)
        key = (address.origin, via)
        if key not in self._origins:
            self._origins[key] = _Origin(self._opener.request(address, via))
        return self._origins[key]

    def _take(self, origin: _Origin) -> Line | None:
        """An idle connection, newest first. What is not clean is closed: no byte was sent on it."""
        while origin.idle:
            line = origin.idle.pop()
            self._idle -= 1
            if line.quiet():
                return line
            line.drop()
        return None

    async def _open(self, origin: _Origin, seconds: float | None) -> Line:
        if self._opener is None:
            raise not_sent("the engine is closed")
        line = await self._opener.open(origin.request, seconds)
        if self._closed or not line.fresh():
            line.drop()
            raise not_sent("the server spoke, or hung up, before it was asked anything")
        return line

    def _put(self, origin: _Origin, line: Line, *, reusable: bool) -> None:
        if self._closed or not reusable or self._idle >= self._keep:
            line.drop()
            return
        loop = asyncio.get_running_loop()
        line.since = loop.time()
        origin.idle.append(line)
        self._idle += 1
        if self._sweeping is None and self._expiry is not None:
            self._sweeping = loop.call_later(self._expiry, self._sweep)

    def _sweep(self) -> None:
        """Close what has lain idle for too long, and look again when the next one may be due."""
        self._sweeping = None
        if self._expiry is None:
            return
        loop = asyncio.get_running_loop()
        before = loop.time() - self._expiry
        oldest = [o.idle for o in self._origins.values()]
        for idle in oldest:
            while idle and idle[0].since <= before:
                idle.popleft().drop()
                self._idle -= 1
        due = min((idle[0].since for idle in oldest if idle), default=None)
        if due is not None:
            self._sweeping = loop.call_at(due + self._expiry, self._sweep)
