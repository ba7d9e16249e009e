"""Waiting for a terminal's merchant, and the face-payment credential while it lasts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaoying_async import (
    FaceAuthCache,
    GatewayError,
    GetFaceAuth,
    ParameterError,
    PayBoxConfGet,
    PayType,
    SignatureVerificationError,
    TransportError,
    wait_for_terminal,
)
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.testing import FakeClock
from tests.factories import CREDENTIALS, MCH_ID, answer_fields, body_of

TERMINAL = PayBoxConfGet(device_info="d1", op_device_id="od1")


class Answers:
    """A ``Gateway`` that gives these answers one after the other, and the last one for ever."""

    mch_id = None

    def __init__(self, *script: Exception | dict[str, Any]) -> None:
        self.script = list(script)
        self.requests: list[Any] = []
        self.pause: Any = None

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        self.requests.append(request)
        if self.pause is not None:
            await self.pause()
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, Exception):
            raise said
        body = body_of(answer_fields(request.endpoint.name, **said))
        return read_reply(build_request(request, CREDENTIALS), 200, body, CREDENTIALS, now=None)


NOT_YET = {"mch_id": None, "mch_trade_code": None}
REFUSED = {"state": "FAIL", "code": "20004"}


async def test_a_terminal_waits_until_it_has_a_merchant() -> None:
    """C 27, C 98: every 5 s; no answer counts as not yet."""
    clock = FakeClock()
    gateway = Answers(NOT_YET, TransportError("x"), NOT_YET, {})
    result = await clock.run(wait_for_terminal(gateway, TERMINAL, clock=clock))
    assert result.mch_id == MCH_ID
    assert clock.monotonic() == 15.0
    assert len(gateway.requests) == 4


async def test_a_refusal_ends_the_waiting() -> None:
    """C 98: FAIL stops, and so does what waiting cannot mend."""
    clock = FakeClock()
    with pytest.raises(GatewayError):
        await clock.run(wait_for_terminal(Answers(NOT_YET, REFUSED), TERMINAL, clock=clock))
    gateway = Answers(SignatureVerificationError("x"))
    with pytest.raises(SignatureVerificationError):
        await wait_for_terminal(gateway, TERMINAL, clock=clock)
    with pytest.raises(ParameterError, match="every"):
        await wait_for_terminal(gateway, TERMINAL, every=0)


async def test_waiting_for_a_terminal_has_the_callers_limit() -> None:
    """Cancelling it is safe."""
    clock = FakeClock()

    async def patient() -> None:
        async with clock.timeout(12):
            await wait_for_terminal(gateway, TERMINAL, clock=clock)

    gateway = Answers(NOT_YET)
    with pytest.raises(TimeoutError):
        await clock.run(patient())
    assert len(gateway.requests) == 3


def face(**changes: Any) -> GetFaceAuth:
    fields: dict[str, Any] = {
        "store_id": "s1",
        "store_name": "shop",
        "device_id": "d1",
        "rawdata": "r1",
    }
    return GetFaceAuth(paytype=PayType.WECHAT, mch_id=MCH_ID, **(fields | changes))


AUTH = {"authinfo": "AUTH1", "expires_in": "3600"}


async def test_authinfo_is_asked_for_once_while_it_lasts() -> None:
    """Per device and parameters; the SDK's own rawdata differs each time."""
    clock = FakeClock()
    gateway = Answers(AUTH, AUTH | {"authinfo": "AUTH2"})
    cache = FaceAuthCache(gateway, clock=clock)
    assert (await cache.get(face())).authinfo == "AUTH1"
    await clock.advance(3539)
    assert (await cache.get(face(rawdata="r2"))).authinfo == "AUTH1"
    await clock.advance(1)
    assert (await cache.get(face())).authinfo == "AUTH2"
    cache.forget(face())
    await cache.get(face(device_id="d2"))
    await cache.get(face())
    assert len(gateway.requests) == 4
    assert "AUTH" not in repr(cache)


async def test_callers_at_once_share_one_request_and_a_failure_is_not_kept() -> None:
    """The next caller asks anew."""
    clock = FakeClock()
    gateway = Answers(TransportError("x"), AUTH)
    gateway.pause = lambda: clock.sleep(1)
    cache = FaceAuthCache(gateway, clock=clock)
    calls = [cache.get(face()) for _ in range(4)]
    found = await clock.run(asyncio.gather(*calls, return_exceptions=True))
    assert isinstance(found[0], TransportError)
    assert [getattr(result, "authinfo", None) for result in found[1:]] == ["AUTH1"] * 3
    assert len(gateway.requests) == 2


async def test_authinfo_without_an_end_is_not_kept() -> None:
    """Nobody knows how long it lasts."""
    gateway = Answers({"authinfo": "AUTH1"})
    cache = FaceAuthCache(gateway, clock=FakeClock())
    await cache.get(face())
    await cache.get(face())
    assert len(gateway.requests) == 2
