"""Where one process of the shop takes notifications: a handler, or the user's own web app.

An ASGI app is served without a socket: its lifespan is run as a server runs it, and every
notification is a POST to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx

from chaoying_async.exceptions import ParameterError
from chaoying_async.notifications.handler import NotificationHandler
from chaoying_async.sansio.notifications.facts import Wallet
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.testing.simulation.users_shop import AsgiApp

_ADDRESS = "https://shop.example"
_FORM = {"content-type": "application/x-www-form-urlencoded"}
_ANSWERED = 200
#: What an app answers where its route is another one; no gateway follows a redirect.
NOWHERE = tuple(b"HTTP %d" % status for status in (301, 302, 307, 308, 404, 405))


class AppFailedToStartError(Exception):
    """The user's app said that it cannot start."""


@attrs.frozen
class DoorAnswer:
    """What came back for a notification."""

    text: bytes
    """The answer's body, as the gateway sees it."""
    paid: PaidOrder | None = None
    """The order that it was about, where that is known here."""


@attrs.frozen
class HandlersDoor:
    """A handler, without the web around it."""

    handler: NotificationHandler

    async def answer(self, body: bytes) -> DoorAnswer:
        """Answer a notification."""
        answer = await self.handler.handle(body, kind=Wallet.WECHAT)
        text = answer.body.encode() if isinstance(answer.body, str) else answer.body
        return DoorAnswer(text, answer.paid)


@attrs.frozen
class WebDoor:
    """An ASGI app, called as a server calls it."""

    client: httpx.AsyncClient
    path: str

    async def answer(self, body: bytes) -> DoorAnswer:
        """The same; what is not answered with 200 is shown as its status."""
        reply = await self.client.post(self.path, content=body, headers=_FORM)
        if reply.status_code != _ANSWERED:
            return DoorAnswer(b"HTTP %d" % reply.status_code)
        return DoorAnswer(reply.content)


#: Takes the notifications of one process.
FrontDoor = HandlersDoor | WebDoor


@asynccontextmanager
async def web_door(app: AsgiApp, path: str) -> AsyncGenerator[WebDoor]:
    """The door of an app whose lifespan runs for as long as this block."""
    if not path:
        raise ParameterError({"notify_path": "is needed where app(process) returns an ASGI app"})
    async with _lifespan(app) as state:
        transport = httpx.ASGITransport(_with_state(app, state), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=_ADDRESS) as client:
            yield WebDoor(client, path)


def _with_state(app: AsgiApp, state: dict[str, Any]) -> AsgiApp:
    async def called(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    return called


@asynccontextmanager
async def _lifespan(app: AsgiApp) -> AsyncGenerator[dict[str, Any]]:
    """Speak the lifespan protocol as a server does, and yield the state that the app gave.

    An app that ends without a word has no lifespan, and is served all the same.
    """
    state: dict[str, Any] = {}
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    running: asyncio.Future[None] = asyncio.ensure_future(app(scope, told.get, heard.put))
    await told.put({"type": "lifespan.startup"})
    said = await _next_word(running, heard)
    if said == "lifespan.startup.failed":
        await asyncio.wait([running])
        raise AppFailedToStartError(repr(running.exception())) from running.exception()
    try:
        yield state
    finally:
        if said:
            await told.put({"type": "lifespan.shutdown"})
            await asyncio.wait([running])
            running.result()


async def _next_word(running: asyncio.Future[None], heard: asyncio.Queue[dict[str, Any]]) -> str:
    """What the app says next; empty where it has ended without a word."""
    getting = asyncio.create_task(heard.get(), name="lifespan: next word")
    try:
        both: list[asyncio.Future[Any]] = [running, getting]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return str(getting.result()["type"]) if getting.done() else ""
    finally:
        getting.cancel()
