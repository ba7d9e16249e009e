"""The sandbox as an httpx transport: the whole gateway inside the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import unquote, urlsplit

import httpx

from chaoying_async.exceptions import RequestNotSentError, TransportError
from chaoying_async.sandbox.serving.gateway import Cut, Request, http_date
from chaoying_async.sandbox.serving.runtime import Runtime
from chaoying_async.transport.base import Headers, HttpReply, NativeTransport
from chaoying_async.transport.errors import too_large


class SandboxTransport(NativeTransport):
    """For ``GatewaySession(transport=...)``: opens no socket, and serves every address.

    A session uses :meth:`round_trip`; :meth:`handle_async_request` is for every other httpx client.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def round_trip(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        *,
        timeout: httpx.Timeout,  # noqa: ARG002 - nothing here takes time but the clock's own
        max_bytes: int,
    ) -> HttpReply:
        """See :class:`~chaoying_async.transport.base.Engine`."""
        parts = urlsplit(url)
        given = {name.lower(): value for name, value in headers}
        reply = await self._runtime.exchange(
            Request(
                method=method,
                path=parts.path,
                query=parts.query,
                content_type=given.get("content-type", ""),
                user_agent=given.get("user-agent", ""),
                body=body,
            )
        )
        if reply.cut is Cut.REFUSED:
            raise RequestNotSentError("nothing was sent: a fault of the sandbox")
        if reply.cut is not None:
            raise TransportError("no usable answer came: a fault of the sandbox")
        if len(reply.body) > max_bytes:
            raise too_large(max_bytes)
        return HttpReply(
            reply.status, (*self._dated(), ("content-type", reply.content_type)), reply.body
        )

    def _dated(self) -> Headers:
        return (("date", http_date(self._runtime.clock.now())),)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx; the reply is complete when this returns."""
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        reply = await self._runtime.exchange(
            Request(
                method=request.method,
                path=unquote(path),
                query=query,
                content_type=request.headers.get("content-type", ""),
                user_agent=request.headers.get("user-agent", ""),
                body=await request.aread(),
            )
        )
        if reply.cut in (Cut.REFUSED, Cut.RESET):
            error = httpx.ConnectError if reply.cut is Cut.REFUSED else httpx.ReadError
            raise error("a fault of the sandbox", request=request)
        whole = httpx.ByteStream(reply.body)
        # A stream and no length: httpx takes ten times as long to prepare a body given as content.
        return httpx.Response(
            reply.status,
            headers=[*self._dated(), ("content-type", reply.content_type)],
            stream=whole if reply.cut is None else _Half(reply.body),
        )


class _Half(httpx.AsyncByteStream):
    """A body that breaks off in the middle."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[: len(self._body) // 2]
        raise httpx.ReadError("a fault of the sandbox")
