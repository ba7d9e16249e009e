"""Each framework's shop on a free port of this machine, served by its own server.

asyncio servers turn in a thread with a loop of its own, so the client of a test is an outsider: a
blocking socket. gunicorn forks, so it is a process, and its shop writes down what was paid.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import attrs
from gunicorn import config as gunicorn_config  # type: ignore[import-untyped]

from chaoying_async import ExpectedOrder, MemoryInbox, NotificationHandler, PaidOrder, SystemClock
from chaoying_async.web.background import BackgroundHandler
from tests.factories import CREDENTIALS, MCH_ID
from tests.sizes import FULL
from tests.web import apps as web_apps

if TYPE_CHECKING:
    from aiohttp import web

#: Newer ones put a file into the home directory unless told not to.
NO_SOCKET = ["--no-control-socket"] if hasattr(gunicorn_config, "ControlSocketDisable") else []
ROOT = Path(__file__).parents[2]
TOTAL = 100


def notification(out_trade_no: str, **fields: Any) -> bytes:
    """A signed notification of a payment that the shop expects."""
    from chaoying_async.testing import sign_notification

    defaults = {
        "mch_id": MCH_ID,
        "out_trade_no": out_trade_no,
        "transaction_id": f"42{out_trade_no}",
        "total_fee": TOTAL,
        "time_end": SystemClock().now(),
        "attach": "咖啡 & 茶=1+1",
    }
    return sign_notification(CREDENTIALS, **(defaults | fields))


def make_handler(
    paid: Callable[[str], None], begun: Callable[[], object] = lambda: None
) -> NotificationHandler:
    """The shop's handler: it expects every order; SLOW ones take a moment, once they have begun."""

    async def expected(mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
        return ExpectedOrder(TOTAL, MCH_ID)

    async def on_paid(order: PaidOrder) -> None:
        if order.out_trade_no.startswith("SLOW"):
            begun()
            await asyncio.sleep(0.2)
        paid(order.out_trade_no)

    return NotificationHandler(CREDENTIALS, MemoryInbox(), on_paid, expected=expected)


@attrs.frozen
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def content_type(self) -> str:
        return self.headers["content-type"]


@attrs.frozen
class ServedApp:
    """One framework behind its server, as a client sees it."""

    name: str
    port: int
    paid: Callable[[], list[str]]
    #: A mounted Starlette app is only at /notify/.
    slash: str = ""
    chunks: bool = True
    #: Whether the adapter, not the server, reads the body.
    streams: bool = False
    #: What takes the body away. (On a swallowed body the two simple WSGI servers wait for more.)
    fronts: tuple[str, ...] = ("swallow",)

    def connect(self, timeout: float = 40) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def head(self, front: str, *headers: str, method: str = "POST") -> bytes:
        lines = [f"{method} {front}/notify{self.slash} HTTP/1.1", "Host: 127.0.0.1", *headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def post(
        self,
        body: bytes,
        *headers: str,
        front: str = "",
        method: str = "POST",
        content_type: str | None = "application/x-www-form-urlencoded",
    ) -> Answer:
        """One request on a connection of its own."""
        typed = [f"Content-Type: {content_type}"] if content_type else []
        head = self.head(front, f"Content-Length: {len(body)}", *typed, *headers, method=method)
        with self.connect() as sock:
            with contextlib.suppress(ConnectionError):  # answered before it was all sent
                sock.sendall(head + body)
            return answer_on(sock, method)

    def post_chunked(self, parts: list[bytes], *headers: str, front: str = "") -> Answer:
        with self.connect() as sock:
            sock.sendall(self.head(front, "Transfer-Encoding: chunked", *headers))
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    sock.sendall(b"%x\r\n%s\r\n" % (len(part), part))
                sock.sendall(b"0\r\n\r\n")
            return answer_on(sock)


def answer_on(sock: socket.socket, method: str = "POST") -> Answer:
    """Read one answer with the standard library's client."""
    response = http.client.HTTPResponse(sock, method=method)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, response.read(), headers)


def free_socket() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def wait_for(port: int, alive: Callable[[], bool]) -> None:
    """Return when the port takes connections."""
    for _ in range(1600):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        if not alive():
            break
        time.sleep(0.025)
    raise RuntimeError("the server did not start")


@contextlib.contextmanager
def in_uvicorn(app: Any, **options: Any) -> Iterator[int]:
    """An ASGI app in uvicorn, in a thread."""
    import uvicorn

    sock = free_socket()
    defaults = {"http": "h11", "loop": "asyncio", "lifespan": "auto"}
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5, **defaults | options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    port = int(sock.getsockname()[1])
    try:
        wait_for(port, thread.is_alive)
        yield port
    finally:
        server.should_exit = True
        thread.join(40)
        sock.close()
        assert not thread.is_alive()


@contextlib.contextmanager
def in_aiohttp(app: web.Application) -> Iterator[int]:
    """An aiohttp application in its own runner, in a thread."""
    from aiohttp import web

    sock = free_socket()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, sock).start()
        await stop.wait()
        await runner.cleanup()

    def turn() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=turn, daemon=True)
    thread.start()
    port = int(sock.getsockname()[1])
    try:
        wait_for(port, thread.is_alive)
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(40)
        sock.close()
        assert not thread.is_alive()


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@contextlib.contextmanager
def in_wsgiref(app: Any) -> Iterator[int]:
    """A WSGI app in the standard library's server, with threads."""
    server = make_server("127.0.0.1", 0, app, server_class=_Threads, handler_class=_Quiet)
    with _serving_threads(server) as port:
        yield port


@contextlib.contextmanager
def in_werkzeug(app: Any) -> Iterator[int]:
    """A WSGI app in werkzeug's server, with threads, as ``flask run`` has it."""
    from werkzeug.serving import make_server as make_werkzeug

    server = make_werkzeug("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True  # type: ignore[attr-defined]
    with _serving_threads(server) as port:
        yield port


@contextlib.contextmanager
def _serving_threads(server: Any) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join(40)
        server.server_close()


@contextlib.contextmanager
def in_gunicorn(app: str, folder: Path, *options: str) -> Iterator[int]:
    """A WSGI app in gunicorn: a process that is forked from a loaded one, with threads.

    One worker, because its inbox is in memory: two would each know half of what was paid.
    """
    sock = free_socket()
    sock.listen(64)
    command = [
        *(sys.executable, "-m", "gunicorn", f"tests.web.app_servers:{app}"),
        *("--bind", f"fd://{sock.fileno()}", "--workers", "1", "--threads", "4", "--preload"),
        *("--worker-class", "gthread", "--log-level", "info", *NO_SOCKET, *options),
    ]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "SHOP_BOOKS": str(folder / "paid"), "PYTHONPATH": path}
    with (folder / "gunicorn.log").open("wb") as said:
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, pass_fds=[sock.fileno()], stdout=said, stderr=said
        )
    port = int(sock.getsockname()[1])
    sock.close()
    try:
        wait_for(port, lambda: process.poll() is None)
        yield port
    finally:
        process.terminate()
        assert process.wait(60) == 0, (folder / "gunicorn.log").read_text()


def _books(folder: Path) -> Callable[[], list[str]]:
    file = folder / "paid"
    return lambda: file.read_text().split() if file.exists() else []


def _writing() -> BackgroundHandler[NotificationHandler]:
    file = Path(os.environ["SHOP_BOOKS"])

    def paid(out_trade_no: str) -> None:
        with file.open("a") as books:
            books.write(out_trade_no + "\n")

    return BackgroundHandler(lambda: make_handler(paid, file.with_name("begun").touch))


def gunicorn_flask() -> Any:
    """What gunicorn loads."""
    return web_apps.flask(_writing())


def gunicorn_django() -> Any:
    return web_apps.django_wsgi(_writing())


@contextlib.contextmanager
def _asyncio(name: str, serve: Any, app: Any, **features: Any) -> Generator[ServedApp]:
    paid: list[str] = []
    with serve(app(make_handler(paid.append))) as port:
        yield ServedApp(name, port, lambda: paid, **features)


@contextlib.contextmanager
def _threads(name: str, serve: Any, app: Any, **features: Any) -> Generator[ServedApp]:
    paid: list[str] = []
    background = BackgroundHandler(lambda: make_handler(paid.append))
    with background, serve(app(background)) as port:
        yield ServedApp(name, port, lambda: paid, **features)


@contextlib.contextmanager
def _forked(name: str, folder: Path, app: str, **features: Any) -> Generator[ServedApp]:
    with in_gunicorn(app, folder) as port:
        yield ServedApp(name, port, _books(folder), **features)


#: Starlette's request.form() wants a package that nothing else here needs.
_FORM = ("form",) if importlib.util.find_spec("python_multipart") else ()
_BASE = {"streams": True, "fronts": ("stream", "swallow", *_FORM)}

SHOPS: dict[str, Callable[[Path], contextlib.AbstractContextManager[ServedApp]]] = {
    "asgi": lambda _: _asyncio("asgi", in_uvicorn, web_apps.plain, streams=True),
    "starlette": lambda _: _asyncio(
        "starlette", in_uvicorn, web_apps.starlette, slash="/", **_BASE
    ),
    "fastapi": lambda _: _asyncio("fastapi", in_uvicorn, web_apps.fastapi, **_BASE),
    "litestar": lambda _: _asyncio("litestar", in_uvicorn, web_apps.litestar, streams=True),
    "quart": lambda _: _asyncio("quart", in_uvicorn, web_apps.quart, streams=True),
    "aiohttp": lambda _: _asyncio(
        "aiohttp", in_aiohttp, web_apps.aiohttp, streams=True, fronts=("stream",)
    ),
    "django-asgi": lambda _: _asyncio(
        "django-asgi", in_uvicorn, web_apps.django_asgi, fronts=("stream",)
    ),
    "django-wsgiref": lambda _: _threads(
        "django-wsgiref",
        in_wsgiref,
        web_apps.django_wsgi,
        chunks=False,
        fronts=("stream",),
    ),
    "django-gunicorn": lambda folder: _forked(
        "django-gunicorn", folder, "gunicorn_django()", fronts=("stream", "swallow")
    ),
    "flask-werkzeug": lambda _: _threads(
        "flask-werkzeug", in_werkzeug, web_apps.flask, fronts=("stream", "form")
    ),
    "flask-gunicorn": lambda folder: _forked(
        "flask-gunicorn", folder, "gunicorn_flask()", fronts=("stream", "form", "swallow")
    ),
}
#: Each framework and each server; that pair too with ``FULL=1``.
SOME_SHOPS = [name for name in SHOPS if FULL or name != "django-gunicorn"]
