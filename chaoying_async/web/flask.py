"""A route for notifications in Flask."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import IO, Any, cast

from flask import Blueprint, Flask, Request, Response, request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.wsgi import LimitedStream

from chaoying_async.sansio.notifications.facts import Wallet
from chaoying_async.web.adapter_log import AdapterLog
from chaoying_async.web.background import BackgroundHandler, answer
from chaoying_async.web.contract import (
    TOO_LARGE,
    HttpAnswer,
    Refusal,
    check_handler,
    content_length,
    drain,
    headers_of,
    refused,
)

_FIX = (
    "Whatever runs first must call `request.get_data()` (Flask keeps those bytes) before anything"
    " touches `request.form`, `request.files` or `request.stream`; a WSGI middleware must put the"
    " bytes back as environ['wsgi.input'] = io.BytesIO(body)."
)


_EXEMPT = (
    "Exempt the endpoint {endpoint!r} there; in a before_request function of your own:"
    " `if request.endpoint == {endpoint!r}: return`."
)
#: Key in the request's environment: the view was reached.
_REACHED = "chaoying_async.reached"


def add_notification_route(
    app: Flask | Blueprint,
    path: str,
    background: BackgroundHandler[Any],
    *,
    endpoint: str = "chaoying_notification",
    kind: Wallet | None = None,
) -> None:
    """Answer notifications at ``path`` of a Flask app or a blueprint.

    Flask-WTF's CSRFProtect and Flask-Limiter let the route through by themselves. A
    ``before_request`` function of your own, a login for example, has to do so: ``if
    request.endpoint == "chaoying_notification": return`` (``"pay.chaoying_notification"`` on a
    blueprint ``pay``). If it stops a notification, a line at ERROR says so.

    A slow sender occupies one thread of the server, as with any view: serve with threads, or behind
    a proxy that collects bodies.
    """
    check_handler(background)
    log = AdapterLog(_FIX)

    def notified() -> Response:
        request.environ[_REACHED] = True
        return _response(answer(background, _body(request, log), kind))

    # Every method, so that each gets an answer of ours.
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    app.add_url_rule(path, endpoint, notified, methods=methods, provide_automatic_options=False)
    if isinstance(app, Blueprint):
        app.record_once(lambda state: _let_through(state.app, notified, log))
    else:
        _let_through(app, notified, log)


def _let_through(app: Any, view: Callable[[], Response], log: AdapterLog) -> None:
    """Exempt the view from extensions that can exempt one, and report when others stop it."""

    def is_ours() -> bool:
        return app.view_functions.get(request.endpoint or "") is view

    def exempt() -> None:  # at the first request: extensions may be set up after the route
        if is_ours():
            csrf, limiters = app.extensions.get("csrf"), app.extensions.get("limiter", ())
            for extension in (csrf, *limiters):
                if hasattr(extension, "exempt"):
                    extension.exempt(view)

    def look(response: Response) -> Response:
        if request.method == "POST" and is_ours() and not request.environ.get(_REACHED):
            log.unseen(response.status_code, _EXEMPT.format(endpoint=request.endpoint))
        return response

    app.before_request_funcs.setdefault(None, []).insert(0, exempt)
    app.after_request(look)


def _body(request: Request, log: AdapterLog) -> bytearray | Refusal:
    environ = request.environ
    coded = "Transfer-Encoding" in request.headers
    ends = environ.get("wsgi.input_terminated", False)
    # nginx puts chunks together for uWSGI and leaves their header, from which Werkzeug concludes
    # that there is no length, and hence no body.
    joined = coded and not ends
    length = content_length(environ.get("CONTENT_LENGTH")) if joined else request.content_length
    if (refusal := refused(request.method, length)) is not None:
        return refusal
    touched = not vars(request).keys().isdisjoint(("stream", "form", "files"))
    if joined:
        if length is None:
            return log.not_handed_on()
        stream = cast("IO[bytes]", LimitedStream(environ["wsgi.input"], length))
        request.stream = stream  # pyright: ignore[reportAttributeAccessIssue] - as in _read()
    try:
        body = _read(request)
    except RequestEntityTooLarge:  # the app has a lower limit
        return TOO_LARGE
    except ClientDisconnected:  # nothing came, or a middleware has taken it
        return log.gone()
    except Exception as error:  # noqa: BLE001 - gunicorn, for one, has classes of its own for chunks
        return log.incomplete(type(error).__name__)
    return log.judged(body, length, chunked=coded and ends, ours=touched)


def _read(request: Request) -> bytearray:
    body = bytearray()
    try:
        drain(request.stream.read, body)
    except ClientDisconnected as error:
        if body:
            raise EOFError from error  # cut off
        raise
    # Bytes that get_data() kept are no longer in the stream, and bytes that the form parser took
    # are in neither. Read the stream first, because get_data() has no limit.
    if not body:
        return bytearray(request.get_data())
    # For a hook behind this view that logs the body. (Werkzeug's cached_property may be assigned.)
    request.stream = BytesIO(body)  # pyright: ignore[reportAttributeAccessIssue]
    return body


def _response(answer: HttpAnswer) -> Response:
    return Response(answer.body, status=answer.status, headers=headers_of(answer))
