"""A line between a database's client and its server that breaks at a COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


class Cutting:
    """Between a client and its server; cuts a connection at the first COMMIT once it is armed."""

    def __init__(self, port: int, *, delivered: bool) -> None:
        self._port, self._delivered = port, delivered
        self.armed = self.cut = False
        self._serving: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[int]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]
            server.close()
            await asyncio.wait(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(_this_task())
        back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        down = asyncio.create_task(self._down(back, writer))
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.armed and b"COMMIT" in data:
                    await self._cut(data, back, forth, down)
                    break
                forth.write(data)
        down.cancel()
        await asyncio.wait([down])
        for end in (writer, forth):
            end.close()
            with suppress(OSError):
                await end.wait_closed()

    async def _down(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await back.read(65536):
                writer.write(data)
            writer.close()

    async def _cut(
        self,
        data: bytes,
        back: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
        down: asyncio.Task[None],
    ) -> None:
        self.armed, self.cut = False, True
        down.cancel()
        await asyncio.wait([down])
        if self._delivered:
            forth.write(data)
            await back.read(1)  # the server has done it
