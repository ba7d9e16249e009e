"""The ASGI app message by message, and what the other adapters do that no socket shows."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any, Self

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from chaoying_async import Wallet
from chaoying_async.exceptions import BodyAlreadyConsumedError
from chaoying_async.testing import FakeClock
from chaoying_async.web.asgi import notification_app, with_lifespan
from chaoying_async.web.contract import HttpAnswer, Refusal
from chaoying_async.web.fastapi import add_notification_route

SUCCESS = Refusal(200, body=b"success")


class Fake:
    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.events: list[str] = []

    async def handle(self, body: bytes, *, kind: Wallet | None = None) -> HttpAnswer:
        self.bodies.append(body)
        return SUCCESS

    async def __aenter__(self) -> Self:
        self.events.append("opened")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.events.append("closed")


class Broken(Fake):
    async def __aenter__(self) -> Self:
        raise RuntimeError("a database with a password in its URL")


class Connection:
    """The server's side of one request: messages in, messages out."""

    def __init__(self, *messages: dict[str, Any], clock: FakeClock | None = None) -> None:
        self.messages = list(messages)
        self.sent: list[dict[str, Any]] = []
        self.clock = clock or FakeClock()

    async def receive(self) -> dict[str, Any]:
        if not self.messages:
            await self.clock.sleep(3600)
        return self.messages.pop(0)

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def run(self, app: Any, scope: dict[str, Any]) -> None:
        await self.clock.run(app(scope, self.receive, self.send))

    async def post(self, handler: Fake, *headers: tuple[bytes, bytes]) -> None:
        scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}
        await self.run(notification_app(handler, clock=self.clock), scope)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_the_answer_is_two_messages_with_exactly_two_headers() -> None:
    """Nothing is added that a gateway could stumble over."""
    connection = Connection(part(b"a=1"))
    await connection.post(Fake(), (b"content-length", b"3"))
    start, body = connection.sent
    assert start["headers"] == [(b"content-type", b"text/plain"), (b"content-length", b"7")]
    assert body == {"type": "http.response.body", "body": b"success"}


async def test_an_announced_giant_is_not_read_at_all() -> None:
    """M-14: 413 before the first byte is asked for."""
    connection = Connection(part(b"a=1"))
    await connection.post(Fake(), (b"content-length", b"65537"))
    assert connection.status == 413
    assert len(connection.messages) == 1


async def test_an_endless_body_is_read_only_as_far_as_the_limit() -> None:
    """Memory stays bounded whatever is sent in chunks."""
    handler = Fake()
    connection = Connection(*(part(b"a" * 1000, more=True) for _ in range(200)))
    await connection.post(handler, (b"transfer-encoding", b"chunked"))
    assert connection.status == 413
    assert len(connection.messages) == 200 - 66
    assert handler.bodies == []


async def test_a_slow_body_has_two_seconds_on_the_clock() -> None:
    """Half a body is 400 after two seconds; the handler never sees it."""
    handler, clock = Fake(), FakeClock()
    connection = Connection(part(b"a=", more=True), clock=clock)
    await connection.post(handler, (b"content-length", b"3"))
    assert (connection.status, clock.monotonic()) == (400, 2.0)
    assert handler.bodies == []


async def test_a_sender_that_has_gone_is_answered_into_the_void() -> None:
    """Half a body and a closed connection: a middleware would raise where no answer comes."""
    handler = Fake()
    connection = Connection(part(b"a=", more=True), {"type": "http.disconnect"})
    await connection.post(handler, (b"content-length", b"3"))
    assert (connection.status, handler.bodies) == (400, [])


@pytest.mark.parametrize("left", [b"", b"a="])
async def test_a_body_that_the_service_has_read_is_an_error_that_says_what_to_do(
    left: bytes,
) -> None:
    """No server hands on half a body, so the error goes up into the framework."""
    handler = Fake()
    with pytest.raises(BodyAlreadyConsumedError, match=r"hand on what it read.*request\.body\(\)"):
        await Connection(part(left)).post(handler, (b"content-length", b"3"))
    assert handler.bodies == []


@pytest.mark.parametrize(
    ("messages", "header", "status"),
    [
        ((), (b"content-length", b"3"), 500),
        ((), (b"transfer-encoding", b"chunked"), 500),
        ((part(b""),), (b"transfer-encoding", b"chunked"), 400),
    ],
)
async def test_a_body_that_never_came_raises_nothing_and_says_what_it_may_be(
    messages: tuple[dict[str, Any], ...],
    header: tuple[bytes, bytes],
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Any stranger can send that, so it is a line; and a middleware may be the reason."""
    handler, connection = Fake(), Connection(*messages)
    await connection.post(handler, header)
    assert (connection.status, handler.bodies) == (status, [])
    assert connection.sent[1]["body"] == b"fail"
    assert re.search(r"hand on what it read.*request\.body\(\)", caplog.text)


async def test_no_body_at_all_is_the_handlers_to_refuse() -> None:
    """A POST that announces nothing and sends nothing is unreadable, and no error of the shop's."""
    handler = Fake()
    await Connection(part(b"")).post(handler, (b"content-length", b"0"))
    await Connection(part(b"")).post(handler)
    assert handler.bodies == [b"", b""]


async def test_a_websocket_is_refused() -> None:
    """Whatever else arrives at the URL is turned away without an error in the log."""
    connection = Connection()
    await connection.run(notification_app(Fake()), {"type": "websocket"})
    assert connection.sent == [{"type": "websocket.close", "code": 1008}]


LIFE = ({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})


async def test_the_app_alone_neither_opens_nor_closes_the_handler() -> None:
    """M-17: it was handed in, so it is somebody else's."""
    handler, connection = Fake(), Connection(*LIFE)
    await connection.run(notification_app(handler), {"type": "lifespan"})
    assert [message["type"] for message in connection.sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert handler.events == []


async def test_with_lifespan_opens_the_handler_for_as_long_as_the_server_runs() -> None:
    """M-17: asked to, it opens before the server says it is ready, and closes before the end."""
    handler, connection = Fake(), Connection(*LIFE)
    app = with_lifespan(notification_app(handler), handler)
    await connection.run(app, {"type": "lifespan"})
    assert handler.events == ["opened", "closed"]
    request = Connection(part(b"a=1"))
    await request.run(app, {"type": "http", "method": "POST", "headers": []})
    assert request.status == 200


async def test_a_handler_that_cannot_open_stops_the_server() -> None:
    """The server does not start, and is told no more than the kind of an error of others'."""
    connection = Connection(*LIFE)
    with pytest.raises(RuntimeError):
        await connection.run(
            with_lifespan(notification_app(Fake()), Broken()), {"type": "lifespan"}
        )
    assert connection.sent == [{"type": "lifespan.startup.failed", "message": "RuntimeError"}]


@contextlib.asynccontextmanager
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="https://shop.test"
    ) as opened:
        yield opened


async def test_a_route_can_live_on_a_router_of_fastapi() -> None:
    """Routers are how larger apps are cut up; the path is exact and stands in no schema."""
    handler, router, app = Fake(), APIRouter(), FastAPI()
    add_notification_route(router, "/notify", handler)
    app.include_router(router, prefix="/pay")
    async with client(app) as shop:
        answer = await shop.post("/pay/notify", content=b"a=1")
        assert (answer.text, answer.headers["content-type"]) == ("success", "text/plain")
        assert (await shop.get("/pay/notify")).status_code == 405
    assert app.openapi()["paths"] == {}


async def test_a_mount_answers_only_behind_its_slash() -> None:
    """What the documentation warns of: a POST to the bare path is redirected, by Starlette."""
    app = Starlette(routes=[Mount("/notify", notification_app(Fake()))])
    async with client(app) as shop:
        assert (await shop.post("/notify", content=b"a=1")).status_code == 307
        assert (await shop.post("/notify/", content=b"a=1")).text == "success"


async def test_a_body_in_parts_is_handed_on_whole() -> None:
    """Empty parts between the others change nothing."""
    handler = Fake()
    parts = [part(b"", more=True)] * 3 + [part(b"a=", more=True), part(b"1")]
    connection = Connection(*parts, clock=FakeClock())
    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"3")]}
    await notification_app(handler)(scope, connection.receive, connection.send)
    assert handler.bodies == [b"a=1"]
