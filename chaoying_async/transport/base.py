"""Says what a session asks of an HTTP engine: one round trip, and to close (``Engine``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs
import httpx

from chaoying_async.sansio.sealed import sealing

#: The limits of a reply's head with its status line: bytes, and fields. (aiohttp alone would
#: take 8 kB a field and, in some releases, 128 fields; httpx 100 kB in all.)
MAX_HEAD, MAX_FIELDS = 64 * 1024, 1000

#: Header fields as they are written, in order, the way httpx lists them.
Headers = Sequence[tuple[str, str]]


@attrs.frozen(repr=False)
@sealing(("body",))
class HttpReply:
    """One whole reply. If the server compressed the body unasked, it is decompressed here."""

    status: int
    headers: Headers
    body: bytes

    def response(self, request: httpx.Request) -> httpx.Response:
        """The reply as httpx shows one, without the headers that described its transfer."""
        gone = ("content-encoding", "content-length", "transfer-encoding")
        headers = [
            # As bytes: httpx refuses text that is not ASCII, which some proxies send.
            (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
            for name, value in self.headers
            if name.lower() not in gone
        ]
        return httpx.Response(self.status, headers=headers, content=self.body, request=request)


class NativeTransport(httpx.AsyncBaseTransport):
    """An httpx transport that is an engine too: a session need not go through httpx's types.

    Handed in by the user, it is used directly and never closed. It must keep the promises of
    :class:`Engine`: a transport that cannot is an ordinary ``httpx.AsyncBaseTransport``.
    """

    verifies: bool = True
    """Whether it checks the server's certificate (M-09)."""
    direct: bool = True
    """Whether it asks no proxy for addresses of this machine (M-09)."""

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
        raise NotImplementedError


def is_native(transport: NativeTransport) -> bool:
    """Whether both methods do the same: a subclass may have overridden only one of them."""

    def owner(name: str) -> type[object]:
        return next(part for part in type(transport).__mro__ if name in vars(part))

    return owner("round_trip") is owner("handle_async_request")


class Borrowed:
    """The user's own engine: the session uses it, and leaves it open."""

    def __init__(self, engine: Engine) -> None:
        self.round_trip = engine.round_trip

    async def aclose(self) -> None:
        """Do nothing: whoever made the engine closes it."""


class Engine(Protocol):
    """Sends one request exactly once and reads one whole reply.

    An engine raises only these, whatever happens underneath:

    - :class:`RequestNotSentError`: proven that no byte of this request reached a connected socket;
    - :class:`MalformedMessageError`: the reply grew over ``max_bytes`` and was cut off;
    - :class:`TransportError`: everything else, so the request may have been carried out.

    It never repeats a request, follows a redirect, keeps a cookie or changes a byte of the URL.
    """

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
        """Send, and return the whole reply."""
        ...

    async def aclose(self) -> None:
        """Close what the engine opened itself; calls still under way end with an error."""
        ...
