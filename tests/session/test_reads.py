"""Reads are repeated with growing pauses inside the deadline; what a session adds to a request."""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest

from chaoying_async import (
    AlipayPreOrder,
    ChaoyingError,
    FacePay,
    GatewayError,
    GatewayUnavailableError,
    Hosts,
    OrderQuery,
    ParameterError,
    Pay,
    PayBoxConfGet,
    PayType,
    ProtocolError,
    QrConfGet,
    Refund,
    RequestNotSentError,
    TradeType,
    TransportError,
)
from chaoying_async.sansio.api.endpoint import Request
from chaoying_async.testing import FakeClock
from tests.factories import MONEY, answer_fields, body_of, every_request
from tests.fake_gateway import FakeGateway, Trickle, session
from tests.hostile_links import GOOD, HOSTILE
from tests.table import table
from tests.tcp_server import Link, as_elsewhere, reply, serving

REQUESTS = every_request()
READS = sorted(name for name, request in REQUESTS.items() if request.endpoint.repeatable)
ONCE = sorted(set(REQUESTS) - set(READS))

FAILURES: dict[str, Any] = {
    "refused": httpx.ConnectError("refused"),
    "timeout": httpx.ReadTimeout("slow"),
    "cut": httpx.RemoteProtocolError("cut"),
    "500": 500,
    "302": httpx.Response(302, headers={"Location": "https://evil.example"}),
}


def pauses(seed: int, count: int) -> list[float]:
    """Half to all of 1, 2, 4, then 5 seconds, drawn by the session's own random.Random."""
    rng = random.Random(seed)
    return [rng.uniform(0.5, 1.0) * longest for longest in (1.0, 2.0, 4.0, 5.0, 5.0)[:count]]


@table("failure", FAILURES)
@table("name", READS)
async def test_a_read_is_repeated_until_it_is_answered(name: str, failure: str) -> None:
    """M-10: transport errors and statuses other than 200, twice, with exact pauses."""
    fake_clock = FakeClock()
    gateway = FakeGateway(FAILURES[failure], FAILURES[failure])
    async with session(gateway, clock=fake_clock, rng=random.Random(7)) as till:
        reply_ = await fake_clock.run(till.send(REQUESTS[name]))
    assert reply_.result is not None
    assert len(gateway.requests) == 3
    assert fake_clock.monotonic() == pytest.approx(sum(pauses(7, 2)))
    assert len({str(request.url) + str(request.content) for request in gateway.requests}) == 1


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
async def test_read_retries_is_how_often_it_is_repeated(
    retries: int, fake_clock: FakeClock
) -> None:
    """The last error is raised as it is, after exactly so many repeats and pauses."""
    errors = [httpx.ReadError(f"attempt {number}") for number in range(10)]
    gateway = FakeGateway(*errors)
    options = {"read_retries": retries, "rng": random.Random(1), "deadline": None}
    async with session(gateway, clock=fake_clock, **options) as till:
        with pytest.raises(TransportError) as caught:
            await fake_clock.run(till.send(REQUESTS["orderquery"]))
    assert caught.value.__cause__ is errors[retries]
    assert len(gateway.requests) == retries + 1
    assert fake_clock.monotonic() == pytest.approx(sum(pauses(1, retries)))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        body_of(answer_fields("orderquery") | {"sign": "0" * 32}, signed=False),
        body_of(answer_fields("orderquery", out_trade_no="B1")),
        body_of(answer_fields("orderquery", state="FAIL", code="20006")),
    ],
    ids=["empty", "html", "forged", "mismatch", "refused"],
)
async def test_an_answer_that_came_is_not_asked_for_again(answer: bytes) -> None:
    """A read with an unreadable answer is the ProtocolError itself, and a refusal is one."""
    gateway = FakeGateway(answer)
    async with session(gateway) as till:
        with pytest.raises((ProtocolError, GatewayError)):
            await till.send(REQUESTS["orderquery"])
    assert len(gateway.requests) == 1


@pytest.mark.parametrize("name", ONCE)
async def test_what_changes_something_is_never_repeated(name: str) -> None:
    """M-02 and beyond: registering, sending an SMS and spending a code are asked once too."""
    gateway = FakeGateway(httpx.ConnectError("refused"))
    async with session(gateway) as till:
        with pytest.raises(RequestNotSentError):
            await till.send(REQUESTS[name])
    assert len(gateway.requests) == 1


async def test_the_status_of_the_last_attempt_is_told(fake_clock: FakeClock) -> None:
    """M-10: GatewayUnavailableError is a TransportError with the status."""
    gateway = FakeGateway(500, 502, 503)
    async with session(gateway, clock=fake_clock) as till:
        with pytest.raises(GatewayUnavailableError) as caught:
            await fake_clock.run(till.send(REQUESTS["orderquery"]))
    assert caught.value.status == 503


# ---------------------------------------------------------------------------------- the deadline


async def test_the_deadline_bounds_a_reply_that_trickles(fake_clock: FakeClock) -> None:
    """No phase time-out sees a byte a second; the whole call's deadline does."""
    streams = [Trickle(b"{" * 100, lambda: fake_clock.sleep(1)) for _ in range(3)]
    gateway = FakeGateway(*(httpx.Response(200, stream=stream) for stream in streams))
    async with session(gateway, clock=fake_clock, deadline=30) as till:
        with pytest.raises(TransportError, match="deadline of 30 s"):
            await fake_clock.run(till.send(REQUESTS["orderquery"]))
    assert fake_clock.monotonic() == 30
    assert len(gateway.requests) == 1
    assert streams[0].closed


async def test_the_deadline_bounds_repeats_and_their_pauses(fake_clock: FakeClock) -> None:
    """A gateway that is down for long costs a caller the deadline, not the retries' sum."""

    async def slow(request: httpx.Request) -> httpx.Response:
        await fake_clock.sleep(4)
        raise httpx.ReadTimeout("slow")

    gateway = FakeGateway(*[slow] * 20)
    async with session(gateway, clock=fake_clock, deadline=10, read_retries=19) as till:
        with pytest.raises(TransportError, match="deadline"):
            await fake_clock.run(till.send(REQUESTS["orderquery"]))
    assert fake_clock.monotonic() == 10
    assert 2 <= len(gateway.requests) <= 3


async def test_without_a_deadline_a_call_may_take_its_time(fake_clock: FakeClock) -> None:
    """``deadline=None`` leaves only the phases of ``timeout``."""
    answer = body_of(answer_fields("orderquery"))
    stream = Trickle(answer, lambda: fake_clock.sleep(10))
    gateway = FakeGateway(httpx.Response(200, stream=stream))
    async with session(gateway, clock=fake_clock, deadline=None) as till:
        reply_ = await fake_clock.run(till.send(REQUESTS["orderquery"]))
    assert reply_.result is not None
    assert fake_clock.monotonic() == 10 * len(answer)


@pytest.mark.parametrize(
    ("given", "phases"),
    [
        (None, {"connect": 1.0, "read": 2.0, "write": 3.0, "pool": 4.0}),
        (9.0, dict.fromkeys(("connect", "read", "write", "pool"), 9.0)),
        (httpx.Timeout(5.0, read=60.0), {"connect": 5.0, "read": 60.0, "write": 5.0, "pool": 5.0}),
    ],
)
async def test_time_outs_are_set_per_session_and_per_call(given: Any, phases: Any) -> None:
    """``timeout=`` of a call replaces the session's."""
    gateway = FakeGateway()
    own = httpx.Timeout(connect=1.0, read=2.0, write=3.0, pool=4.0)
    async with session(gateway, timeout=own) as till:
        await till.send(REQUESTS["orderquery"], timeout=given)
    assert gateway.requests[0].extensions["timeout"] == phases


# ------------------------------------------------------------------ what never leaves, and how


UNNAMED = every_request(mch_id=None)
NEEDS_MERCHANT = sorted(name for name, request in UNNAMED.items() if "mch_id" in request.needed)


@pytest.mark.parametrize("name", NEEDS_MERCHANT)
async def test_the_sessions_merchant_is_used_unless_the_request_names_one(name: str) -> None:
    """One session, many merchants: what a request names wins over the default."""
    gateway = FakeGateway()
    async with session(gateway, mch_id="00000001") as till:
        await till.send(UNNAMED[name])
        await till.send(every_request(mch_id="00000009")[name])
    assert [form["mch_id"] for form in gateway.forms] == ["00000001", "00000009"]


@pytest.mark.parametrize("name", NEEDS_MERCHANT)
async def test_without_a_merchant_nothing_leaves(name: str) -> None:
    """M-18: who is meant is checked by send before a byte leaves, and named in the error."""
    gateway = FakeGateway()
    async with session(gateway, mch_id=None) as till:
        with pytest.raises(ParameterError) as caught:
            await till.send(UNNAMED[name])
    assert set(caught.value.problems) == {"mch_id"}
    assert caught.value.doing == name
    assert gateway.requests == []


async def test_every_missing_default_is_named_at_once() -> None:
    """mch_id and op_user_id for a refund, device_info for a terminal and for QQ Wallet."""
    refund = Refund(
        paytype=PayType.WECHAT,
        out_trade_no="A100011",
        out_refund_no="R1",
        total_fee=2,
        refund_fee=1,
    )
    qq = FacePay(
        paytype=PayType.QQ, openid="o", face_code="f", out_trade_no="A100011", body="b", total_fee=1
    )
    box = PayBoxConfGet(op_device_id="1")
    link = QrConfGet(url=GOOD[0], op_device_id="1")
    expected: list[tuple[Request[Any], set[str]]] = [
        (refund, {"mch_id", "op_user_id"}),
        (qq, {"mch_id", "device_info"}),
        (box, {"device_info"}),
        (link, {"device_info"}),
    ]
    gateway = FakeGateway()
    async with session(gateway, mch_id=None, op_user_id=None) as till:
        for request, missing in expected:
            with pytest.raises(ParameterError) as caught:
                await till.send(request)
            assert set(caught.value.problems) == missing
    assert gateway.requests == []
    async with session(gateway, device_info="till-1") as till:
        for request, _ in expected:
            await till.send(request)
    assert [form.get("device_info") for form in gateway.forms] == [None, *["till-1"] * 3]
    assert gateway.forms[0]["op_user_id"] == "op1"


async def test_a_default_is_not_sent_where_the_document_has_no_such_field() -> None:
    """A session's device_info goes into the calls that know one, and into no other."""
    gateway = FakeGateway()
    async with session(gateway, device_info="till-1") as till:
        for request in REQUESTS.values():
            await till.send(request)
    sent = {
        name for name, form in zip(REQUESTS, gateway.forms, strict=True) if "op_user_id" in form
    }
    assert sent == {name for name, request in REQUESTS.items() if "op_user_id" in request.names}


@table("trick", HOSTILE)
async def test_a_hostile_link_gets_nothing_out(trick: str) -> None:
    """M-05: a scanned link that is refused is refused before a byte leaves."""
    gateway = FakeGateway()
    async with session(gateway, device_info="d1") as till:
        with pytest.raises(ParameterError):
            await till.send(QrConfGet(url=HOSTILE[trick], op_device_id="od1"))
    assert gateway.requests == []


@pytest.mark.parametrize("url", GOOD)
async def test_a_good_links_bytes_reach_the_wire(url: str) -> None:
    """C 96: the query's own bytes are kept, escapes and their case included."""
    gateway = FakeGateway()
    async with session(gateway, device_info="d1") as till:
        await till.send(QrConfGet(url=url, op_device_id="od1"))
    (request,) = gateway.requests
    path = url.removeprefix("https://qrpay.storepos.cn").removeprefix(":443").rstrip("?")
    target = request.extensions.get("target", request.url.raw_path).decode()
    assert target.startswith(path)
    assert request.method == "GET"
    assert request.headers["User-Agent"] == "CySoftPayBox"


# --------------------------------------------------------------------------------- on the wire


async def test_what_is_signed_is_what_is_sent() -> None:
    """M-03: the form that arrives, unknown names and Chinese too, verifies at the other end."""
    from chaoying_async.sansio.signing import verify
    from tests.factories import KEY

    gateway = FakeGateway()
    order = AlipayPreOrder(
        body="奶茶 & 蛋糕=1+1",
        attach="a b%20c",
        out_trade_no="A100011",
        total_fee=1,
        trade_type=TradeType.NATIVE,
        extra={"channel_hint": "x"},
    )
    async with session(gateway) as till:
        await till.send(order)
    (form,) = gateway.forms
    verify(form, KEY)
    assert form["body"] == "奶茶 & 蛋糕=1+1"
    assert form["channel_hint"] == "x"
    assert gateway.requests[0].headers["Content-Type"] == "application/x-www-form-urlencoded"


async def test_cookies_are_not_kept_and_redirects_not_followed() -> None:
    """M-10: a gateway's cookie comes back nowhere, and its Location is not visited."""
    answer = body_of(answer_fields("orderquery"))

    async def with_cookies(link: Link) -> None:
        await link.request()
        await link.send(reply(answer, "Set-Cookie: session=1; Path=/"))
        await link.request()
        await link.send(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")

    async with serving(with_cookies) as server:
        hosts = Hosts.single(server.url(""))
        async with session(None, hosts=hosts, read_retries=0) as till:
            await till.send(REQUESTS["orderquery"])
            with pytest.raises(GatewayUnavailableError):
                await till.send(REQUESTS["orderquery"])
        assert len(server.requests) == 2
        assert b"cookie" not in server.received.lower()


@pytest.mark.parametrize("trust", [False, True])
async def test_proxies_of_the_environment_are_used_only_when_asked_for(
    trust: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payment client ignores HTTP_PROXY unless ``trust_env=True``."""
    answer = reply(body_of(answer_fields("orderquery")))

    async def answering(link: Link) -> None:
        while True:
            await link.request()
            await link.send(answer)

    async with serving(answering) as proxy, serving(answering) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        away = f"http://{as_elsewhere(monkeypatch)}:{server.port}"
        hosts = Hosts.single(away, dangerous_allow_http=True)
        async with session(None, hosts=hosts, trust_env=trust) as till:
            await till.send(REQUESTS["orderquery"])
        assert (len(proxy.requests), len(server.requests)) == ((1, 0) if trust else (0, 1))


async def test_a_reply_over_the_limit_is_cut_off_while_it_comes() -> None:
    """``max_reply_bytes`` stops reading; the rest is never asked for."""
    sent = 0

    async def endless() -> None:
        nonlocal sent
        sent += 1

    gateway = FakeGateway(httpx.Response(200, stream=Trickle(b" " * 100_000, endless)))
    async with session(gateway, max_reply_bytes=1000) as till:
        with pytest.raises(ProtocolError, match="longer than 1000 bytes"):
            await till.send(REQUESTS["orderquery"])
    assert sent <= 1002


async def test_require_signed_refuses_what_the_document_prints_unsigned() -> None:
    """M-08: with it an unsigned pre-order is unknown, and an unsigned refusal proves nothing."""
    for name, changes in (("WECHAT_PreOrder", {}), ("pay", {"state": "FAIL", "code": "20005"})):
        body = body_of(answer_fields(name, **changes), signed=False)
        async with session(FakeGateway(body), require_signed=True) as till:
            with pytest.raises(ChaoyingError, match=r"may have been carried out|does not prove"):
                await till.send(REQUESTS[name])
        async with session(FakeGateway(body)) as till:
            if changes:
                with pytest.raises(GatewayError):
                    await till.send(REQUESTS[name])
            else:
                assert (await till.send(REQUESTS[name])).signed is False


def test_the_sweeps_here_know_every_request() -> None:
    """Every endpoint is repeated, or sent once; money is among the latter."""
    assert set(READS) | set(ONCE) == set(REQUESTS)
    assert set(MONEY) <= set(ONCE)
    assert len(NEEDS_MERCHANT) >= 13
    assert OrderQuery.endpoint.repeatable
    assert not Pay.endpoint.repeatable
