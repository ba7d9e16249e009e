"""A plain ASGI app: for any ASGI server, and to mount in any ASGI framework."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import AbstractAsyncContextManager
from copy import copy
from functools import lru_cache
from typing import Any

from chaoying_async.abc import Clock
from chaoying_async.clock import ENDED, SystemClock, begun, go_on
from chaoying_async.sansio.notifications.message import MAX_BODY, Wallet
from chaoying_async.web.adapter_log import AdapterLog
from chaoying_async.web.contract import (
    BODY_SECONDS,
    CONTENT_TYPE,
    NOT_POST,
    TOO_LARGE,
    Handles,
    HttpAnswer,
    Refusal,
    check_handler,
    content_length,
)
from chaoying_async.web.timely import TimelyHandler

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_CONTENT_TYPE = (b"content-type", CONTENT_TYPE.encode())

_OPEN = (
    "Open it where the service starts: `async with handler: yield` in the lifespan of the"
    " outermost app (the lifespan of a mounted app is never run), or"
    " with_lifespan(app, handler). Uvicorn and hypercorn run it unless told `--lifespan off`;"
    " daphne and most serverless adapters run none."
)

_FIX = (
    "A middleware in pure ASGI that calls receive() must hand on what it read: give the app a"
    " receive() of its own that returns the same messages again. In Starlette's BaseHTTPMiddleware"
    " call `await request.body()`, never `request.stream()` or `request.form()`."
)


def notification_app(
    handler: Handles, *, kind: Wallet | None = None, clock: Clock | None = None
) -> App:
    """An ASGI app that answers every POST as ``handler`` says, whatever its path.

    Open the handler where your service starts, around everything else::

        @asynccontextmanager
        async def lifespan(app):
            async with handler:
                yield

    A mounted app never hears of the server's start and end, so it opens nothing, and it closes
    nothing that it was handed (M-17). Served by itself, wrap it: :func:`with_lifespan`.

    ``Mount("/notify", app)`` of Starlette and FastAPI redirects a POST to ``/notify`` to
    ``/notify/``, which no gateway follows: end ``notify_url`` with the slash, or use
    :func:`chaoying_async.web.fastapi.add_notification_route`. ``kind`` says which page of the
    document this ``notify_url`` serves, where you have one for each; ``clock`` times slow senders.
    """
    return NotificationApp(handler, kind=kind, clock=clock)


class NotificationApp:
    """What :func:`notification_app` makes; an object, so that routers take it for an ASGI app."""

    def __init__(
        self, handler: Handles, *, kind: Wallet | None = None, clock: Clock | None = None
    ) -> None:
        self.opens: AbstractAsyncContextManager[Any] | None = None
        check_handler(handler)
        self._handle = handler.handle
        self._kind = kind
        self._clock: Clock = clock or SystemClock()
        self._reports = AdapterLog(_FIX, self._clock)
        self._in_time = TimelyHandler(handler, kind, self._clock, self._reports, _OPEN)
        #: Middleware (slowapi) looks its endpoints up by name: this one is `notification_app`.
        self.__name__ = self.__qualname__ = notification_app.__name__

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of ASGI."""
        if scope["type"] == "http":
            answer = await self._answer(scope, receive)
            body, status = answer.body, answer.status
            headers = [_CONTENT_TYPE, _content_length(len(body))]
            if answer is NOT_POST:
                headers.append((b"allow", b"POST"))
            with contextlib.suppress(OSError):  # the sender has gone
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": body})
        elif scope["type"] == "lifespan":
            await _lifespan(self.opens, receive, send)
        else:  # a websocket: refused, as 403
            await send({"type": "websocket.close", "code": 1008})

    def opening(self, handler: AbstractAsyncContextManager[Any]) -> NotificationApp:
        """The same, with ``handler`` open from the server's start to its end."""
        other = copy(self)
        other.opens = handler
        return other

    async def _answer(self, scope: Scope, receive: Receive) -> HttpAnswer:
        if scope["method"] != "POST":
            return NOT_POST
        length, chunked = _announced(scope["headers"])
        if length is not None and length > MAX_BODY:
            return TOO_LARGE
        body = await self._body(receive, length, chunked=chunked)
        if isinstance(body, Refusal):
            return body
        if self._in_time.has_owner:
            return await self._handle(body, kind=self._kind)
        return await self._in_time.handle(body)

    async def _body(
        self, receive: Receive, length: int | None, *, chunked: bool
    ) -> bytes | Refusal:
        """The body, or the answer to one that is not whole.

        A sender that has gone is answered too: a middleware (Starlette's BaseHTTPMiddleware) raises
        where no answer comes.
        """
        parts: list[bytes] = []
        reading = _read(receive, parts)
        try:
            waits_for = begun(reading)
            if waits_for is not ENDED:
                await go_on(reading, waits_for, self._clock.timeout(BODY_SECONDS))
        except _GoneError:
            return self._reports.incomplete("the sender has gone")
        except TimeoutError:
            if parts:
                return self._reports.incomplete(f"slower than {BODY_SECONDS:.0f} s")
            if length or chunked:
                return self._reports.gone()
        body = b"".join(parts)
        if len(body) == length:
            return body
        parts.clear()
        left = bytearray(body)
        del body  # see judged()
        found = self._reports.judged(left, length, chunked=chunked, ours=True)
        return found if isinstance(found, Refusal) else bytes(found)


def with_lifespan(app: App, handler: AbstractAsyncContextManager[Any]) -> App:
    """``app``, with ``handler`` open from the server's start to its end.

    For what has no lifespan of its own: Django's ASGI application, or :func:`notification_app`
    served by itself. The lifespan events end here; a framework that has a lifespan (Starlette,
    FastAPI, Litestar, Quart) opens the handler there instead.
    """
    if isinstance(app, NotificationApp):  # it can do so itself, without a layer around each message
        return app.opening(handler)

    async def opened(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(handler, receive, send)
        else:
            await app(scope, receive, send)

    return opened


@lru_cache(maxsize=16)  # there are two answers
def _content_length(length: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % length


def _announced(headers: Iterable[tuple[bytes, bytes]]) -> tuple[int | None, bool]:
    told = dict(headers)
    length = told.get(b"content-length", b"").decode("latin-1")
    return content_length(length), b"transfer-encoding" in told


class _GoneError(Exception):
    """The client has closed the connection."""


async def _read(receive: Receive, parts: list[bytes]) -> None:
    """Adds the body's parts; stops as soon as it is too large."""
    room = MAX_BODY
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _GoneError
        part: bytes = message.get("body", b"")
        if part:  # empty ones could come without end
            parts.append(part)
            room -= len(part)
        if room < 0 or not message.get("more_body", False):
            return


async def _lifespan(
    handler: AbstractAsyncContextManager[Any] | None, receive: Receive, send: Send
) -> None:
    """Speak the lifespan protocol to its end, with ``handler`` open in between."""
    await receive()  # lifespan.startup
    started = False
    try:
        if handler is None:
            started = await _between(receive, send)
        else:
            async with handler:
                started = await _between(receive, send)
    except BaseException as error:
        stage = "shutdown" if started else "startup"
        await send({"type": f"lifespan.{stage}.failed", "message": type(error).__name__})
        raise
    await send({"type": "lifespan.shutdown.complete"})


async def _between(receive: Receive, send: Send) -> bool:
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown
    return True
