"""What projects put before every view (logins, CSRF checks, rate limits) lets a callback through.

Django's own stand in front of both of its shops in ``tests.web.apps``, behind real servers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from flask import Blueprint, Flask, abort, redirect, request
from httpx import ASGITransport, AsyncClient
from starlette.authentication import AuthenticationBackend, AuthenticationError
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection

from chaoying_async.web.aiohttp import notification_handler
from chaoying_async.web.asgi import App, notification_app
from chaoying_async.web.background import BackgroundHandler
from chaoying_async.web.django import notification_view, sync_notification_view
from chaoying_async.web.fastapi import add_notification_route
from chaoying_async.web.flask import add_notification_route as add_to_flask
from tests.web.apps import django_is_set_up, notification_app_function
from tests.web.test_adapters import Fake

pytestmark = pytest.mark.outside

TIMES = 3


@pytest.fixture
def background() -> Iterator[BackgroundHandler[Fake]]:
    with BackgroundHandler(Fake().open) as opened:
        yield opened


async def posted(app: Any, path: str = "/notify") -> set[str]:
    """What an ASGI app answers to some notifications."""
    async with AsyncClient(transport=ASGITransport(app), base_url="http://shop.test") as gateway:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answers = [await gateway.post(path, content=b"a=1", headers=form) for _ in range(TIMES)]
    return {answer.text for answer in answers}


# ------------------------------------------------------------------------------------- Django


@pytest.mark.parametrize("make", [notification_view, sync_notification_view])
def test_djangos_views_are_marked_as_its_own_decorators_would(
    make: Callable[[Any], Any], background: BackgroundHandler[Fake]
) -> None:
    """ATOMIC_REQUESTS, whatever the database is called, LoginRequiredMiddleware and CSRF."""
    django_is_set_up()
    from django.db import transaction  # type: ignore[import-untyped]

    view = make(background)
    assert (view.csrf_exempt, view.login_required) == (True, False)
    assert "a database of next year" in view._non_atomic_requests
    assert transaction.non_atomic_requests(using="books")(view) is view


def test_djangos_redirect_to_https_can_be_told_to_let_the_path_through(
    background: BackgroundHandler[Fake],
) -> None:
    """SECURE_SSL_REDIRECT answers before any view is known: only the project can exempt it."""
    from django.test import Client, override_settings  # type: ignore[import-untyped]
    from django.urls import path  # type: ignore[import-untyped]

    django_is_set_up()
    from tests.web.apps import django_urls

    django_urls["WSGI"] = (path("notify", sync_notification_view(background)),)
    exempt = {"SECURE_REDIRECT_EXEMPT": [r"^notify$"]}
    with override_settings(SECURE_SSL_REDIRECT=True, ALLOWED_HOSTS=["*"]):
        stopped: Any = Client().post("/notify")
        assert stopped.status_code == 301
    with override_settings(SECURE_SSL_REDIRECT=True, ALLOWED_HOSTS=["*"], **exempt):
        answer: Any = Client(enforce_csrf_checks=True).post("/notify", {"a": "1"})
    assert answer.content == b"success"


# -------------------------------------------------------------------------------------- Flask


@pytest.mark.parametrize("first", [True, False])
def test_flasks_csrf_and_limits_let_it_through(
    first: bool, background: BackgroundHandler[Fake]
) -> None:
    """Flask-WTF and Flask-Limiter, set up before the route or after it, on a blueprint as well."""
    wtf, limits = pytest.importorskip("flask_wtf"), pytest.importorskip("flask_limiter")
    app, pages = Flask("shop"), Blueprint("pay", "pay", url_prefix="/pay")
    app.secret_key = "of the tests"

    def extended() -> None:
        wtf.CSRFProtect(app)
        options = {"default_limits": ["1 per hour"], "storage_uri": "memory://"}
        limits.Limiter(lambda: "everybody", app=app, **options)

    if first:
        extended()
    add_to_flask(app, "/notify", background)
    add_to_flask(pages, "/notify", background)
    app.register_blueprint(pages)
    app.add_url_rule("/form", "form", lambda: "page", methods=["POST"])
    if not first:
        extended()
    client = app.test_client()
    for path in ("/notify", "/pay/notify"):
        assert [client.post(path, data=b"a=1").data for _ in range(TIMES)] == [b"success"] * TIMES
    assert client.post("/form").status_code == 400


@pytest.mark.parametrize("stop", ["redirect", "abort", "raise"])
def test_flask_says_what_was_stopped_in_front_of_it(
    stop: str, background: BackgroundHandler[Fake], caplog: pytest.LogCaptureFixture
) -> None:
    """One line, with the endpoint to exempt; a function that exempts it is none."""
    app = Flask("shop")
    exempt: list[str] = []

    @app.before_request
    def login() -> Any:
        if request.endpoint in exempt:
            return None
        if stop == "redirect":
            return redirect("/login")
        if stop == "abort":
            abort(401)
        raise KeyError("session")

    add_to_flask(app, "/notify", background)
    client = app.test_client()
    assert {client.post("/notify", data=b"a=1").status_code for _ in range(TIMES)} <= {
        302,
        401,
        500,
    }
    (line,) = [record for record in caplog.records if record.name == "chaoying_async.web"]
    assert "if request.endpoint == 'chaoying_notification': return" in line.getMessage()
    exempt.append("chaoying_notification")
    assert client.post("/notify", data=b"a=1").data == b"success"


# --------------------------------------------------------------------------- FastAPI, Starlette


def refused() -> None:
    raise HTTPException(401)


async def test_fastapis_dependencies_do_not_stand_before_it() -> None:
    """Of the app and of the router: the route is not FastAPI's, so that nothing parses the body."""
    app = FastAPI(dependencies=[Depends(refused)])
    router = APIRouter(dependencies=[Depends(refused)])
    add_notification_route(app, "/notify", Fake())
    add_notification_route(router, "/notify", Fake())
    app.include_router(router, prefix="/pay", dependencies=[Depends(refused)])
    app.add_api_route("/page", lambda: "page", methods=["POST"])
    assert await posted(app) == await posted(app, "/pay/notify") == {"success"}
    assert "success" not in await posted(app, "/page")


async def test_starlettes_authentication_has_to_let_the_path_through() -> None:
    """It answers before anything is routed; the lines of the documentation."""

    class Login(AuthenticationBackend):
        async def authenticate(self, conn: HTTPConnection) -> None:
            if conn.url.path == "/notify":
                return
            raise AuthenticationError("who are you?")

    app = FastAPI()
    app.add_middleware(AuthenticationMiddleware, backend=Login())
    add_notification_route(app, "/notify", Fake())
    assert await posted(app) == {"success"}
    assert await posted(app, "/page") == {"who are you?"}


async def test_slowapi_can_exempt_it_by_name() -> None:
    """It looks endpoints up by module and name, and fails over one that has none."""
    slowapi = pytest.importorskip("slowapi")
    from slowapi.middleware import SlowAPIMiddleware

    for exempt in (False, True):
        app = FastAPI()
        app.state.limiter = limiter = slowapi.Limiter(lambda: "all", default_limits=["1/hour"])
        app.add_middleware(SlowAPIMiddleware)
        add_notification_route(app, "/notify", Fake())
        if exempt:
            limiter.exempt(notification_app)
        answers = await posted(app)
        assert "success" in answers
        assert (len(answers) == 1) is exempt


def in_front(app: App, notifications: App) -> App:
    """What the documentation says where nothing can be exempted."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        is_ours = scope["type"] == "http" and scope["path"] == "/notify"
        await (notifications if is_ours else app)(scope, receive, send)

    return application


async def test_in_front_of_a_framework_nothing_stands_before_it() -> None:
    """Whatever the framework is, and whatever it checks."""

    async def closed(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nothing is to come here")

    assert await posted(in_front(closed, notification_app(Fake()))) == {"success"}


async def test_litestar_lets_through_what_its_options_say() -> None:
    """Its CSRF check reads the body, and its guards stand before ASGI routes too."""
    from litestar import Litestar, asgi
    from litestar.config.csrf import CSRFConfig
    from litestar.exceptions import NotAuthorizedException

    def guard(connection: Any, route_handler: Any) -> None:
        if not route_handler.opt.get("exclude_from_auth"):
            raise NotAuthorizedException

    options = {"exclude_from_auth": True, "exclude_from_csrf": True}
    route = asgi("/notify", copy_scope=True, opt=options)(notification_app_function(Fake()))
    other = asgi("/page", copy_scope=True)(notification_app_function(Fake()))
    app = Litestar([route, other], guards=[guard], csrf_config=CSRFConfig("of the tests"))
    assert await posted(app) == {"success"}
    assert "success" not in await posted(app, "/page")


# ------------------------------------------------------------------------------------ aiohttp


async def test_aiohttps_middleware_has_to_let_the_handler_through() -> None:
    """The lines of the documentation: by the handler, wherever its route is."""
    notify = notification_handler(Fake())

    @web.middleware
    async def login(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.match_info.handler is not notify and "session" not in request.cookies:
            raise web.HTTPFound("/login")
        return await handler(request)

    async def page(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(middlewares=[login])
    app.router.add_post("/notify", notify)
    app.router.add_post("/page", page)
    async with TestClient(TestServer(app)) as client:
        assert await (await client.post("/notify", data=b"a=1")).read() == b"success"
        with contextlib.closing(await client.post("/page", allow_redirects=False)) as answer:
            assert answer.status == 302
