"""What is small on the wire and large unpacked; and the memory that meeting it takes.

``python -m tests.hard.bombs aiohttp gzip 50 adapter br 2`` prints, a line of JSON for each three
words, how so many calls at once ended, and by how many MiB the most memory that the process ever
held has grown since its start.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import brotli  # type: ignore[import-untyped]
from aiohttp import web
from backports import zstd

from chaoying_async.exceptions import ChaoyingError
from chaoying_async.web.aiohttp import notification_handler
from tests.engines import call, running
from tests.shop import Shop
from tests.tcp_server import Link, TcpServer, reply

MIB = 1 << 20
#: What every bomb unpacks to.
SIZE = 128 * MIB


def _pieces(packer: Any) -> bytes:
    """So many zeros, packed without ever holding them all."""
    compress = getattr(packer, "process", None) or packer.compress
    finish = getattr(packer, "finish", None) or packer.flush
    zeros = bytes(MIB)
    return b"".join(compress(zeros) for _ in range(SIZE // MIB)) + bytes(finish())


@cache
def _gzip() -> bytes:
    return _pieces(zlib.compressobj(1, wbits=31))


#: A Content-Encoding, and a body under it that unpacks to :data:`SIZE` bytes.
BOMBS: dict[str, Callable[[], bytes]] = {
    "gzip": _gzip,
    "GZip": _gzip,
    "x-gzip": _gzip,
    "deflate": lambda: _pieces(zlib.compressobj(1)),
    "Deflate": lambda: _pieces(zlib.compressobj(1, wbits=-15)),
    "br": lambda: bytes(_pieces(brotli.Compressor(quality=1, lgwin=24))),
    "zstd": lambda: _pieces(zstd.ZstdCompressor()),
    "gzip, gzip": lambda: gzip.compress(_gzip()),
    "identity, br": lambda: bytes(_pieces(brotli.Compressor(quality=1, lgwin=24))),
}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


async def replies(kind: str, coding: str, calls: int) -> Counter[str]:
    """How so many calls at once ended, each answered by the bomb."""
    answer = reply(BOMBS[coding](), f"Content-Encoding: {coding}")

    async def serve(link: Link) -> None:
        await link.request()
        await link.send(answer)
        await link.hung_up()

    async def ended() -> str:
        try:
            return str(await call(engine, server.url("/pay")))
        except ChaoyingError as error:
            return type(error).__name__

    async with TcpServer(serve) as server, running(kind) as engine:
        return Counter(await asyncio.gather(*(ended() for _ in range(calls))))


async def notifications(coding: str, posts: int) -> Counter[str]:
    """What the aiohttp adapter answered to so many unsigned bombs at once."""
    shop = Shop()
    app = web.Application()
    app.router.add_post("/notify", notification_handler(shop.handler()))
    body = BOMBS[coding]()
    head = f"POST /notify HTTP/1.1\r\nHost: x\r\nContent-Encoding: {coding}\r\nContent-Length: "
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]

    async def post() -> str:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
        try:
            answer = await reader.readuntil(b"fail")
        except (ConnectionError, asyncio.IncompleteReadError):
            return "closed"
        finally:
            writer.transport.abort()
        return answer.split(b" ")[1].decode() + " fail"

    try:
        return Counter(await asyncio.gather(*(post() for _ in range(posts))))
    finally:
        await runner.cleanup()


def main() -> None:
    """Print how each ended and how much more memory the process has held by then."""
    before = _peak()
    words = sys.argv[1:]
    for kind, coding, calls in zip(words[::3], words[1::3], words[2::3], strict=True):
        met = (
            notifications(coding, int(calls))
            if kind == "adapter"
            else replies(kind, coding, int(calls))
        )
        ends = asyncio.run(met)
        print(json.dumps({"ends": ends, "grown": _peak() - before}))  # noqa: T201 - for the test


if __name__ == "__main__":
    main()
