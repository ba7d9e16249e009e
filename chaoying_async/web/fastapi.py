"""A route for notifications in FastAPI and Starlette. Needs Starlette only."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route, Router

from chaoying_async.abc import Clock
from chaoying_async.sansio.notifications.facts import Wallet
from chaoying_async.web.asgi import notification_app
from chaoying_async.web.contract import Handles


def add_notification_route(
    app: Starlette | Router,
    path: str,
    handler: Handles,
    *,
    name: str = "chaoying-notification",
    kind: Wallet | None = None,
    clock: Clock | None = None,
) -> None:
    """Answer notifications at exactly ``path`` of a FastAPI or Starlette app, or of a router.

    The ``prefix`` of an ``APIRouter`` comes before ``path``, as with its decorators.

    Open the handler in the app's ``lifespan``: ``async with handler: yield``. The route takes no
    parameters and stands in no schema: FastAPI would parse the form, but the signature is verified
    on the bytes. Middleware that logs bodies is fine as long as it uses ``await request.body()``.
    ``kind`` and ``clock`` as in :func:`~chaoying_async.web.asgi.notification_app`.
    """
    router = app.router if isinstance(app, Starlette) else app
    endpoint = notification_app(handler, kind=kind, clock=clock)
    prefix: str = getattr(router, "prefix", "")  # only FastAPI's routers have one
    router.routes.append(Route(prefix + path, endpoint, name=name, include_in_schema=False))
