"""Views for Django: one behind ASGI, and one behind WSGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from django.core.exceptions import RequestDataTooBig  # type: ignore[import-untyped]
from django.http import HttpResponse  # type: ignore[import-untyped]
from django.http.request import RawPostDataException  # type: ignore[import-untyped]

from chaoying_async.sansio.notifications.facts import Wallet
from chaoying_async.web.adapter_log import AdapterLog
from chaoying_async.web.background import BackgroundHandler, answer
from chaoying_async.web.contract import (
    TOO_LARGE,
    Handles,
    HttpAnswer,
    Refusal,
    check_handler,
    content_length,
    drain,
    headers_of,
    refused,
)
from chaoying_async.web.timely import TimelyHandler

_FIX = (
    "A middleware must look at `request.body` (Django keeps those bytes) before anything touches"
    " `request.POST` or `request.read()`; one in WSGI must put the bytes back as"
    " environ['wsgi.input'] = io.BytesIO(body)."
)


_OPEN = (
    "In asgi.py: application = with_lifespan(get_asgi_application(), handler). A server without"
    " lifespan (daphne), and WSGI, take sync_notification_view and a BackgroundHandler, which opens"
    " itself."
)


class _EveryDatabase(set[str]):
    """Contains every name: the view runs in no transaction, whatever a database is called."""

    def __contains__(self, alias: object) -> bool:
        return True


def notification_view(
    handler: Handles, *, kind: Wallet | None = None
) -> Callable[[Any], Awaitable[Any]]:
    """An async view, for Django behind an ASGI server.

    Django has no lifespan, so the handler is opened in ``asgi.py``, with
    :func:`chaoying_async.web.asgi.with_lifespan`::

        path("notify", notification_view(handler))  # urls.py
        application = with_lifespan(get_asgi_application(), handler)  # asgi.py

    Under WSGI each request of an async view has an event loop of its own: use
    :func:`sync_notification_view` there. The view is exempt from CSRF checks,
    ``LoginRequiredMiddleware`` and ``ATOMIC_REQUESTS``, which a project puts before every view; the
    signature is the check.

    Behind ASGI Django itself reads the whole body before any view runs, without a limit of size or
    time: set both in the proxy in front, or mount ``notification_app`` beside Django.
    """
    check_handler(handler)
    log = AdapterLog(_FIX)
    in_time = TimelyHandler(handler, kind, None, log, _OPEN)

    async def notified(request: Any) -> Any:
        loop_lasts = hasattr(request, "scope")  # under WSGI the loop ends with the request
        return _response(await in_time.handle(_body(request, log), loop_lasts=loop_lasts))

    return cast("Callable[[Any], Awaitable[Any]]", _let_through(notified))


def sync_notification_view(
    background: BackgroundHandler[Any], *, kind: Wallet | None = None
) -> Callable[[Any], Any]:
    """A sync view, for Django behind a WSGI server (an ASGI server runs it in a thread).

    Exempt as :func:`notification_view` is. A slow sender occupies one thread of the server, as with
    any view: serve with threads, or behind a proxy that collects bodies.
    """
    check_handler(background)
    log = AdapterLog(_FIX)

    def notified(request: Any) -> Any:
        return _response(answer(background, _body(request, log), kind))

    return cast("Callable[[Any], Any]", _let_through(notified))


def _let_through(view: Any) -> Any:
    """Mark the view as ``csrf_exempt``, ``login_not_required`` and ``non_atomic_requests`` do.

    It sets their attributes itself: in older versions of Django the decorators make a sync function
    of an async one, are missing, or take one database each.
    """
    view.csrf_exempt = True
    view.login_required = False
    view._non_atomic_requests = _EveryDatabase()  # noqa: SLF001 - Django's own name for it
    return view


def _body(request: Any, log: AdapterLog) -> bytearray | Refusal:
    # As @sensitive_post_parameters() does: no mail to the admins quotes the form (M-27).
    request.sensitive_post_parameters = "__ALL__"
    length = content_length(request.META.get("CONTENT_LENGTH"))
    if (refusal := refused(request.method, length)) is not None:
        return refusal
    environ = getattr(request, "environ", {"wsgi.input_terminated": True})  # ASGI has none
    ends = environ.get("wsgi.input_terminated", False)
    coded = "HTTP_TRANSFER_ENCODING" in request.META
    if coded and not ends and length is None:
        return log.not_handed_on()
    chunked = coded and ends
    body: bytearray | None
    try:
        body = _read(request, length, environ.get("wsgi.input") if chunked else None)
    except RequestDataTooBig:  # the site has a lower limit
        return TOO_LARGE
    except RawPostDataException:
        body = None
    except Exception as error:  # noqa: BLE001 - gunicorn, for one, has classes of its own for chunks
        return log.incomplete(type(error).__name__)
    if body is None:  # outside of the except: no frame of Django's stays with the error
        return log.consumed("request.read() or request.POST was used before")
    return log.judged(body, length, chunked=chunked, ours=False)


def _read(request: Any, length: int | None, chunks: Any) -> bytearray:
    body = bytearray()
    if chunks is not None:  # under WSGI Django does not read chunks
        drain(chunks.read, body)
        return body
    # Django keeps a body that was asked for, and has no public way to ask whether it did.
    if length is not None or getattr(request, "_read_started", False):
        return bytearray(request.body)  # a middleware behind this view may still look at it
    drain(request.read, body)  # request.body would read without a limit here
    return body


def _response(answer: HttpAnswer) -> Any:
    # Django sets no length without its CommonMiddleware, and servers then send chunks.
    headers = headers_of(answer) | {"Content-Length": str(len(answer.body))}
    response: Any = HttpResponse(answer.body, status=answer.status, headers=headers)
    # Keeps Django from a log line of its own for each answer from 400 on: anybody can post empty
    # bodies as fast as he likes, and our own log limits its lines. Django marks responses that it
    # has logged, and has no public way to do so. If a release renames the mark, Django's lines come
    # back, and nothing else changes.
    response._has_been_logged = True  # noqa: SLF001 - Django's own name for it
    return response
