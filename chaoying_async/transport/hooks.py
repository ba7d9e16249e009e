"""Event hooks of httpx's shape around any engine: the session calls its transport directly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx

from chaoying_async.exceptions import ParameterError, TransportError
from chaoying_async.transport.base import Answer, Engine, Headers
from chaoying_async.transport.signals import RequestHookRaised

Hooks = Mapping[str, Sequence[Callable[[Any], Awaitable[None]]]]

_EVENTS = frozenset({"request", "response"})


class HookedEngine:
    """An engine whose requests and responses pass the user's hooks, as httpx's own objects.

    A request hook may change headers; URL and body are signed and go out as they were. What a
    request hook raises reaches the caller as it is, since nothing was sent; what a response hook
    raises is a :class:`TransportError`, since something was.
    """

    def __init__(self, engine: Engine, hooks: Hooks) -> None:
        unknown = set(hooks) - _EVENTS
        if unknown:
            raise ParameterError({"event_hooks": "has keys other than request and response"})
        self._engine = engine
        self._on_request = tuple(hooks.get("request", ()))
        self._on_response = tuple(hooks.get("response", ()))

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
        request = httpx.Request(method, url, headers=list(headers), content=body)
        try:
            for hook in self._on_request:
                await hook(request)
        except Exception as error:
            raise RequestHookRaised(error) from error
        changed = tuple(
            (name, value)
            for name, value in request.headers.multi_items()
            if name.lower() not in ("host", "content-length")
        )
        answer = await self._engine.round_trip(
            method, url, changed, body, timeout=timeout, max_bytes=max_bytes
        )
        if self._on_response:
            await self._show(answer, request)
        return answer

    async def _show(self, answer: Answer, request: httpx.Request) -> None:
        """Whatever a hook raises, our own errors too, something was sent (M-01)."""
        try:
            response = answer.response(request)
            for hook in self._on_response:
                await hook(response)
        except Exception as exc:
            raise TransportError(f"a response hook raised {type(exc).__name__}") from exc

    async def aclose(self) -> None:
        """Close the engine underneath."""
        await self._engine.aclose()
