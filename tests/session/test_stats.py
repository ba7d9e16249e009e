"""What a session counts: every call once, by how it ended and how long it took."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from chaoying_async import (
    GatewaySession,
    OutcomeUnknownError,
    ParameterError,
    SignatureRefusedError,
    TransportError,
)
from chaoying_async.sansio.call_numbers import DURATION_BOUNDS, SessionStats
from chaoying_async.testing import FakeClock
from tests.factories import every_request
from tests.fake_gateway import FakeGateway, session

REQUESTS = every_request()


async def after(till: GatewaySession, name: str, error: type[BaseException] | None) -> SessionStats:
    if error is None:
        await till.send(REQUESTS[name])
    else:
        with pytest.raises(error):
            await till.send(REQUESTS[name])
    return till.stats()


async def test_every_call_counts_once_by_what_its_reply_means() -> None:
    """Replies by their meaning, nothing before the first one, and the session may be closed."""
    till = session(FakeGateway())
    assert till.stats() == SessionStats(in_flight=0, calls={}, durations={})
    async with till:
        await till.send(REQUESTS["pay"])
        await till.send(REQUESTS["orderquery"])
        await till.send(REQUESTS["orderquery"])
    stats = till.stats()
    assert stats.calls == {("pay", "RESULT"): 1, ("orderquery", "RESULT"): 2}
    assert stats.in_flight == 0
    assert {name: sum(took.counts) for name, took in stats.durations.items()} == {
        "pay": 1,
        "orderquery": 2,
    }


@pytest.mark.parametrize(
    ("name", "step", "error", "outcome"),
    [
        ("pay", 500, OutcomeUnknownError, "OutcomeUnknownError"),
        ("orderquery", httpx.ReadError("x"), TransportError, "TransportError"),
        (
            "orderquery",
            b'{"state":"FAIL","code":"20002","msg":"no"}',
            SignatureRefusedError,
            "SignatureRefusedError",
        ),
        ("orderquery", RuntimeError("a defect"), TransportError, "TransportError"),
    ],
)
async def test_an_error_counts_by_its_class(
    name: str, step: Any, error: type[Exception], outcome: str
) -> None:
    """The class that the caller sees, as the log line has it; a repeated read counts once."""
    async with session(FakeGateway(*[step] * 3), clock=FakeClock(), read_retries=0) as till:
        stats = await after(till, name, error)
    assert stats.calls == {(name, outcome): 1}


async def test_what_never_left_because_of_its_parameters_is_no_call() -> None:
    """A request that names no merchant is refused before anything is sent."""
    async with session(FakeGateway(), mch_id=None) as till:
        with pytest.raises(ParameterError):
            await till.send(every_request(mch_id=None)["pay"])
        assert till.stats().calls == {}


async def test_a_hook_that_raises_and_a_cancelled_call_are_told_apart() -> None:
    """Both are no errors of ours; neither stays in flight."""

    async def refuse(_: httpx.Request) -> None:
        raise LookupError("not today")

    async with session(FakeGateway(), event_hooks={"request": [refuse]}) as till:
        stats = await after(till, "pay", LookupError)
    assert stats.calls == {("pay", "other"): 1}

    begun = asyncio.Event()

    async def hang(_: httpx.Request) -> httpx.Response:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with session(FakeGateway(hang)) as till:
        call = asyncio.create_task(till.send(REQUESTS["pay"]))
        await begun.wait()
        assert till.stats().in_flight == 1
        call.cancel()
        await asyncio.wait([call])
        assert till.stats() == SessionStats(
            in_flight=0,
            calls={("pay", "CancelledError"): 1},
            durations=till.stats().durations,
        )


@pytest.mark.parametrize(("seconds", "place"), [(0.05, 0), (0.3, 3), (30.0, 8), (31.0, 9)])
async def test_a_call_counts_within_the_first_bound_that_it_kept(
    seconds: float, place: int
) -> None:
    """The bound itself is within; what is longer than all of them has a place of its own."""
    clock = FakeClock()

    async def slow(request: httpx.Request) -> httpx.Response:
        await clock.sleep(seconds)
        return httpx.Response(200, content=gateway.honest(request))

    gateway = FakeGateway(slow)
    async with session(gateway, clock=clock, deadline=60.0) as till:
        await clock.run(till.send(REQUESTS["orderquery"]))
    took = till.stats().durations["orderquery"]
    assert len(took.counts) == len(DURATION_BOUNDS) + 1
    assert [index for index, count in enumerate(took.counts) if count] == [place]
    assert took.seconds == pytest.approx(seconds)
