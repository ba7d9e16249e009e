"""Opens, guards and reads connections with aiohttp; the one file that touches it.

Imported when an engine is built, never before. ``TCPConnector`` opens connections (names, TLS,
proxies) and ``ResponseHandler``, the connector's protocol, parses replies. ``ClientSession`` is
left out on purpose: it would re-send a GET by itself on a dropped connection, it keeps cookies,
rewrites URLs, and it costs as much as all the rest of a call together.

Two things here are not in aiohttp's manual: the connector's ``_factory`` (it makes the protocol)
and the names on ``ResponseHandler``. The public way, ``ClientSession``, cannot tell whether a byte
of the request left, nor whether bytes of a second reply came. httpx's engine, all public, serves a
tenth of the requests a second (``python -m benchmarks.throughput``). :func:`usable` checks for both
things; where one is gone, the package falls back to httpx's engine instead of guessing.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import select
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from chaoying_async.transport.base import MAX_FIELDS, MAX_HEAD
from chaoying_async.transport.errors import head_too_large, not_sent
from chaoying_async.transport.reply_body import Body

if TYPE_CHECKING:
    import ssl

    from aiohttp.connector import Connection
    from aiohttp.http_parser import RawResponseMessage
    from aiohttp.streams import StreamReader

    from chaoying_async.transport.proxies import Via
    from chaoying_async.transport.request_bytes import Address

#: aiohttp's own classes that prove "not sent", while a connection was being opened (M-01). The
#: engine also knows whether it had begun to write; both must agree.
AIOHTTP_NOT_SENT: tuple[type[BaseException], ...] = (
    aiohttp.ClientConnectorError,  # refused, DNS, TLS handshake, proxy unreachable
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ConnectionTimeoutError,
    TimeoutError,  # what the connector raises; only a session makes it a ConnectionTimeoutError
    aiohttp.InvalidURL,
    aiohttp.ClientHttpProxyError,  # the proxy refused CONNECT
    aiohttp.ServerDisconnectedError,  # the proxy hung up during CONNECT
    aiohttp.ClientResponseError,  # the proxy's answer to CONNECT cannot be read
    aiohttp.ClientOSError,
)

_SECONDS_OF_DNS = 10
_SEEN_AT_END = 5  # the length of the last chunk, "0\r\n\r\n"
_BODILESS = frozenset({204, 304})
_NEEDED = ("set_response_params", "start_timeout", "read", "should_close", "force_close")

#: We unpack by ourselves (up to 3.13 aiohttp unpacked a kilobyte to a gigabyte at once, later ones
#: take megabytes for each reply), and a header of 9 kB is no reason to lose a payment's reply.
_PARAMETERS = inspect.signature(ResponseHandler.set_response_params).parameters
_LIMITS: dict[str, Any] = {
    "auto_decompress": False,
    "max_line_size": MAX_HEAD,
    "max_field_size": MAX_HEAD,
    # We count the fields; aiohttp's Python parser also counts the status and the empty line.
    **({"max_headers": MAX_FIELDS + 2} if "max_headers" in _PARAMETERS else {}),
}


def usable() -> bool:
    """Whether this aiohttp is built the way this file expects."""
    made_by = getattr(aiohttp.BaseConnector.__init__, "__code__", None)
    return (
        made_by is not None
        and "_factory" in made_by.co_names
        and _LIMITS.keys() <= _PARAMETERS.keys()
        and all(hasattr(ResponseHandler, name) for name in _NEEDED)
    )


def _watch(descriptor: int) -> Callable[[], Any]:
    """A quick check (0.5 µs) whether anything can be read there, an end of file included."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([descriptor], [], [], 0)[0]
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return functools.partial(poll.poll, 0)


class CountingProtocol(ResponseHandler):
    """aiohttp's protocol that counts incoming bytes, so that two replies are never mixed up.

    aiohttp's parser keeps the start of a second reply to itself and tells nobody. So this counts:
    a connection is used again only if the bytes received are one complete reply to the last byte,
    and nothing at all arrived while it lay idle (M-06).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        # "_guard_": a prefix that aiohttp uses for nothing on its own class.
        self.begin()  # busy at once: a proxy's answer to CONNECT comes before the first reply
        self._guard_waits = False
        self._guard_drained: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """A request is about to be written."""
        self._guard_busy = True
        self._guard_received = 0
        self._guard_head = b""  # the bytes of a head whose end has not come yet
        self._guard_head_size = -1
        self._guard_last = b""
        self._guard_waits = True  # whether the end of a head is awaited

    def head_came(self) -> None:
        """The head of the reply is complete; all further bytes are its body."""
        self._guard_waits = False

    def end(self, status: int, headers: Mapping[str, str], *, chunked: bool) -> bool:
        """Whether the connection may serve another request, now that the reply was read."""
        self._guard_busy = False
        if self.should_close or self._guard_head_size < 0 or self.writing_paused:
            return False
        if chunked:
            # The beginning of a second reply cannot end like this: it would be the end of a head,
            # which the parser would have reported (`should_close`).
            return self._guard_last == b"0\r\n\r\n"
        length = "0" if status in _BODILESS else headers.get("Content-Length", "")
        return length.isdecimal() and self._guard_received == self._guard_head_size + int(length)

    def data_received(self, data: bytes) -> None:
        """Count, then let aiohttp parse; bytes that nobody asked for end the connection."""
        if data:  # aiohttp also calls with nothing, to resume
            if not self._guard_busy:
                self._abort()
                return
            before = self._guard_received
            self._count(data)
            # The parser bounds each line, but not their number: neither an endless head nor endless
            # interim answers (1xx) may fill the memory.
            if self._guard_waits and max(before, self._guard_head_size) > MAX_HEAD:
                self.set_exception(head_too_large())
                self._abort()
                return
        super().data_received(data)

    def _abort(self) -> None:
        self.force_close()
        if self.transport is not None:
            self.transport.abort()

    def _count(self, data: bytes) -> None:
        if self._guard_head_size < 0:
            seen = self._guard_head + data if self._guard_head else data
            end = seen.find(b"\r\n\r\n")
            if end < 0:
                self._guard_head = seen[-65536:]  # the parser refuses a longer head anyway
            else:
                self._guard_head_size = self._guard_received - len(self._guard_head) + end + 4
                self._guard_head = b""
        self._guard_received += len(data)
        self._guard_last = (data if len(data) >= _SEEN_AT_END else self._guard_last + data)[
            -_SEEN_AT_END:
        ]

    async def drain(self, seconds: float | None) -> None:
        """Wait until the kernel took the whole request; :class:`TimeoutError` after ``seconds``."""
        async with asyncio.timeout(seconds):  # noqa: TID251 - a phase time-out of the engine's
            while self.writing_paused and self.transport is not None:
                self._guard_drained = self._loop.create_future()
                await self._guard_drained

    def resume_writing(self) -> None:
        super().resume_writing()
        self._wake()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._wake()  # ends `drain`; reading raises the error

    def _wake(self) -> None:
        if self._guard_drained is not None and not self._guard_drained.done():
            self._guard_drained.set_result(None)


class WireConnection:
    """One open connection: sends a request, reads its reply, and tells whether it is clean."""

    __slots__ = ("_conn", "_transport", "_waiting", "_wire", "since")

    def __init__(self, conn: Connection) -> None:
        wire, transport = conn.protocol, conn.transport
        if not isinstance(wire, CountingProtocol) or transport is None:
            conn.close()
            raise not_sent("the connection was lost while it was opened")
        # With this limit every byte that the kernel does not take at once counts as "paused".
        # (asyncio's TLS layer compares with >=, so that 0 would mean "always paused".)
        secure = transport.get_extra_info("ssl_object") is not None
        transport.set_write_buffer_limits(high=int(secure), low=0)
        self._conn, self._wire, self._transport = conn, wire, transport
        self._waiting = _watch(transport.get_extra_info("socket").fileno())
        self.since = 0.0

    def quiet(self) -> bool:
        """Whether it is open and nothing was received, not even an end of file in the kernel."""
        wire = self._wire
        if wire.transport is None or wire.should_close or self._transport.is_closing():
            return False
        return not self._waiting()

    def fresh(self) -> bool:
        """:meth:`quiet` for a new connection, where the kernel may hold TLS session tickets."""
        if self._transport.get_extra_info("ssl_object") is None:
            return self.quiet()
        return self._wire.transport is not None and not self._wire.should_close

    def begin(self) -> None:
        """From here on incoming bytes are the reply."""
        self._wire.begin()

    async def exchange(self, data: bytes, timeout: tuple[float | None, float | None]) -> ReplyHead:
        """Write the request and wait for the head of the reply; ``timeout`` is (write, read)."""
        wire = self._wire
        write_seconds, read_seconds = timeout
        wire.set_response_params(read_until_eof=True, read_timeout=read_seconds, **_LIMITS)
        self._transport.write(data)
        if wire.writing_paused:
            await wire.drain(write_seconds)
        wire.start_timeout()
        while True:
            message, payload = await wire.read()
            if message.code >= 200:  # noqa: PLR2004 - 1xx only announce the reply
                wire.head_came()
                if len(message.raw_headers) > MAX_FIELDS:
                    raise head_too_large()
                return ReplyHead(message, payload)
            if message.code == 101:  # noqa: PLR2004 - nobody asked to switch protocols
                raise aiohttp.ClientPayloadError

    def finish(self, message: RawResponseMessage) -> bool:
        """Whether the connection may be used again, now that the body was read."""
        return self._wire.end(message.code, message.headers, chunked=message.chunked)

    def drop(self) -> None:
        """Close at once: TLS would otherwise wait for the other side's goodbye."""
        self._transport.abort()
        self._conn.close()

    def forget(self) -> None:
        """Release the connection after the connector closed it."""
        self._conn.close()


@attrs.frozen(eq=False)
class ReplyHead:
    """The head of a reply whose body is still to be read."""

    message: RawResponseMessage
    _payload: StreamReader

    async def body(self, max_bytes: int) -> bytes:
        """The whole body, unpacked; cut off as soon as it is longer than ``max_bytes``."""
        payload = self._payload
        codings = self.message.headers.getall("Content-Encoding", ())
        body = Body(codings, max_bytes)
        if payload.is_eof():  # the whole body came together with the head: the usual case
            body.add(payload.read_nowait())
        else:
            while data := await payload.readany():
                body.add(data)
        return body.whole()


class ConnectionOpener:
    """Opens connections with aiohttp's connector; pooling is done by the engine."""

    def __init__(self, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        self._context = context
        self._loop = loop
        self._connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=_SECONDS_OF_DNS)
        self._connector._factory = functools.partial(CountingProtocol, loop)  # type: ignore[assignment]  # noqa: SLF001 - see the top

    def request(self, address: Address, via: Via | None) -> aiohttp.ClientRequest:
        """A request for the connector, which reads only where it goes."""
        return aiohttp.ClientRequest(
            "POST",
            URL(address.origin, encoded=True),
            loop=self._loop,
            ssl=self._context,
            proxy=None if via is None else URL(via.url, encoded=True),
            proxy_headers=None if via is None else dict(via.headers),
        )

    async def open(self, request: aiohttp.ClientRequest, seconds: float | None) -> WireConnection:
        """Connect, through name look-up, proxy and TLS handshake, within ``seconds`` in all."""
        timeout = aiohttp.ClientTimeout(total=None, connect=seconds, sock_connect=seconds)
        return WireConnection(await self._connector.connect(request, traces=[], timeout=timeout))

    async def aclose(self) -> None:
        """Close every connection, idle or not."""
        await self._connector.close()
        # In this turn of the loop, connections that were just dropped close their sockets.
        await asyncio.sleep(0)  # noqa: TID251 - no wait
