"""One contract, every adapter: each framework's shop on a real socket, behind its own server."""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.client
import itertools
import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.web.app_servers import SHOPS, Answer, ServedApp, answer_on, notification

pytestmark = pytest.mark.outside

_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=SHOPS)
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedApp]:
    if request.param in {"litestar", "quart"}:
        pytest.importorskip(request.param)
    with SHOPS[request.param](tmp_path_factory.mktemp("shop")) as opened:
        yield opened


def new_order() -> str:
    return f"A{next(_numbers):06}"


def is_success(answer: Answer) -> bool:
    return (answer.status, answer.body, answer.content_type) == (200, b"success", "text/plain")


def is_fail(answer: Answer, status: int) -> bool:
    return (answer.status, answer.body, answer.content_type) == (status, b"fail", "text/plain")


def eventually(paid: str, shop: ServedApp, seconds: float = 5) -> bool:
    """What goes on after its answer needs a moment."""
    end = time.monotonic() + seconds
    while paid not in shop.paid() and time.monotonic() < end:
        time.sleep(0.02)
    return shop.paid().count(paid) == 1


def test_a_notification_and_its_repeats_are_answered_success_and_paid_once(shop: ServedApp) -> None:
    """Exactly seven bytes, 200 and text/plain, for the first delivery and for every other."""
    order = new_order()
    body = notification(order)
    assert all(is_success(shop.post(body)) for _ in range(3))
    assert shop.paid().count(order) == 1


def test_what_is_not_proven_is_answered_fail(shop: ServedApp) -> None:
    """M-14: a forged notification is `fail` with status 200, and changes nothing."""
    order = new_order()
    forged = notification(order).replace(b"total_fee=100", b"total_fee=200")
    assert is_fail(shop.post(forged), 200)
    assert order not in shop.paid()


CONTENT_TYPES = (
    None,
    "",
    "text/plain",
    "text/xml; charset=gbk",
    "application/json",
    "application/x-www-form-urlencoded; charset=gbk",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/octet-stream",
)


@pytest.mark.parametrize("front", ["", "/logged"])
def test_the_bytes_decide_whatever_the_content_type_says(shop: ServedApp, front: str) -> None:
    """M-14: a signed form is a notification under any Content-Type, logged or not."""
    for content_type in CONTENT_TYPES:
        if (
            front
            and "django" in shop.name
            and ("gbk" in str(content_type) or multipart(content_type))
        ):
            continue  # request.POST of such a body is an error of the middleware's own
        order = new_order()
        answer = shop.post(notification(order), content_type=content_type, front=front)
        assert is_success(answer), content_type
        assert shop.paid().count(order) == 1


def multipart(content_type: str | None) -> bool:
    return str(content_type).startswith("multipart")


UNREADABLE = (
    b"<xml><out_trade_no>A1</out_trade_no></xml>",
    json.dumps({"out_trade_no": "A=1"}).encode(),
    b'["a=1"]',
    b'--x\r\nContent-Disposition: form-data; name="state"\r\n\r\nSUCCESS\r\n--x--\r\n',
    b"",
    b"success",
    b"\x00" * 100,
)


def test_what_is_not_a_form_is_unreadable(shop: ServedApp) -> None:
    """M-14: XML, JSON, multipart and nothing at all are 400, and nobody parses them."""
    for body in UNREADABLE:
        for content_type in ("application/x-www-form-urlencoded", "application/xml", None):
            assert is_fail(shop.post(body, content_type=content_type), 400), (body, content_type)


def test_a_chunked_body_is_read_whole(shop: ServedApp, caplog: pytest.LogCaptureFixture) -> None:
    """How a body is cut up does not matter, one byte at a time included."""
    order = new_order()
    body = notification(order)
    parts = [body[at : at + 1] for at in range(len(body))]
    if not shop.chunks:
        assert is_fail(shop.post_chunked(parts), 400)
        assert "in chunks, which this server hands on to no application" in caplog.text
        return
    assert is_success(shop.post_chunked(parts))
    assert is_success(shop.post_chunked([body], front="/logged" if "wsgi" not in shop.name else ""))
    assert shop.paid().count(order) == 1


def test_a_logging_middleware_in_front_changes_nothing(shop: ServedApp) -> None:
    """A body that was read as the framework wants it read is verified as it came."""
    order = new_order()
    assert is_success(shop.post(notification(order), front="/logged"))
    assert is_fail(shop.post(b"state=SUCCESS", front="/logged"), 200)
    assert shop.paid().count(order) == 1


def test_a_body_that_is_gone_is_a_clear_error_and_no_forgery(
    shop: ServedApp, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is 500, the error says what to change, and the order is not lost."""
    for front in shop.fronts:
        order = new_order()
        answer = shop.post(notification(order), front=f"/{front}")
        assert answer.status == 500, front
        assert answer.body != b"success"
        assert is_success(shop.post(notification(order)))
    if "gunicorn" not in shop.name:  # logs in another process
        said = [r.getMessage() for r in caplog.records if r.name == "chaoying_async.web"]
        assert len(said) == len(shop.fronts)
        assert all("has read the request's body" in line for line in said)
        assert all("must" in line for line in said)


@pytest.mark.parametrize("size", [64 * 1024 + 1, 4_000_000])
@pytest.mark.parametrize("front", ["", "/logged"])
def test_an_oversized_body_is_refused(shop: ServedApp, size: int, front: str) -> None:
    """M-14: 413 for more than 64 KiB, announced or in chunks, and the server goes on."""
    body = b"a=" + b"b" * (size - 2)
    with contextlib.suppress(ConnectionError):  # the answer may come while we still send
        answer = shop.post(body, front=front)
        assert is_fail(answer, 413) or (front and answer.status in {400, 413})
    if shop.chunks and not front:
        with contextlib.suppress(ConnectionError, http.client.BadStatusLine):
            assert is_fail(shop.post_chunked([body]), 413)
    assert is_success(shop.post(notification(new_order())))


def test_a_body_of_exactly_the_limit_is_read(shop: ServedApp) -> None:
    """M-14: 64 KiB are not oversized."""
    assert is_fail(shop.post(b"a=" + b"b" * (64 * 1024 - 2)), 200)


def test_only_post_is_answered(shop: ServedApp) -> None:
    """Whoever opens the URL in a browser is told 405, and never `success`."""
    order = new_order()
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = shop.post(notification(order), method=method)
        assert is_fail(answer, 405), method
        assert answer.headers["allow"] == "POST"
    assert order not in shop.paid()


def test_head_is_no_success(shop: ServedApp) -> None:
    """A probe with HEAD is told 405, without a body."""
    answer = shop.post(b"", method="HEAD")
    assert (answer.status, answer.body) == (405, b"")


def test_a_sender_that_stops_half_way_is_not_waited_for(shop: ServedApp) -> None:
    """A body has two seconds where the adapter reads it; elsewhere others are served meanwhile."""
    body = notification(new_order())
    with shop.connect() as slow:
        slow.sendall(shop.head("", f"Content-Length: {len(body)}") + body[:20])
        other = new_order()
        assert is_success(shop.post(notification(other)))
        if shop.streams:
            assert is_fail(answer_on(slow), 400)


def test_a_sender_that_hangs_up_half_way_leaves_no_trace(shop: ServedApp) -> None:
    """Half a body is nobody's payment, and the next one is served."""
    order = new_order()
    body = notification(order)
    for sent in (0, 20, len(body) - 1):
        with shop.connect() as rude:
            rude.sendall(shop.head("", f"Content-Length: {len(body)}") + body[:sent])
    assert is_success(shop.post(notification(new_order())))
    assert order not in shop.paid()


def test_work_goes_on_when_the_sender_does_not_wait(shop: ServedApp) -> None:
    """M-17: the gateway hanging up does not undo what on_paid is doing."""
    order = f"SLOW{new_order()}"
    body = notification(order)
    with shop.connect() as impatient:
        impatient.sendall(shop.head("", f"Content-Length: {len(body)}") + body)
        impatient.settimeout(0.05)
        with contextlib.suppress(TimeoutError):  # long enough for the request to be read
            impatient.recv(1)
    assert eventually(order, shop)
    assert is_success(shop.post(body))
    assert shop.paid().count(order) == 1


@functools.cache
def bomb() -> bytes:
    """20 MB that fit into a body."""
    packed = gzip.compress(b"a=" + b"b" * 20_000_000)
    assert len(packed) < 64 * 1024
    return packed


def test_compressed_bodies_are_never_a_surprise(shop: ServedApp) -> None:
    """A body under Content-Encoding is either verified as it was sent, or `fail`."""
    order = new_order()
    answer = shop.post(gzip.compress(notification(order)), "Content-Encoding: gzip")
    assert is_success(answer) if shop.name == "aiohttp" else answer.body == b"fail"
    with contextlib.suppress(ConnectionError):
        assert shop.post(bomb(), "Content-Encoding: gzip").body == b"fail"


def test_many_at_once_are_all_answered(shop: ServedApp) -> None:
    """Thirty senders at the same time are thirty payments."""
    orders = [new_order() for _ in range(30)]
    with contextlib.ExitStack() as stack:
        links: list[socket.socket] = []
        for order in orders:
            body = notification(order)
            link = stack.enter_context(shop.connect())
            link.sendall(shop.head("", f"Content-Length: {len(body)}") + body)
            links.append(link)
        assert all(is_success(answer_on(link)) for link in links)
    assert sorted(order for order in shop.paid() if order in orders) == orders
