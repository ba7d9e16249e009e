"""A plain ASGI app that answers notifications, for any ASGI server or framework."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from copy import copy
from typing import Any

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.sansio.notifications.facts import Wallet
from chaoying_async.sansio.notifications.reading import MAX_BODY
from chaoying_async.web.adapter_log import AdapterLog
from chaoying_async.web.contract import (
    BODY_SECONDS,
    CONTENT_TYPE,
    NOT_POST,
    Handles,
    HttpAnswer,
    Refusal,
    check_handler,
    content_length,
    refused,
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

    A mounted app never hears of the server's start and end, so this app opens nothing, and closes
    nothing that it was handed (M-17). To serve it by itself, wrap it: :func:`with_lifespan`.

    ``Mount("/notify", app)`` of Starlette and FastAPI redirects a POST to ``/notify`` to
    ``/notify/``, which no gateway follows: end ``notify_url`` with the slash, or use
    :func:`chaoying_async.web.fastapi.add_notification_route`. ``kind`` says which page of the
    document this ``notify_url`` serves, where you have one for each; ``clock`` times slow senders.
    """
    return NotificationApp(handler, kind=kind, clock=clock)


class NotificationApp:
    """The app of :func:`notification_app`; an object, since routers take functions for views."""

    def __init__(
        self, handler: Handles, *, kind: Wallet | None = None, clock: Clock | None = None
    ) -> None:
        self.opens: AbstractAsyncContextManager[Any] | None = None
        check_handler(handler)
        self._clock: Clock = clock or SystemClock()
        self._log = AdapterLog(_FIX, self._clock)
        self._in_time = TimelyHandler(handler, kind, self._clock, self._log, _OPEN)
        #: Middleware (slowapi) looks endpoints up by name: this one is `notification_app`.
        self.__name__ = self.__qualname__ = notification_app.__name__

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of ASGI."""
        if scope["type"] == "http":
            answer = await self._answer(scope, receive)
            body, status = answer.body, answer.status
            headers = [_CONTENT_TYPE, (b"content-length", b"%d" % len(body))]
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
        """A copy of this app that keeps ``handler`` open from the server's start to its end."""
        other = copy(self)
        other.opens = handler
        return other

    async def _answer(self, scope: Scope, receive: Receive) -> HttpAnswer:
        headers = dict[bytes, bytes](scope["headers"])
        length = content_length(headers.get(b"content-length", b"").decode("latin-1"))
        if (refusal := refused(scope["method"], length)) is not None:
            return refusal
        chunked = b"transfer-encoding" in headers
        return await self._in_time.handle(await self._body(receive, length, chunked=chunked))

    async def _body(
        self, receive: Receive, length: int | None, *, chunked: bool
    ) -> bytes | bytearray | Refusal:
        """The body, or the answer to one that is not whole.

        A sender that has gone is answered too: a middleware (Starlette's BaseHTTPMiddleware) raises
        where no answer comes.
        """
        parts: list[bytes] = []
        try:
            async with self._clock.timeout(BODY_SECONDS):
                await _read(receive, parts)
        except _GoneError:
            return self._log.incomplete("the sender has gone")
        except TimeoutError:
            if parts:
                return self._log.incomplete(f"slower than {BODY_SECONDS:.0f} s")
            if length or chunked:
                return self._log.gone()
        body = b"".join(parts)
        if len(body) == length:
            return body
        parts.clear()
        left = bytearray(body)
        del body  # see AdapterLog.judged()
        return self._log.judged(left, length, chunked=chunked, ours=True)


def with_lifespan(app: App, handler: AbstractAsyncContextManager[Any]) -> App:
    """``app``, with ``handler`` open from the server's start to its end.

    For apps without a lifespan of their own: Django's ASGI application, or :func:`notification_app`
    served by itself. ``app`` never sees the lifespan events; a framework that has a lifespan
    (Starlette, FastAPI, Litestar, Quart) opens the handler there instead.
    """
    if isinstance(app, NotificationApp):  # without another layer around each message
        return app.opening(handler)

    async def opened(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(handler, receive, send)
        else:
            await app(scope, receive, send)

    return opened


class _GoneError(Exception):
    """The client has closed the connection."""


async def _read(receive: Receive, parts: list[bytes]) -> None:
    """Add the body's parts; stop as soon as it is too large."""
    room = MAX_BODY
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _GoneError
        part: bytes = message.get("body", b"")
        if part:  # empty parts could come without end
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
        await send({"type": f"lifespan.{stage}.failed", "message": _said(error)})
        raise
    await send({"type": "lifespan.shutdown.complete"})


def _said(error: BaseException) -> str:
    """What the server may log: our own errors hold no secret, whereas others' may."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, ChaoyingError) else name


async def _between(receive: Receive, send: Send) -> bool:
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown
    return True
