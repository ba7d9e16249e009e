"""An engine that notes how often a call was sent, and the status of its last answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

    from chaoying_async.sansio.observed import ObservedCall
    from chaoying_async.transport.base import Engine, Headers, HttpReply


class ObservedEngine:
    """Serves one call whose observer wants to know what went over the wire."""

    def __init__(self, engine: Engine, call: ObservedCall) -> None:
        self._engine = engine
        self._call = call

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
        call = self._call
        call.round_trips += 1
        call.status = None
        reply = await self._engine.round_trip(
            method, url, headers, body, timeout=timeout, max_bytes=max_bytes
        )
        call.status = reply.status
        return reply

    async def aclose(self) -> None:
        await self._engine.aclose()
