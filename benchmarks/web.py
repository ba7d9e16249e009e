"""Notifications a second through ``notification_app`` against an ASGI app that checks nothing.

One uvicorn worker, one client in another process, distinct signed orders on 32 connections that
stay open. The peer reads the body and answers ``success``; ours verifies it, looks up the order,
claims it in a ``MemoryInbox``, runs ``on_paid``, records it and answers. Each round starts both
servers anew and gives them the same requests by turns; the medians are compared. The pair with
httptools and uvloop is measured too where they are installed, and has no minimum.
"""

from __future__ import annotations

import contextlib
import importlib.util
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import uvicorn

from benchmarks import handmade
from benchmarks.report import Row, run
from chaoying_async import Credentials, PaidOrder
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.notifications import NotificationHandler
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.testing import sign_notification
from chaoying_async.web.asgi import notification_app, with_lifespan

CONNECTIONS = 32
CONTENDERS = ("ours", "bare")
#: Requests to one of them before the other has its turn.
TURN = 500
#: What uvicorn is built of -> the least and the aim.
SERVERS = {("h11", "asyncio"): (0.5, 0.6), ("httptools", "uvloop"): (0.0, 0.5)}
CREDENTIALS = Credentials(agent_id=handmade.AGENT_ID, key=handmade.KEY, pid=handmade.PID)


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """The peer: no lifespan, no checks, no errors."""
    if scope["type"] != "http":
        raise NotImplementedError
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"7")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"success"})


def shop() -> Any:
    """Ours, with a handler that expects every order."""
    paid: list[str] = []

    async def expected(mch_id: str, _: str) -> ExpectedOrder | None:
        return ExpectedOrder(1, mch_id)

    async def on_paid(order: PaidOrder) -> None:
        paid.append(order.out_trade_no)

    handler = NotificationHandler(CREDENTIALS, MemoryInbox(), on_paid, expected=expected)
    return with_lifespan(notification_app(handler), handler)


def serve(which: str, http: Any, loop: Any, port: int) -> None:
    """What the server's process runs."""
    app = shop() if which == "ours" else bare
    uvicorn.run(app, port=port, http=http, loop=loop, log_level="warning", access_log=False)


@contextlib.contextmanager
def serving(which: str, http: str, loop: str) -> Iterator[int]:
    """One server in a process of its own; its port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    # Not by fd=: uvicorn then takes the socket for a Unix one, and Nagle's algorithm stays on.
    code = f"from benchmarks.web import serve; serve({which!r}, {http!r}, {loop!r}, {port})"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(20)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when the server takes connections."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise SystemExit(f"the server ended with status {process.wait(0.05)}")
    raise SystemExit("the server does not answer")


def requests(count: int) -> list[bytes]:
    """Whole requests, each about an order of its own, with the sixteen fields of WeChat's page."""
    now = datetime.now(UTC)
    made = []
    for number in range(count):
        body = sign_notification(
            CREDENTIALS,
            mch_id="f20170519135901860000",
            out_trade_no=f"15239295{number:09}",
            transaction_id=f"1995204392662018041771995{number:09}",
            out_transaction_id=f"20180417210010048705{number:09}",
            total_fee=1,
            coupon_fee=0,
            time_end=now,
            bank_type="CFT",
            device_info="device_info_yzq_01",
            nonce_str=str(number),
            trade_type="pay.weixin.native",
        )
        head = (
            "POST /notify HTTP/1.1\r\nHost: shop.test\r\nAccept: */*\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


@contextlib.contextmanager
def linked(port: int) -> Iterator[selectors.BaseSelector]:
    """Connections that stay open."""
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(CONNECTIONS):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            selector.register(link, selectors.EVENT_READ)
        yield selector


def seconds(links: selectors.BaseSelector, messages: Sequence[bytes]) -> float:
    """How long their answers took, each looked at; a request is sent when the last is answered."""
    todo = iter(messages)
    start = time.perf_counter()
    for key, message in zip(list(links.get_map().values()), todo, strict=False):
        cast("socket.socket", key.fileobj).sendall(message)
    answered = 0
    while answered < len(messages):
        for key, _ in links.select(20):
            busy = cast("socket.socket", key.fileobj)
            answer = busy.recv(4096)
            if answer.endswith(b"\r\n\r\n"):  # the body comes by itself
                answer += busy.recv(4096)
            if not (answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\nsuccess")):
                raise SystemExit(f"not a success: {answer!r}")
            answered += 1
            if (following := next(todo, None)) is not None:
                busy.sendall(following)
    return time.perf_counter() - start


def measured(server: tuple[str, str], messages: Sequence[bytes]) -> dict[str, float]:
    """One round: the requests a second of each, after a warm-up with orders that are not counted.

    Both are up, and take turns, so that a slow moment of the machine is a slow moment of both.
    """
    first, rest = messages[: len(messages) // 10], messages[len(messages) // 10 :]
    took = dict.fromkeys(CONTENDERS, 0.0)
    with contextlib.ExitStack() as stack:
        links = {}
        for which in CONTENDERS:
            port = stack.enter_context(serving(which, *server))
            links[which] = stack.enter_context(linked(port))
            seconds(links[which], first)
        for start in range(0, len(rest), TURN):
            for which in CONTENDERS:
                took[which] += seconds(links[which], rest[start : start + TURN])
    return {which: len(rest) / took[which] for which in CONTENDERS}


def measure(quick: bool) -> Sequence[Row]:  # noqa: FBT001 - the one switch of all benchmarks
    rounds, count = (1, 500) if quick else (7, 15_000)
    messages = requests(count)
    rows = []
    for server, (limit, reach) in SERVERS.items():
        if not all(name == "asyncio" or importlib.util.find_spec(name) for name in server):
            print(f"left out, not installed: {' and '.join(server)}")
            continue
        each = [measured(server, messages) for _ in range(rounds)]
        rows.append(
            Row(
                what=f"notification_app, uvicorn with {server[0]}, {server[1]}",
                ours=statistics.median(one["ours"] for one in each),
                peer=statistics.median(one["bare"] for one in each),
                unit="/s",
                limit=limit,
                reach=reach,
                rounds=[one["ours"] / one["bare"] for one in each],
            )
        )
    return rows


if __name__ == "__main__":
    sys.exit(run("web", measure))
