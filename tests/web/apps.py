"""The same shop in every framework: one notification route, and middleware in front of it.

The path's first part says what the middleware does with a body: nothing (``/notify``), log it the
way that is allowed (``/logged/notify``), or take it away (``/stream/...``, ``/form/...``,
``/swallow/...``: whatever can go wrong in that framework).

Each function imports its own framework: a process of gunicorn's has one of them, and is started
ten times.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import django  # type: ignore[import-untyped]
from asgiref.sync import iscoroutinefunction
from django.conf import settings  # type: ignore[import-untyped]
from django.urls import path as django_path  # type: ignore[import-untyped]
from django.utils.decorators import sync_and_async_middleware  # type: ignore[import-untyped]

from chaoying_async.clock import SystemClock
from chaoying_async.web.asgi import App, notification_app, with_lifespan
from chaoying_async.web.background import BackgroundHandler
from chaoying_async.web.django import notification_view, sync_notification_view

if TYPE_CHECKING:
    from aiohttp import web
    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger("shop")

#: All that a middleware of these shops may do before the route.
FRONTS = ("", "/logged", "/stream", "/form", "/swallow")
PATHS = tuple(f"{front}/notify" for front in FRONTS)


class HastyClock(SystemClock):
    """Slow senders are given up four times as early: half a second."""

    def timeout(self, seconds: float | None) -> asyncio.Timeout:
        return super().timeout(None if seconds is None else seconds / 4)


HASTY = HastyClock()


def only(make: Callable[[], Any]) -> Callable[[Any], contextlib.AbstractAsyncContextManager[None]]:
    """A lifespan that opens one handler."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with make():
            yield

    return lifespan


def asgi_middleware(app: Any) -> App:
    """Pure ASGI: logs and hands on, or swallows."""

    async def middle(scope: Any, receive: Any, send: Any) -> None:
        front = scope.get("path", "").split("/")[1] if scope["type"] == "http" else "notify"
        if front == "notify":
            await app(scope, receive, send)
            return
        messages = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        log.info("%s bytes", sum(len(message.get("body", b"")) for message in messages))

        async def again() -> Any:
            return messages.pop(0) if messages and front == "logged" else await receive()

        await app(scope, again, send)

    return middle


async def starlette_middleware(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """What tutorials show, right and wrong."""
    front = request.url.path.split("/")[1]
    if front == "logged":
        log.info("%s bytes", len(await request.body()))
    if front == "stream":
        log.info("%s bytes", len(b"".join([part async for part in request.stream()])))
    if front == "form":
        log.info("%s fields", len(await request.form()))
    return await call_next(request)


def plain(handler: Any) -> App:
    return asgi_middleware(with_lifespan(notification_app(handler, clock=HASTY), handler))


def starlette(handler: Any) -> App:
    from starlette.applications import Starlette
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.routing import Mount

    app = Starlette(lifespan=only(lambda: handler))
    for front in FRONTS:  # a mount, so the notify_url ends with a slash
        app.router.routes.append(Mount(f"{front}/notify", notification_app(handler, clock=HASTY)))
    app.add_middleware(BaseHTTPMiddleware, dispatch=starlette_middleware)
    return asgi_middleware_for_swallowing(app)


def fastapi(handler: Any) -> App:
    from fastapi import FastAPI
    from starlette.middleware.base import BaseHTTPMiddleware

    from chaoying_async.web.fastapi import add_notification_route

    app = FastAPI(lifespan=only(lambda: handler))
    for path in PATHS:
        add_notification_route(app, path, handler, clock=HASTY)
    app.add_middleware(BaseHTTPMiddleware, dispatch=starlette_middleware)
    return asgi_middleware_for_swallowing(app)


def asgi_middleware_for_swallowing(app: Any) -> App:
    """Starlette's own middleware sees to the rest."""
    swallowing = asgi_middleware(app)

    async def middle(scope: Any, receive: Any, send: Any) -> None:
        swallowed = scope.get("path", "").startswith("/swallow")
        await (swallowing if swallowed else app)(scope, receive, send)

    return middle


def litestar(handler: Any) -> App:
    from litestar import Litestar, asgi

    route = asgi(list(PATHS), copy_scope=True)(notification_app_function(handler))
    return asgi_middleware(Litestar([route], lifespan=[only(lambda: handler)]))


def notification_app_function(handler: Any) -> App:
    """Litestar wants its ASGI handlers to be functions with annotated arguments."""
    app = notification_app(handler, clock=HASTY)

    async def notified(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return notified


def quart(handler: Any) -> App:
    from hypercorn.middleware import DispatcherMiddleware
    from quart import Quart

    app = Quart("shop")

    @app.while_serving
    async def opened() -> AsyncGenerator[None, None]:
        async with handler:
            yield

    mounts: dict[str, Any] = dict.fromkeys(PATHS, notification_app(handler, clock=HASTY))
    return asgi_middleware(DispatcherMiddleware(mounts | {"/": app}))


def aiohttp(opened_handler: Any) -> web.Application:
    from aiohttp import web

    from chaoying_async.web.aiohttp import notification_handler

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        front = request.path.split("/")[1]
        if front == "logged":
            log.info("%s bytes", len(await request.read()))
        if front == "stream":
            log.info("%s bytes", len(await request.content.read()))
        if front == "form":
            with contextlib.suppress(ValueError):  # not what its Content-Type says
                await request.post()
        return await handler(request)

    async def opened(app: web.Application) -> AsyncIterator[None]:
        async with opened_handler:
            yield

    app = web.Application(middlewares=[middleware])
    for path in PATHS:
        app.router.add_route("*", path, notification_handler(opened_handler, clock=HASTY))
    app.cleanup_ctx.append(opened)
    return app


def flask(background: BackgroundHandler[Any]) -> Any:
    from flask import Flask, request

    from chaoying_async.web.flask import add_notification_route

    app = Flask("shop")

    @app.before_request
    def middleware() -> None:
        front = request.path.split("/")[1]
        if front == "logged":
            log.info("%s bytes", len(request.get_data()))
            log.info("%s fields", len(request.form))
        if front == "stream":
            log.info("%s bytes", len(request.stream.read()))
        if front == "form":
            log.info("%s fields", len(request.form))

    for path in PATHS:
        add_notification_route(app, path, background, endpoint=path.replace("/", "-"))
    return wsgi_middleware(app)


def wsgi_middleware(app: Any) -> Any:
    """Takes the body out of the environment, and puts it back only where it may be logged."""

    def middle(environ: Any, start_response: Any) -> Any:
        front = environ["PATH_INFO"].split("/")[1]
        if front in {"swallow", "logged"} and environ.get("CONTENT_LENGTH"):
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            if front == "logged":
                environ["wsgi.input"] = BytesIO(body)
        return app(environ, start_response)

    return middle


@sync_and_async_middleware
def django_middleware(get_response: Any) -> Any:
    def look(request: Any) -> None:
        request.urlconf = django_urls["ASGI" if hasattr(request, "scope") else "WSGI"]
        front = request.path.split("/")[1]
        if front == "logged":
            log.info("%s bytes", len(request.body))
            log.info("%s fields", len(request.POST))
        if front == "stream":
            log.info("%s bytes", len(request.read()))
        if front == "form":
            with contextlib.suppress(Exception):
                log.info("%s fields", len(request.POST))

    def middle(request: Any) -> Any:
        look(request)
        return get_response(request)

    async def async_middle(request: Any) -> Any:
        look(request)
        return await get_response(request)

    return async_middle if iscoroutinefunction(get_response) else middle


#: By how they are served; Django's own list of URLs would be one for the whole process.
django_urls: dict[str, tuple[Any, ...]] = {}
urlpatterns: list[Any] = []


#: Everything that Django brings along to be put before every view.
DJANGO_MIDDLEWARE = [
    "tests.web.apps.django_middleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if [*map(int, django.__version__.split(".")[:2])] >= [5, 1]:
    DJANGO_MIDDLEWARE.append("django.contrib.auth.middleware.LoginRequiredMiddleware")


def django_is_set_up() -> None:
    if settings.configured:
        return
    atomic = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "ATOMIC_REQUESTS": True}
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={"default": atomic, "books": atomic},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
        ],
        LOGGING_CONFIG=None,
        MIDDLEWARE=DJANGO_MIDDLEWARE,
        ROOT_URLCONF="tests.web.apps",
        SECRET_KEY="of the tests",
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        USE_TZ=True,
    )
    django.setup()


def django_asgi(handler: Any) -> App:
    from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]

    django_is_set_up()
    view = notification_view(handler)
    django_urls["ASGI"] = tuple(django_path(path[1:], view) for path in PATHS)
    return asgi_middleware_for_swallowing(with_lifespan(get_asgi_application(), handler))


def django_wsgi(background: BackgroundHandler[Any]) -> Any:
    from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]

    django_is_set_up()
    view = sync_notification_view(background)
    django_urls["WSGI"] = tuple(django_path(path[1:], view) for path in PATHS)
    return wsgi_middleware(get_wsgi_application())
