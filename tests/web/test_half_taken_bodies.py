"""Bodies that were half taken, and what our frames show of them; in-process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from fastapi import APIRouter, FastAPI
from flask import Flask, request
from httpx import ASGITransport, AsyncClient

from chaoying_async.exceptions import BodyAlreadyConsumedError
from chaoying_async.web.aiohttp import notification_handler
from chaoying_async.web.asgi import notification_app
from chaoying_async.web.background import BackgroundHandler
from chaoying_async.web.contract import TOO_LARGE, HttpAnswer, Refusal, content_length, refused
from chaoying_async.web.django import notification_view, sync_notification_view
from chaoying_async.web.fastapi import add_notification_route
from chaoying_async.web.flask import add_notification_route as add_to_flask
from tests.web.apps import django_is_set_up

SUCCESS = Refusal(200, body=b"success")
#: In two pieces, because pages of errors quote the lines of source around them too.
BUYER = "of-a-" + "person"
BODY = b"openid=%s&a=1" % BUYER.encode()


class Fake:
    """A handler that remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    async def handle(self, body: bytes, *, kind: Any = None) -> HttpAnswer:
        self.given.append(body)
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


def django_request(length: int | None = len(BODY), **environ: Any) -> Any:
    from django.core.handlers.wsgi import WSGIRequest  # type: ignore[import-untyped]

    django_is_set_up()
    announced = {} if length is None else {"CONTENT_LENGTH": str(length)}
    defaults = {
        "REQUEST_METHOD": "POST",
        "SERVER_NAME": "shop.test",
        "SERVER_PORT": "80",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "wsgi.input": BytesIO(BODY),
    }
    return WSGIRequest(defaults | announced | environ)


def shown_in(error: BaseException) -> list[str]:
    """The functions of ours in a traceback whose locals show the buyer's openid."""
    found = []
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        ours = f"{os.sep}chaoying_async{os.sep}web{os.sep}" in frame.f_code.co_filename
        if ours and any(BUYER in repr(value) for value in frame.f_locals.values()):
            found.append(frame.f_code.co_name)
        traceback = traceback.tb_next
    return found


def test_chunks_that_a_proxy_has_put_together_have_a_length(
    fake: Fake, background: BackgroundHandler[Fake], caplog: pytest.LogCaptureFixture
) -> None:
    """nginx in front of uWSGI: the length is right, and the client's header is still there.

    Without a length the server has dropped the chunks, and the log says so.
    """
    chunks = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": False}
    app = Flask("shop")
    add_to_flask(app, "/notify", background)
    flask = app.test_client()
    for length in (len(BODY), None):
        django = sync_notification_view(background)(django_request(length, **chunks))
        announced = {"CONTENT_LENGTH": "" if length is None else str(length)}
        environ = {**chunks, **announced, "wsgi.input": BytesIO(BODY)}
        answer = flask.post("/notify", environ_overrides=environ)
        assert answer.data == django.content == (b"fail" if length is None else b"success")
    assert fake.given == [BODY, BODY]
    assert [text.count("in chunks, which this server") for text in caplog.messages] == [1, 1]


# Django


def test_django_middleware_may_look_at_the_body_afterwards(
    background: BackgroundHandler[Fake],
) -> None:
    """A logging middleware that reads request.body behind the view must not undo a `success`."""
    request = django_request()
    assert sync_notification_view(background)(request).content == b"success"
    assert request.body == BODY
    assert request.POST["a"] == "1"


def test_djangos_own_limit_may_be_lower(fake: Fake, background: BackgroundHandler[Fake]) -> None:
    """M-14: what DATA_UPLOAD_MAX_MEMORY_SIZE forbids is 413 and `fail`, no page of HTML."""
    from django.test import override_settings  # type: ignore[import-untyped]

    request = django_request()
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=5):
        answer = sync_notification_view(background)(request)
    assert (answer.status_code, answer.content) == (413, b"fail")
    assert fake.given == []


def test_djangos_limit_of_fields_is_not_ours(
    fake: Fake, background: BackgroundHandler[Fake]
) -> None:
    """The view never parses the form, so DATA_UPLOAD_MAX_NUMBER_FIELDS is no 400 of Django's."""
    from django.test import override_settings

    with override_settings(DATA_UPLOAD_MAX_NUMBER_FIELDS=1):
        assert sync_notification_view(background)(django_request()).content == b"success"


def test_django_with_the_form_parsed_first(fake: Fake, background: BackgroundHandler[Fake]) -> None:
    """request.POST of a form leaves the bytes; of a multipart body it takes them."""
    request = django_request()
    assert request.POST["a"] == "1"
    assert sync_notification_view(background)(request).content == b"success"
    taken = django_request(CONTENT_TYPE="multipart/form-data; boundary=x")
    with contextlib.suppress(Exception):
        assert not taken.POST
    with pytest.raises(BodyAlreadyConsumedError, match=r"`request\.POST`"):
        sync_notification_view(background)(taken)
    assert fake.given == [BODY]


def test_djangos_pages_of_errors_show_no_buyer(background: BackgroundHandler[Fake]) -> None:
    """M-27: half a body that is left is in no frame of the error, nor in the mail to the admins."""
    request = django_request()
    request.read(1)
    with pytest.raises(BodyAlreadyConsumedError) as caught:
        sync_notification_view(background)(request)
    assert shown_in(caught.value) == []


def mailed(request: Any, error: BaseException) -> str:
    """What AdminEmailHandler would send."""
    from django.views.debug import ExceptionReporter  # type: ignore[import-untyped]

    reporter = ExceptionReporter(request, type(error), error, error.__traceback__)
    return str(reporter.get_traceback_html()) + str(reporter.get_traceback_text())


def test_djangos_mails_of_errors_show_no_buyer() -> None:
    """M-27: a database that is down mails the admins no openid, from the form or from a frame."""

    def make() -> Any:
        raise ConnectionRefusedError("no database")

    request = django_request()
    with pytest.raises(ConnectionRefusedError) as caught:
        sync_notification_view(BackgroundHandler(make))(request)
    report = mailed(request, caught.value)
    assert "no database" in report
    assert BUYER not in report


async def test_djangos_async_view_shows_no_buyer_either() -> None:
    """M-27: the same for the async view, whatever a handler raises."""

    class Broken(Fake):
        async def handle(self, body: bytes, *, kind: Any = None) -> HttpAnswer:
            del body
            raise LookupError("broken")

    request = django_request()
    view: Any = notification_view(Broken())
    with pytest.raises(LookupError) as caught:
        await view(request)
    assert BUYER not in mailed(request, caught.value)


# Flask


@pytest.mark.parametrize("take", ["form", "get_data", "some", "files"])
def test_flask_with_the_body_taken_first(
    fake: Fake, background: BackgroundHandler[Fake], take: str
) -> None:
    """M-27: however it was taken, the error names the fix and its frames show nobody."""
    app = Flask("shop")
    app.testing = True

    @app.before_request
    def look() -> None:
        takes: dict[str, Callable[[], Any]] = {
            "form": lambda: request.form,
            "files": lambda: request.files,
            "get_data": lambda: request.get_data(cache=False),
            "some": lambda: request.stream.read(1),
        }
        takes[take]()

    add_to_flask(app, "/notify", background)
    with pytest.raises(BodyAlreadyConsumedError, match=r"request\.get_data\(\)") as caught:
        app.test_client().post(
            "/notify", data=BODY, content_type="application/x-www-form-urlencoded"
        )
    assert fake.given == []
    assert shown_in(caught.value) == []


def test_flasks_pages_of_errors_show_no_buyer() -> None:
    """M-27: an error while the handler opens has no openid in our frames (werkzeug, Sentry)."""

    def make() -> Any:
        raise ConnectionRefusedError("no database")

    app = Flask("shop")
    app.testing = True
    add_to_flask(app, "/notify", BackgroundHandler(make))
    with pytest.raises(ConnectionRefusedError) as caught:
        app.test_client().post("/notify", data=BODY)
    assert shown_in(caught.value) == []


def test_flask_hooks_may_look_at_the_body_afterwards(background: BackgroundHandler[Fake]) -> None:
    """An after_request hook that logs the body finds it."""
    app = Flask("shop")
    app.testing = True
    seen: list[bytes] = []

    @app.after_request
    def look(response: Any) -> Any:
        seen.append(request.get_data())
        return response

    add_to_flask(app, "/notify", background)
    assert app.test_client().post("/notify", data=BODY).data == b"success"
    assert seen == [BODY]


# aiohttp


@contextlib.asynccontextmanager
async def aiohttp_client(fake: Fake, take: Any) -> AsyncIterator[tuple[Any, list[Exception]]]:
    errors: list[Exception] = []

    @web.middleware
    async def middleware(request: web.Request, handler: Any) -> web.StreamResponse:
        await take(request)
        try:
            answer: web.StreamResponse = await handler(request)
        except BodyAlreadyConsumedError as error:
            errors.append(error)
            raise
        return answer

    app = web.Application(middlewares=[middleware])
    app.router.add_post("/notify", notification_handler(fake))
    async with TestClient(TestServer(app)) as client:
        yield client, errors


async def parts(*of: bytes) -> AsyncIterator[bytes]:
    for part in of:
        yield part


@pytest.mark.parametrize("chunked", [False, True])
async def test_aiohttp_with_a_part_taken_first(fake: Fake, chunked: bool) -> None:
    """M-27: what is left of a chunked body is no forgery either, and no frame shows it."""

    async def take(request: web.Request) -> None:
        await request.content.readexactly(1)

    async with aiohttp_client(fake, take) as (client, errors):
        data: Any = parts(BODY[:5], BODY[5:]) if chunked else BODY
        answer = await client.post("/notify", data=data)
        assert answer.status == 500
    assert fake.given == []
    assert "request.read()" in str(errors[0])
    assert shown_in(errors[0]) == []


async def test_aiohttp_with_the_form_parsed_first(fake: Fake) -> None:
    """request.post() of a form leaves the bytes; of a multipart body it takes them."""

    async def take(request: web.Request) -> None:
        with contextlib.suppress(ValueError):
            await request.post()

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    async with aiohttp_client(fake, take) as (client, errors):
        assert await (await client.post("/notify", data=BODY, headers=form)).read() == b"success"
        taken = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n"
        assert (await client.post("/notify", data=taken, headers=multipart)).status == 500
    assert fake.given == [BODY]
    assert "request.post()" in str(errors[0])


async def test_aiohttp_knows_an_empty_body_from_one_that_is_gone(fake: Fake) -> None:
    """M-14: a chunked body of nothing is unreadable, and no error of the shop's."""

    async def take(request: web.Request) -> None:
        pass

    async with aiohttp_client(fake, take) as (client, errors):
        answer = await client.post("/notify", data=parts())
        assert answer.status == 200
    assert errors == []
    assert fake.given == [b""]


# ASGI, FastAPI


async def test_a_route_stands_under_its_routers_prefix(fake: Fake) -> None:
    """APIRouter(prefix=...) is how FastAPI cuts up a shop; the notify_url has that prefix too."""
    app, router = FastAPI(), APIRouter(prefix="/pay")
    add_notification_route(router, "/notify", fake)
    app.include_router(router, prefix="/v1")
    async with AsyncClient(transport=ASGITransport(app), base_url="http://shop.test") as client:
        assert (await client.post("/v1/pay/notify", content=BODY)).content == b"success"
        assert (await client.post("/v1/notify", content=BODY)).status_code == 404


async def asgi_error(fake: Fake, body: bytes, length: int) -> BodyAlreadyConsumedError:
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-length", b"%d" % length)],
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        raise AssertionError("nothing is to be answered")

    with pytest.raises(BodyAlreadyConsumedError) as caught:
        await notification_app(fake)(scope, receive, send)
    return caught.value


async def test_the_asgi_app_shows_no_buyer(fake: Fake) -> None:
    """M-27: half a body that is left is in no frame of the error."""
    assert shown_in(await asgi_error(fake, BODY, len(BODY) + 5)) == []


# what all share


@pytest.mark.parametrize("digits", [19, sys.get_int_max_str_digits() + 1])
def test_a_length_of_many_digits_is_too_large(digits: int) -> None:
    """A Content-Length that Python's int() refuses is refused as too large, not by an error."""
    assert refused("POST", content_length("9" * digits)) is TOO_LARGE


async def test_cancelled_while_the_body_comes_says_nothing(fake: Fake) -> None:
    """A server that cancels a request in the middle of its body gets its cancellation back."""
    waiting = asyncio.Event()

    async def receive() -> Any:
        waiting.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        raise AssertionError("nothing is to be answered")

    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"3")]}
    task = asyncio.ensure_future(notification_app(fake)(scope, receive, send))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fake.given == []
