"""M-02: what moves money is sent once per call; M-01 and M-10: what its caller then knows."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from chaoying_async import (
    ChaoyingError,
    Code,
    GatewayError,
    GatewayUnavailableError,
    Hosts,
    MalformedMessageError,
    OutcomeUnknownError,
    Pay,
    RequestNotSentError,
    SignatureVerificationError,
)
from chaoying_async.testing import FakeClock
from tests.factories import MONEY, answer_fields, body_of, every_request
from tests.fake_gateway import FakeGateway, Trickle, session
from tests.table import table
from tests.tcp_server import Link, serving

REQUESTS = every_request()

#: What a transport may raise; only two of its classes prove that nothing left (M-01).
RAISED: dict[str, BaseException] = {
    "ConnectError": httpx.ConnectError("refused"),
    "PoolTimeout": httpx.PoolTimeout("full"),
    "ConnectTimeout": httpx.ConnectTimeout("slow"),
    "ReadTimeout": httpx.ReadTimeout("slow"),
    "WriteTimeout": httpx.WriteTimeout("slow"),
    "ReadError": httpx.ReadError("reset"),
    "WriteError": httpx.WriteError("reset"),
    "CloseError": httpx.CloseError("reset"),
    "ProxyError": httpx.ProxyError("refused"),
    "RemoteProtocolError": httpx.RemoteProtocolError("garbage"),
    "LocalProtocolError": httpx.LocalProtocolError("garbage"),
    "DecodingError": httpx.DecodingError("garbage"),
    "UnsupportedProtocol": httpx.UnsupportedProtocol("what"),
    "InvalidURL": httpx.InvalidURL("what"),
    "StreamClosed": httpx.StreamClosed(),
    "OSError": OSError("broken"),
    "TimeoutError": TimeoutError("slow"),
    "RuntimeError": RuntimeError("a transport with a defect"),
    "our RequestNotSentError": RequestNotSentError("the last of several attempts"),
    "our GatewayError": GatewayError("no", state="FAIL", code="20005"),
}
NOT_SENT = ("ConnectError", "PoolTimeout")


@table("raised", RAISED)
@table("name", MONEY)
async def test_whatever_a_transport_raises_money_is_asked_once(name: str, raised: str) -> None:
    """M-01, M-02: one request, and "not sent" only where that is proven."""
    gateway = FakeGateway(RAISED[raised])
    async with session(gateway) as till:
        with pytest.raises(ChaoyingError) as caught:
            await till.send(REQUESTS[name])
    assert type(caught.value) is (
        RequestNotSentError if raised in NOT_SENT else OutcomeUnknownError
    )
    assert (caught.value.doing, caught.value.order) == (name, caught.value.order)
    assert caught.value.order
    assert len(gateway.requests) == 1


ANSWERED: dict[str, Any] = {
    "500": 500,
    "302": httpx.Response(302, headers={"Location": "https://pay.storepos.cn/elsewhere"}),
    "307": httpx.Response(307, headers={"Location": "/again"}),
    "429": httpx.Response(429, headers={"Retry-After": "0"}),
    "204": 204,
    "empty": b"",
    "html": b"<html>Bad gateway</html>",
    "half": body_of(answer_fields("pay"))[:40],
    "forged": body_of(answer_fields("pay") | {"sign": "0" * 32}, signed=False),
    "of another order": body_of(answer_fields("pay", out_trade_no="B200022", auth_code="1")),
    "unsigned": body_of(answer_fields("pay", trade_state="REFUND"), signed=False),
    "too large": b" " * 5000,
}
CAUSES = {
    "500": GatewayUnavailableError,
    "302": GatewayUnavailableError,
    "307": GatewayUnavailableError,
    "429": GatewayUnavailableError,
    "204": GatewayUnavailableError,
    "empty": MalformedMessageError,
    "html": MalformedMessageError,
    "half": MalformedMessageError,
    "forged": SignatureVerificationError,
    "too large": MalformedMessageError,
}


@table("answered", ANSWERED)
@table("name", MONEY)
async def test_whatever_is_answered_money_is_asked_once(name: str, answered: str) -> None:
    """M-02, M-10: no answer that proves nothing is repeated, and 3xx is never followed."""
    gateway = FakeGateway(ANSWERED[answered])
    async with session(gateway, max_reply_bytes=4000) as till:
        with pytest.raises(OutcomeUnknownError) as caught:
            await till.send(REQUESTS[name])
    assert len(gateway.requests) == 1
    assert caught.value.refusal is None
    assert isinstance(caught.value.__cause__, CAUSES.get(answered, ChaoyingError))


@table("name", MONEY)
@table("code", list(Code))
async def test_a_refusal_is_no_reason_to_ask_again(name: str, code: Code) -> None:
    """M-02, M-09: one request, however the gateway says no."""
    fields = answer_fields(name, state="FAIL", code=code, trade_state=None)
    gateway = FakeGateway(body_of(fields))
    async with session(gateway) as till:
        with pytest.raises((GatewayError, OutcomeUnknownError)):
            await till.send(REQUESTS[name])
    assert len(gateway.requests) == 1


@pytest.mark.parametrize("name", MONEY)
async def test_success_and_pending_are_one_request_too(name: str) -> None:
    """M-02: one call is one request, also when all is well, and the next call is the next one."""
    gateway = FakeGateway(200, body_of(answer_fields(name, trade_state="NEED_QUERY")))
    async with session(gateway) as till:
        assert (await till.send(REQUESTS[name])).result is not None
        assert (await till.send(REQUESTS[name])).result is None
    assert len(gateway.requests) == 2
    assert gateway.requests[0].content == gateway.requests[1].content


@pytest.mark.parametrize("name", MONEY)
async def test_the_deadline_makes_money_unknown(name: str, fake_clock: FakeClock) -> None:
    """M-02, M-26: an answer that trickles in is cut off by the call's deadline, unrepeated."""
    stream = Trickle(b" " * 1000, lambda: fake_clock.sleep(1))
    gateway = FakeGateway(httpx.Response(200, stream=stream))
    async with session(gateway, clock=fake_clock, deadline=30) as till:
        with pytest.raises(OutcomeUnknownError, match="carried out"):
            await fake_clock.run(till.send(REQUESTS[name]))
    assert fake_clock.monotonic() == 30
    assert stream.closed
    assert len(gateway.requests) == 1


@pytest.mark.parametrize("name", MONEY)
async def test_a_cancelled_payment_is_not_repeated_and_is_logged(
    name: str, fake_clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """M-02: cancelling the caller sends nothing more, and leaves a line that says so."""

    async def hang(request: httpx.Request) -> httpx.Response:
        await fake_clock.sleep(100)
        raise AssertionError

    gateway = FakeGateway(hang)
    caplog.set_level("INFO", "chaoying_async")
    async with session(gateway, clock=fake_clock) as till:
        task = asyncio.create_task(till.send(REQUESTS[name]))
        await fake_clock.advance(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(gateway.requests) == 1
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"{name} ")
    assert "CancelledError" in record.getMessage()


async def test_a_warning_made_an_error_does_not_hide_the_outcome() -> None:
    """M-10: with ``-W error`` a warning about a reply is dropped, and the reply is there."""
    gateway = FakeGateway(body_of(answer_fields("WECHAT_PreOrder", mch_id="00000002")))
    async with session(gateway) as till:
        assert (await till.send(REQUESTS["WECHAT_PreOrder"])).unwrap()


async def test_the_engines_own_error_stays_the_cause() -> None:
    """An error's chain ends in what the engine raised, for money and for reads."""
    broken = httpx.ReadError("reset")
    gateway = FakeGateway(broken, broken)
    async with session(gateway, read_retries=0) as till:
        for name in ("pay", "orderquery"):
            with pytest.raises(ChaoyingError) as caught:
                await till.send(REQUESTS[name])
            chain = []
            error: BaseException | None = caught.value
            while error is not None:
                assert error not in chain
                chain.append(error)
                error = error.__cause__
            assert chain[-1] is broken


# ------------------------------------------------------------------------ over the default engine


async def close_after_request(link: Link) -> None:
    await link.request()


async def reset_after_request(link: Link) -> None:
    await link.request()
    link.reset()


async def half_an_answer(link: Link) -> None:
    await link.request()
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")


async def garbage(link: Link) -> None:
    await link.request()
    await link.send(b"SSH-2.0-nonsense\r\n\r\n")


async def redirect_to_itself(link: Link) -> None:
    while True:
        await link.request()
        await link.send(b"HTTP/1.1 307 Again\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("name", MONEY)
@pytest.mark.parametrize(
    "script",
    [close_after_request, reset_after_request, half_an_answer, garbage, redirect_to_itself],
)
async def test_the_default_engine_asks_once(name: str, script: Any) -> None:
    """M-02: by the server's own count, over a real socket, however the connection ends."""
    async with serving(script) as server:
        async with session(None, hosts=Hosts.single(server.url(""))) as till:
            with pytest.raises(OutcomeUnknownError):
                await till.send(REQUESTS[name])
        assert len(server.requests) == 1
        assert server.connections == 1


async def test_a_stale_connection_makes_money_unknown_not_repeated() -> None:
    """M-01, M-02: a keep-alive connection that dies under a payment is not replaced silently."""
    first = Pay(out_trade_no="FIRST1", body="tea", total_fee=100, auth_code="130000000000000001")

    async def once_then_close(link: Link) -> None:
        await link.request()
        answer = body_of(answer_fields("pay", out_trade_no="FIRST1"))
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        await link.request()

    async with serving(once_then_close) as server:
        async with session(None, hosts=Hosts.single(server.url(""))) as till:
            assert (await till.send(first)).result is not None
            with pytest.raises(OutcomeUnknownError):
                await till.send(REQUESTS["pay"])
        assert len(server.requests) == 2
