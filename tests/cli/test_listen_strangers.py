"""What strangers do to ``chaoying listen`` and to the sandbox's port costs next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from chaoying_async.cli.listen import bounded_doctor
from chaoying_async.cli.listen.bounded_doctor import BoundedDoctor
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.serving import connections
from chaoying_async.sandbox.serving.bodies import BODY_SECONDS
from chaoying_async.sandbox.serving.server import listening
from chaoying_async.sansio.notifications.reading import MAX_BODY
from chaoying_async.testing import FakeClock
from chaoying_async.transport.settings import DEFAULT_LIMITS
from tests.cli.listening import CREDENTIALS, Listening, body, ended, raw, until, wire

HEAD = b"POST /notify HTTP/1.1\r\nHost: x\r\n"
HALF = HEAD + b"Content-Length: 100\r\n\r\na=1"


def unsigned(size: int) -> bytes:
    return b"a=" + b"%26" * (size // 3) + b"&sign=" + b"A" * 32


class TestTime:
    """Nobody is waited for for long, and nobody holds a place that others need."""

    async def test_half_bodies_end(self) -> None:
        """Two seconds, as a shop's own route allows: 400 ``fail``, and the connection is closed."""
        here = Listening()
        async with listening(here.app) as url, wire(url, HALF) as one, wire(url, HALF) as two:
            await until(lambda: here.clock.waiting == 2)
            await here.clock.advance(BODY_SECONDS)
            for reader in (one, two):
                said = await ended(reader)
                assert said.startswith(b"HTTP/1.1 400 ")
                assert said.endswith(b"\r\n\r\nfail")
        assert [each.notification for each in here.heard] == [None, None]

    async def test_half_bodies_end_at_the_sandbox(self) -> None:
        """The same at its gateway, its control and its console, on a clock of real seconds."""
        clock = FakeClock()
        async with Sandbox() as sandbox, sandbox.serve(console=True) as url:
            sandbox.app._clock = sandbox.app.console._clock = clock  # type: ignore[union-attr]
            for path in (b"/UnifiedPay/Gateway", b"/_sandbox/notify", b"/console/faults/seed"):
                half = HALF.replace(b"/notify", path, 1).replace(b"Host: x", b"Host: 127.0.0.1")
                async with wire(url, half) as reader:
                    await until(lambda: clock.waiting == 1)
                    await clock.advance(BODY_SECONDS)
                    assert (await ended(reader)).startswith(b"HTTP/1.1 408 "), path

    async def test_who_leaves_in_the_middle_is_no_error(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Nobody is answered, nothing is carried out, and nothing is written about it."""
        here = Listening()
        async with (
            Sandbox() as sandbox,
            sandbox.serve(console=True) as url,
            listening(here.app) as at,
        ):
            for address, path in (
                (at, b"/notify"),
                (url, b"/UnifiedPay/Gateway"),
                (url, b"/_sandbox/faults"),
                (url, b"/console/faults/seed"),
            ):
                half = HALF.replace(b"/notify", path, 1).replace(b"Host: x", b"Host: 127.0.0.1")
                async with wire(address, half):
                    pass
            async with httpx.AsyncClient(trust_env=False) as client:  # all came before this one
                await client.get(f"{url}/_sandbox/books")
                await client.get(at)
            assert sandbox.requests == {}
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("sent", [b"", b"POST / HT", HEAD, HEAD + b"X: y\r\n"])
    async def test_half_headers_end(self, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        """And so does a connection on which nothing comes."""
        monkeypatch.setattr(connections, "HEADER_SECONDS", 0.05)
        async with listening(Listening().app) as url, wire(url, sent) as reader:
            assert await ended(reader) == b""

    async def test_a_session_gives_a_connection_up_before_it_is_closed_here(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """M-02: else a pay call may leave on a connection that is just being closed."""
        kept: list[float] = []

        class Heard(connections.Connection):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                kept.append(self.timeout_keep_alive)

        monkeypatch.setattr(connections, "Connection", Heard)
        async with listening(Listening().app) as url, httpx.AsyncClient(trust_env=False) as client:
            await client.get(url)
        unused = DEFAULT_LIMITS.keepalive_expiry
        assert unused is not None
        assert min(connections.HEADER_SECONDS, *kept) > unused

    async def test_a_body_that_nobody_reads_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The answer goes out before the body has come: the rest is not waited for."""
        monkeypatch.setattr(connections, "HEADER_SECONDS", 0.05)
        half = HALF.replace(b"/notify", b"/_sandbox/faults", 1)  # a name that is not loopback's
        async with Sandbox() as sandbox, sandbox.serve() as url, wire(url, half) as reader:
            assert b" 403 " in await ended(reader)

    async def test_an_answer_that_nobody_reads_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who asks for much and reads nothing does not keep it in memory for ever."""
        monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.05)
        left = asyncio.Event()

        async def app(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(400):
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            left.set()

        async with listening(app) as url, wire(url, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
            await left.wait()

    @pytest.mark.parametrize("sent", [b"", HALF], ids=["idle", "half a body"])
    async def test_connections_are_bounded(
        self, sent: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who waited longest makes room, and the next notification is answered."""
        monkeypatch.setattr(connections, "MOST", 5)
        here, closed = Listening(), 0
        async with listening(here.app) as url:
            readers = []
            for _ in range(20):
                reader, writer = await asyncio.open_connection(*_address(url))
                writer.write(sent)
                readers.append((reader, writer))
            async with httpx.AsyncClient(trust_env=False) as client:
                assert (await client.post(url, content=body())).content == b"success"
            for reader, writer in readers[:14]:
                assert await ended(reader) == b""
                closed += 1
                writer.close()
            for _, writer in readers[14:]:
                writer.close()
        assert closed == 14

    async def test_who_is_being_answered_is_not_put_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where all places are taken by requests that came whole, the newest has to go."""
        monkeypatch.setattr(connections, "MOST", 2)
        go, arrived = asyncio.Event(), 0

        async def app(_scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
            nonlocal arrived
            await receive()
            arrived += 1
            await go.wait()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        async with listening(app) as url, wire(url, whole) as one, wire(url, whole) as two:
            await until(lambda: arrived == 2)
            async with wire(url, whole) as three:
                assert await ended(three) == b""
            go.set()
            assert b" 204 " in await one.readline()
            assert b" 204 " in await two.readline()


def _address(url: str) -> tuple[str | None, int | None]:
    return urlsplit(url).hostname, urlsplit(url).port


class TestSize:
    """What is too large is not read, and every answer says how long it is."""

    async def test_large_headers_are_refused(self) -> None:
        """16 KiB are enough for everybody, however they arrive."""
        async with listening(Listening().app) as url:
            for size in (30_000, 60_000, 200_000):
                large = HEAD + b"X: " + b"y" * size + b"\r\n\r\n"
                async with wire(url, large) as reader:
                    assert b" 400 " in (await ended(reader) or b" 400 "), size  # or a reset

    async def test_an_announced_length_is_enough(self) -> None:
        """A body that is too large by its own word is refused before it is sent."""
        here = Listening()
        async with listening(here.app) as url:
            for length in (MAX_BODY + 1, 10**19 - 1):
                head = HEAD + b"Content-Length: %d\r\n\r\n" % length
                async with wire(url, head) as reader:
                    assert b" 413 " in await reader.readline()

    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            (body(), b"success"),
            (b"<xml/>", b"fail"),
            (b"x" * (MAX_BODY + 1), b"fail"),
            (unsigned(100), b"fail"),
        ],
        ids=["verified", "unreadable", "large", "forged"],
    )
    async def test_every_answer_of_the_listener_has_a_length(
        self, sent: bytes, answer: bytes
    ) -> None:
        """As everywhere else: a gateway compares bytes, and chunks are other bytes."""
        async with listening(Listening().app) as url:
            said = await raw(url, HEAD, sent)
        head, _, rest = said.partition(b"\r\n\r\n")
        assert rest == answer
        assert b"content-length: %d\r\n" % len(answer) in head.lower() + b"\r\n"
        assert b"transfer-encoding" not in head.lower()

    async def test_every_answer_of_the_sandbox_has_a_length(self) -> None:
        """Gateway, control and console, the good ones and the bad; only the events have none."""
        lines = [
            b"GET / HTTP/1.1",
            b"POST /UnifiedPay/Gateway HTTP/1.1",
            b"GET /_sandbox/books HTTP/1.1",
            b"POST /_sandbox/act HTTP/1.1",
            b"GET /_sandbox/nowhere HTTP/1.1",
            b"HEAD /console/ HTTP/1.1",
            b"GET /console HTTP/1.1",
            b"GET /console/ HTTP/1.1",
            b"GET /console/nowhere HTTP/1.1",
            b"GET /console/static/console.js HTTP/1.1",
            b"POST /console/orders/new HTTP/1.1",
            b"DELETE /console/ HTTP/1.1",
            b"nonsense",
        ]
        async with Sandbox() as sandbox, sandbox.serve(console=True) as url:
            for line in lines:
                said = await raw(url, line + b"\r\nHost: 127.0.0.1\r\n", b"")
                head = said.partition(b"\r\n\r\n")[0].lower()
                assert b"\r\ncontent-length: " in head, line
                assert b"transfer-encoding" not in head, line


class TestWork:
    """What the doctor may cost."""

    async def test_the_doctor_looks_at_small_ones(self) -> None:
        """A body of 63 kB holds nobody up; one of a notification's size is explained."""
        here = Listening()
        for size in (63_000, 1000):
            assert (await here.answer(unsigned(size))).content == b"fail"
        assert [each.mistakes for each in here.heard] == [(), ("unexplained",)]

    async def test_the_doctor_looks_at_so_many_a_minute(self) -> None:
        """The rest is refused as fast as it comes; a minute later there is time again."""
        clock = FakeClock()
        examiner = BoundedDoctor(CREDENTIALS, clock)
        found = [await examiner.mistakes(b"a=%d&sign=0" % number) for number in range(40)]
        assert sum(map(bool, found)) == bounded_doctor.A_MINUTE
        assert await examiner.mistakes(b"a=39&sign=0") == ()
        await clock.advance(60)
        assert await examiner.mistakes(b"a=39&sign=0")

    async def test_the_same_again_costs_nothing(self) -> None:
        """It is answered from memory, which is bounded."""
        examiner = BoundedDoctor(CREDENTIALS, clock := FakeClock())
        for _ in range(1000):
            assert await examiner.mistakes(b"a=1&sign=0")
        for number in range(105):
            await clock.advance(2)
            await examiner.mistakes(b"a=%d&sign=0" % number)
        assert len(examiner._known) == 100

    async def test_the_gateway_is_answered_before_the_doctor_is_asked(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However long that takes."""
        here, order = Listening(), list[str]()

        async def slow(_self: BoundedDoctor, _body: bytes) -> tuple[str, ...]:
            order.append("examined")
            return ()

        async def send(message: Any) -> None:
            order.append(message["type"])

        async def receive() -> Any:
            return {"type": "http.request", "body": unsigned(100)}

        monkeypatch.setattr(BoundedDoctor, "mistakes", slow)
        await here.app({"type": "http", "headers": []}, receive, send)
        assert order == ["http.response.start", "http.response.body", "examined"]
