"""Event hooks of httpx's shape around any engine: the session calls its transport directly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import httpx

from chaoying_async.exceptions import ParameterError, TransportError
from chaoying_async.sansio.userfunctions import Kind, function_problem
from chaoying_async.transport.base import Answer, Engine, Headers
from chaoying_async.transport.signals import RequestHookRaised

Hooks = Mapping[str, Sequence[Callable[[Any], Awaitable[None]]]]

_EVENTS = ("request", "response")


def checked(hooks: Hooks | None) -> Hooks:
    """The hooks as tuples; a ``ParameterError`` for whatever would fail once money has moved."""
    if hooks is None:
        return {}
    if not isinstance(hooks, Mapping) or not set(hooks) <= set(_EVENTS):
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

    A request hook may change headers; URL and body are signed and go out as they were. What a
    request hook raises reaches the caller as it is, since nothing was sent; what a response hook
    raises is a :class:`TransportError`, since something was.
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
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise _raised(exc) from exc  # its own: nobody cancelled this call
        except Exception as exc:
            raise _raised(exc) from exc

    async def aclose(self) -> None:
        """Close the engine underneath."""
        await self._engine.aclose()


def _raised(exc: BaseException) -> TransportError:
    return TransportError(f"a response hook raised {type(exc).__name__}")
