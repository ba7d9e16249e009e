"""The sandbox as an httpx transport: the whole gateway inside the test's own process."""

from __future__ import annotations

import httpx

from chaoying_async.sandbox.gateway import Request
from chaoying_async.sandbox.runtime import Runtime


class SandboxTransport(httpx.AsyncBaseTransport):
    """For ``GatewaySession(transport=...)``: opens no socket, and serves every address."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx; the reply is complete when this returns."""
        reply = await self._runtime.exchange(
            Request(
                method=request.method,
                path=request.url.path,
                query=request.url.query.decode("ascii"),
                content_type=request.headers.get("content-type", ""),
                user_agent=request.headers.get("user-agent", ""),
                body=await request.aread(),
            )
        )
        # A stream and no length: httpx takes ten times as long to prepare a body given as content.
        return httpx.Response(
            reply.status,
            headers=[(b"content-type", reply.content_type.encode("ascii"))],
            stream=httpx.ByteStream(reply.body),
        )
