"""Notifications a second through ``notification_app`` against an ASGI app that checks nothing.

One uvicorn worker, one client in another process, distinct signed orders on 32 connections that
stay open. The peer reads the body and answers ``success``; ours verifies it, looks up the order,
claims it in a ``MemoryInbox``, runs ``on_paid``, records it and answers. Each round starts both
servers anew and gives them the same requests; the medians are compared. The pair with httptools
and uvloop is measured too where they are installed, and has no minimum.
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
from typing import Any

import uvicorn

from benchmarks import handmade
from benchmarks.report import Row, run
from chaoying_async import Credentials, PaidOrder
from chaoying_async.handler import NotificationHandler
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.decisions import ExpectedOrder
from chaoying_async.testing import sign_notification
from chaoying_async.web.asgi import notification_app, with_lifespan

CONNECTIONS = 32
#: What uvicorn is built of -> the least and the aim.
SERVERS = {("h11", "asyncio"): (0.7, 0.8), ("httptools", "uvloop"): (0.0, 0.7)}
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


def rate(port: int, messages: Sequence[bytes]) -> float:
    """Answers a second, each of them looked at; a request is sent when the last one is answered."""
    selector = selectors.DefaultSelector()
    todo = iter(messages)
    links = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(CONNECTIONS)]
    start = time.perf_counter()
    for link in links:
        selector.register(link, selectors.EVENT_READ)
        link.sendall(next(todo))
    answered = 0
    while answered < len(messages):
        for key, _ in selector.select(20):
            busy: Any = key.fileobj
            answer = busy.recv(4096)
            if answer.endswith(b"\r\n\r\n"):  # the body comes by itself
                answer += busy.recv(4096)
            if not (answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\nsuccess")):
                raise SystemExit(f"not a success: {answer!r}")
            answered += 1
            if (message := next(todo, None)) is not None:
                busy.sendall(message)
    seconds = time.perf_counter() - start
    for link in links:
        link.close()
    selector.close()
    return len(messages) / seconds


def measured(which: str, server: tuple[str, str], messages: Sequence[bytes]) -> float:
    """One round of one contender, after a warm-up with orders that are not counted."""
    warm = len(messages) // 10
    with serving(which, *server) as port:
        rate(port, messages[:warm])
        return rate(port, messages[warm:])


def measure(quick: bool) -> Sequence[Row]:  # noqa: FBT001 - the one switch of all benchmarks
    rounds, count = (1, 500) if quick else (7, 15_000)
    messages = requests(count)
    rows = []
    for server, (limit, reach) in SERVERS.items():
        if not all(name == "asyncio" or importlib.util.find_spec(name) for name in server):
            print(f"left out, not installed: {' and '.join(server)}")
            continue
        rates: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(rounds):
            for which, kept in rates.items():
                kept.append(measured(which, server, messages))
        rows.append(
            Row(
                what=f"notification_app, uvicorn with {server[0]}, {server[1]}",
                ours=statistics.median(rates["ours"]),
                peer=statistics.median(rates["bare"]),
                unit="/s",
                limit=limit,
                reach=reach,
                rounds=[a / b for a, b in zip(rates["ours"], rates["bare"], strict=True)],
            )
        )
    return rows


if __name__ == "__main__":
    sys.exit(run("web", measure))
