"""What strangers can do to the log of ``chaoying listen``, and what of them it tells."""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import httpx
import pytest

from chaoying_async.cli.listen import line_writer, listen_app
from chaoying_async.cli.listen.event_log import EventLog
from chaoying_async.cli.listen.forwarder import Forwarder
from chaoying_async.cli.listen.line_writer import LineWriter
from chaoying_async.sandbox.serving.server import listening
from chaoying_async.testing import FakeClock
from tests.cli.listening import Listening, body, raw, until


def spellings(sent: bytes) -> Iterator[bytes]:
    """The same notification as whoever captured it may send it without the key."""
    pairs = parse_qsl(sent.decode())
    yield sent
    yield b"&".join(reversed(sent.split(b"&")))
    yield "&".join(
        f"{name}={''.join(map('%{:02x}'.format, text.encode()))}" for name, text in pairs
    ).encode()
    yield b"&&" + sent
    for number in range(50):
        yield sent + f"&empty{number}={quote('')}".encode()


class TestLog:
    """What is kept, and what is said."""

    async def test_a_captured_notification_is_kept_once(self, tmp_path: Path) -> None:
        """Whatever its spelling, and over restarts: answered ``success``, and not written again."""
        sent = body(attach="x" * 15_000)
        heard = []
        for _ in range(2):
            with EventLog(tmp_path / "log") as log:
                here = Listening(log=log)
                for each in spellings(sent):
                    assert (await here.answer(each)).content == b"success"
                await here.answer(body("A100012"))
                heard += [each.again for each in here.heard]
        assert len((tmp_path / "log").read_bytes().splitlines()) == 2
        assert heard.count(False) == 2

    async def test_a_repetition_reaches_the_program_all_the_same(self, tmp_path: Path) -> None:
        """It has to withstand the gateway's own; but only so many are on their way at a time."""
        got, go, clock = list[bytes](), asyncio.Event(), FakeClock()

        async def answer(request: httpx.Request) -> httpx.Response:
            got.append(await request.aread())
            await go.wait()
            return httpx.Response(200, content=b"success")

        forward = Forwarder("http://shop.test/", clock, httpx.MockTransport(answer))
        with EventLog(tmp_path / "log") as log:
            here = Listening(clock, log=log, forward=forward)
            for _ in range(100):
                assert (await here.answer(body())).content == b"success"
            await until(lambda: len(got) == listen_app.THE_SAME + 1)
            assert (await here.answer(body("A100012"))).content == b"success"
            await until(lambda: len(got) == listen_app.THE_SAME + 2)  # it does not wait for those
            go.set()
            await until(lambda: not here.app._tasks)
            assert len(got) == listen_app.THE_SAME + 2
            assert [each.again for each in here.attempts].count(True) == listen_app.THE_SAME
            await here.answer(body())
            await until(lambda: len(got) == listen_app.THE_SAME + 3)
            await here.app.aclose()
            assert not here.app._under_way
        await forward.aclose()

    async def test_one_that_is_repeated_takes_no_room_from_others(self) -> None:
        """The program hangs, a captured one comes a hundred times: the next one is passed on."""
        clock, running = FakeClock(), 0

        async def answer(request: httpx.Request) -> httpx.Response:
            nonlocal running
            if b"A100012" in await request.aread():
                return httpx.Response(200, content=b"success")
            running += 1
            await asyncio.Event().wait()
            raise AssertionError

        forward = Forwarder("http://shop.test/", clock, httpx.MockTransport(answer))
        here = Listening(clock, forward=forward)
        waiting = [asyncio.create_task(here.answer(body())) for _ in range(100)]
        await until(lambda: sum(each.done() for each in waiting) == 100 - listen_app.THE_SAME)
        assert (await here.answer(body("A100012"))).content == b"success"
        assert running == listen_app.THE_SAME
        await clock.advance(3)
        assert {(await each).content for each in waiting} == {b"fail"}
        assert not here.app._under_way
        await forward.aclose()

    async def test_a_program_that_hangs_is_not_overrun(self) -> None:
        """So many attempts at a time; beyond, the gateway is answered ``fail`` at once."""
        clock, running = FakeClock(), 0

        async def answer(_request: httpx.Request) -> httpx.Response:
            nonlocal running
            running += 1
            await asyncio.Event().wait()
            raise AssertionError

        forward = Forwarder("http://shop.test/", clock, httpx.MockTransport(answer))
        here = Listening(clock, forward=forward)
        waiting = [
            asyncio.create_task(here.answer(body(f"B{number}")))
            for number in range(listen_app.AT_ONCE)
        ]
        await until(lambda: running == listen_app.AT_ONCE)
        assert (await here.answer(body())).content == b"fail"
        await clock.advance(3)
        assert {(await each).content for each in waiting} == {b"fail"}
        await forward.aclose()

    async def test_a_full_log_takes_nothing_in(self, tmp_path: Path) -> None:
        """``fail``, so that the gateway comes again; what is open can still be closed (M-14)."""
        with EventLog(tmp_path / "log", largest=1500) as log:
            here = Listening(log=log)
            answers = [(await here.answer(body(f"C{n}"))).content for n in range(20)]
            size = (tmp_path / "log").stat().st_size
            log.forwarded(next(iter(log.open.values())), "now", 200)
        kept = answers.count(b"success")
        assert answers == [b"success"] * kept + [b"fail"] * (20 - kept)
        assert 0 < kept < 10
        assert size <= 1500
        assert "not kept" in here.heard[-1].why

    async def test_a_full_disk_leaves_no_half_line(self, tmp_path: Path) -> None:
        """``fail``, and the log can be read and written to again."""
        path, limits = tmp_path / "log", resource.getrlimit(resource.RLIMIT_FSIZE)
        with EventLog(path) as log:
            here = Listening(log=log)
            await here.answer(body("D1"))
            try:
                size = path.stat().st_size
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
                assert (await here.answer(body("D2"))).content == b"fail"
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert path.stat().st_size == size
            assert (await here.answer(body("D2"))).content == b"success"
        with EventLog(path) as log:
            assert [each.out_trade_no for each in log.open.values()] == ["D1", "D2"]

    async def test_uvicorn_warns_once_a_minute(self, capfd: pytest.CaptureFixture[str]) -> None:
        """Bytes that are no HTTP do not fill a log."""
        async with listening(Listening().app) as url:
            for _ in range(20):
                assert await raw(url, b"\x16\x03\x01\r\n", b"")
        assert capfd.readouterr().err.count("Invalid HTTP request") == 1


class TestTeller:
    """Lines for a person, or a program, that may be slow to read them."""

    def test_strangers_get_so_many_lines_a_minute(self) -> None:
        """The rest is counted, and the number said; what is verified and new is always said."""
        said: list[Any] = []
        with LineWriter(said.append, lambda: None) as teller:
            for number in range(100):
                teller.say(lambda: said.append("refused"), bounded=True)
                teller.say(lambda n=number: said.append(f"paid {n}"), bounded=False)  # type: ignore[misc]
            teller.a_minute_passed()
            teller.say(lambda: said.append("refused"), bounded=True)
        assert said.count("refused") == line_writer.A_MINUTE + 1
        assert 100 - line_writer.A_MINUTE in said
        assert [each for each in said if str(each).startswith("paid")] == [
            f"paid {n}" for n in range(100)
        ]

    def test_a_reader_who_stands_still_holds_nobody_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its lines are counted instead, and the end does not wait for it."""
        monkeypatch.setattr(line_writer, "_SECONDS_TO_END", 0.01)
        still = threading.Event()

        def wait() -> None:
            still.wait()

        with LineWriter(lambda _: None, lambda: None) as teller:
            for _ in range(2 * line_writer.WAITING):
                teller.say(wait, bounded=False)
            assert teller._left_out >= line_writer.WAITING - 1
        still.set()

    def test_where_nobody_reads_any_more_it_ends(self) -> None:
        """``chaoying listen | head -1``."""
        gone = threading.Event()

        def broken() -> None:
            raise BrokenPipeError

        with LineWriter(lambda _: None, gone.set) as teller:
            teller.say(broken, bounded=False)
            gone.wait()
        assert not teller._left_out
