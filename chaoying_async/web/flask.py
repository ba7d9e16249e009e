"""Flask: a route for notifications."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from flask import Blueprint, Flask, Request, Response, request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from chaoying_async.exceptions import BodyAlreadyConsumedError
from chaoying_async.sansio.notifications import MAX_BODY, Wallet
from chaoying_async.web.background import BackgroundHandler
from chaoying_async.web.contract import (
    NOT_POST,
    TOO_LARGE,
    Answer,
    Refusal,
    check_all_there,
    check_handler,
    consumed,
    drain,
    headers_of,
    too_large,
    unreadable,
)

_FIX = (
    "Whatever runs first must call `request.get_data()` (Flask keeps those bytes) before anything"
    " touches `request.form`, `request.files` or `request.stream`; a WSGI middleware must put the"
    " bytes back as environ['wsgi.input'] = io.BytesIO(body)."
)


def add_notification_route(
    app: Flask | Blueprint,
    path: str,
    background: BackgroundHandler[Any],
    *,
    endpoint: str = "chaoying_notification",
    kind: Wallet | None = None,
) -> None:
    """Answer notifications at ``path`` of a Flask app or a blueprint.

    With Flask-WTF's CSRFProtect, exempt the view: ``csrf.exempt(app.view_functions[endpoint])``.
    A slow sender holds one thread of the server, as it would with any view: serve with threads,
    or behind a proxy that collects bodies.
    """
    check_handler(background)

    def notified() -> Response:
        body = _body(request)
        try:
            if isinstance(body, Refusal):
                return _response(body)
            return _response(background.handle(bytes(body), kind=kind))
        finally:
            del body  # see check_all_there

    # All of them, so that all get our own answer.
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    app.add_url_rule(path, endpoint, notified, methods=methods, provide_automatic_options=False)


def _body(request: Request) -> bytearray | Refusal:
    if request.method != "POST":
        return NOT_POST
    if too_large(request.content_length):
        return TOO_LARGE
    try:
        body = _read(request)
    except RequestEntityTooLarge:  # the app's own limit is lower still
        return TOO_LARGE
    except BodyAlreadyConsumedError:
        raise
    except Exception as error:  # noqa: BLE001 - gunicorn, for one, has classes of its own for chunks
        return unreadable(error)
    if len(body) > MAX_BODY:
        return TOO_LARGE
    ends = request.environ.get("wsgi.input_terminated", False)  # else a server without chunks
    chunked = ends and "Transfer-Encoding" in request.headers
    check_all_there(body, request.content_length, chunked=chunked, fix=_FIX)
    return body


def _read(request: Request) -> bytearray:
    body = bytearray()
    try:
        drain(request.stream.read, body)
    except ClientDisconnected as error:
        if body:
            raise  # cut off
        raise consumed("the stream ends before its announced length", _FIX) from error
    # What get_data() has kept is no longer in the stream, and what the form parser has taken is in
    # neither. The stream comes first, because get_data() has no limit.
    if not body:
        return bytearray(request.get_data())
    # For a hook behind this view that logs the body. (Werkzeug's cached_property may be assigned.)
    request.stream = BytesIO(body)  # pyright: ignore[reportAttributeAccessIssue]
    return body


def _response(answer: Answer) -> Response:
    return Response(answer.body, status=answer.status, headers=headers_of(answer))
