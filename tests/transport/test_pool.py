"""M-06: the pool stays usable, fair and clean, and never mixes up two replies."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import importlib.metadata
import os
import random
import ssl
import warnings
import zlib
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import (
    ChaoyingError,
    MalformedMessageError,
    RequestNotSentError,
    TransportError,
)
from chaoying_async.transport import AiohttpTransport, Engine, HttpxEngine, TransportEngine
from chaoying_async.transport.aiohttp_connections import ConnectionOpener, WireConnection
from chaoying_async.transport.fair_queue import FairQueue
from tests.engines import tls
from tests.sizes import FULL
from tests.tcp_server import OK, Link, TcpServer, packed_zeros, polite, reply

PATIENT = httpx.Timeout(30.0)
OWN: dict[str, type[AiohttpTransport | HttpxEngine]] = {
    "aiohttp": AiohttpTransport,
    "httpx": HttpxEngine,
}


@pytest.fixture(params=OWN)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def running(kind: str, places: int = 5, **options: Any) -> AsyncIterator[Engine]:
    limits = httpx.Limits(
        max_connections=places, max_keepalive_connections=places, keepalive_expiry=15
    )
    settings: dict[str, Any] = {"limits": limits, "clock": SystemClock()}
    engine = OWN[kind](**settings | options)
    try:
        yield engine
    finally:
        await engine.aclose()


async def call(
    engine: Engine, url: str, body: bytes = b"", max_bytes: int = 100_000, **options: Any
) -> bytes:
    timeout = options.pop("timeout", PATIENT)
    answer = await engine.round_trip("POST", url, (), body, timeout=timeout, max_bytes=max_bytes)
    assert answer.status == 200
    return answer.body


async def turns(count: int) -> None:
    """Let the loop go round that often."""
    for _ in range(count):
        await asyncio.sleep(0)


# ------------------------------------------------------------------ cancellation


def echoing(rng: random.Random) -> Any:
    """A server that returns each order number, in ways and at moments that vary."""

    async def echo(link: Link) -> None:
        while True:
            body = (await link.request()).partition(b"\r\n\r\n")[2]
            await turns(rng.randrange(4))
            if rng.random() < 0.3:
                await link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                await turns(rng.randrange(3))
                await link.send(b"%x\r\n%b\r\n" % (len(body), body))
                await turns(rng.randrange(3))
                await link.send(b"0\r\n\r\n")
            else:
                answer = reply(body)
                cut = rng.randrange(len(answer))
                await link.send(answer[:cut])
                await turns(rng.randrange(3))
                await link.send(answer[cut:])

    return echo


@contextlib.contextmanager
def old_anyio_may_drop_sockets(kind: str) -> Generator[None]:
    """Before 4.16, anyio leaves the socket of a cancelled connect to the garbage collector.

    Only the fallback engine goes through anyio. What it left is collected here, so that the warning
    is not laid at another test's door.
    """
    version = tuple(map(int, importlib.metadata.version("anyio").split(".")[:2]))
    with warnings.catch_warnings():
        if kind == "httpx" and version < (4, 16):
            warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.mark.slow
@pytest.mark.timeout(1800 if FULL else 60)
async def test_r32_random_cancellation_leaves_the_pool_usable_and_no_reply_goes_astray(
    kind: str,
) -> None:
    """M-06: cancelled at every kind of await, each call with an order number of its own."""
    rng = random.Random(20240229)
    calls = 100_000 if FULL else 120
    ended = {"answered": 0, "cancelled": 0}

    async def one(engine: Engine, url: str, number: int) -> None:
        order = b"out_trade_no=%d" % number
        task = asyncio.create_task(call(engine, url, order))
        if rng.random() < 0.6:
            await turns(rng.randrange(40))
            task.cancel()
        try:
            assert await task == order
        except asyncio.CancelledError:
            ended["cancelled"] += 1
        else:
            ended["answered"] += 1

    async with TcpServer(echoing(rng)) as server, running(kind) as engine:
        numbers = iter(range(calls))

        async def worker() -> None:
            for number in numbers:
                await one(engine, server.url(), number)

        with old_anyio_may_drop_sockets(kind):
            await asyncio.gather(*(worker() for _ in range(20)))
        assert ended["answered"] + ended["cancelled"] == calls
        assert min(ended.values()) > calls / 20
        for number in range(5):
            assert await call(engine, server.url(), b"last%d" % number) == b"last%d" % number
        # All five places are there again, too.
        order = [b"at once %d" % n for n in range(5)]
        assert await asyncio.gather(*(call(engine, server.url(), o) for o in order)) == order
    assert len(server.requests) <= calls + 10


async def test_r32_a_cancelled_call_closes_its_connection(kind: str) -> None:
    """M-06: the late reply to a cancelled call has nowhere left to go."""
    late = asyncio.Event()

    async def answer_late(link: Link) -> None:
        first = await link.request()
        if b"first" in first:
            await late.wait()
        await link.send(reply(first.partition(b"\r\n\r\n")[2]))
        await link.hung_up()

    async with TcpServer(answer_late) as server, running(kind, places=1) as engine:
        task = asyncio.create_task(call(engine, server.url(), b"first"))
        while not server.requests:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        late.set()
        assert await call(engine, server.url(), b"second") == b"second"
    assert server.connections == 2


# ------------------------------------------------------------------ fairness


async def test_r35_callers_beyond_the_pool_are_served_in_order(kind: str) -> None:
    """One place, newcomers at every turn; whoever asked first is served first."""
    served: list[int] = []

    async def one(engine: Engine, url: str, number: int) -> None:
        await call(engine, url, b"%d" % number)
        served.append(number)
        if number < 20:  # a newcomer at the very moment the place becomes free
            more.append(asyncio.create_task(one(engine, url, 100 + number)))

    more: list[asyncio.Task[None]] = []
    async with TcpServer(polite) as server, running(kind, places=1) as engine:
        await asyncio.gather(*(one(engine, server.url(), n) for n in range(50)))
        await asyncio.gather(*more)
    assert served == [*range(50), *range(100, 120)]


async def test_r32_the_gate_loses_no_place_when_a_waiter_is_cancelled_as_its_turn_comes() -> None:
    """A place handed over in the same moment goes to the next in the queue."""
    gate = FairQueue(1, SystemClock())
    await gate.enter(None)
    waiting = [asyncio.create_task(gate.enter(None)) for _ in range(3)]
    await turns(2)
    gate.leave()
    waiting[0].cancel()
    await turns(3)
    assert [task.done() for task in waiting] == [True, True, False]
    gate.leave()
    await waiting[2]
    gate.leave()
    assert gate.try_enter()
    assert not gate.try_enter()


async def test_r32_cancelled_waiters_do_not_pile_up_while_every_connection_hangs() -> None:
    """The queue forgets those who left."""
    gate = FairQueue(1, SystemClock())
    await gate.enter(None)
    for _ in range(50):
        waiting = [asyncio.create_task(gate.enter(None)) for _ in range(100)]
        await turns(1)
        for task in waiting:
            task.cancel()
        await turns(3)
    assert len(gate._waiting) < 200
    gate.leave()
    assert gate.try_enter()


async def test_m01_waiting_for_a_place_is_bounded_by_the_clock_handed_in() -> None:
    """M-26: the pool's time-out goes through ``Clock``."""

    class Hasty(SystemClock):
        def timeout(self, seconds: float | None) -> asyncio.Timeout:
            assert seconds == 3600
            return asyncio.timeout(0)

    gate = FairQueue(1, Hasty())
    assert gate.try_enter()
    with pytest.raises(RequestNotSentError, match="3600"):
        await gate.enter(3600)


# ------------------------------------------------------------------ leftovers

STRAY = reply(b"SUCCESS of another order")
LEFTOVERS: dict[str, list[bytes]] = {
    "a whole reply in the same segment": [OK + STRAY],
    "half a head in the same segment": [OK + STRAY[:20]],
    "a head without its body": [OK + STRAY[:-3]],
    "one byte too many": [OK + b"H"],
    "a line break too many": [OK + b"\r\n"],
    "behind a chunked reply": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + STRAY[:20]
    ],
    "a whole reply a moment later": [OK, STRAY],
    "half a reply a moment later": [OK, STRAY[:30]],
    "bytes behind a bodiless status": [OK[:-2] + b"ok" + STRAY],
}


@pytest.mark.parametrize("leftover", LEFTOVERS)
@pytest.mark.parametrize("pause", [0, 5])
async def test_m06_bytes_behind_a_reply_are_never_read_as_the_next_one(
    kind: str, leftover: str, pause: int
) -> None:
    """M-06: a desynchronised connection is closed, and the next call has a fresh one."""

    async def desynchronised(link: Link) -> None:
        await link.request()
        if link.number > 1:
            await link.send(reply(b"mine"))
            return
        for part in LEFTOVERS[leftover]:
            await link.send(part)
            await turns(pause)
        await link.request()  # whoever comes again gets the rest of the stray reply
        await link.send(STRAY[20:])

    async with TcpServer(desynchronised) as server, running(kind) as engine:
        assert await call(engine, server.url()) == b"ok"
        await turns(pause)
        try:
            assert await call(engine, server.url()) == b"mine"
        except TransportError as error:  # sent before the bytes came in: unknown, never wrong
            assert type(error) is TransportError
            assert len(LEFTOVERS[leftover]) > 1  # what came with the reply was seen with it


async def test_m06_bytes_that_wait_unread_in_the_kernel_count_too() -> None:
    """M-06: sent after the reply and not yet seen by the loop when the next request begins."""
    async with TcpServer(polite) as server, running("aiohttp") as engine:
        assert await call(engine, server.url()) == b"ok"
        # Straight into the client's socket buffer, without a turn of the loop in between.
        server.links[0].writer.get_extra_info("socket")._sock.send(STRAY)
        assert await call(engine, server.url()) == b"ok"
    assert server.connections == 2


async def test_m06_a_server_that_speaks_first_is_not_asked_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """M-06: an answer that is there before the request cannot be its answer."""
    open_ = ConnectionOpener.open

    async def open_slowly(opener: ConnectionOpener, *args: Any) -> WireConnection:
        line = await open_(opener, *args)
        while not server.links:
            await asyncio.sleep(0)
        await turns(5)
        return line

    monkeypatch.setattr(ConnectionOpener, "open", open_slowly)

    async def eager(link: Link) -> None:
        await link.send(STRAY)
        await link.hung_up()

    async with TcpServer(eager) as server, running("aiohttp") as engine:
        with pytest.raises(RequestNotSentError):
            await call(engine, server.url())
        await turns(5)
    assert server.received == b""


async def test_m06_a_reply_until_the_end_of_the_connection_is_read_and_not_reused() -> None:
    """M-06: without a length the end of the connection is the end of the reply."""

    async def until_eof(link: Link) -> None:
        await link.request()
        await link.send(b"HTTP/1.1 200 OK\r\n\r\nall ")
        await turns(3)
        await link.send(b"of it")

    async with TcpServer(until_eof) as server, running("aiohttp") as engine:
        assert await call(engine, server.url()) == b"all of it"
        assert await call(engine, server.url()) == b"all of it"
    assert server.connections == 2


# ------------------------------------------------------------------ limits


def many(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def endless_length(link: Link) -> None:
    await link.request()
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    while True:
        await link.send(b"x" * 10_000)


async def endless_chunks(link: Link) -> None:
    await link.request()
    await link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await link.send(many(b"x" * 10_000))


async def gzip_bomb(link: Link) -> None:
    await link.request()
    packed = packed_zeros(31, zlib.Z_FINISH)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    await link.send(head.encode() + packed)
    await link.hung_up()


async def deflate_bomb(link: Link) -> None:
    await link.request()
    await link.send(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    await link.send(many(packed_zeros(15, zlib.Z_SYNC_FLUSH)))
    await link.hung_up()


@pytest.mark.parametrize("script", [endless_length, endless_chunks, gzip_bomb, deflate_bomb])
async def test_a_reply_over_the_limit_is_cut_off_while_it_is_read(kind: str, script: Any) -> None:
    """M-10: also what is small on the wire and unpacks to a lot; the connection is closed."""
    async with TcpServer(script) as server, running(kind, places=1) as engine:
        for _ in range(2):
            with pytest.raises(MalformedMessageError, match="60000"):
                await call(engine, server.url(), max_bytes=60_000)
    assert server.connections == 2


async def test_a_reply_at_the_limit_is_whole(kind: str) -> None:
    """M-10: the limit itself is allowed, plain and packed."""
    text = os.urandom(500) * 120

    async def exact(link: Link) -> None:
        await link.request()
        await link.send(reply(text, "Connection: close"))

    async def packed(link: Link) -> None:
        await link.request()
        await link.send(reply(gzip.compress(text), "Content-Encoding: gzip", "Connection: close"))

    for script in (exact, packed):
        async with TcpServer(script) as server, running(kind) as engine:
            assert await call(engine, server.url(), max_bytes=len(text)) == text
            with pytest.raises(MalformedMessageError):
                await call(engine, server.url(), max_bytes=len(text) - 1)
    assert b"gzip" not in server.received  # it came unasked


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_an_unreadable_encoding_is_one_of_our_errors(kind: str, coding: str) -> None:
    """M-10: garbage under any content encoding, from our engines or a user's transport."""

    async def broken(link: Link) -> None:
        await link.request()
        await link.send(reply(b"not packed at all", f"Content-Encoding: {coding}"))

    async with TcpServer(broken) as server, running(kind) as engine:
        try:
            assert await call(engine, server.url()) == b"not packed at all"
        except ChaoyingError as error:
            assert type(error) in {TransportError, MalformedMessageError}

    def mock(request: httpx.Request) -> httpx.Response:
        stream = httpx.ByteStream(b"not packed at all")
        return httpx.Response(200, headers={"Content-Encoding": coding}, stream=stream)

    with pytest.raises((TransportError, MalformedMessageError)):
        await call(TransportEngine(httpx.MockTransport(mock)), "https://example.test/")


# ------------------------------------------------------------------ descriptors


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts through /proc")
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.timeout(1800 if FULL else 60)
async def test_r33_opening_and_closing_leaks_no_descriptor(kind: str, secure: bool) -> None:
    """Engines opened, used, and closed in the middle of calls; the count stays flat."""
    gc.freeze()  # what there is already need not be looked at
    rng = random.Random(7)

    async def cycle(server: TcpServer) -> None:
        async with running(kind, verify=tls().client) as engine:
            calls = [asyncio.create_task(call(engine, server.url())) for _ in range(3)]
            await asyncio.gather(*calls)
            cut = asyncio.create_task(call(engine, server.url()))
            await turns(rng.randrange(6))
            cut.cancel()
            await asyncio.gather(cut, return_exceptions=True)

    async with TcpServer(polite, tls().server if secure else None) as server:
        for _ in range(3):
            await cycle(server)
        await turns(20)
        gc.collect()
        before = descriptors()
        for _ in range(1_000 if FULL else 6):
            await cycle(server)
        for link in server.links:
            link.writer.transport.abort()
        await turns(20)
        gc.collect()
        assert descriptors() <= before + 1


async def test_r33_engines_with_the_same_settings_share_one_tls_context() -> None:
    """Loading the root certificates again for every session would cost 20 ms and memory."""
    made = [kind(limits=httpx.Limits(), verify=True, clock=SystemClock()) for kind in OWN.values()]
    assert made[0]._context is made[1]._context
    other = AiohttpTransport(limits=httpx.Limits(), verify=False, clock=SystemClock())
    assert other._context is not made[0]._context
    assert other._context.verify_mode == ssl.CERT_NONE


async def test_idle_connections_are_closed_when_they_expire_or_are_too_many() -> None:
    """``keepalive_expiry`` and ``max_keepalive_connections`` mean what httpx says they mean."""
    limits = httpx.Limits(max_connections=10, max_keepalive_connections=2, keepalive_expiry=60)
    async with TcpServer(polite) as server, running("aiohttp", limits=limits) as engine:
        await asyncio.gather(*(call(engine, server.url()) for _ in range(6)))
        assert server.connections == 6
        assert engine._idle == 2  # type: ignore[attr-defined]
        await asyncio.gather(*(call(engine, server.url()) for _ in range(2)))
        assert server.connections == 6
    limits = httpx.Limits(max_connections=10, keepalive_expiry=0.01)
    async with TcpServer(polite) as server, running("aiohttp", limits=limits) as engine:
        await call(engine, server.url())
        while engine._idle:  # type: ignore[attr-defined]
            await asyncio.sleep(0.005)
        await call(engine, server.url())
    assert server.connections == 2
