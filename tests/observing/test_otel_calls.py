"""Spans and numbers of calls: what stands on them, how they end, and what they cost nobody."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import product
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import SpanKind, StatusCode

from chaoying_async import (
    ChaoyingError,
    Hosts,
    OrderNotFoundError,
    OutcomeUnknownError,
    ParameterError,
    RequestNotSentError,
)
from chaoying_async.abc import Observer
from chaoying_async.clock import SystemClock
from chaoying_async.observation import Observation
from chaoying_async.observing.otel import Telemetry
from chaoying_async.sansio.observed import ObservedPayment
from chaoying_async.testing import FakeClock
from tests.factories import (
    MONEY,
    OPENID,
    SCANNED_URL,
    answer_fields,
    body_of,
    every_request,
)
from tests.fake_gateway import FakeGateway, Step, session
from tests.observing.recorder import (
    ODD_CODE,
    SAID,
    Recorder,
    attributes,
    is_child,
    look_for_canaries,
)
from tests.sizes import sampled
from tests.table import table

REQUESTS = every_request()
PAY, QUERY = REQUESTS["pay"], REQUESTS["orderquery"]


def refused(code: str) -> bytes:
    fields: dict[str, Any] = {"state": "FAIL", "code": code, "msg": SAID, "openid": OPENID}
    return body_of(answer_fields("pay") | fields)


async def test_a_call_is_a_client_span_with_the_stable_names(recorder: Recorder) -> None:
    """HTTP's stable attributes and ours, and not one more."""
    async with session(FakeGateway(), observer=recorder.telemetry) as gateway:
        await gateway.send(PAY)
    (span,) = recorder.spans
    assert (span.name, span.kind) == ("POST pay", SpanKind.CLIENT)
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "pay.storepos.cn",
        "server.port": 443,
        "url.scheme": "https",
        "chaoying.endpoint": "pay",
        "chaoying.outcome": "RESULT",
        "chaoying.code": "10000",
        "chaoying.ended": "done",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "chaoying_async"


@table("name", REQUESTS)
async def test_every_endpoint_has_its_span(name: str) -> None:
    """All 19 calls, also those by GET with everything in their query."""
    recorder = Recorder.made()
    async with session(FakeGateway(), observer=recorder.telemetry, device_info="d") as gateway:
        await gateway.send(REQUESTS[name])
    (span,) = recorder.spans
    assert attributes(span)["chaoying.endpoint"] == name
    assert attributes(span)["chaoying.outcome"] == "RESULT"


FAILED, UNKNOWN, DONE = "failed", "unknown", "done"

#: The gateway's script, the request, and what stands on the span.
ENDS: dict[str, tuple[list[Step], str, dict[str, Any], StatusCode]] = {
    "pending": (
        [body_of(answer_fields("pay", trade_state="NEED_QUERY", code="10003"))],
        "pay",
        {"chaoying.outcome": "PENDING", "chaoying.code": "10003", "chaoying.ended": UNKNOWN},
        StatusCode.UNSET,
    ),
    "not paid": (
        [body_of(answer_fields("pay", trade_state="FAIL", code="10006"))],
        "pay",
        {"chaoying.outcome": "FAILED", "chaoying.ended": DONE},
        StatusCode.UNSET,
    ),
    "refused": (
        [refused("20005")],
        "pay",
        {
            "chaoying.outcome": "MerchantError",
            "error.type": "MerchantError",
            "chaoying.code": "20005",
            "chaoying.ended": FAILED,
        },
        StatusCode.ERROR,
    ),
    "refused in words that prove nothing": (
        [refused("20006")],
        "pay",
        {
            "chaoying.outcome": "OutcomeUnknownError",
            "error.type": "OutcomeUnknownError",
            "chaoying.code": "20006",
            "chaoying.ended": UNKNOWN,
        },
        StatusCode.UNSET,
    ),
    "a code that no table lists": (
        [refused(ODD_CODE)],
        "pay",
        {"error.type": "OutcomeUnknownError", "chaoying.code": "other"},
        StatusCode.UNSET,
    ),
    "no such order yet": (
        [refused("20007")],
        "orderquery",
        {"error.type": "OrderNotFoundError", "chaoying.ended": UNKNOWN},
        StatusCode.UNSET,
    ),
    "no answer to a payment": (
        [httpx.ReadError(SAID)],
        "pay",
        {"error.type": "OutcomeUnknownError", "chaoying.ended": UNKNOWN},
        StatusCode.UNSET,
    ),
    "no answer to a query": (
        [httpx.ReadError(SAID)] * 3,
        "orderquery",
        {"error.type": "TransportError", "chaoying.ended": FAILED, "http.request.resend_count": 2},
        StatusCode.ERROR,
    ),
    "never left": (
        [httpx.ConnectError(SAID)],
        "pay",
        {"error.type": "RequestNotSentError", "chaoying.ended": FAILED},
        StatusCode.ERROR,
    ),
    "another status": (
        [503] * 3,
        "orderquery",
        {
            "error.type": "GatewayUnavailableError",
            "http.response.status_code": 503,
            "http.request.resend_count": 2,
        },
        StatusCode.ERROR,
    ),
    "forged": (
        [body_of(answer_fields("pay") | {"sign": "0" * 32}, signed=False)],
        "pay",
        {"error.type": "OutcomeUnknownError", "http.response.status_code": 200},
        StatusCode.UNSET,
    ),
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_span_says_how_its_call_ended(end: str, recorder: Recorder) -> None:
    """Errors set the status, what nobody knows is a state of its own, and no text gets out."""
    script, name, wanted, status = ENDS[end]
    clock = FakeClock()
    async with session(FakeGateway(*script), observer=recorder.telemetry, clock=clock) as gateway:
        try:
            await clock.run(gateway.send(REQUESTS[name]))
        except ChaoyingError as error:
            assert wanted.get("error.type", type(error).__name__) == type(error).__name__
    (span,) = recorder.spans
    assert wanted.items() <= attributes(span).items()
    assert span.status.status_code is status
    assert span.events == ()
    assert (span.status.description or "") in ("", attributes(span).get("error.type"))


async def test_a_call_that_is_given_up_is_unknown(recorder: Recorder) -> None:
    """A cancelled payment may have been carried out."""
    asked = asyncio.Event()

    async def wait(_request: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with session(FakeGateway(wait), observer=recorder.telemetry) as gateway:
        call = asyncio.create_task(gateway.send(PAY))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    (span,) = recorder.spans
    assert attributes(span)["chaoying.ended"] == UNKNOWN
    assert attributes(span)["error.type"] == "CancelledError"


async def test_what_is_refused_before_it_leaves_is_no_call(recorder: Recorder) -> None:
    """No merchant: nothing was sent, so there is no span."""
    without = every_request(mch_id=None)["pay"]
    async with session(FakeGateway(), observer=recorder.telemetry, mch_id=None) as gateway:
        with pytest.raises(ParameterError):
            await gateway.send(without)
    assert recorder.spans == []


async def test_a_users_own_error_has_no_name(recorder: Recorder) -> None:
    """A hook's error may be of any class, so its name would make any number of series."""

    class HookError(Exception): ...

    async def hook(_request: httpx.Request) -> None:
        raise HookError(SAID)

    hooks = {"request": [hook]}
    async with session(FakeGateway(), observer=recorder.telemetry, event_hooks=hooks) as gateway:
        with pytest.raises(HookError):
            await gateway.send(PAY)
    assert attributes(recorder.spans[0])["error.type"] == "other"


@table("name, end", [*sampled(product(REQUESTS, ENDS), every=7)])
async def test_no_exporter_sees_a_secret(name: str, end: str) -> None:
    """M-27: every call, and every way to end: spans, events, links, statuses and numbers.

    One in seven of their product; ``FULL=1``: all.
    """
    recorder, clock = Recorder.made(), FakeClock()
    script = ENDS[end][0]
    async with session(
        FakeGateway(*script), observer=recorder.telemetry, clock=clock, device_info="d"
    ) as gateway:
        with contextlib.suppress(ChaoyingError):
            await clock.run(gateway.send(REQUESTS[name]))
    look_for_canaries(recorder)
    assert "chaoying.endpoint" in recorder.everything()


async def test_a_scanned_link_shows_its_host_alone(recorder: Recorder) -> None:
    """The path of a scanned link is the number of a code."""
    async with session(FakeGateway(), observer=recorder.telemetry) as gateway:
        await gateway.send(REQUESTS["QrConfGet"])
    (span,) = recorder.spans
    assert attributes(span)["server.address"] == httpx.URL(SCANNED_URL).host


async def test_calls_are_measured_in_seconds_by_endpoint_and_outcome(recorder: Recorder) -> None:
    """A histogram in seconds, with bounds for calls that take up to half a minute."""
    clock = FakeClock()

    async def slow(request: httpx.Request) -> httpx.Response:
        await clock.sleep(1.5)
        return httpx.Response(200, content=gateway.honest(request))

    gateway = FakeGateway(slow)
    async with session(gateway, observer=recorder.telemetry, clock=clock) as till:
        await clock.run(till.send(PAY))
        await clock.run(till.send(QUERY))
    (metric,) = [m for m in recorder.metrics() if m.name == "chaoying.call.duration"]
    points: dict[Any, Any] = {
        (point.attributes or {})["chaoying.endpoint"]: point for point in metric.data.data_points
    }
    assert metric.unit == "s"
    assert points["pay"].sum == 1.5
    assert max(points["pay"].explicit_bounds) == 30
    assert dict(points["orderquery"].attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "pay.storepos.cn",
        "server.port": 443,
        "url.scheme": "https",
        "chaoying.endpoint": "orderquery",
        "chaoying.outcome": "RESULT",
        "chaoying.ended": "done",
    }


async def test_a_call_belongs_to_whatever_the_program_is_doing(recorder: Recorder) -> None:
    """The program's own span is the parent, of calls side by side too, and is current again."""
    tracer = recorder.provider.get_tracer("shop")
    async with session(FakeGateway(), observer=recorder.telemetry) as gateway:
        with tracer.start_as_current_span("request") as request:
            await asyncio.gather(*(gateway.send(REQUESTS[name]) for name in MONEY))
            assert trace.get_current_span() is request
    assert trace.get_current_span() is trace.INVALID_SPAN
    parent = recorder.one("request")
    calls = [span for span in recorder.spans if span is not parent]
    assert len(calls) == len(MONEY)
    assert all(is_child(span, parent) for span in calls)


async def test_nothing_of_the_trace_is_sent_to_the_gateway(recorder: Recorder) -> None:
    """Its headers are the document's: no traceparent, no baggage."""
    gateway = FakeGateway()
    async with session(gateway, observer=recorder.telemetry) as till:
        await till.send(PAY)
    names = {name.lower() for name in gateway.requests[0].headers}
    assert names & {"traceparent", "tracestate", "baggage", "b3"} == set()


async def test_without_an_sdk_nothing_is_made_and_nothing_kept() -> None:
    """With the API alone every call goes as before."""
    telemetry = Telemetry()
    async with session(FakeGateway(), observer=telemetry) as gateway:
        assert (await gateway.send(PAY)).result is not None
    assert len(telemetry._payments) == 0


async def test_an_sdk_that_is_set_later_is_noticed_within_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A program may make its sessions before it sets its providers."""
    clock, telemetry, recorder = FakeClock(), Telemetry(), Recorder.made()
    async with session(FakeGateway(), observer=telemetry, clock=clock) as gateway:
        await gateway.send(PAY)
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", recorder.provider)
        await clock.advance(1)
        await gateway.send(PAY)
        await gateway.send(QUERY)
    assert [span.name for span in recorder.spans] == ["POST pay", "POST orderquery"]


async def test_metrics_alone_are_made_without_an_sdk_for_spans() -> None:
    """Each of the two may be there by itself."""
    reader = InMemoryMetricReader()
    telemetry = Telemetry(meter_provider=MeterProvider([reader]))
    async with session(FakeGateway(), observer=telemetry) as gateway:
        await gateway.send(PAY)
    assert "chaoying.call.duration" in str(reader.get_metrics_data())
    assert len(telemetry._payments) == 0


class Breaks:
    """An observer that raises at one of its three moments."""

    def __init__(self, moment: str, error: BaseException) -> None:
        self.moment, self.error = moment, error

    def _maybe(self, moment: str) -> None:
        if self.moment == moment:
            raise self.error

    def observing(self, work: Any) -> Any:
        self.work = work
        self._maybe("observing")
        return self

    def __enter__(self) -> None:
        self._maybe("enter")

    def __exit__(self, *_error: object) -> bool:
        self._maybe("exit")
        return True  # and it would like to swallow errors


@table("moment", ["observing", "enter", "exit"])
@table(
    "error",
    [
        RuntimeError(SAID),
        asyncio.CancelledError(SAID),
        GeneratorExit(SAID),
        BaseExceptionGroup(SAID, [asyncio.CancelledError()]),
    ],
    ids=lambda e: type(e).__name__,
)
async def test_an_observer_that_fails_changes_nothing_for_the_money(
    moment: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """M-02: the payment's reply comes back; the log names the class of what was raised."""
    observer: Observer = Breaks(moment, error)
    caplog.clear()
    async with session(FakeGateway(), observer=observer) as gateway:
        assert (await gateway.send(PAY)).result is not None
    told = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert told == [f"the observer raised {type(error).__name__}, and was not told of some work"]


@table("moment", ["observing", "enter", "exit"])
@table("error", [SystemExit(3), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_what_ends_the_program_ends_it_from_an_observer_too(
    moment: str, error: BaseException
) -> None:
    """Nobody's Ctrl-C is swallowed because it came while an observer ran."""
    work, observer = ObservedPayment(name="checkout"), Breaks(moment, error)
    with pytest.raises(type(error)), Observation(observer, work, SystemClock()):
        pass


@table("error", [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt])
def test_what_ends_the_work_itself_goes_on(error: type[BaseException]) -> None:
    """Who cancels a payment is not told that it ended well, whatever the observer raises."""
    work, observer = ObservedPayment(name="checkout"), Breaks("exit", GeneratorExit())
    with pytest.raises(error), Observation(observer, work, SystemClock()):
        raise error


@table("error", [OutcomeUnknownError, OrderNotFoundError, RequestNotSentError])
async def test_an_observer_cannot_swallow_an_error(error: type[ChaoyingError]) -> None:
    """Whatever its block returns on leaving."""
    script: dict[type[ChaoyingError], Step] = {
        OutcomeUnknownError: httpx.ReadError(""),
        OrderNotFoundError: refused("20007"),
        RequestNotSentError: httpx.ConnectError(""),
    }
    name = "orderquery" if error is OrderNotFoundError else "pay"
    async with session(FakeGateway(script[error]), observer=Breaks("never", OSError())) as gateway:
        with pytest.raises(error):
            await gateway.send(REQUESTS[name])


@pytest.mark.parametrize("observer", [5, "otel", Telemetry, lambda work: work])
def test_what_can_be_told_nothing_is_refused_when_the_session_is_made(observer: Any) -> None:
    """Not at the first payment."""
    with pytest.raises(ParameterError, match="observer"):
        session(FakeGateway(), observer=observer)


async def test_a_port_of_ones_own_stands_on_the_span(recorder: Recorder) -> None:
    """A sandbox or a proxy is told from the gateway."""
    hosts = Hosts.single("http://127.0.0.1:8080")
    async with session(FakeGateway(), observer=recorder.telemetry, hosts=hosts) as gateway:
        await gateway.send(QUERY)
    said = attributes(recorder.spans[0])
    assert (said["server.address"], said["server.port"]) == ("127.0.0.1", 8080)
    assert said["url.scheme"] == "http"
