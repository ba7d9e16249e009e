"""The default engine: aiohttp's connections and parser, a pool of our own, no repeats."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import TYPE_CHECKING

import attrs
import httpx

from chaoying_async.exceptions import ChaoyingError, WrongEventLoopError
from chaoying_async.sansio.hosts import host_and_port
from chaoying_async.sansio.sealed import shy
from chaoying_async.transport.base import Headers, HttpReply, NativeTransport
from chaoying_async.transport.causes import Trip
from chaoying_async.transport.errors import not_sent, translate
from chaoying_async.transport.fair_queue import FairQueue
from chaoying_async.transport.proxies import Proxies, ProxyGiven, Via
from chaoying_async.transport.request_bytes import Address, parse_url, request_head, with_body
from chaoying_async.transport.tls import Cert, Verify, proves, tls_context

if TYPE_CHECKING:
    from aiohttp import ClientRequest

    from chaoying_async.abc import Clock
    from chaoying_async.transport.aiohttp_connections import ConnectionOpener, WireConnection

_ROUTES_KEPT = 256


@attrs.define(eq=False)
class _Origin:
    """One server as seen through one proxy, and the idle connections to it, newest last."""

    request: ClientRequest
    to: str
    via: str
    idle: deque[WireConnection] = attrs.field(init=False, factory=deque)


@attrs.define(eq=False)
class _Route:
    """What is the same for every request of one kind, so that it is worked out once."""

    origin: _Origin
    head: bytes


class AiohttpTransport(NativeTransport):
    """A pooled HTTP/1.1 transport over aiohttp; the session's default when aiohttp is installed.

    A session calls ``round_trip``. ``handle_async_request`` makes this class an httpx transport
    too, so it may be wrapped like any other; both raise this library's errors.
    An instance belongs to the event loop of its first request, and must be closed there.
    ``max_bytes`` limits replies that come through ``handle_async_request``.
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
        # Imported here, not at the top: `import chaoying_async` must not load aiohttp.
        from chaoying_async.transport import aiohttp_connections  # noqa: PLC0415

        self._wire = aiohttp_connections
        self._context = tls_context(verify, cert, trust_env=trust_env)
        self._proxies = Proxies(proxy, trust_env=trust_env)
        self.verifies, self.direct = proves(self._context), proxy is None
        self._gate = FairQueue(limits.max_connections, clock)
        keep = limits.max_keepalive_connections
        self._keep = float("inf") if keep is None else keep
        self._expiry = limits.keepalive_expiry
        self._max_bytes = max_bytes
        self._opener: ConnectionOpener | None = None
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
    ) -> HttpReply:
        return await self._exchange(method, url, headers, body, timeout, max_bytes)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send an httpx request; the response has been read already, and its body decoded."""
        url = request.url
        target = request.extensions.get("target", url.raw_path).decode("latin-1")
        reply = await self._exchange(
            request.method,
            f"{url.scheme}://{url.netloc.decode('ascii')}{target}",
            tuple(request.headers.multi_items()),
            await request.aread(),
            httpx.Timeout(**request.extensions.get("timeout", {"timeout": None})),
            self._max_bytes,
        )
        return reply.response(request)

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
    ) -> HttpReply:
        self._check_loop()
        handled = sys.exception()
        route = self._route(method, url, headers)
        data = shy(with_body(route.head, method, body))
        if not self._gate.try_enter():
            await self._gate.enter(timeout.pool)
        line: WireConnection | None = None
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
            raise error.with_traceback(None)  # noqa: B904 - drops the frames that hold the reply
        except Exception as exc:
            where = route.origin.to, route.origin.via
            trip = Trip(*where, timeout.as_dict(), began=began, handled=handled)
            raise translate(exc, self._wire.AIOHTTP_NOT_SENT, trip) from exc
        else:
            message = answer.message
            return HttpReply(message.code, tuple(message.headers.items()), shy(reply))
        finally:
            try:
                if line is not None:  # not read to the end: never to be used again (M-06)
                    line.drop()
            finally:
                self._gate.leave()

    def _check_loop(self) -> None:
        """Refuse another event loop: its connections could be written to, but never read."""
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
            self._opener = self._wire.ConnectionOpener(self._context)
        key = (address.origin, via)
        if key not in self._origins:
            through = "" if via is None else host_and_port(via.url)
            request = self._opener.request(address, via)
            self._origins[key] = _Origin(request, host_and_port(address.origin), through)
        return self._origins[key]

    def _take(self, origin: _Origin) -> WireConnection | None:
        """The newest idle connection that is clean; others are closed, nothing was sent on them."""
        while origin.idle:
            line = origin.idle.pop()
            self._idle -= 1
            if line.quiet():
                return line
            line.drop()
        return None

    async def _open(self, origin: _Origin, seconds: float | None) -> WireConnection:
        if self._opener is None:
            raise not_sent("the engine is closed")
        line = await self._opener.open(origin.request, seconds)
        if self._closed or not line.fresh():
            line.drop()
            raise not_sent(f"{origin.to} spoke, or hung up, before it was asked anything")
        return line

    def _put(self, origin: _Origin, line: WireConnection, *, reusable: bool) -> None:
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
        """Close connections that were idle for too long, and schedule the next look."""
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
