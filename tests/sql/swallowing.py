"""A TCP proxy whose network can go away: then it swallows everything, both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import attrs


@attrs.define(eq=False)
class Link:
    """One connection through the proxy."""

    ours: asyncio.StreamWriter
    theirs: asyncio.StreamWriter
    lost: bool = False
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not self.lost:
                    writer.write(data)
        if self.lost:  # that one side has hung up is swallowed too
            await self.ended.wait()
        writer.close()

    def cut(self) -> None:
        self.ended.set()
        for writer in (self.ours, self.theirs):
            writer.transport.abort()


class Network:
    """Connections to ``port`` reach the target, until they are lost."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.target = target
        self._links: list[Link] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, theirs = await asyncio.open_connection("127.0.0.1", self.target)
        link = Link(writer, theirs)
        self._links.append(link)
        await asyncio.gather(link.pump(reader, theirs), link.pump(answers, writer))

    def lose(self) -> None:
        """Of what is open now nobody hears anything any more; new connections work."""
        for link in self._links:
            link.lost = True

    def cut(self) -> None:
        """What is open is broken off, and both sides are told."""
        for link in self._links:
            link.cut()
        self._links.clear()


@asynccontextmanager
async def network_to(target: int) -> AsyncGenerator[Network]:
    network = Network(target)
    server = await asyncio.start_server(network.serve, "127.0.0.1", 0)
    network.port = server.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        server.close()
        network.cut()
        await server.wait_closed()
