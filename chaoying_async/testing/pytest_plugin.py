"""Fixtures for tests of programs that take payments; pytest finds them by itself.

``no_real_gateway`` is the one to turn on for everything::

    [tool.pytest.ini_options]
    usefixtures = ["no_real_gateway"]

A bare ``@respx.mock`` does *not* see what a :class:`GatewaySession` sends: respx patches httpx's
own engine, and the session has a faster one. Hand the router in instead::

    async def test_till(gateway_router, gateway_transport, credentials):
        gateway_router.post("https://pay.storepos.cn/UnifiedPay/Gateway").respond(content=...)
        async with GatewaySession(credentials, transport=gateway_transport) as gateway:
            ...

``simulate`` lets a shop of yours sell in simulated worlds (docs/simulation.md)::

    def test_shop(simulate):
        simulate(on_paid=on_paid, tables=metadata, delivered="SELECT number FROM parcels")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    import httpx
    import respx

    from chaoying_async.abc import Clock
    from chaoying_async.testing.fake_clock import FakeClock
    from chaoying_async.testing.simulation import Simulated
    from chaoying_async.transport.base import Engine, HttpReply

# The fixtures import the library themselves: pytest loads this file in every run, before coverage
# measures anything.


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--simulate-first`` and ``--simulate-seeds``: in place of what the tests say."""
    group = parser.getgroup("chaoying_async", "simulated worlds (fixture: simulate)")
    group.addoption("--simulate-first", type=int, metavar="SEED", help="the first seed")
    group.addoption("--simulate-seeds", type=int, metavar="N", help="how many seeds")


@pytest.fixture
def simulate(pytestconfig: pytest.Config) -> Callable[..., Simulated]:
    """``chaoying_async.testing.simulation.simulate``, for a test that is a plain function.

    ``pytest --simulate-first 4711 --simulate-seeds 1`` tells one story again, and
    ``--simulate-seeds 100000`` looks at more worlds than the test does.
    """
    from chaoying_async.testing.simulation import simulate as run  # noqa: PLC0415

    given = {name: pytestconfig.getoption(f"simulate_{name}", None) for name in ("first", "seeds")}
    said = {name: value for name, value in given.items() if value is not None}

    def simulated(*args: Any, **options: Any) -> Simulated:
        return run(*args, **(options | said))

    return simulated


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that moves only when told: ``await fake_clock.advance(5)``."""
    from chaoying_async.testing.fake_clock import FakeClock  # noqa: PLC0415

    return FakeClock()


@pytest.fixture
def gateway_router() -> respx.MockRouter:
    """respx's router, patching nothing; it answers through ``gateway_transport``.

    A request that no route expects is a ``TransportError`` (for money ``OutcomeUnknownError``)
    from respx's ``AllMockedAssertionError``. Call ``gateway_router.assert_all_called()`` where
    every route must have been used.
    """
    import respx  # noqa: PLC0415

    return respx.MockRouter(assert_all_called=False)


@pytest.fixture
def gateway_transport(gateway_router: respx.MockRouter) -> httpx.AsyncBaseTransport:
    """For ``GatewaySession(transport=...)``: the transport by which ``gateway_router`` answers."""
    import httpx  # noqa: PLC0415

    return httpx.MockTransport(gateway_router.async_handler)


@pytest.fixture
def no_real_gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test when a session would leave this machine; loopback (a sandbox) is allowed.

    It guards the session's own engine, and httpx's ``AsyncHTTPTransport`` handed in as it is; it
    does not guard a transport of yours that wraps one. Nothing is sent, and a test that swallows
    the failure fails at its end.
    """
    from chaoying_async.transport.settings import EngineSettings  # noqa: PLC0415

    caught: list[str] = []
    make = EngineSettings.engine  # the one place where a session gets its engine

    def guarded(settings: EngineSettings, clock: Clock) -> Engine:
        engine = make(settings, clock)
        return _LoopbackOnly(engine, caught) if _is_real(settings.transport) else engine

    monkeypatch.setattr(EngineSettings, "engine", guarded)
    yield
    if caught:
        _fail(caught[0])


def _is_real(transport: httpx.AsyncBaseTransport | None) -> bool:
    import httpx  # noqa: PLC0415

    from chaoying_async.transport import AiohttpTransport  # noqa: PLC0415

    return transport is None or isinstance(transport, (httpx.AsyncHTTPTransport, AiohttpTransport))


class _LoopbackOnly:
    """An engine that reaches no other machine."""

    def __init__(self, engine: Engine, caught: list[str]) -> None:
        self._engine, self._caught = engine, caught

    async def round_trip(self, method: str, url: str, *args: Any, **options: Any) -> HttpReply:
        from chaoying_async.sansio.hosts import is_loopback  # noqa: PLC0415

        host = urlsplit(url).hostname
        if not is_loopback(host):
            self._caught.append(str(host))
            _fail(str(host))
        return await self._engine.round_trip(method, url, *args, **options)

    async def aclose(self) -> None:
        await self._engine.aclose()


def _fail(host: str) -> NoReturn:
    pytest.fail(
        f"this test would have called a real gateway at {host}: give the session a "
        "transport= (see gateway_transport) or the address of a sandbox"
    )
