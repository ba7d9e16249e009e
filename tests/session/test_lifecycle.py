"""One session, one loop, opened and closed by its user; nothing of it is left behind."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
import warnings
from pathlib import Path

import httpx
import pytest

from chaoying_async import (
    ChaoyingWarning,
    GatewaySession,
    Hosts,
    ParameterError,
    PreviousKey,
    SessionClosedError,
    TransportError,
    UsageError,
    WrongEventLoopError,
)
from chaoying_async.sansio.signing import sign_for
from chaoying_async.testing import FakeClock
from tests.factories import CREDENTIALS, MCH_ID, answer_fields, body_of, every_request
from tests.fake_gateway import FakeGateway, session
from tests.sizes import FULL
from tests.tcp_server import Link, reply, serving

QUERY = every_request()["orderquery"]
ANSWER = reply(body_of(answer_fields("orderquery")))


async def answering(link: Link) -> None:
    while True:
        await link.request()
        await link.send(ANSWER)


async def test_a_session_works_inside_its_block_only() -> None:
    """Before and after the block there is a clear error, and nothing leaves."""
    gateway = FakeGateway()
    till = session(gateway)
    with pytest.raises(SessionClosedError, match="async with"):
        await till.send(QUERY)
    async with till:
        assert repr(till) == f"<GatewaySession agent_id={CREDENTIALS.agent_id!r} open>"
        await till.send(QUERY)
        with pytest.raises(UsageError, match="open already"):
            await till.__aenter__()
    assert repr(till).endswith("closed>")
    with pytest.raises(SessionClosedError):
        await till.send(QUERY)
    assert len(gateway.requests) == 1


async def test_a_session_may_be_opened_again() -> None:
    """After its block it can be entered once more, with a new pool; closing twice does no harm."""
    gateway = FakeGateway()
    till = session(gateway)
    for _ in range(3):
        async with till:
            await till.send(QUERY)
        await till.aclose()
    assert len(gateway.requests) == 3


def test_a_second_event_loop_is_a_clear_error() -> None:
    """asyncio.run twice with one session, the classic mistake of task workers."""
    till = session(FakeGateway())

    async def use(opening: bool) -> None:
        if opening:
            await till.__aenter__()
        await till.send(QUERY)

    asyncio.run(use(opening=True))
    with pytest.raises(WrongEventLoopError, match="one per loop"):
        asyncio.run(use(opening=False))
    asyncio.run(till.aclose())


async def test_another_threads_loop_is_a_clear_error() -> None:
    """A session is not shared between threads that run loops of their own."""
    errors: list[BaseException] = []

    def elsewhere(till: GatewaySession) -> None:
        try:
            asyncio.run(_send(till))
        except WrongEventLoopError as error:
            errors.append(error)

    gateway = FakeGateway()
    async with session(gateway) as till:
        thread = threading.Thread(target=elsewhere, args=(till,))
        thread.start()
        await asyncio.to_thread(thread.join)
        await till.send(QUERY)
    assert len(errors) == 1
    assert len(gateway.requests) == 1


async def _send(till: GatewaySession) -> None:
    await till.send(QUERY)


async def test_a_forgotten_session_warns() -> None:
    """Dropping an open session is a ResourceWarning that names it, without its key."""
    gc.freeze()  # what there is already need not be looked at
    till: GatewaySession | None = session(FakeGateway())
    assert till is not None
    await till.__aenter__()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del till
        gc.collect()
    (warning,) = [one for one in caught if issubclass(one.category, ResourceWarning)]
    assert str(warning.message).startswith("unclosed <GatewaySession agent_id=")


async def test_a_closed_or_never_opened_session_does_not_warn() -> None:
    """No warning, and no network work, where nothing was left open."""
    gc.freeze()  # nor may what others left warn here
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        till: GatewaySession | None = session(FakeGateway())
        del till
        async with session(FakeGateway()) as used:
            await used.send(QUERY)
        del used
        gc.collect()
    assert [each.message for each in told if issubclass(each.category, ResourceWarning)] == []


async def test_a_users_transport_is_never_closed() -> None:
    """M-17: we close only what we made; a transport outlives the sessions that use it."""
    gateway = FakeGateway()
    for _ in range(2):
        async with session(gateway) as till:
            await till.send(QUERY)
    assert not gateway.closed


async def test_verify_false_says_so_once_and_leaves_nothing_open() -> None:
    """Switching TLS verification off is a warning on opening."""
    till = session(FakeGateway(), verify=False)
    with pytest.warns(ChaoyingWarning, match="verify=False"):
        await till.__aenter__()
    await till.aclose()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ChaoyingWarning):
            await till.__aenter__()
    with pytest.raises(SessionClosedError):
        await till.send(QUERY)


@pytest.mark.parametrize("name", ["pay", "api", "qrpay"])
def test_plain_http_to_another_machine_is_refused(name: str) -> None:
    """It needs ``dangerous_allow_http=True``; loopback does not."""
    hosts = dict.fromkeys(("pay", "api", "qrpay"), "https://gateway.example")
    with pytest.raises(ParameterError) as caught:
        Hosts(**hosts | {name: "http://gateway.example"})  # type: ignore[arg-type]
    assert set(caught.value.problems) == {name}
    Hosts(**hosts | {name: "http://gateway.example"}, dangerous_allow_http=True)  # type: ignore[arg-type]
    Hosts(**hosts | {name: "http://127.0.0.1:1"})  # type: ignore[arg-type]


async def test_a_session_is_not_pickled() -> None:
    """M-27: neither a session nor its credentials travel to another process by pickle."""
    for thing in (session(FakeGateway()), CREDENTIALS):
        with pytest.raises((TypeError, AttributeError)):
            pickle.dumps(thing)


async def test_a_previous_key_verifies_until_its_end(fake_clock: FakeClock) -> None:
    """M-21, M-26: by the session's own clock, to the second, and never for signing."""
    from datetime import timedelta

    import attrs

    old = attrs.evolve(CREDENTIALS, key="the-key-before-this-one")
    until = fake_clock.now() + timedelta(seconds=10)
    rotated = attrs.evolve(CREDENTIALS, previous_keys=(PreviousKey(old.key, until),))
    gateway = FakeGateway(agents={CREDENTIALS.agent_id: old})
    async with session(gateway, credentials=rotated, clock=fake_clock) as till:
        await fake_clock.advance(9.999)
        assert (await till.send(QUERY)).signed
        await fake_clock.advance(0.001)
        with pytest.raises(Exception, match="signature is wrong"):
            await till.send(QUERY)
    for form in gateway.forms:
        assert form["sign"] == sign_for(CREDENTIALS, form)


# ------------------------------------------------------------------------------- nothing is left


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors by /proc")
async def test_opening_and_closing_sessions_leaks_no_descriptor() -> None:
    """Cycles of open, call, close leave as many descriptors as there were."""
    gc.freeze()
    async with serving(answering) as server:
        hosts = Hosts.single(server.url(""))

        async def cycle() -> None:
            async with session(None, hosts=hosts) as till:
                await till.send(QUERY)

        for _ in range(3):
            await cycle()
        await asyncio.sleep(0)
        before = _descriptors()
        for _ in range(10_000 if FULL else 20):
            await cycle()
        for _ in range(5):
            await asyncio.sleep(0)
        gc.collect()
        assert _descriptors() <= before + 2


async def test_closing_ends_the_calls_under_way() -> None:
    """Calls that wait when a session closes end with an error of ours, they do not hang."""

    async def silent(link: Link) -> None:
        await link.request()
        await link.hung_up()

    async with serving(silent) as server:
        hosts = Hosts.single(server.url(""))
        limits = httpx.Limits(max_connections=2)
        async with session(None, hosts=hosts, limits=limits, read_retries=0) as till:
            calls = [asyncio.create_task(till.send(QUERY)) for _ in range(5)]
            while len(server.requests) < 2:
                await asyncio.sleep(0)
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, TransportError) for end in ends), ends


async def test_credentials_are_not_shared_between_sessions() -> None:
    """Two sessions side by side sign as whom they were made for."""
    import attrs

    other = attrs.evolve(CREDENTIALS, agent_id="2", key="another-agents-key-000")
    gateway = FakeGateway(agents={CREDENTIALS.agent_id: CREDENTIALS, "2": other})
    async with session(gateway) as one, session(gateway, credentials=other, mch_id="9") as two:
        await asyncio.gather(one.send(QUERY), two.send(QUERY), one.send(QUERY))
    for form in gateway.forms:
        agent = CREDENTIALS if form["agent_id"] == CREDENTIALS.agent_id else other
        assert form["sign"] == sign_for(agent, form)
        assert form["mch_id"] == MCH_ID
