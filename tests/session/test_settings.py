"""A session's numbers: what would fail only once the payment was made is refused before it is."""

from __future__ import annotations

import math
from typing import Any

import httpx
import httpx2
import pytest

from chaoying_async import GatewaySession, ParameterError
from tests.factories import CREDENTIALS, every_request
from tests.fake_gateway import FakeGateway, session
from tests.table import table

REQUESTS = every_request()
NO_SECONDS: list[Any] = [
    *(0, -1, -0.5, math.nan, math.inf, -math.inf, 10**400, True, False),
    *("5", "", b"5", [5], {}, 5j, object()),
]
NO_TIMEOUTS: list[Any] = [
    *NO_SECONDS,
    *((), (1,), (1, "2"), (1, 2, 3, -4), (math.nan, None)),
    httpx.Timeout(5.0, read=-1),
    httpx.Timeout(5.0, connect=0),
    httpx.Timeout(5.0, pool=math.inf),
    httpx.Timeout(5.0, write="5"),  # type: ignore[arg-type]
    httpx2.Timeout(5.0),
]
NO_LIMITS: list[Any] = [
    *(0, 5, "", "5", {}, [], True, object(), httpx.Limits, httpx.Timeout(5.0)),
    httpx.Limits(max_connections=0),
    httpx.Limits(max_connections=-1),
    httpx.Limits(max_connections=1.5),  # type: ignore[arg-type]
    httpx.Limits(max_connections=True),
    httpx.Limits(max_connections="5"),  # type: ignore[arg-type]
    httpx.Limits(max_keepalive_connections=-1),
    httpx.Limits(keepalive_expiry=-1),
    httpx.Limits(keepalive_expiry=math.nan),
    httpx.Limits(keepalive_expiry="5"),  # type: ignore[arg-type]
]
REFUSED: dict[str, list[Any]] = {
    "timeout": NO_TIMEOUTS,
    "deadline": NO_SECONDS,
    "limits": NO_LIMITS,
    "max_reply_bytes": [None, "5", b"5", 0, -1, 1.5, 5.0, True, math.inf, math.nan, []],
    "read_retries": [None, "2", -1, 1.5, True, math.nan],
}
TAKEN: dict[str, list[Any]] = {
    "timeout": [
        *(None, 5, 0.5, 1e300, (1, 2), (1, None, 3, 4)),
        httpx.Timeout(None),
        httpx.Timeout(5.0, read=None),
    ],
    "deadline": [None, 5, 0.5, 1e300],
    "limits": [
        None,
        httpx.Limits(),
        httpx.Limits(max_connections=1, max_keepalive_connections=0, keepalive_expiry=0),
        httpx.Limits(max_connections=5, keepalive_expiry=math.inf),
        httpx.Limits(max_connections=5, keepalive_expiry=None),
        httpx2.Limits(max_connections=5),
    ],
    "max_reply_bytes": [1, 1 << 40],
    "read_retries": [0, 1, 19],
}


def cases(settings: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in settings.items() for value in values]


@table(("name", "value"), cases(REFUSED))
def test_a_number_that_no_call_could_keep_to_is_refused_at_once(name: str, value: Any) -> None:
    """M-01: it used to be an unknown outcome, and some of those payments had been made."""
    with pytest.raises(ParameterError) as caught:
        GatewaySession(CREDENTIALS, **{name: value})
    assert list(caught.value.problems) == [name]


@table(("name", "value"), cases(TAKEN))
async def test_every_other_number_is_taken(name: str, value: Any) -> None:
    """What was allowed is: the default engine is made, and a call goes through."""
    async with GatewaySession(CREDENTIALS, **{name: value}):
        pass
    if name != "max_reply_bytes":
        async with session(FakeGateway(), **{name: value}) as till:
            await till.send(REQUESTS["orderquery"])


def test_every_bad_number_is_named_at_once() -> None:
    """M-01: one error says all there is to mend."""
    worst = {name: values[1] for name, values in REFUSED.items()}
    with pytest.raises(ParameterError) as caught:
        GatewaySession(CREDENTIALS, **worst)
    assert set(caught.value.problems) == set(REFUSED)


@pytest.mark.parametrize("value", NO_TIMEOUTS, ids=range(len(NO_TIMEOUTS)))
async def test_a_time_out_of_one_call_is_looked_at_before_anything_is_sent(value: Any) -> None:
    """M-01: nothing was sent, and the error says so; the session goes on."""
    gateway = FakeGateway()
    async with session(gateway) as till:
        with pytest.raises(ParameterError, match="timeout"):
            await till.send(REQUESTS["pay"], timeout=value)
        assert not gateway.requests
        await till.send(REQUESTS["orderquery"], timeout=5)
    assert len(gateway.requests) == 1
