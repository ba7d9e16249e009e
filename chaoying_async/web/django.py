"""Django: a view for ASGI, and one for WSGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from django.core.exceptions import RequestDataTooBig  # type: ignore[import-untyped]
from django.http import HttpResponse  # type: ignore[import-untyped]
from django.views.decorators.csrf import csrf_exempt  # type: ignore[import-untyped]

from chaoying_async.exceptions import BodyAlreadyConsumedError
from chaoying_async.sansio.notifications import MAX_BODY, Wallet
from chaoying_async.web.background import BackgroundHandler
from chaoying_async.web.contract import (
    NOT_POST,
    TOO_LARGE,
    Answer,
    Handles,
    Refusal,
    check_all_there,
    check_handler,
    consumed,
    content_length,
    drain,
    headers_of,
    too_large,
    unreadable,
)

_FIX = (
    "A middleware must look at `request.body` (Django keeps those bytes) before anything touches"
    " `request.POST` or `request.read()`; one in WSGI must put the bytes back as"
    " environ['wsgi.input'] = io.BytesIO(body)."
)


def notification_view(
    handler: Handles, *, kind: Wallet | None = None
) -> Callable[[Any], Awaitable[Any]]:
    """An async view, for Django behind an ASGI server.

    Django has no lifespan, so the handler is opened in ``asgi.py``, with
    :func:`chaoying_async.web.asgi.with_lifespan`::

        path("notify", notification_view(handler))  # urls.py
        application = with_lifespan(get_asgi_application(), handler)  # asgi.py

    Under WSGI each request of an async view has an event loop of its own: use
    :func:`sync_notification_view` there. Exempt from CSRF checks; the signature is the check.

    Behind ASGI Django itself reads the whole body before any view runs, of any size and for as long
    as it takes: limit both in the proxy in front, or mount ``notification_app`` beside Django.
    """
    check_handler(handler)

    async def notified(request: Any) -> Any:
        body = _body(request)
        try:
            if isinstance(body, Refusal):
                return _response(body)
            return _response(await handler.handle(bytes(body), kind=kind))
        finally:
            del body  # see check_all_there

    return cast("Callable[[Any], Awaitable[Any]]", csrf_exempt(notified))


def sync_notification_view(
    background: BackgroundHandler[Any], *, kind: Wallet | None = None
) -> Callable[[Any], Any]:
    """A sync view, for Django behind a WSGI server (an ASGI server runs it in a thread).

    Exempt from CSRF checks; the signature is the check. A slow sender holds one thread of the
    server, as it would with any view: serve with threads, or behind a proxy that collects bodies.
    """
    check_handler(background)

    def notified(request: Any) -> Any:
        body = _body(request)
        try:
            if isinstance(body, Refusal):
                return _response(body)
            return _response(background.handle(bytes(body), kind=kind))
        finally:
            del body  # see check_all_there

    return cast("Callable[[Any], Any]", csrf_exempt(notified))


def _body(request: Any) -> bytearray | Refusal:
    # What @sensitive_post_parameters() does: no mail to the admins quotes the form (M-27).
    request.sensitive_post_parameters = "__ALL__"
    if request.method != "POST":
        return NOT_POST
    length = content_length(request.META.get("CONTENT_LENGTH"))
    if too_large(length):
        return TOO_LARGE
    environ = getattr(request, "environ", {"wsgi.input_terminated": True})  # ASGI has none
    ends = environ.get("wsgi.input_terminated", False)
    chunked = ends and "HTTP_TRANSFER_ENCODING" in request.META
    try:
        body = _read(request, length, environ.get("wsgi.input") if chunked else None)
    except RequestDataTooBig:  # the site's own limit is lower still
        return TOO_LARGE
    except BodyAlreadyConsumedError:
        raise
    except Exception as error:  # noqa: BLE001 - gunicorn, for one, has classes of its own for chunks
        return unreadable(error)
    if len(body) > MAX_BODY:
        return TOO_LARGE
    check_all_there(body, length, chunked=chunked, fix=_FIX)
    return body


def _read(request: Any, length: int | None, chunks: Any) -> bytearray:
    body = bytearray()
    if chunks is not None:  # under WSGI Django takes these for no body, and leaves them alone
        drain(chunks.read, body)
        return body
    # Django has no public way to ask whether the body is still there.
    kept = hasattr(request, "_body")
    if not kept and getattr(request, "_read_started", False):
        raise consumed("request.read() or request.POST was used before", _FIX)
    if kept or length is not None:
        return bytearray(request.body)  # a middleware behind this view may still look at it
    drain(request.read, body)  # request.body would read anything that announced no length
    return body


def _response(answer: Answer) -> Any:
    # Django sets no length without its CommonMiddleware, and servers then send chunks.
    headers = headers_of(answer) | {"Content-Length": str(len(answer.body))}
    return HttpResponse(answer.body, status=answer.status, headers=headers)
