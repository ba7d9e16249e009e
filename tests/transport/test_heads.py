"""M-10: how much the head of a reply may hold, alike on both engines, and what is beyond that."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import pytest

from chaoying_async import OutcomeUnknownError, TransportError
from chaoying_async.sansio.hosts import Hosts
from chaoying_async.session import GatewaySession
from chaoying_async.transport.base import MAX_FIELDS, MAX_HEAD
from tests.engines import UNKNOWN, call, failure, running
from tests.factories import CREDENTIALS, MCH_ID, answer_fields, body_of, every_request
from tests.tcp_server import Link, Script, TcpServer, reply

REQUESTS = every_request()


@pytest.fixture(params=["aiohttp", "httpx"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def answering(fields: Sequence[str], body: bytes = b"ok", *, times: int = 1) -> Script:
    async def answer(link: Link) -> None:
        for _ in range(times):
            await link.request()
            await link.send(reply(body, *fields))
        await link.hung_up()

    return answer


def filled(fields: int, size: int) -> list[str]:
    """So many fields that make a head of so many bytes, status line and length included."""
    rest = size - len(reply(b"ok")) + 2
    each, more = divmod(rest, fields)
    lengths = [each + (number < more) for number in range(fields)]
    return [f"X{number}: ".ljust(length - 2, "x") for number, length in enumerate(lengths)]


ALLOWED = {
    "9,000 bytes": ["X: " + "x" * 9_000],
    "60,000 bytes": ["X: " + "x" * 60_000],
    "a long name": ["X" * 9_000 + ": x"],
    "many fields": ["X: x"] * (MAX_FIELDS - 1),
    "many of 8 kB": ["X: " + "x" * 8_100] * 7,
    "many cookies": [f"Set-Cookie: a{number}={'x' * 400}" for number in range(100)],
}
REFUSED = {
    "one field": ["X: " + "x" * MAX_HEAD],
    "one name": ["X" * MAX_HEAD + ": x"],
    "many fields": ["X: x"] * MAX_FIELDS,
    "many bytes": ["X: " + "x" * 8_000] * 9,
}


@pytest.mark.parametrize("fields", ALLOWED.values(), ids=ALLOWED)
async def test_a_large_head_is_read_and_its_connection_stays_good(
    kind: str, fields: list[str]
) -> None:
    """M-10: a front may add a policy, cookies, a trace; the reply is there all the same."""
    async with TcpServer(answering(fields, times=2)) as server, running(kind) as engine:
        for _ in range(2):
            assert await call(engine, server.url("/pay")) == (200, b"ok")
    assert server.connections == (1 if kind == "aiohttp" else 2)


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED)
async def test_a_head_over_the_limits_is_no_usable_answer(kind: str, fields: list[str]) -> None:
    """M-10: bounded in bytes and in fields; the connection is not used again."""
    async with TcpServer(answering(fields, times=2)) as server, running(kind) as engine:
        for _ in range(2):
            assert type(await failure(engine, server.url("/pay"))) is UNKNOWN
    assert server.connections == 2


@pytest.mark.parametrize("fields", [1, 10, 500])
async def test_the_limit_itself_is_allowed(fields: int) -> None:
    """M-10: 65,536 bytes with the status line, one more is too many."""
    for size, fits in ((MAX_HEAD, True), (MAX_HEAD + 1, False)):
        script = answering(filled(fields, size))
        async with TcpServer(script) as server, running("aiohttp") as engine:
            if fits:
                assert await call(engine, server.url()) == (200, b"ok")
            else:
                assert type(await failure(engine, server.url())) is UNKNOWN


async def endless_line(link: Link) -> None:
    await link.request()
    await link.send(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        await link.send(b"x" * 10_000)


async def endless_fields(link: Link) -> None:
    await link.request()
    await link.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await link.send((b"X: " + b"x" * 5_000 + b"\r\n") * 10)


async def endless_fields_behind_an_interim_answer(link: Link) -> None:
    await link.request()
    await link.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n")
    while True:
        await link.send((b"X: " + b"x" * 5_000 + b"\r\n") * 10)


async def endless_interim_answers(link: Link) -> None:
    await link.request()
    while True:
        await link.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 100)


@pytest.mark.parametrize(
    "script",
    [endless_line, endless_fields, endless_fields_behind_an_interim_answer],
)
async def test_a_head_without_an_end_is_given_up(kind: str, script: Script) -> None:
    """M-10: no head fills the memory, whichever way it grows."""
    async with TcpServer(script) as server, running(kind) as engine:
        tracemalloc.start()
        try:
            assert type(await failure(engine, server.url("/pay"))) is UNKNOWN
            assert tracemalloc.get_traced_memory()[1] < 8_000_000
        finally:
            tracemalloc.stop()


async def test_interim_answers_without_an_end_are_given_up() -> None:
    """M-10: they are part of the head."""
    async with TcpServer(endless_interim_answers) as server, running("aiohttp") as engine:
        assert type(await failure(engine, server.url("/pay"))) is UNKNOWN


@pytest.mark.parametrize("name", ["pay", "refund"])
async def test_a_paid_reply_with_a_large_header_is_paid(name: str) -> None:
    """M-10: for money a reply is lost beyond the limit only."""
    fields = answer_fields(name)
    large, over = ["X: " + "x" * 9_000], ["X: " + "x" * 70_000]
    for head, fits in ((large, True), (over, False)):
        async with TcpServer(answering(head, body_of(fields))) as server:
            hosts = Hosts.single(server.url("").rstrip("/"))
            till = GatewaySession(CREDENTIALS, mch_id=MCH_ID, op_user_id="op1", hosts=hosts)
            async with till:
                if fits:
                    assert (await till.send(REQUESTS[name])).result is not None
                else:
                    with pytest.raises(OutcomeUnknownError) as caught:
                        await till.send(REQUESTS[name])
                    assert type(caught.value.__cause__) is TransportError
