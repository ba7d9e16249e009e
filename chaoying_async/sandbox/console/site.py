"""The console as an ASGI application: its addresses, and what goes around every page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache, partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import DictLoader, Environment, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.sandbox.console import display
from chaoying_async.sandbox.console.journal import KEPT, Journal, MessageKeeper
from chaoying_async.sandbox.console.live import Bell
from chaoying_async.sandbox.console.pages import (
    api_reference,
    delivery_log,
    fault_plans,
    latest_orders,
    login,
    message_log,
    one_order,
    order_explained,
    sent_again,
    signature_doctor,
)
from chaoying_async.sandbox.console.pages.login import LANGUAGE
from chaoying_async.sandbox.console.visit import HOME, Handler, PageContext, RefusedError, Visit
from chaoying_async.sandbox.console.words import TEXTS, Words, preferred
from chaoying_async.sandbox.document.http_messages import HttpRequest, HttpResponse
from chaoying_async.sandbox.serving.bodies import BodyNotReadError, read_body
from chaoying_async.sandbox.serving.faults import Fault
from chaoying_async.sandbox.serving.runtime import Runtime
from chaoying_async.sandbox.serving.security import RETRY_AFTER, AccessGuard, cookie
from chaoying_async.sansio.redact import shown_url, shown_urls

#: The package's own files; it may lie in a zip archive.
_HERE = files("chaoying_async.sandbox.console")
#: A form with a message of the greatest size, every byte of it escaped, and something over.
LARGEST_FORM = 256 * 1024
_MOST_FIELDS = 50
_READING = ("GET", "HEAD")

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Not no-referrer: browsers then post with "Origin: null", and nobody can tell where from.
    "referrer-policy": "same-origin",
}
_STATIC = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_NO_TOKEN = "The token is needed."  # noqa: S105 - a sentence
_OPEN = frozenset({"/console/login", *(f"/console/static/{name}" for name in _STATIC)})

_PAGES: dict[str, Handler] = {
    "/console/": latest_orders.show,
    "/console/order": one_order.show,
    "/console/order/explained": order_explained.show,
    "/console/messages": message_log.show_all,
    "/console/message": message_log.show,
    "/console/notifications": delivery_log.show,
    "/console/faults": fault_plans.show,
    "/console/doctor": signature_doctor.show,
    "/console/api": api_reference.show,
    "/console/login": login.show,
}
_POSTS: dict[str, Handler] = {
    "/console/orders/new": latest_orders.make,
    "/console/order/act": one_order.act,
    "/console/order/call": one_order.call,
    "/console/notify": delivery_log.send,
    "/console/faults/add": fault_plans.add,
    "/console/faults/remove": fault_plans.remove,
    "/console/faults/seed": fault_plans.reseed,
    "/console/scenario": fault_plans.choose,
    "/console/doctor": signature_doctor.examine,
    "/console/login": login.login,
    "/console/logout": login.logout,
    "/console/language": login.speak,
}
#: Forms that are shown again where the token in them is another process's.
_AGAIN = {**sent_again.FORMS, "/console/login": login.again}


class Console:
    """The console of one running gateway; mount it at ``/console``.

    From here on it keeps the latest messages, also in the sandbox's file if there is one.
    :meth:`close` stops that and ends the streams to browsers, which a server would wait for.
    """

    def __init__(self, runtime: Runtime, guard: AccessGuard, *, kept: int = KEPT) -> None:
        chronicle = runtime.chronicle
        self._keeper = MessageKeeper(runtime, chronicle, kept) if chronicle else None
        self.journal = Journal(kept, self._keeper.load() if self._keeper else ())
        self._bell = Bell(runtime.clock)
        self._clock: Clock = SystemClock()  # the sandbox's own clock says nothing about browsers
        self._context = PageContext(
            runtime=runtime,
            guard=guard,
            journal=self.journal,
            templates=_environment(),
        )
        self._app = Starlette(
            routes=self._routes(),
            exception_handlers={RefusedError: self._refused, HTTPException: self._lost},
        )
        runtime.watcher = self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, if it may come in."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        stranger = self._turned_away(scope)
        await (stranger or self._app)(scope, receive, guarded)

    def exchanged(
        self,
        at: datetime,
        request: HttpRequest,
        response: HttpResponse,
        fault: Fault | None,
    ) -> None:
        """See :class:`~chaoying_async.sandbox.serving.runtime.Watcher`."""
        entry = self.journal.add(at, request, response, fault)
        if self._keeper is not None:
            self._keeper.add(entry)
        self._bell.ring()

    def changed(self) -> None:
        """See :class:`~chaoying_async.sandbox.serving.runtime.Watcher`."""
        self._bell.ring()

    def close(self) -> None:
        """End the streams to browsers, and write down the messages that still wait."""
        self._bell.close()
        if self._keeper is not None:
            self._keeper.flush()
        if self._context.runtime.watcher is self:
            self._context.runtime.watcher = None

    def _turned_away(self, scope: Scope) -> ASGIApp | None:
        guard, headers = self._context.guard, Headers(scope=scope)
        address = (scope.get("client") or ("",))[0]
        if guard.holds_up(headers, address):
            return PlainTextResponse("Too many wrong tokens.", 429, {"retry-after": RETRY_AFTER})
        if guard.admits(headers, address):
            return None
        if not guard.asks:
            words = "The console of a sandbox on loopback answers to 127.0.0.1 and localhost only."
            return PlainTextResponse(words, status_code=403)
        return None if scope["path"] in _OPEN else self._without_login(scope, headers)

    def _without_login(self, scope: Scope, headers: Headers) -> ASGIApp:
        if scope["method"] in _READING:
            return RedirectResponse("/console/login", status_code=303)
        from_here = self._context.guard.is_from_here(headers, scope["scheme"])
        if scope["path"] in _AGAIN and from_here:
            return self._login_first  # a person's browser, whose login has ended
        return PlainTextResponse(_NO_TOKEN, status_code=401)

    async def _login_first(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response: Response = PlainTextResponse(_NO_TOKEN, status_code=401)
        with suppress(RefusedError):
            response = login.first(self._visit(request, await self._form(request)))
        await response(scope, receive, send)

    def _routes(self) -> list[Route]:
        pages = [Route(path, self._shown(page), methods=["GET"]) for path, page in _PAGES.items()]
        posts = [Route(path, self._posted(post), methods=["POST"]) for path, post in _POSTS.items()]
        rest = [
            Route("/", self._root, methods=["GET"]),
            Route("/console", _home, methods=["GET"]),
            Route("/console/events", self._events, methods=["GET"]),
            Route("/console/static/{name}", _static, methods=["GET"]),
        ]
        return pages + posts + rest

    def _visit(self, request: Request, form: Mapping[str, str]) -> Visit:
        return Visit(context=self._context, request=request, words=_words(request), form=form)

    def _shown(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            visit = self._visit(request, {})
            if not visit.is_readable:
                raise RefusedError(HTTPStatus.BAD_REQUEST)
            return await handler(visit)

        return endpoint

    def _posted(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            visit = self._visit(request, await self._form(request))
            guard, headers, scheme = self._context.guard, request.headers, request.scope["scheme"]
            if not guard.is_ours(headers, visit.form.get("form_token", ""), scheme):
                if not guard.is_from_here(headers, scheme):
                    raise RefusedError(HTTPStatus.FORBIDDEN)
                return await _sent_again(visit)
            try:
                return await handler(visit)
            finally:
                self._bell.ring()

        return endpoint

    async def _refused(self, request: Request, error: Any) -> Response:
        """The page that says why a page is not to be had."""
        visit = self._visit(request, {})
        address = "" if request.method in _READING else HOME
        response = visit.page("error.html", status=error.status, code=error.status, address=address)
        if error.status == HTTPStatus.REQUEST_TIMEOUT:
            response.headers["connection"] = "close"
        return response

    async def _lost(self, request: Request, error: Any) -> Response:
        """The page for an address that is none, or that takes forms only (404, 405)."""
        response = await self._refused(request, RefusedError(error.status_code))
        response.headers.update(error.headers or {})
        return response

    async def _root(self, request: Request) -> Response:
        """What somebody is told who opens the gateway's address in a browser."""
        return self._visit(request, {}).page("error.html", status=404, code="root")

    async def _form(self, request: Request) -> dict[str, str]:
        try:
            body = await read_body(
                request.scope, request.receive, limit=LARGEST_FORM, clock=self._clock
            )
        except BodyNotReadError as error:
            raise RefusedError(error.status or HTTPStatus.BAD_REQUEST) from None
        with suppress(ValueError):  # more fields than any form of ours has
            text = body.decode("utf-8", "replace")
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
        raise RefusedError(HTTPStatus.BAD_REQUEST)

    async def _events(self, request: Request) -> Response:
        stays = partial(self._context.guard.still_admits, request.headers)
        return StreamingResponse(self._bell.stream(stays), media_type="text/event-stream")


async def _sent_again(visit: Visit) -> Response:
    """The form as it was sent, with nothing done: a page of ours may have sent it."""
    again = _AGAIN.get(visit.request.scope["path"])
    if again is None:
        raise RefusedError(HTTPStatus.FORBIDDEN)
    response = await again(visit, visit.words("said.restarted"))
    response.status_code = HTTPStatus.FORBIDDEN
    return response


def _words(request: Request) -> Words:
    chosen = cookie(request.headers, LANGUAGE)
    for language in TEXTS:
        if chosen == language:
            return Words(language)
    return Words(preferred(request.headers.get("accept-language", "")))


async def _home(_request: Request) -> Response:
    return RedirectResponse(HOME, status_code=303)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return PlainTextResponse("no such file", status_code=404)
    return Response(_HERE.joinpath("static", name).read_bytes(), media_type=_STATIC[name])


@cache
def _environment() -> Environment:
    """One for all consoles of a process: compiling its pages takes a fifth of a second."""
    pages = _HERE.joinpath("templates").iterdir()
    templates = {page.name: page.read_text("utf-8") for page in pages}
    made = Environment(
        loader=DictLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "yuan": display.yuan,
        "moment": display.moment,
        "exact": display.exact,
        "address": shown_url,
        "without_access": shown_urls,
        "order_link": display.order_link,
        "explained_link": display.explained_link,
    }
    return made
