"""Collects the body of a reply within a limit that counts its unpacked size; checks the head's.

Engines ask for ``identity``. A body packed by zlib is unpacked all the same, a piece at a time and
never beyond the limit; every other encoding is refused.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, Iterable
from typing import cast

import httpx

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.transport.base import MAX_FIELDS, MAX_HEAD, Headers
from chaoying_async.transport.errors import head_too_large, too_large

#: wbits for zlib: 31 is gzip, 15 zlib ("deflate"), which some servers send without its header.
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_RAW_DEFLATE, _ZLIB_METHOD = -15, 8
_PLAIN = frozenset({"", "identity"})


class Body:
    """The body of one reply while it comes in: never more than ``max_bytes``, packed or not.

    ``codings`` are the values of Content-Encoding. Several are several layers: never unpacked.
    """

    def __init__(self, codings: Iterable[str], max_bytes: int) -> None:
        self._most = max_bytes
        self._coding = ",".join(codings).strip().lower()
        if self._coding not in _PLAIN | _WBITS.keys():
            raise MalformedMessageError("the reply has an encoding that was not asked for")
        self._zlib: zlib._Decompress | None = None
        self._parts: list[bytes] = []
        self._came = self._size = 0

    def add(self, data: bytes) -> None:
        """Take the next piece, as it was received."""
        self._came += len(data)
        if self._came > self._most:
            raise too_large(self._most)
        part = data if self._coding in _PLAIN else self._unpacked(data)
        self._size += len(part)
        if self._size > self._most:
            raise too_large(self._most)
        self._parts.append(part)

    def whole(self) -> bytes:
        """The whole body, after the last piece."""
        if self._zlib is not None and not self._zlib.eof:
            raise MalformedMessageError("the compressed reply breaks off")
        return b"".join(self._parts)

    def _unpacked(self, data: bytes) -> bytes:
        if not data:
            return b""
        if self._zlib is None:
            bare = self._coding == "deflate" and data[0] & 0x0F != _ZLIB_METHOD
            self._zlib = zlib.decompressobj(_RAW_DEFLATE if bare else _WBITS[self._coding])
        try:  # one byte more than there is room for: then `add` sees that it is too long
            return self._zlib.decompress(data, self._most + 1 - self._size)
        except zlib.error as error:
            why = error.with_traceback(None)  # drops this frame, which holds the reply (M-27)
            raise MalformedMessageError("the compressed reply cannot be unpacked") from why


def check_head(headers: Headers) -> None:
    """Raise where the head of a reply is over the limits, which both engines share."""
    size = sum(len(name) + len(value) + 4 for name, value in headers)
    if size > MAX_HEAD or len(headers) > MAX_FIELDS:
        raise head_too_large()


async def read_bounded(response: httpx.Response, max_bytes: int) -> bytes:
    """The decoded body of an httpx response; reading stops where it becomes too long.

    ``response.aiter_bytes()`` would unpack a whole chunk at once, 64 kB of gzip to 64 MB.
    """
    body = Body(response.headers.get_list("content-encoding"), max_bytes)
    async for data in _chunks(response):
        body.add(data)
    return body.whole()


async def _chunks(response: httpx.Response) -> AsyncIterable[bytes]:
    # A response that a mock built from content counts as consumed, but its stream can be read.
    stream = response.stream
    if isinstance(stream, AsyncIterable):  # of httpx or httpx2
        async for data in stream:
            yield data
    else:
        for data in cast("Iterable[bytes]", stream):
            yield data
