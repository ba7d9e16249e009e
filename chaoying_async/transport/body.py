"""Reading a reply's body with a limit that also holds for what it unpacks to."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, Iterable
from typing import cast

import httpx

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.transport.errors import too_large

#: wbits for zlib: 31 is gzip, 15 zlib ("deflate").
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class _Unpacker:
    """Unpacks at most ``limit`` bytes and a few, so that a bomb cannot go off in memory."""

    def __init__(self, coding: str, limit: int) -> None:
        if coding not in _WBITS:
            raise MalformedMessageError("the reply has an encoding that was not asked for")
        self._zlib = zlib.decompressobj(_WBITS[coding])
        self._room = limit + 1

    def feed(self, data: bytes) -> bytes:
        out = self._zlib.decompress(data, self._room)
        self._room = max(1, self._room - len(out))
        return out

    def end(self) -> None:
        if not self._zlib.eof:
            raise MalformedMessageError("the compressed reply breaks off")


async def read_bounded(response: httpx.Response, max_bytes: int) -> bytes:
    """The decoded body of an httpx response; cut off and closed while reading if it is too long.

    Not ``response.aiter_bytes()``: that unpacks a whole chunk at once, 64 kB of gzip to 64 MB.
    """
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    unpacker = None if coding in {"", "identity"} else _Unpacker(coding, max_bytes)
    parts: list[bytes] = []
    raw = size = 0
    async for data in _chunks(response):
        raw += len(data)
        part = data if unpacker is None else unpacker.feed(data)
        size += len(part)
        if size > max_bytes or raw > max_bytes:
            raise too_large(max_bytes)
        parts.append(part)
    if unpacker is not None and raw:
        unpacker.end()
    return b"".join(parts)


async def _chunks(response: httpx.Response) -> AsyncIterable[bytes]:
    # A response that a mock built from content counts as consumed, but its stream can be read.
    stream = response.stream
    if isinstance(stream, httpx.AsyncByteStream):
        async for data in stream:
            yield data
    else:
        for data in cast("Iterable[bytes]", stream):
            yield data
