"""Engines over httpx's transport interface: any transport of the user's, and httpx's own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Any

import attrs
import httpx

from chaoying_async.exceptions import ChaoyingError, MalformedMessageError
from chaoying_async.sansio.hosts import host_and_port
from chaoying_async.sansio.sealed import shy
from chaoying_async.transport.base import Headers, HttpReply
from chaoying_async.transport.causes import Trip
from chaoying_async.transport.errors import (
    HTTPX_NOT_SENT,
    families,
    foreign_not_sent,
    not_sent,
    translate,
)
from chaoying_async.transport.fair_queue import FairQueue
from chaoying_async.transport.proxies import Proxies, ProxyGiven, Via
from chaoying_async.transport.reply_body import check_head, read_bounded
from chaoying_async.transport.request_bytes import Address, parse_url, request_head
from chaoying_async.transport.tls import Cert, Verify, tls_context

if TYPE_CHECKING:
    from chaoying_async.abc import Clock


class TransportEngine:
    """Sends through any ``httpx.AsyncBaseTransport`` that the user handed in.

    The transport is the user's, so this never closes it, and its errors prove little: only
    ``httpx.ConnectError`` and ``httpx.PoolTimeout`` count as "not sent" (M-01). Our own
    ``RequestNotSentError`` does not, since a transport that repeats may raise it for the last of
    several attempts. The transport decides whether it keeps cookies, follows redirects or repeats.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        #: The package whose requests the transport takes: one of httpx2 refuses httpx's.
        self._family: Any = next(
            (each for each in families() if isinstance(transport, each.AsyncBaseTransport)), httpx
        )

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
        address = parse_url(url)
        request = build_request(method, address, headers, body, timeout, self._family)
        to = host_and_port(address.origin)
        trip = Trip(to, timeout=timeout.as_dict(), handled=sys.exception())
        try:
            response = await self._transport.handle_async_request(request)
            trip = attrs.evolve(trip, began=True)  # the head of a reply is there
            return await _read(response, max_bytes)
        except MalformedMessageError:
            raise
        except Exception as exc:
            raise translate(exc, foreign_not_sent(), trip) from exc

    async def aclose(self) -> None:
        """Do nothing: whoever made the transport closes it."""


class HttpxEngine:
    """httpx's own engine, for where aiohttp is not installed or cannot serve (a SOCKS proxy).

    Every exchange has a connection of its own. httpcore would read bytes that came in one segment
    behind an earlier reply as the answer to the next request, and its public interface has no way
    to notice, so nothing is kept alive (M-06). That costs a handshake for each call; the pool's
    limit and fair queue are the same as with aiohttp.
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
    ) -> None:
        self._gate = FairQueue(limits.max_connections, clock)
        self._context = tls_context(verify, cert, trust_env=trust_env)
        self._proxies = Proxies(proxy, trust_env=trust_env)
        self._transports: dict[Via | None, httpx.AsyncHTTPTransport] = {}

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
        address, handled = parse_url(url), sys.exception()
        fields = [*headers, ("Connection", "close")]
        request = build_request(method, address, fields, body, timeout)
        await self._gate.enter(timeout.pool)
        began = request.extensions["trace"] = _Began(timeout.connect)
        try:
            response = await self._transport(address).handle_async_request(request)
            return await _read(response, max_bytes, of_ours=True)
        except ChaoyingError as error:
            raise error.with_traceback(None)  # noqa: B904 - drops the frames that hold the reply
        except Exception as exc:
            via = self._proxies.to(address)
            through = "" if via is None else host_and_port(via.url)
            to = host_and_port(address.origin)
            trip = Trip(to, through, timeout.as_dict(), began=bool(began), handled=handled)
            raise translate(exc, HTTPX_NOT_SENT, trip) from exc
        finally:
            self._gate.leave()

    async def aclose(self) -> None:
        """Close the connections; calls that wait for one end with an error."""
        self._gate.shut()
        while self._transports:
            await self._transports.popitem()[1].aclose()

    def _transport(self, address: Address) -> httpx.AsyncHTTPTransport:
        """The transport for the proxy of this address: httpx wants one for each proxy."""
        via = self._proxies.to(address)
        found = self._transports.get(via)
        if found is None:
            found = self._transports[via] = httpx.AsyncHTTPTransport(
                verify=self._context,
                trust_env=False,
                proxy=None if via is None else _proxy(via),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            )
        return found


def _proxy(via: Via) -> httpx.Proxy:
    return httpx.Proxy(via.url, headers=via.headers, auth=via.auth, ssl_context=via.context)


class _Began:
    """httpcore's public ``trace`` hook; true from when the first byte is about to be written.

    ``connect`` is for all that opening a connection takes, as it is for aiohttp's engine; httpx's
    is for each step of it, and a proxy's answer is none of them. What took longer is not sent.
    """

    def __init__(self, connect: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + (inf if connect is None else connect)
        self._seen = False

    def __bool__(self) -> bool:
        return self._seen

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        # The hook hears of a proxy's CONNECT too, which holds no byte of the request.
        if event.endswith(".send_request_headers.started"):
            if getattr(info.get("request"), "method", b"") == b"CONNECT":
                return
            if not self._seen and self._loop.time() > self._until:
                raise httpx.ConnectTimeout("")
            self._seen = True


@lru_cache(maxsize=64)
def _plain_url(family: Any, url: str) -> httpx.URL:
    """A URL without a query: httpx takes long to read one, and there are only a few."""
    found: httpx.URL = family.URL(url)
    return found


def _url(family: Any, url: str) -> httpx.URL:
    """httpx's URL; "not sent" where httpx does not take the host (256.1.1.1, broken punycode)."""
    found: httpx.URL | None = None
    try:
        # A URL with a query has a signature in it: it is not kept.
        read: httpx.URL = family.URL(url) if "?" in url else _plain_url(family, url)
        found = read if read.host else None
    except (family.InvalidURL, UnicodeError):
        pass
    if found is None:  # raised here: httpx's own error quotes the URL
        raise not_sent("httpx does not take the host of its address")
    return found


def build_request(  # noqa: PLR0917 - private, called in two places
    method: str,
    address: Address,
    headers: Headers,
    body: bytes,
    timeout: httpx.Timeout,
    family: Any = httpx,
) -> httpx.Request:
    """An httpx request with the URL's bytes as given and no encoding asked for."""
    request_head(method, address.target, address.authority, headers)  # stricter than httpx
    kept = [(name, value) for name, value in headers if name.lower() != "accept-encoding"]
    url = address.origin + address.target
    request: httpx.Request = family.Request(
        method,
        _url(family, url),
        headers=[*kept, ("Accept-Encoding", "identity")],
        content=body,
        extensions={"timeout": timeout.as_dict()},
    )
    target = address.target.encode("ascii")
    if request.url.raw_path != target:
        request.extensions["target"] = target  # httpx has escaped some letters
    return request


async def _read(response: httpx.Response, max_bytes: int, *, of_ours: bool = False) -> HttpReply:
    """Read the whole reply. Closing a stream that was read to its end may fail: nothing changes.

    ``of_ours``: check the limits of the head; a transport of the user's has limits of its own.
    """
    stream = response.stream
    try:
        if of_ours:
            check_head(response.headers.multi_items())
        body = await read_bounded(response, max_bytes)
    except BaseException:
        await _close(stream)
        raise
    with contextlib.suppress(Exception):
        await _close(stream)
    return HttpReply(response.status_code, tuple(response.headers.multi_items()), shy(body))


async def _close(stream: Any) -> None:
    if hasattr(stream, "aclose"):  # of httpx or httpx2
        await stream.aclose()
