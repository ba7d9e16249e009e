"""What each adapter hands on and raises, in-process: what no socket shows."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from flask import Blueprint, Flask, request

from chaoying_async import Wallet
from chaoying_async.exceptions import BodyAlreadyConsumedError
from chaoying_async.web.aiohttp import notification_handler
from chaoying_async.web.background import BackgroundHandler
from chaoying_async.web.contract import HttpAnswer, Refusal, content_length, drain
from chaoying_async.web.django import notification_view, sync_notification_view
from chaoying_async.web.flask import add_notification_route
from tests.web.apps import django_is_set_up

SUCCESS = Refusal(200, body=b"success")


class Fake:
    """A handler that remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[bytes, Wallet | None]] = []

    async def handle(self, body: bytes, *, kind: Wallet | None = None) -> HttpAnswer:
        self.given.append((body, kind))
        return SUCCESS

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Fake]:
        yield self


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def background(fake: Fake) -> Iterator[BackgroundHandler[Fake]]:
    with BackgroundHandler(fake.open) as opened:
        yield opened


def django_request(stream: BytesIO | None = None) -> Any:
    from django.core.handlers.wsgi import WSGIRequest  # type: ignore[import-untyped]

    django_is_set_up()
    return WSGIRequest(
        {
            "REQUEST_METHOD": "POST",
            "SERVER_NAME": "shop.test",
            "SERVER_PORT": "80",
            "CONTENT_LENGTH": "3",
            "wsgi.input": stream or BytesIO(b"a=1"),
        }
    )


async def test_aiohttp_hands_on_the_kind(fake: Fake) -> None:
    """C 82: which page of the document a notify_url serves is known to its route alone."""
    app = web.Application()
    app.router.add_post("/notify", notification_handler(fake, kind=Wallet.ALIPAY))
    async with TestClient(TestServer(app)) as client:
        answer = await client.post("/notify", data=b"a=1")
        assert (answer.headers["Content-Type"], await answer.read()) == ("text/plain", b"success")
    assert fake.given == [(b"a=1", Wallet.ALIPAY)]


async def test_django_hands_on_the_kind(fake: Fake) -> None:
    """C 82: the same for Django's async view, which no CSRF check gets in the way of."""
    view: Any = notification_view(fake, kind=Wallet.WECHAT)
    answer = await view(django_request())
    assert (answer["Content-Type"], answer.content) == ("text/plain", b"success")
    assert fake.given == [(b"a=1", Wallet.WECHAT)]
    assert view.csrf_exempt is True


def test_djangos_sync_view_hands_on_the_kind(
    fake: Fake, background: BackgroundHandler[Fake]
) -> None:
    """C 82: the same through the loop in the background."""
    view: Any = sync_notification_view(background, kind=Wallet.WECHAT)
    assert view(django_request()).content == b"success"
    assert fake.given == [(b"a=1", Wallet.WECHAT)]
    assert view.csrf_exempt is True


def test_flask_hands_on_the_kind(fake: Fake, background: BackgroundHandler[Fake]) -> None:
    """C 82: the same for two routes of one Flask app, one of them on a blueprint."""
    app, pages = Flask("shop"), Blueprint("pay", "pay", url_prefix="/pay")
    add_notification_route(pages, "/wechat", background, endpoint="w", kind=Wallet.WECHAT)
    add_notification_route(app, "/alipay", background, kind=Wallet.ALIPAY)
    app.register_blueprint(pages)
    client = app.test_client()
    assert client.post("/pay/wechat", data=b"a=1").data == b"success"
    assert client.post("/alipay", data=b"a=2").content_type == "text/plain"
    assert fake.given == [(b"a=1", Wallet.WECHAT), (b"a=2", Wallet.ALIPAY)]


def test_flask_raises_what_the_fix_is(fake: Fake, background: BackgroundHandler[Fake]) -> None:
    """A form that was parsed first is the shop's bug, and its own error handling sees it."""
    app = Flask("shop")
    app.testing = True

    @app.before_request
    def look() -> None:
        assert request.form["a"] == "1"

    add_notification_route(app, "/notify", background)
    with pytest.raises(BodyAlreadyConsumedError, match=r"request\.get_data\(\)"):
        app.test_client().post("/notify", data={"a": "1"})
    assert fake.given == []


def test_flasks_own_limit_may_be_lower(fake: Fake, background: BackgroundHandler[Fake]) -> None:
    """M-14: what the app itself calls too large is 413 and `fail`, not a page of HTML."""
    app = Flask("shop")
    app.config["MAX_CONTENT_LENGTH"] = 2
    add_notification_route(app, "/notify", background)
    answer = app.test_client().post("/notify", data=b"a=1")
    assert (answer.status_code, answer.data) == (413, b"fail")


@pytest.mark.parametrize("take", ["read", "some"])
def test_django_raises_what_the_fix_is(
    fake: Fake, background: BackgroundHandler[Fake], take: str
) -> None:
    """However much of it was taken, and wherever, half a body is never verified."""
    request = django_request()
    if take == "read":
        request.read()
    if take == "some":
        request.read(1)
    with pytest.raises(BodyAlreadyConsumedError, match=r"`request\.body`"):
        sync_notification_view(background)(request)
    assert fake.given == []


@pytest.mark.parametrize(("taken", "status"), [(3, 500), (1, 400)])
def test_a_body_that_is_gone_from_the_wsgi_environment_is_a_line(
    fake: Fake,
    background: BackgroundHandler[Fake],
    taken: int,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A sender that breaks off looks the same, so nothing is raised, and nothing verified."""
    request = django_request()
    request.environ["wsgi.input"].read(taken)
    answer = sync_notification_view(background)(request)
    assert (answer.status_code, answer.content) == (status, b"fail")
    assert fake.given == []
    (line,) = caplog.messages
    assert status == 400 or "`request.body`" in line


def test_a_body_that_django_cannot_read_is_unreadable(
    fake: Fake, background: BackgroundHandler[Fake]
) -> None:
    """M-14: a connection that breaks while the body is read is 400 and no error of the shop's."""

    class Broken(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError

    view = sync_notification_view(background)
    answer = view(django_request(stream=Broken(b"a=1")))
    assert (answer.status_code, answer.content) == (400, b"fail")


@pytest.mark.parametrize("text", [None, "", "-1", "+3", " 3", "1_0", "３", "3.0", b"3"])
def test_a_length_that_is_no_number_is_no_length(text: object) -> None:
    """What Python's int() would take beyond RFC 9110 is not believed."""
    assert content_length(text) is None


def test_short_reads_are_put_together() -> None:
    """A stream may return less than it was asked for, and still not be at its end."""
    parts = iter([b"a", b"=", b"1", b""])
    body = bytearray()
    drain(lambda size: next(parts), body)
    assert body == b"a=1"
