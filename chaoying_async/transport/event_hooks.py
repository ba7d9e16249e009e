"""Calls the user's event hooks, in httpx's shape, around any engine.

httpx would call hooks itself, but a session calls its engine directly. httpx is imported when
hooks are used: the session imports this module, and ``import chaoying_async`` must not load httpx.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chaoying_async.exceptions import ParameterError, TransportError
from chaoying_async.sansio.userfunctions import Kind, function_problem

if TYPE_CHECKING:
    import httpx

    from chaoying_async.transport.base import Engine, Headers, HttpReply

Hooks = Mapping[str, Sequence[Callable[[Any], Awaitable[None]]]]

_EVENTS = frozenset({"request", "response"})


class RequestHookRaised(Exception):  # noqa: N818 - no error of its own: it carries the user's
    """A request hook raised before anything was sent; the session raises its ``error`` instead."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__(type(error).__name__)


def checked(hooks: Hooks | None) -> Hooks:
    """The hooks as tuples; a ``ParameterError`` for whatever would fail once money has moved."""
    if hooks is None:
        return {}
    if not isinstance(hooks, Mapping) or not set(hooks) <= _EVENTS:
        raise ParameterError(
            {"event_hooks": "must be a mapping with no keys but request and response"}
        )
    found: dict[str, tuple[Callable[[Any], Awaitable[None]], ...]] = {}
    problems: dict[str, str] = {}
    for event, listed in hooks.items():
        name = f"event_hooks[{event}]"
        if not isinstance(listed, Iterable):
            problems[name] = "must be a list of async functions"
            continue
        found[event] = tuple(listed)
        for hook in found[event]:
            if problem := function_problem(hook, Kind.ASYNC, 1):
                problems[name] = problem
    if problems:
        raise ParameterError(problems)
    return found


class HookedEngine:
    """An engine whose requests and responses pass the user's hooks, as httpx's own objects.

    A request hook may change headers; URL and body are signed and go out as they were. An error of
    a request hook reaches the caller as it is, because nothing was sent. An error of a response
    hook becomes a :class:`TransportError`, because something was.
    """

    def __init__(self, engine: Engine, hooks: Hooks) -> None:
        self._engine = engine
        hooks = checked(hooks)
        self._on_request = hooks.get("request", ())
        self._on_response = hooks.get("response", ())

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
        import httpx  # noqa: PLC0415 - see the top

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
        reply = await self._engine.round_trip(
            method, url, changed, body, timeout=timeout, max_bytes=max_bytes
        )
        if self._on_response:
            await self._call_response_hooks(reply, request)
        return reply

    async def _call_response_hooks(self, reply: HttpReply, request: httpx.Request) -> None:
        """Turn every error into a ``TransportError``, our own too: something was sent (M-01)."""
        try:
            response = reply.response(request)
            for hook in self._on_response:
                await hook(response)
        except (Exception, asyncio.CancelledError) as exc:
            task = asyncio.current_task()
            cancelled = task is None or task.cancelling()
            if isinstance(exc, asyncio.CancelledError) and cancelled:
                raise
            # Also a CancelledError of the hook's own, while nobody cancelled this call.
            raise TransportError(f"a response hook raised {type(exc).__name__}") from exc

    async def aclose(self) -> None:
        await self._engine.aclose()
