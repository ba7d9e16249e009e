"""Hostile and unlucky clients on a real socket, before every framework and its own server."""

from __future__ import annotations

import contextlib
import gc
import http.client
import itertools
import socket
import time
import warnings
from collections.abc import Iterator

import pytest

from tests.table import table
from tests.web.app_servers import SHOPS, SOME_SHOPS, ServedApp, answer_on, notification
from tests.web.test_contract import is_fail, is_success

pytestmark = pytest.mark.outside

_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=SOME_SHOPS)
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedApp]:
    if request.param in {"litestar", "quart"}:
        pytest.importorskip(request.param)
    gc.freeze()  # what there is already need not be looked at below
    with SHOPS[request.param](tmp_path_factory.mktemp("shop")) as opened:
        yield opened
    with warnings.catch_warnings():  # aiohttp leaves transports that still linger over a body
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def new_order() -> str:
    return f"H{next(_numbers):06}"


def all_said(shop: ServedApp, sent: bytes, seconds: float = 1.5) -> bytes:
    """What comes back until the server hangs up, or says no more."""
    said = b""
    with shop.connect(seconds) as sock, contextlib.suppress(ConnectionError, TimeoutError):
        with contextlib.suppress(ConnectionError):
            sock.sendall(sent)
        while part := sock.recv(65536):
            said += part
    return said


#: Heads over the body of a good notification; {n} is its length.
LIES = {
    "too small": ["Content-Length: 5"],
    "negative": ["Content-Length: -1"],
    "signed": ["Content-Length: +{n}"],
    "twice": ["Content-Length: {n}", "Content-Length: 5"],
    "a list": ["Content-Length: 5, {n}"],
    "no number": ["Content-Length: many"],
    "4301 digits": ["Content-Length: " + "9" * 4301],
    "1 GiB": ["Content-Length: 1073741824"],
    "both": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "both, the other way": ["Transfer-Encoding: chunked", "Content-Length: {n}"],
    "another coding": ["Transfer-Encoding: identity", "Content-Length: 5"],
    "an odd coding": ["Transfer-Encoding: xchunked"],
}


@table("lie", LIES)
def test_a_length_that_lies_pays_nothing(
    shop: ServedApp, lie: str, caplog: pytest.LogCaptureFixture
) -> None:
    """However the length is lied about: `success` means paid, and nobody has an error of ours."""
    order = new_order()
    body = notification(order, openid="of-a-person")
    lines = [line.format(n=len(body)) for line in LIES[lie]]
    said = all_said(shop, shop.head("", *lines, "Connection: close") + body)
    assert (b"success" in said) == (order in shop.paid())  # some servers believe +77, or the last
    # Two framings at once may look like a body that somebody else has read.
    assert "both" in lie or b" 500 " not in said.split(b"\r\n")[0], said
    if shop.name != "aiohttp":  # its parser logs what it takes for a bad line of a next request
        assert "of-a-person" not in caplog.text
    assert is_success(shop.post(notification(order)))


@table("size", [b"ffffffff", b"fffffffffffffffffffff", b"-5", b"0x10", b"zz"])
def test_a_chunk_without_end_is_cut_off(shop: ServedApp, size: bytes) -> None:
    """M-14: a chunk that announces gigabytes, or nothing readable, is refused when it is known."""
    if not shop.chunks:
        pytest.skip("its server hands on no chunks at all")
    head = shop.head("", "Transfer-Encoding: chunked", "Connection: close")
    with shop.connect() as sock, contextlib.suppress(ConnectionError):
        with contextlib.suppress(ConnectionError):
            sock.sendall(head + size + b"\r\n" + b"a=" + b"b" * 200_000)
        if not shop.streams:  # its server wants all of it, or the end
            with contextlib.suppress(OSError):  # it has hung up already
                sock.shutdown(socket.SHUT_WR)
        said = sock.recv(65536)
        assert b"success" not in said
        assert not said or b" 500 " not in said.split(b"\r\n")[0], said
    assert is_success(shop.post(notification(new_order())))


def test_a_byte_at_a_time_is_given_up(shop: ServedApp) -> None:
    """A body that drips has its two seconds as a whole, not two for each byte."""
    if not shop.streams:
        pytest.skip("its server reads the body")
    body = notification(new_order())
    with shop.connect() as slow:
        slow.sendall(shop.head("", f"Content-Length: {len(body)}"))
        slow.settimeout(0.1)
        said = b""
        for at in range(60):  # of a clock that is four times as hasty
            with contextlib.suppress(ConnectionError):
                slow.sendall(body[at : at + 1])
            with contextlib.suppress(TimeoutError):
                said = slow.recv(65536)
                break
        assert said.startswith(b"HTTP/1.1 400")


def test_the_sender_may_wait_to_be_asked(shop: ServedApp) -> None:
    """Expect: 100-continue is asked to continue, and what it sends then is verified."""
    body = notification(new_order())
    with shop.connect() as sock:
        sock.sendall(shop.head("", f"Content-Length: {len(body)}", "Expect: 100-continue"))
        sock.settimeout(0.2)
        asked = b""
        with contextlib.suppress(TimeoutError):
            asked = sock.recv(25, socket.MSG_PEEK)
        if asked:
            assert sock.recv(len(b"HTTP/1.1 100 Continue\r\n\r\n")).startswith(b"HTTP/1.1 100")
        sock.settimeout(10)
        sock.sendall(body)
        assert is_success(answer_on(sock))


def test_who_expects_the_impossible_is_paid_or_refused(shop: ServedApp) -> None:
    """An Expect that nobody knows is the server's affair; the answer is never half a success."""
    order = new_order()
    answer = shop.post(notification(order), "Expect: a-miracle")
    assert is_success(answer) == (order in shop.paid())
    assert is_success(answer) or answer.status in {400, 417}


@table("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_every_other_method_is_refused(shop: ServedApp, method: str) -> None:
    """405 and `fail`, with Allow: POST; OPTIONS, which frameworks like to answer, too."""
    order = new_order()
    answer = shop.post(notification(order), method=method)
    assert answer.status == 405
    assert answer.body == (b"" if method == "HEAD" else b"fail")
    assert answer.headers["allow"] == "POST"
    assert order not in shop.paid()


def test_a_request_inside_a_body_is_no_request(shop: ServedApp) -> None:
    """What is refused without being read is not read as the next request either."""
    smuggled = new_order()
    inner = notification(smuggled)
    inside = shop.head("", f"Content-Length: {len(inner)}", "Connection: close") + inner
    for method, front in (("PUT", ""), ("GET", "")):
        head = shop.head(front, f"Content-Length: {len(inside)}", method=method)
        with shop.connect() as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(head + inside)
            sock.settimeout(0.3)
            said = b""
            with contextlib.suppress(TimeoutError, ConnectionError):
                while part := sock.recv(65536):
                    said += part
        assert said.count(b"HTTP/1.") == 1, said
        assert b"success" not in said
    assert smuggled not in shop.paid()


def test_requests_in_a_row_are_answered_in_a_row(shop: ServedApp) -> None:
    """Pipelined notifications are each answered, or the connection ends after the first."""
    orders = [new_order() for _ in range(3)]
    sent = b""
    for order in orders:
        body = notification(order)
        sent += shop.head("", f"Content-Length: {len(body)}") + body
    with shop.connect() as sock:
        sock.sendall(sent)
        first = answer_on(sock)
        assert is_success(first)
    deadline = time.monotonic() + 5
    while orders[0] not in shop.paid() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert all(shop.paid().count(order) <= 1 for order in orders)
    assert all(is_success(shop.post(notification(order))) for order in orders)
    assert all(shop.paid().count(order) == 1 for order in orders)


def test_the_answer_is_bare(shop: ServedApp) -> None:
    """No encoding, no cookie, no charset, whatever the client says that it accepts."""
    accepts = ("Accept-Encoding: gzip, br, deflate", "Accept: text/html", "Accept-Charset: gbk")
    answer = shop.post(notification(new_order()), *accepts)
    assert is_success(answer)
    assert answer.headers["content-length"] == "7"
    surprises = {"content-encoding", "transfer-encoding", "set-cookie", "location"}
    assert not surprises & set(answer.headers)


def test_half_heads_leave_the_shop_open(shop: ServedApp) -> None:
    """Connections that say nothing, or half a line, take nobody's turn for ever."""
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            idle = stack.enter_context(shop.connect())
            idle.sendall(b"POST /notify HTT")
        assert is_success(shop.post(notification(new_order())))


def test_what_nobody_reads_is_no_error_of_ours(shop: ServedApp) -> None:
    """A client that closes before it reads its answer leaves no trace in the next one."""
    for _ in range(5):
        order = new_order()
        body = notification(order)
        with shop.connect() as rude:
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset
            rude.sendall(shop.head("", f"Content-Length: {len(body)}") + body)
        answer = shop.post(body)
        assert is_success(answer) or is_fail(answer, 200)
        deadline = time.monotonic() + 5
        while not is_success(shop.post(body)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert shop.paid().count(order) == 1


def test_paths_and_queries_decide_nothing(shop: ServedApp) -> None:
    """A query string with another order's fields changes nothing about what is verified."""
    order = new_order()
    body = notification(order)
    head = shop.head("", f"Content-Length: {len(body)}")
    line, rest = head.split(b"\r\n", 1)
    line = line.replace(b" HTTP", b"?total_fee=1&out_trade_no=B1&openid=of-a-person HTTP")
    with shop.connect() as sock:
        sock.sendall(line + b"\r\n" + rest + body)
        assert is_success(answer_on(sock))
    assert shop.paid().count(order) == 1


def test_logs_hold_nobody(shop: ServedApp, caplog: pytest.LogCaptureFixture) -> None:
    """M-27: neither refusals nor errors of ours quote a body, at any level."""
    caplog.set_level("DEBUG")
    secret = "oUpF8uMuAJO" + "M2pxb1Q9zNjWeS6o"
    body = notification(new_order(), openid=secret, buyer_id=secret)
    shop.post(body)
    shop.post(body[:-3])
    shop.post(body.replace(b"total_fee=100", b"total_fee=200"))
    with contextlib.suppress(ConnectionError, http.client.HTTPException, TimeoutError):
        for front in shop.fronts:
            shop.post(body, front=f"/{front}")
    with shop.connect() as sock:
        sock.sendall(shop.head("", f"Content-Length: {len(body)}") + body[:-9])
    assert secret not in caplog.text
    assert all(secret not in repr(record.__dict__) for record in caplog.records)
