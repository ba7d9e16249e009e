"""The sandbox over HTTP, as a plain ASGI application.

The gateway's own paths are the document's. ``/_sandbox/...`` is for whoever runs the sandbox, see
``control_api``. Below ``/console/`` are pages for a browser, if the console is switched on.
``/openapi.json`` and ``/asyncapi.json`` describe calls and notifications to programs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.sandbox.document.http_messages import MAX_BODY, Cut, HttpRequest, HttpResponse
from chaoying_async.sandbox.serving.bodies import CLOSE, BodyNotReadError, Receive, Scope, read_body
from chaoying_async.sandbox.serving.control_api import PREFIX, Control, as_json
from chaoying_async.sandbox.serving.description_pages import description_at
from chaoying_async.sandbox.serving.runtime import Runtime
from chaoying_async.sandbox.serving.security import AccessGuard

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CONSOLE = "/console"


class SandboxApp:
    """``uvicorn.run(SandboxApp(runtime))``, or mounted wherever ASGI applications are."""

    def __init__(self, runtime: Runtime, *, clock: Clock | None = None) -> None:
        self.runtime = runtime
        self._clock = clock or SystemClock()  # the sandbox's own clock says nothing about sockets
        #: What answers below ``/_sandbox/``; give it a ``token`` before others may reach it.
        self.control = Control(runtime)
        #: Who may reach it; None: everybody who reaches this application.
        self.guard: AccessGuard | None = None
        #: What answers below ``/console/``, if anything does.
        self.console: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return  # servers take this to mean that lifespan and WebSockets are not supported
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        if self.console is not None and _is_for_people(scope, headers):
            await self.console(scope, receive, send)
            return
        if (description := description_at(scope["method"], scope["path"])) is not None:
            await _respond(send, description)
            return
        controlled = scope["path"].startswith(PREFIX)
        if controlled and (stranger := self._turned_away(headers, scope)) is not None:
            await _respond(send, stranger)
            return
        try:
            body = await read_body(scope, receive, limit=MAX_BODY, clock=self._clock)
        except BodyNotReadError as error:
            if error.status is not None:
                more = [CLOSE] if error.status == HTTPStatus.REQUEST_TIMEOUT else []
                await _respond(send, _NOT_READ[error.status], *more)
            return
        if controlled:
            reply = await self.control.answer(scope["method"], scope["path"], headers, body)
        else:
            query = scope["query_string"].decode("latin-1")
            request = HttpRequest.of(scope["method"], scope["path"], query, headers, body)
            reply = await self.runtime.exchange(request)
        if reply.cut in (Cut.REFUSED, Cut.RESET):
            await _hang_up(receive, send)
            return
        await _respond(send, reply, (b"date", self.runtime.date.encode("ascii")))
        if reply.cut is Cut.HALF:
            await _hang_up(receive, send)

    def _turned_away(self, headers: Mapping[str, str], scope: Scope) -> HttpResponse | None:
        address = (scope.get("client") or ("",))[0]
        if self.guard is None:
            return None
        if self.guard.holds_up(headers, address):
            return as_json(429, {"problem": "too many wrong tokens: wait a minute"})
        if self.guard.admits(headers, address):
            return None
        if self.guard.asks:
            return as_json(401, {"problem": "Authorization: Bearer TOKEN is needed"})
        return as_json(403, {"problem": "a sandbox on loopback answers to loopback names only"})


def _is_for_people(scope: Scope, headers: Mapping[str, str]) -> bool:
    """Whether it is a page of the console, or a browser that opens the gateway's own address."""
    if scope["path"] == "/":
        return scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    return f"{scope['path']}/".startswith(f"{CONSOLE}/")


_NOT_READ = {
    # Not closed at once: a client that is still sending would not see the answer.
    413: HttpResponse(413, "text/plain", b"too large"),
    408: HttpResponse(408, "text/plain", b"too slow"),
}


async def _respond(send: Send, reply: HttpResponse, *more: tuple[bytes, bytes]) -> None:
    headers = [
        (b"content-type", reply.content_type.encode("ascii")),
        (b"content-length", str(len(reply.body)).encode("ascii")),
        *more,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    half = reply.cut is Cut.HALF
    body = reply.body[: len(reply.body) // 2] if half else reply.body
    await send({"type": "http.response.body", "body": body, "more_body": half})


async def _hang_up(receive: Receive, send: Send) -> None:
    """Close the connection under the reply, and wait until the server has noticed.

    ASGI has no word for this. uvicorn's ``send`` is a method of the object that holds the socket's
    transport; under another server nothing is closed, and it reports an incomplete reply instead.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        return
    transport.close()  # what was written still goes out, as half a reply should
    while (await receive())["type"] != "http.disconnect":
        pass
