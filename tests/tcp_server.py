"""A TCP server that a test scripts connection by connection, and that counts what reached it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from typing import Any, Self

import pytest

#: What a server does with one connection.
Script = Callable[["Link"], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def reply(body: bytes, *extra: str) -> bytes:
    """A complete HTTP/1.1 answer."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *extra]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Link:
    """The server's end of one connection."""

    def __init__(
        self, server: TcpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.number = server.connections

    async def byte(self) -> None:
        """Read the first byte of a request and nothing more."""
        self.server.received += await self.reader.readexactly(1)

    async def request(self) -> bytes:
        """Read one whole request; return its head and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.server.received += head
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = await self.reader.readexactly(length)
        self.server.received += body
        self.server.requests.append(head + body)
        return head + body

    async def send(self, data: bytes) -> None:
        """Write and flush."""
        self.writer.write(data)
        await self.writer.drain()

    async def hung_up(self) -> None:
        """Wait until the client closes; what it still sends is noted."""
        while data := await self.reader.read(65536):
            self.server.received += data

    def reset(self) -> None:
        """End with RST, as a crashed peer does."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class TcpServer:
    """``async with TcpServer(script) as server: server.url("/path")``."""

    def __init__(
        self, script: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self._script, self._tls, self._host = script, tls, host
        self.connections = 0
        self.requests: list[bytes] = []
        self.received = bytearray()
        self.links: list[Link] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self.links:
            link.writer.transport.abort()
        await asyncio.sleep(0)

    def url(self, path: str = "/", scheme: str = "") -> str:
        """An address on this server."""
        scheme = scheme or ("https" if self._tls else "http")
        return f"{scheme}://{'localhost' if self._tls else '127.0.0.1'}:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        link = Link(self, reader, writer)
        self.links.append(link)
        # A client that goes away in the middle is what these tests are about.
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
        ):
            await self._script(link)
        writer.close()
        self.links.remove(link)  # a soak opens 100,000
        self._tasks.discard(task)


@contextlib.asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[TcpServer]:
    """A server for the length of a block."""
    async with TcpServer(script, tls) as server:
        yield server


async def polite(link: Link) -> None:
    """Answer every request, connection kept alive."""
    while True:
        await link.request()
        await link.send(OK)


def refused_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@cache
def packed_zeros(wbits: int, flush: int) -> bytes:
    """Fifty megabytes, small on the wire."""
    packer = zlib.compressobj(1, wbits=wbits)
    return packer.compress(bytes(50_000_000)) + packer.flush(flush)


def as_elsewhere(patch: pytest.MonkeyPatch) -> str:
    """A name that leads to this machine, and is no loopback address: nobody knows that it does."""
    real, name = socket.getaddrinfo, "gateway.test"

    def resolved(host: Any, *args: Any, **options: Any) -> Any:
        here = host in (name, name.encode())
        return real("127.0.0.1" if here else host, *args, **options)

    patch.setattr(socket, "getaddrinfo", resolved)
    return name
