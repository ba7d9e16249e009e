"""What a session lets others see: hooks, audits, one structured log line per call; all masked."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest

from chaoying_async import (
    ChaoyingError,
    Exchange,
    GatewayError,
    OutcomeUnknownError,
    ParameterError,
    TransportError,
)
from chaoying_async.testing import FakeClock
from tests.factories import CANARIES, MONEY, ORDER, answer_fields, body_of, every_request
from tests.fake_gateway import FakeGateway, session

REQUESTS = every_request()


def clean(thing: Any) -> None:
    """Nothing secret in it."""
    text = thing.decode() if isinstance(thing, bytes) else str(thing)
    for canary in CANARIES:
        assert canary not in text


# -------------------------------------------------------------------------------------- the hooks


async def test_event_hooks_see_httpxs_own_objects() -> None:
    """httpx's shape, requests and responses in order, for every attempt."""
    seen: list[Any] = []

    async def on_request(request: httpx.Request) -> None:
        seen.append((request.method, request.url.host, request.content))
        request.headers["X-Trace"] = "7"

    async def on_response(response: httpx.Response) -> None:
        seen.append((response.status_code, response.json()["out_trade_no"], response.request.url))

    gateway = FakeGateway()
    hooks = {"request": [on_request], "response": [on_response]}
    async with session(gateway, event_hooks=hooks) as till:
        await till.send(REQUESTS["orderquery"])
    (request,) = gateway.requests
    assert seen[0] == ("POST", "pay.storepos.cn", request.content)
    assert seen[1][:2] == (200, ORDER)
    assert request.headers["X-Trace"] == "7"


async def test_a_hook_cannot_change_what_was_signed() -> None:
    """M-03: URL and body go out as they were signed, whatever a hook does to its copy."""

    async def meddle(request: httpx.Request) -> None:
        request.url = httpx.URL("https://evil.example/")
        request.method = "GET"

    gateway = FakeGateway()
    async with session(gateway, event_hooks={"request": [meddle]}) as till:
        await till.send(REQUESTS["pay"])
    (request,) = gateway.requests
    assert (request.method, request.url.host) == ("POST", "pay.storepos.cn")


async def test_a_request_hook_that_raises_stops_the_call_before_it_is_sent() -> None:
    """What it raises reaches the caller as it is: nothing was sent."""

    async def refuse(request: httpx.Request) -> None:
        raise LookupError("not today")

    gateway = FakeGateway()
    async with session(gateway, event_hooks={"request": [refuse]}) as till:
        with pytest.raises(LookupError, match="not today"):
            await till.send(REQUESTS["pay"])
    assert gateway.requests == []


@pytest.mark.parametrize("name", MONEY)
async def test_a_response_hook_that_raises_makes_money_unknown(name: str) -> None:
    """M-02: something was sent by then, and it is not sent again."""

    async def fail(response: httpx.Response) -> None:
        raise LookupError("no")

    gateway = FakeGateway()
    async with session(gateway, event_hooks={"response": [fail]}) as till:
        with pytest.raises(OutcomeUnknownError):
            await till.send(REQUESTS[name])
    assert len(gateway.requests) == 1


async def test_an_unknown_event_is_refused() -> None:
    """A misspelled hook would silently never run."""
    with pytest.raises(ParameterError, match="event_hooks"):
        async with session(FakeGateway(), event_hooks={"requests": []}):
            pass


# ------------------------------------------------------------------------------------- the audits


@pytest.mark.parametrize("name", sorted(REQUESTS))
async def test_audits_get_both_ways_masked(name: str) -> None:
    """M-27: the bytes of every exchange, without key, code, buyer or signature."""
    seen: list[Exchange] = []
    gateway = FakeGateway()
    async with session(gateway, on_exchange=seen.append) as till:
        await till.send(REQUESTS[name])
    (exchange,) = seen
    assert exchange.endpoint.name == name
    assert exchange.method == gateway.requests[0].method
    assert "?" not in exchange.url
    assert exchange.status == 200
    assert exchange.error is None
    assert exchange.reply is not None
    assert b"SUCCESS" in exchange.reply
    sign = gateway.forms[0]["sign"].encode()
    assert sign not in exchange.request
    for part in (exchange.request, exchange.reply, exchange, exchange.url):
        clean(part)
    assert b"sign=***" in exchange.request


async def test_audits_hear_of_failures_and_of_every_attempt(fake_clock: FakeClock) -> None:
    """An exchange without an answer has no status, but the reason and how long it took."""

    async def slow(request: httpx.Request) -> httpx.Response:
        await fake_clock.sleep(3)
        raise httpx.ReadTimeout("slow")

    async def hang(request: httpx.Request) -> httpx.Response:
        await fake_clock.sleep(100)
        raise AssertionError

    seen: list[Exchange] = []
    options: dict[str, Any] = {"on_exchange": seen.append, "clock": fake_clock, "deadline": 20}
    async with session(FakeGateway(slow, 500, hang), **options) as till:
        with pytest.raises(TransportError):
            await fake_clock.run(till.send(REQUESTS["orderquery"]))
    assert [exchange.status for exchange in seen] == [None, 500, None]
    assert isinstance(seen[0].error, TransportError)
    assert seen[0].elapsed == 3
    assert seen[1].error is None
    assert isinstance(seen[2].error, asyncio.CancelledError)  # by the deadline


async def test_an_audit_that_raises_never_hides_the_outcome(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """M-02: the caller gets reply or error as if nothing had happened; the log tells."""

    def broken(exchange: Exchange) -> None:
        raise RuntimeError("disk full")

    caplog.set_level(logging.ERROR, "chaoying_async")
    gateway = FakeGateway(200, httpx.ReadError("reset"))
    async with session(gateway, on_exchange=broken) as till:
        assert (await till.send(REQUESTS["pay"])).result is not None
        with pytest.raises(OutcomeUnknownError):
            await till.send(REQUESTS["pay"])
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "on_exchange raised RuntimeError" in caplog.text


# ---------------------------------------------------------------------------------------- the log


@pytest.mark.parametrize(
    ("step", "outcome", "level", "fields"),
    [
        (200, "RESULT", "INFO", {"state": "SUCCESS", "code": "10000", "trade_state": "SUCCESS"}),
        (
            body_of(answer_fields("pay", trade_state="NEED_QUERY", code="10001")),
            "PENDING",
            "INFO",
            {"state": "SUCCESS", "code": "10001", "trade_state": "NEED_QUERY"},
        ),
        (
            body_of(answer_fields("pay", state="FAIL", code="20005")),
            "MerchantError",
            "INFO",
            {"state": "FAIL", "code": "20005"},
        ),
        (httpx.ReadTimeout("slow"), "OutcomeUnknownError", "WARNING", {}),
        (httpx.ConnectError("refused"), "RequestNotSentError", "INFO", {}),
    ],
)
async def test_every_call_leaves_one_line_with_fields(
    step: Any, outcome: str, level: str, fields: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Endpoint, order, state, code, elapsed: as text, and as attributes for structured logs."""
    caplog.set_level(logging.DEBUG, "chaoying_async")
    async with session(FakeGateway(step)) as till:
        try:
            await till.send(REQUESTS["pay"])
        except ChaoyingError as error:
            assert type(error).__name__ == outcome
    (record,) = [record for record in caplog.records if record.name == "chaoying_async"]
    logged = vars(record)
    assert record.levelname == level
    assert (logged["endpoint"], logged["order"], logged["outcome"]) == ("pay", ORDER, outcome)
    assert logged["elapsed"] >= 0
    for name, value in fields.items():
        assert logged[name] == value
        assert f"{name}={value}" in record.getMessage()
    assert record.getMessage().startswith(f"pay {ORDER} {outcome}")
    clean(record.getMessage())


async def test_the_log_shows_a_refusal_inside_an_unknown_outcome(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """M-09, right column: the code that was not believed is what support will ask for."""
    caplog.set_level(logging.DEBUG, "chaoying_async")
    fields = answer_fields("pay", state="FAIL", code="20004")
    async with session(FakeGateway(body_of(fields))) as till:
        with pytest.raises(OutcomeUnknownError) as caught:
            await till.send(REQUESTS["pay"])
    assert isinstance(caught.value.refusal, GatewayError)
    logged = vars(caplog.records[-1])
    assert (logged["state"], logged["code"]) == ("FAIL", "20004")


async def test_nothing_is_logged_below_the_level_that_was_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At WARNING an ordinary call is silent."""
    caplog.set_level(logging.WARNING, "chaoying_async")
    async with session(FakeGateway()) as till:
        await till.send(REQUESTS["pay"])
    assert caplog.records == []
