"""What a reviewer broke: the glue around the engines must not lie about money either."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote_plus, unquote

import httpx
import pytest

from chaoying_async import (
    ChaoyingError,
    Credentials,
    Exchange,
    Hosts,
    InvalidRequestError,
    MerchantError,
    OutcomeUnknownError,
    ParameterError,
    RequestNotSentError,
    TradePendingError,
    TransportError,
    WrongEventLoopError,
)
from chaoying_async.clock import SystemClock
from chaoying_async.environment import credentials_from_env
from chaoying_async.sansio.audit import record
from chaoying_async.sansio.exchange import build_request
from chaoying_async.session import GatewaySession
from chaoying_async.transport import AiohttpTransport
from tests.factories import CREDENTIALS, KEY, OPENID, answer_fields, body_of, every_request
from tests.fake_gateway import FakeGateway, session

ECHOED = "another-Key/than+the-canary=="
REQUESTS = every_request()
PAY, QUERY, CANCEL = REQUESTS["pay"], REQUESTS["orderquery"], REQUESTS["cancel"]


def hooks(event: str, error: BaseException) -> dict[str, Any]:
    async def hook(_message: Any) -> None:
        raise error

    return {"event_hooks": {event: [hook]}}


@pytest.mark.parametrize("error", [RequestNotSentError("elsewhere"), ChaoyingError(), OSError()])
async def test_what_a_response_hook_raises_never_says_that_nothing_was_sent(
    error: Exception,
) -> None:
    """M-01: the hook's own errors are about something else; the payment was sent."""
    gateway = FakeGateway()
    async with session(gateway, **hooks("response", error)) as till:
        with pytest.raises(OutcomeUnknownError):
            await till.send(PAY)
    assert len(gateway.requests) == 1


@pytest.mark.parametrize("error", [RequestNotSentError("mine"), TimeoutError(), ValueError("no")])
async def test_what_a_request_hook_raises_reaches_the_caller(error: Exception) -> None:
    """Nothing was sent: it is the user's own error, no deadline and no unknown outcome."""
    gateway = FakeGateway()
    async with session(gateway, **hooks("request", error)) as till:
        with pytest.raises(type(error)) as caught:
            await till.send(PAY)
    assert caught.value is error
    assert not gateway.requests


async def test_a_header_that_is_no_ascii_reaches_the_hook() -> None:
    """A proxy that names itself in Chinese must not break a payment that was made."""
    seen: list[httpx.Response] = []

    async def look(response: httpx.Response) -> None:
        seen.append(response)

    answer = httpx.Response(
        200, content=body_of(answer_fields("pay")), headers=[(b"Server", "超赢".encode())]
    )
    async with session(FakeGateway(answer), event_hooks={"response": [look]}) as till:
        assert (await till.send(PAY)).unwrap()
    assert seen[0].headers["server"]


async def test_no_program_s_logging_hides_a_payment(caplog: pytest.LogCaptureFixture) -> None:
    """A record factory that sets a field of ours, or a filter that raises, costs the line only."""
    usual = logging.getLogRecordFactory()

    def factory(*args: Any, **options: Any) -> logging.LogRecord:
        made = usual(*args, **options)
        made.endpoint = "/checkout"
        return made

    def refuse(_record: logging.LogRecord) -> bool:
        raise RuntimeError("a filter of the program's")

    caplog.set_level(logging.INFO, "chaoying_async")
    logger = logging.getLogger("chaoying_async")
    async with session(FakeGateway()) as till:
        logging.setLogRecordFactory(factory)
        try:
            assert (await till.send(PAY)).unwrap()
            assert "pay A100011 RESULT" in caplog.text
        finally:
            logging.setLogRecordFactory(usual)
        logger.addFilter(refuse)
        try:
            assert (await till.send(PAY)).unwrap()
        finally:
            logger.removeFilter(refuse)


class Stream(httpx.AsyncByteStream):
    """A body that breaks while it is read, or only when it is closed."""

    def __init__(self, error: Exception, *, when_closed: bool) -> None:
        self.error, self.when_closed = error, when_closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield body_of(answer_fields("pay"))
        if not self.when_closed:
            raise self.error

    async def aclose(self) -> None:
        if self.when_closed:
            raise self.error


@pytest.mark.parametrize("error", [httpx.ConnectError("x"), httpx.PoolTimeout("x")])
async def test_an_error_after_the_head_is_never_not_sent(error: Exception) -> None:
    """M-01: a head had come, whatever a lazy transport calls the error of its body."""
    broken = httpx.Response(200, stream=Stream(error, when_closed=False))
    whole = httpx.Response(200, stream=Stream(error, when_closed=True))
    async with session(FakeGateway(broken, whole)) as till:
        with pytest.raises(OutcomeUnknownError):
            await till.send(PAY)
        assert (await till.send(PAY)).unwrap()


def test_a_transport_of_another_loop_sends_nothing() -> None:
    """Its idle connections would be written to, and nobody would read the answer."""
    transport = AiohttpTransport(limits=httpx.Limits(max_connections=1), clock=SystemClock())

    async def once() -> type[BaseException]:
        async with session(transport, hosts=Hosts.single("http://127.0.0.1:1")) as till:
            with pytest.raises(ChaoyingError) as caught:
                await till.send(PAY)
        return type(caught.value)

    assert asyncio.run(once()) is RequestNotSentError
    assert asyncio.run(once()) in (WrongEventLoopError, OutcomeUnknownError)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("orderquery", "refund"), ("pay", "refund"), ("cancel", "orderquery"), ("refund", "pay")],
)
async def test_an_answer_to_another_call_about_the_same_order_is_refused(
    asked: str, answered: str
) -> None:
    """M-06: a connection that lags by one call hands over a signed answer with the right number."""
    request = REQUESTS[asked]
    fields = answer_fields(asked) | answer_fields(answered)
    late = {name: text for name, text in fields.items() if name in answer_fields(answered)}
    gateway = FakeGateway(body_of(late))
    async with session(gateway, read_retries=0) as till:
        with pytest.raises((OutcomeUnknownError, ChaoyingError)):
            (await till.send(request)).unwrap()


async def test_a_context_that_verifies_nothing_counts_as_verify_false() -> None:
    """M-09: an unsigned refusal from whoever is on the way proves nothing."""
    open_to_all = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    open_to_all.check_hostname = False
    open_to_all.verify_mode = ssl.CERT_NONE
    refusal = json.dumps({"state": "FAIL", "code": "20005"}).encode()
    till = session(FakeGateway(refusal), verify=open_to_all)
    with pytest.warns(match="verifies nothing"):
        await till.__aenter__()
    with pytest.raises(OutcomeUnknownError):
        await till.send(PAY)
    await till.aclose()
    async with session(FakeGateway(refusal), verify=ssl.create_default_context()) as till:
        with pytest.raises(MerchantError):
            await till.send(PAY)


@pytest.mark.parametrize(
    "echo",
    [
        ECHOED,
        f"a=1&key={ECHOED}",
        f"key={quote_plus(ECHOED)}",
        re.sub("%..", lambda code: code[0].lower(), quote_plus(ECHOED)),
        json.dumps({"signed": f"key={ECHOED}"}).replace("/", "\\/"),
    ],
)
async def test_a_key_that_the_gateway_echoes_is_masked(echo: str) -> None:
    """M-27: in the error's text, its msg, and the audit record, however it is escaped."""
    seen: list[Exchange] = []
    body = json.dumps({"state": "FAIL", "code": "20004", "msg": f"wrong: {echo}"}).encode()
    own = Credentials("1", ECHOED, "p")
    async with session(FakeGateway(body), credentials=own, on_exchange=seen.append) as till:
        with pytest.raises(InvalidRequestError) as caught:
            await till.send(QUERY)
    told = f"{caught.value} {caught.value.msg} {seen[0].reply!r}"
    told = unquote(told).replace("\\", "").lower()
    assert ECHOED.lower() not in told


@pytest.mark.parametrize(
    "reply",
    [
        f'{{"open\\u0069d": "{OPENID}"}}',
        f'{{"openid": ["x", "{OPENID}"]}}',
        f'{{"openid": {{"a": "b", "id": "{OPENID}"}}}}',
        json.dumps({"attach": json.dumps({"deep": json.dumps({"openid": OPENID})})}),
        f'{{"OpenId": "{OPENID}"}}',
        f'{{"attach": "a=1&openid={OPENID}&b=2"}}',
        f"<html>openid={OPENID}</html>",
        f"<p>{{&quot;openid&quot;: &quot;{OPENID}&quot;}}</p>",
        f'{{"openid": "{OPENID}", "cut off',
    ],
)
def test_an_audit_record_hides_the_buyer_however_it_is_written(reply: str) -> None:
    """M-27: escaped names, arrays, objects, JSON in JSON in JSON, forms, pages, half an answer."""
    shown = record(build_request(QUERY, CREDENTIALS), CREDENTIALS, elapsed=0.0, body=reply.encode())
    assert OPENID.encode() not in (shown.reply or b"")


def test_an_audit_record_keeps_what_is_not_personal() -> None:
    """It is for audits: numbers stay numbers, everything else stays as it was."""
    reply = '{"total_fee":4,"base_fee":"5","openid":"","msg":"好","list":[1.0,null,true]}'
    shown = record(build_request(QUERY, CREDENTIALS), CREDENTIALS, elapsed=0.0, body=reply.encode())
    assert shown.reply == reply.encode()


async def test_a_code_cannot_write_a_log_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """An unsigned answer's code and trade_state go through one line, and not without end."""
    caplog.set_level(logging.INFO, "chaoying_async")
    code = "1\npay A2 RESULT" + "9" * 10_000
    pending = {"state": "SUCCESS", "trade_state": code, "code": code, "out_trade_no": "A1\nx"}
    refused = {"state": "FAIL", "code": code}
    bodies = [json.dumps(fields).encode() for fields in (pending, refused)]
    query = type(QUERY)(paytype="WECHAT", transaction_id="42", mch_id="00000001")  # type: ignore[call-arg]
    async with session(FakeGateway(*bodies), read_retries=0) as till:
        with pytest.raises(TradePendingError) as pended:
            (await till.send(query)).unwrap()
        with pytest.raises(ChaoyingError) as caught:
            await till.send(query)
    for text in (*(made.getMessage() for made in caplog.records), str(pended.value)):
        assert "\n" not in text
        assert len(text) < 500
    assert "\n" not in str(caught.value)


def test_an_environment_that_is_wrong_shows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """M-27: crash reports print the locals of every frame that an error passed."""
    monkeypatch.setenv("CHAOYING_AGENT_ID", "1")
    monkeypatch.setenv("CHAOYING_KEY", KEY)
    for pid, key in ((" ", KEY), ("p", KEY + "\n")):
        monkeypatch.setenv("CHAOYING_PID", pid)
        monkeypatch.setenv("CHAOYING_KEY", key)
        for read in (credentials_from_env, GatewaySession.from_env):
            with pytest.raises(ParameterError) as caught:
                read()
            frame = caught.tb
            while frame is not None:
                if "chaoying_async" in frame.tb_frame.f_code.co_filename:
                    assert KEY not in repr(frame.tb_frame.f_locals)
                frame = frame.tb_next  # type: ignore[assignment]


async def test_a_proxy_that_cannot_be_used_is_named_before_anything_is_sent() -> None:
    """A wrong setting is the caller's, not an unknown outcome of every payment."""
    with pytest.raises(ParameterError, match="proxy"):
        async with session(None, proxy="ftp://127.0.0.1:1"):
            pass


class Diverted(AiohttpTransport):
    """A subclass that changes one of the two ways in."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("diverted", request=request)


async def test_a_subclass_of_our_transport_is_not_passed_by() -> None:
    """A test double that overrides httpx's method must be what the session talks to."""
    double = Diverted(limits=httpx.Limits(max_connections=1), clock=SystemClock())
    async with session(double, read_retries=0) as till:
        with pytest.raises(TransportError) as caught:
            await till.send(QUERY)
    assert isinstance(caught.value.__cause__, httpx.ConnectError)
    await double.aclose()


def test_credentials_stay_usable_after_all_that() -> None:
    """The same agent, the same key, and no repr that shows it."""
    assert Credentials("1", KEY, "p") == Credentials("1", KEY, "p")
    assert KEY not in repr(Credentials("1", KEY, "p"))
