"""Bodies that never come or break off: of each kind one line a minute, whoever sends how many."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoying_async.exceptions import BodyAlreadyConsumedError
from chaoying_async.sansio.notifications.reading import MAX_BODY
from chaoying_async.testing import FakeClock
from chaoying_async.web.adapter_log import AdapterLog
from chaoying_async.web.asgi import notification_app
from tests.sizes import FULL
from tests.web.app_servers import (
    SHOPS,
    SOME_SHOPS,
    ServedApp,
    in_uvicorn,
    make_handler,
    notification,
)
from tests.web.apps import HASTY, asgi_middleware
from tests.web.test_adapters import Fake
from tests.web.test_asgi import Connection, part

pytestmark = pytest.mark.outside

TIMES = 2 if FULL else 1
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module", params=SOME_SHOPS)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("shop")
    with SHOPS[request.param](folder) as opened:
        yield opened, folder


def closed(shop: ServedApp, *headers: str, body: bytes = b"") -> None:
    """Send so much and hang up."""
    with shop.connect() as sock:
        sock.sendall(shop.head("", *headers) + body)


def half_closed(shop: ServedApp, *headers: str, body: bytes = b"") -> bytes:
    """Send so much, say that no more will come, and read what comes back."""
    with shop.connect(timeout=5) as sock:
        sock.sendall(shop.head("", *headers) + body)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        return received(sock)


def held(shop: ServedApp, *headers: str, body: bytes = b"") -> bytes:
    """Send so much, and wait for what comes back (a server that reads for us waits for ever)."""
    with shop.connect(timeout=5 if shop.streams else 0.2) as sock:
        sock.sendall(shop.head("", *headers) + body)
        return received(sock)


def received(sock: socket.socket) -> bytes:
    came = b""
    with contextlib.suppress(OSError):
        while part := sock.recv(4096):
            came += part
            if came.endswith((b"fail", b"success")):
                break
    return came


SENDERS: dict[str, Callable[[ServedApp], object]] = {
    "nothing, and gone": lambda shop: closed(shop, "Content-Length: 62"),
    "nothing, and no more": lambda shop: half_closed(shop, "Content-Length: 62"),
    "nothing, and waiting": lambda shop: held(shop, "Content-Length: 62"),
    "half, and gone": lambda shop: closed(shop, "Content-Length: 62", body=b"a=1"),
    "half, and no more": lambda shop: half_closed(shop, "Content-Length: 62", body=b"a=1"),
    "half, and waiting": lambda shop: held(shop, "Content-Length: 62", body=b"a=1"),
    "more than announced": lambda shop: half_closed(shop, "Content-Length: 3", body=b"a=1&b=2"),
    "an empty chunk": lambda shop: half_closed(shop, CHUNKED, body=b"0\r\n\r\n"),
    "half a chunk": lambda shop: half_closed(shop, CHUNKED, body=b"9\r\na=1"),
    "half a size, and gone": lambda shop: closed(shop, CHUNKED, body=b"9"),
    "no size": lambda shop: half_closed(shop, CHUNKED, body=b"zz\r\na=1\r\n0\r\n\r\n"),
    "a huge size": lambda shop: half_closed(shop, CHUNKED, body=b"f" * 40 + b"\r\na=1"),
    "no length": lambda shop: half_closed(shop, "Content-Length: 0x3", body=b"a=1"),
    "too large": lambda shop: half_closed(shop, "Content-Length: 999999", body=b"a=1"),
    "both": lambda shop: half_closed(shop, "Content-Length: 62", CHUNKED, body=b"0\r\n\r\n"),
}


def test_whatever_strangers_send_is_a_line_a_minute(
    shop: tuple[ServedApp, Path],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No traceback, no line for each, and the next notification takes effect."""
    opened, folder = shop
    for _ in range(TIMES):
        for send in SENDERS.values():
            send(opened)
    order = f"AFTER{opened.name.replace('-', '')}"
    assert opened.post(notification(order)).body == b"success"
    # Of what is no HTTP aiohttp's own server writes tracebacks, before there is any request.
    assert [r for r in caplog.records if r.exc_info and r.name != "aiohttp.server"] == []
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("chaoying_async")]
    assert len([line for line in ours if "did not arrive whole" in line]) <= 1
    assert len([line for line in ours if "has read the request's body" in line]) <= 1
    assert len([line for line in ours if "could not be verified" in line]) <= 1
    assert len(ours) <= 3
    said = "" if opened.name == "aiohttp" else "".join(capfd.readouterr())
    if "gunicorn" in opened.name:
        said += (folder / "gunicorn.log").read_text()
        assert said.count("did not arrive whole") <= 1
    assert "Traceback" not in said


async def test_a_minute_later_the_line_comes_again_and_counts() -> None:
    """How many there were in between."""
    handler, clock = Fake(), FakeClock()
    app = notification_app(handler, clock=clock)

    async def break_off() -> None:
        scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"3")]}
        await Connection(part(b"a", more=True), {"type": "http.disconnect"}, clock=clock).run(
            app, scope
        )

    log = logging.getLogger("chaoying_async.web")
    said: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    kept = Kept()
    log.addHandler(kept)
    try:
        for _ in range(5):
            await break_off()
        assert len(said) == 1
        await clock.advance(60)
        await break_off()
    finally:
        log.removeHandler(kept)
    assert said[1].endswith("(4 more since the last such line)")
    assert handler.given == []


def test_a_bug_of_the_service_is_raised_once_a_minute() -> None:
    """Loudly, with what to change; and the other notifications of that minute are answered 500."""
    clock = FakeClock()
    reports = AdapterLog("Change this.", clock)
    with pytest.raises(BodyAlreadyConsumedError, match="Change this"):
        reports.consumed("nothing is left")
    assert reports.consumed("nothing is left").status == 500


def test_a_middleware_that_swallows_bodies_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Behind a real server it looks as a stranger does: a line with what to change."""
    paid: list[str] = []
    handler = make_handler(paid.append)
    with in_uvicorn(asgi_middleware(notification_app(handler, clock=HASTY))) as port:
        swallowed = ServedApp("swallowing", port, lambda: paid)
        answers = [swallowed.post(notification("A100011"), front="/swallow") for _ in range(2)]
    assert [answer.status for answer in answers] == [500, 500]
    (line,) = [r.getMessage() for r in caplog.records if r.name == "chaoying_async.web"]
    assert "hand on what it read" in line
    assert paid == []


#: What anybody can post as often as he likes, answered with 400, 405, 413, and 500 or 400.
POSTED: dict[str, Callable[[ServedApp], object]] = {
    "empty": lambda shop: shop.post(b""),
    "noise": lambda shop: shop.post(b"a=1"),
    "too large": lambda shop: shop.post(b"a" * (MAX_BODY + 1)),
    "nothing, and no more": SENDERS["nothing, and no more"],
    "no post": lambda shop: shop.post(b"", method="GET"),
}


@pytest.mark.parametrize("how", ["django-asgi", "django-wsgiref"])
def test_django_has_no_line_of_its_own_for_each_refusal(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It warned of each "Bad Request", and mailed the admins for each 500."""
    with SHOPS[how](tmp_path) as shop:
        for post in POSTED.values():
            for _ in range(5):
                post(shop)
        assert shop.post(notification("A1")).body == b"success"
    names = [record.name for record in caplog.records if record.levelno >= logging.WARNING]
    assert [name for name in names if name.startswith("django")] == []
    assert len(names) <= 3
