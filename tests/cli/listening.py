"""A ``chaoying listen`` in this process, and connections to it that are made by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from chaoying_async import Credentials
from chaoying_async.cli.listen.forwarder import ForwardAttempt
from chaoying_async.cli.listen.listen_app import ListenApp, ReceivedDelivery
from chaoying_async.testing import FakeClock, sign_notification

CREDENTIALS = Credentials(agent_id="1", key="key-of-the-listener", pid="p")


def body(number: str = "A100011", **more: str) -> bytes:
    return sign_notification(CREDENTIALS, mch_id="1", out_trade_no=number, total_fee=1, **more)


class Listening:
    """A receiver in this process, on a clock that is moved by hand."""

    def __init__(self, clock: FakeClock | None = None, **more: Any) -> None:
        self.clock = clock or FakeClock()
        self.heard: list[ReceivedDelivery] = []
        self.attempts: list[ForwardAttempt] = []
        self.app = ListenApp(
            *(CREDENTIALS, self.clock),
            tell=self.heard.append,
            tell_attempt=lambda _, attempt: self.attempts.append(attempt),
            **more,
        )

    async def answer(self, sent: bytes) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post("/any/path", content=sent)


@asynccontextmanager
async def wire(url: str, sent: bytes) -> AsyncGenerator[asyncio.StreamReader]:
    """A socket to that address on which these bytes were sent, and nothing more."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(sent)
        await writer.drain()
        yield reader
    finally:
        writer.close()
        with_reset = asyncio.gather(writer.wait_closed(), return_exceptions=True)
        await with_reset


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    while not true():
        await asyncio.sleep(0)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that still comes, to the end of the connection."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def raw(url: str, head: bytes, sent: bytes) -> bytes:
    """The bytes of an answer."""
    length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(sent)
    async with wire(url, head + length + sent) as reader:
        return await ended(reader)
