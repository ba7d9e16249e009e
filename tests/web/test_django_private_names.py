"""Django without the names that are not public: each is taken away, and the view still serves."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.base import BaseHandler  # type: ignore[import-untyped]
from django.core.handlers.wsgi import WSGIRequest  # type: ignore[import-untyped]
from django.utils.log import log_response  # type: ignore[import-untyped]

from chaoying_async.exceptions import BodyAlreadyConsumedError
from chaoying_async.web.background import BackgroundHandler
from chaoying_async.web.contract import HttpAnswer, Refusal
from chaoying_async.web.django import notification_view, sync_notification_view
from tests.web.apps import django_is_set_up

BODY = b"a=1&b=2"


class Taker:
    """A handler that remembers what it was given, and refuses what is empty."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    async def handle(self, body: bytes, *, kind: Any = None) -> HttpAnswer:
        self.given.append(body)
        return Refusal(200, body=b"success") if body else Refusal(400)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[Taker]:
        yield self


class Without:
    """A request as a release of Django would have it that no longer knows this name."""

    def __init__(self, request: Any, name: str) -> None:
        self.__dict__.update(_request=request, _gone=name)

    def __getattr__(self, name: str) -> Any:
        if name == self._gone:
            raise AttributeError(name)
        return getattr(self._request, name)


@pytest.fixture
def taker() -> Taker:
    django_is_set_up()
    return Taker()


@pytest.fixture
def view(taker: Taker) -> Iterator[Any]:
    with BackgroundHandler(taker.open) as opened:
        yield sync_notification_view(opened)


def posted(*, length: bool) -> Any:
    announced = {"CONTENT_LENGTH": str(len(BODY))} if length else {"wsgi.input_terminated": True}
    chunked = {} if length else {"HTTP_TRANSFER_ENCODING": "chunked"}
    return WSGIRequest(
        {
            "REQUEST_METHOD": "POST",
            "SERVER_NAME": "shop.test",
            "SERVER_PORT": "80",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "wsgi.input": BytesIO(BODY),
            **announced,
            **chunked,
        }
    )


NAMES = ["nothing", "_read_started", "_body"]


@pytest.mark.parametrize("gone", NAMES)
@pytest.mark.parametrize("length", [True, False], ids=["length", "chunks"])
def test_the_body_arrives(taker: Taker, view: Any, gone: str, *, length: bool) -> None:
    """With its length, and in chunks."""
    assert view(Without(posted(length=length), gone)).content == b"success"
    assert taker.given == [BODY]


@pytest.mark.parametrize("gone", NAMES)
def test_a_middleware_may_have_looked_at_the_body(taker: Taker, view: Any, gone: str) -> None:
    """Django keeps the bytes that somebody asked for, and hands them out again."""
    request = posted(length=True)
    assert request.POST["b"] == "2"
    assert view(Without(request, gone)).content == b"success"
    assert taker.given == [BODY]


@pytest.mark.parametrize("gone", NAMES)
def test_a_middleware_may_have_looked_at_a_body_without_a_length(taker: Taker, gone: str) -> None:
    """As behind ASGI, where Django holds the whole body before the view runs."""
    request = posted(length=True)
    assert request.body == BODY
    del request.META["CONTENT_LENGTH"]
    with BackgroundHandler(taker.open) as opened:
        assert sync_notification_view(opened)(Without(request, gone)).content == b"success"
    assert taker.given == [BODY]


def test_chunks_are_there_though_a_middleware_read_the_form(taker: Taker, view: Any) -> None:
    """Under WSGI Django takes a body without a length for an empty one, and leaves it alone."""
    request = posted(length=False)
    assert not request.POST
    assert view(request).content == b"success"
    assert taker.given == [BODY]


@pytest.mark.parametrize("gone", NAMES)
def test_a_body_that_is_gone_is_said_to_be_gone(taker: Taker, view: Any, gone: str) -> None:
    """M-14: half a body is no forgery of the gateway's; the error names what took it."""
    request = posted(length=True)
    request.read(1)
    with pytest.raises(BodyAlreadyConsumedError, match=r"`request\.read\(\)`"):
        view(Without(request, gone))
    assert taker.given == []


def test_a_transaction_of_djangos_is_put_only_around_a_view_without_the_mark(
    taker: Taker, view: Any
) -> None:
    """Every database of the tests has ATOMIC_REQUESTS; a wrapped view still answers."""
    django: Any = BaseHandler()
    assert django.make_view_atomic(view) is view
    del view._non_atomic_requests
    wrapped = django.make_view_atomic(view)
    assert wrapped is not view
    assert wrapped(posted(length=True)).content == b"success"
    assert taker.given == [BODY]


def test_django_refuses_an_async_view_without_the_mark_by_name(taker: Taker) -> None:
    """Nothing runs half: its error says which setting it is."""
    view: Any = notification_view(taker)
    django = BaseHandler()
    assert django.make_view_atomic(view) is view
    del view._non_atomic_requests
    with pytest.raises(RuntimeError, match="ATOMIC_REQUESTS"):
        django.make_view_atomic(view)


def test_django_logs_only_an_answer_without_the_mark(
    taker: Taker, view: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger's empty post is no line of Django's; without the mark it is one, and no more."""
    request = posted(length=True)
    response = view(posted(length=True))
    response.status_code = 400
    log_response("said", response=response, request=request)
    assert "said" not in caplog.text
    del response._has_been_logged
    log_response("said", response=response, request=request)
    log_response("said", response=response, request=request)
    assert caplog.text.count("said") == 1
