"""Who owns the work when its request, or the whole server, goes away in the middle (M-17)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiohttp import web
from hypercorn.asyncio import serve
from hypercorn.config import Config
from multidict import CIMultiDict

from chaoying_async import ExpectedOrder, MemoryInbox, NotificationHandler
from chaoying_async.exceptions import UsageError
from chaoying_async.web.aiohttp import notification_handler
from chaoying_async.web.asgi import notification_app, with_lifespan
from tests.factories import CREDENTIALS, MCH_ID
from tests.sizes import cases
from tests.web import apps as web_apps
from tests.web.app_servers import (
    NO_SOCKET,
    ROOT,
    SHOPS,
    TOTAL,
    ServedApp,
    answer_on,
    free_socket,
    in_aiohttp,
    in_uvicorn,
    make_handler,
    notification,
    wait_for,
)

pytestmark = pytest.mark.outside


class Till:
    """A shop whose on_paid waits until it is let go, and counts how often it began and ended."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.paid: list[str] = []

    def take(self, out_trade_no: str) -> None:
        self.paid.append(out_trade_no)

    def handler(self) -> NotificationHandler:
        async def expected(mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
            return ExpectedOrder(TOTAL, MCH_ID)

        async def on_paid(order: Any) -> None:
            self.begun.set()
            await asyncio.to_thread(self.go_on.wait, 20)
            self.take(order.out_trade_no)

        return NotificationHandler(CREDENTIALS, MemoryInbox(), on_paid, expected=expected)

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 40
        while len(self.paid) < count and time.monotonic() < deadline:
            time.sleep(0.01)


@contextlib.contextmanager
def in_hypercorn(app: Any) -> Iterator[int]:
    """An ASGI app in hypercorn, in a thread."""
    sock = free_socket()
    sock.listen(64)
    port = int(sock.getsockname()[1])
    config = Config()
    config.bind = [f"fd://{sock.detach()}"]
    config.graceful_timeout = 5
    stop = threading.Event()

    async def stopped() -> None:
        while not stop.is_set():
            await asyncio.sleep(0.02)

    thread = threading.Thread(
        target=lambda: asyncio.run(serve(app, config, shutdown_trigger=stopped)), daemon=True
    )
    thread.start()
    try:
        wait_for(port, thread.is_alive)
        yield port
    finally:
        stop.set()
        thread.join(40)
        assert not thread.is_alive()


@contextlib.contextmanager
def in_cancelling_aiohttp(app: web.Application) -> Iterator[int]:
    """aiohttp that cancels a handler when its client has gone, as it did before 3.7."""
    plain = web.AppRunner.__init__

    def cancelling(self: web.AppRunner, app: web.Application) -> None:
        plain(self, app, handler_cancellation=True)

    patch = pytest.MonkeyPatch()
    patch.setattr(web.AppRunner, "__init__", cancelling)
    try:
        with in_aiohttp(app) as port:
            yield port
    finally:
        patch.undo()


SERVED: dict[str, Callable[[Any], contextlib.AbstractContextManager[int]]] = {
    "asgi-hypercorn": lambda handler: in_hypercorn(web_apps.plain(handler)),
    "quart-hypercorn": lambda handler: in_hypercorn(web_apps.quart(handler)),
    "django-hypercorn": lambda handler: in_hypercorn(web_apps.django_asgi(handler)),
    "django-uvicorn": lambda handler: in_uvicorn(web_apps.django_asgi(handler)),
    "fastapi-uvicorn": lambda handler: in_uvicorn(web_apps.fastapi(handler)),
    "aiohttp": lambda handler: in_aiohttp(web_apps.aiohttp(handler)),
    "aiohttp-cancelling": lambda handler: in_cancelling_aiohttp(web_apps.aiohttp(handler)),
}


@pytest.fixture(params=SERVED)
def served(request: pytest.FixtureRequest) -> Any:
    if "quart" in request.param:
        pytest.importorskip("quart")
    return SERVED[request.param]


def test_a_client_that_hangs_up_cancels_nothing(served: Any) -> None:
    """M-17: whether or not the server cancels the request, on_paid ends, and ends once."""
    till = Till()
    body = notification("A1")
    with served(till.handler()) as port:
        shop = ServedApp("shop", port, lambda: till.paid)
        with shop.connect() as impatient:
            impatient.sendall(shop.head("", f"Content-Length: {len(body)}") + body)
            assert till.begun.wait(15)
        time.sleep(0.1)  # for the server to see it, and to cancel what it cancels
        till.go_on.set()
        till.wait_for(1)
        assert shop.post(body).body == b"success"
    assert till.paid == ["A1"]


def test_a_server_that_ends_lets_the_work_end(served: Any) -> None:
    """M-17: shut down while on_paid works, the server waits for it, within the grace."""
    till = Till()
    body = notification("A1")
    with served(till.handler()) as port:
        shop = ServedApp("shop", port, lambda: till.paid)
        link = shop.connect()
        link.sendall(shop.head("", f"Content-Length: {len(body)}") + body)
        assert till.begun.wait(15)
        threading.Timer(0.3, till.go_on.set).start()  # after the shutdown has begun
    link.close()
    assert till.paid == ["A1"]


@pytest.mark.parametrize("name", cases(["django"], more=["flask"]))
def test_a_worker_of_gunicorns_that_ends_lets_the_work_end(tmp_path: Path, name: str) -> None:
    """M-17: SIGTERM between claim and effect: the effect is there, once, and the exit is clean."""
    with SHOPS[f"{name}-gunicorn"](tmp_path) as shop:
        assert shop.post(notification("A1")).body == b"success"
        body = notification("SLOW1")
        link = shop.connect()
        link.sendall(shop.head("", f"Content-Length: {len(body)}") + body)
        while not (tmp_path / "begun").exists():
            time.sleep(0.005)
    link.close()
    assert shop.paid() == ["A1", "SLOW1"]


def test_what_comes_after_the_end_is_no_hang() -> None:
    """A handler that was closed under a server that still serves answers; it never hangs."""
    paid: list[str] = []
    handler = make_handler(paid.append)

    async def open_and_close() -> None:
        async with handler:
            pass

    asyncio.run(open_and_close())
    with in_uvicorn(notification_app(handler), lifespan="off") as port:
        shop = ServedApp("shop", port, lambda: paid)
        answers = [shop.post(notification("A1")).body for _ in range(2)]
    assert (answers[-1] == b"success") == (paid == ["A1"])
    assert len(paid) <= 1


def test_a_handler_that_nobody_opened_still_answers_the_truth() -> None:
    """M-17: without an owner the answer waits for on_paid, even late; and it is never a lie."""
    till = Till()
    body = notification("A1")
    with in_uvicorn(notification_app(till.handler()), lifespan="off") as port:
        shop = ServedApp("shop", port, lambda: till.paid)
        with shop.connect() as link:
            link.sendall(shop.head("", f"Content-Length: {len(body)}") + body)
            assert till.begun.wait(15)
            till.go_on.set()
            assert answer_on(link).body == b"success"
    assert till.paid == ["A1"]


def test_a_handler_that_is_opened_twice_is_told_so() -> None:
    """Opened by the app and by with_lifespan: the server does not start, and says why."""
    handler = make_handler(lambda out_trade_no: None)
    events: list[Any] = []

    async def twice() -> None:
        queue = [{"type": "lifespan.startup"}]

        async def receive() -> Any:
            return queue.pop()

        async def send(message: Any) -> None:
            events.append(message)

        async with handler:
            with pytest.raises(UsageError, match="open already"):
                await with_lifespan(notification_app(handler), handler)(
                    {"type": "lifespan"}, receive, send
                )

    asyncio.run(twice())
    assert [event["type"] for event in events] == ["lifespan.startup.failed"]
    assert "open already" in events[0]["message"]  # uvicorn logs this, and nothing else


async def test_aiohttps_view_gives_cancellation_back() -> None:
    """A request task that is cancelled ends as cancelled, and the work in the handler goes on."""
    till = Till()
    handler = till.handler()
    body = notification("A1")

    class Request:
        method = "POST"
        content_length = len(body)
        headers: ClassVar[CIMultiDict[str]] = CIMultiDict()
        can_read_body = False

        class Content:
            total_bytes = len(body)

        content = Content

        async def read(self) -> bytes:
            return body

    view: Callable[[Any], Awaitable[Any]] = notification_handler(handler)
    async with handler:
        task = asyncio.ensure_future(view(Request()))
        await asyncio.to_thread(till.begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        till.go_on.set()
    assert till.paid == ["A1"]


def test_a_worker_that_is_reloaded_goes_on_with_a_loop_of_its_own(tmp_path: Path) -> None:
    """gunicorn's HUP replaces its workers: the next one serves, and the books add up."""
    sock = free_socket()
    sock.listen(64)
    port = int(sock.getsockname()[1])
    environment = {**os.environ, "SHOP_BOOKS": str(tmp_path / "paid"), "PYTHONPATH": str(ROOT)}
    command = [
        *(sys.executable, "-m", "gunicorn", "tests.web.app_servers:gunicorn_flask()"),
        *("--bind", f"fd://{sock.fileno()}", "--workers", "1", "--worker-class", "gthread"),
        *("--threads", "2", *NO_SOCKET),
    ]
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        pass_fds=[sock.fileno()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    sock.close()
    try:
        wait_for(port, lambda: process.poll() is None)
        shop = ServedApp("shop", port, lambda: (tmp_path / "paid").read_text().split())
        assert shop.post(notification("SLOW1")).body == b"success"
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert shop.post(notification("A2")).body == b"success"
        assert shop.paid() == ["SLOW1", "A2"]
    finally:
        process.terminate()
        assert process.wait(60) == 0
