"""A TCP proxy that spoils connections: it resets, trickles, stalls and half-closes them."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from urllib.parse import urlsplit

#: By so many bytes of one direction a connection's fate has come; a call has some 700.
FATE_WITHIN = 10_000
_PIECE = 65_536


class Fate(StrEnum):
    """What becomes of a connection from some byte on."""

    RESET_ASKED = "it is reset while the request goes through"
    RESET_ANSWERED = "it is reset while the reply comes back"
    TRICKLED = "a few bytes come at a time, and then it is reset"
    STALLED = "nothing comes for a while"
    DEAD = "nothing comes any more, and nobody says so"
    HALF_CLOSED = "the gateway's side ends in the middle of a reply"
    DEAF = "the gateway never hears the end of a request"


class BadLine:
    """Passes connections on to one address; each has a fate of its own."""

    def __init__(self, host: str, port: int, rng: random.Random, *, stall: float) -> None:
        self._host, self._port, self._rng, self._stall = host, port, rng, stall
        self.fates: Counter[Fate] = Counter()
        self._next = itertools.cycle(rng.sample(list(Fate), len(Fate)))
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to its end."""
        fate, at = next(self._next), self._rng.randrange(1, FATE_WITHIN)
        self.fates[fate] += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
            spoil = _SPOILERS[fate]
            asked, answered = (spoil, None) if fate in _ASKING else (None, spoil)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pass(reader, back, at, asked))
                    group.create_task(self._pass(there, writer, at, answered))
            finally:
                _end(back)
        except* OSError:
            pass
        finally:
            _end(writer)
            self._open.discard(task)

    async def _pass(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        at: int,
        spoil: Spoiler | None,
    ) -> None:
        passed = 0
        while piece := await source.read(_PIECE):
            if spoil is not None and passed + len(piece) > at:
                cut = max(0, at - passed)
                await _write(sink, piece[:cut])
                await spoil(self, sink, piece[cut:])
            else:
                await _write(sink, piece)
            passed += len(piece)
        if sink.can_write_eof():
            with suppress(OSError):
                sink.write_eof()

    async def reset(self, _sink: asyncio.StreamWriter, _rest: bytes) -> None:
        raise _Over

    async def trickle(self, sink: asyncio.StreamWriter, rest: bytes) -> None:
        for start in range(0, len(rest), 40):
            await _write(sink, rest[start : start + 40])
            await asyncio.sleep(0.005)
        raise _Over  # else the line would carry most calls over the connections that live on

    async def wait(self, sink: asyncio.StreamWriter, rest: bytes) -> None:
        await asyncio.sleep(self._stall)
        await _write(sink, rest)

    async def die(self, _sink: asyncio.StreamWriter, _rest: bytes) -> None:
        await asyncio.sleep(10 * self._stall)
        raise _Over

    async def half_close(self, sink: asyncio.StreamWriter, rest: bytes) -> None:
        await _write(sink, rest[: len(rest) // 2])
        sink.write_eof()
        await self.die(sink, rest)

    async def end(self) -> None:
        """End all connections."""
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


class _Over(ConnectionError):  # noqa: N818 - this is how it was to end
    """The connection is reset."""


Spoiler = Callable[[BadLine, asyncio.StreamWriter, bytes], Awaitable[None]]
_SPOILERS: dict[Fate, Spoiler] = {
    Fate.RESET_ASKED: BadLine.reset,
    Fate.RESET_ANSWERED: BadLine.reset,
    Fate.TRICKLED: BadLine.trickle,
    Fate.STALLED: BadLine.wait,
    Fate.DEAD: BadLine.die,
    Fate.HALF_CLOSED: BadLine.half_close,
    Fate.DEAF: BadLine.die,
}
#: Fates of what goes to the gateway; all others are of what comes back.
_ASKING = {Fate.RESET_ASKED, Fate.DEAF}


async def _write(sink: asyncio.StreamWriter, data: bytes) -> None:
    sink.write(data)
    await sink.drain()


def _end(writer: asyncio.StreamWriter) -> None:
    """With a reset: so it ends at once, and leaves no TIME_WAIT."""
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def bad_line(
    url: str, rng: random.Random, *, stall: float
) -> AsyncGenerator[tuple[str, BadLine]]:
    """A proxy before an http address: its own address, and what it did."""
    parts = urlsplit(url)
    line = BadLine(parts.hostname or "", parts.port or 80, rng, stall=stall)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", line
    finally:
        server.close()
        await line.end()
