"""M-24: a payment leaves within 10 s of the start that is stored, or it is not sent at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaoying_async import GatewaySession, OrderQuery, PayType
from chaoying_async.payments.checkout import checkout
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.sansio.hosts import Hosts
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus
from chaoying_async.testing import FakeClock
from chaoying_async.workers.senders_store import SendersStore
from tests.engines import silent
from tests.factories import CREDENTIALS, MCH_ID
from tests.tcp_server import TcpServer
from tests.tills import Counter, a_till, pay
from tests.workers import test_fleet_payments as fleets
from tests.workers.virtual import THEN, VirtualFleet

#: A session of somebody who never wants to lose a call.
PATIENT = httpx.Timeout(600.0)


async def test_a_payment_that_finds_no_free_connection_is_not_sent() -> None:
    """Whoever took it up would have told long ago that it never arrived."""
    clock = FakeClock()
    async with (
        TcpServer(silent) as server,
        GatewaySession(
            CREDENTIALS,
            mch_id=MCH_ID,
            op_user_id="op",
            hosts=Hosts.single(server.url()),
            limits=httpx.Limits(max_connections=1),
            timeout=PATIENT,
            deadline=None,
            clock=clock,
        ) as gateway,
        MemoryPollStore() as store,
    ):
        query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="OTHER1")
        busy = asyncio.create_task(gateway.send(query))
        while not server.requests:
            await asyncio.sleep(0)
        outcome = await clock.run(checkout(gateway, pay(100), store=store, clock=clock), within=10)
        assert (outcome.status, outcome.reason) == (
            CheckoutStatus.FAILED,
            CheckoutReason.NOT_SENT,
        )
        assert len(server.requests) == 1
        busy.cancel()
        await asyncio.wait([busy])


class Timed(Counter):
    """A till whose session has time-outs; it notes those that each call was given."""

    timeout: Any = PATIENT
    given: dict[str, Any]

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        self.given[request.endpoint.name] = timeout
        return await super().send(request)


class Slow(MemoryPollStore):
    """A store that takes so long before a payment may leave."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        super().__init__()
        self._clock, self._seconds = clock, seconds

    async def hold(self) -> None:
        await super().hold()
        seconds, self._seconds = self._seconds, 0.0
        if seconds:
            await self._clock.sleep(seconds)


@pytest.mark.parametrize("late", [0.0, 4.0, 9.5])
@pytest.mark.parametrize("timeout", [PATIENT, httpx.Timeout(None), httpx.Timeout(20.0, connect=2)])
async def test_what_the_store_took_is_not_there_for_the_connection(
    late: float, timeout: httpx.Timeout
) -> None:
    """Waiting for the pool and connecting end in what is left; all else is the session's."""
    async with a_till() as shop, Slow(shop.clock, late) as store:
        shop.till = till = Timed(shop.till.session, shop.clock)
        till.timeout, till.given = timeout, {}
        await shop.checkout(405, store=store)
    given = till.given["pay"]
    assert given.pool + given.connect == pytest.approx(10 - late)
    assert (given.read, given.write) == (timeout.read, timeout.write)
    cancel = till.given["cancel"]
    assert cancel.pool + cancel.connect <= 270
    assert till.given["orderquery"] is None


class SlowBeforeCancel(MemoryPollStore):
    """A store that takes 100 s to write down that a cancel is about to leave."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        if any('"last":"UNCLEAR"' in text for text in items.values()):
            await self._clock.sleep(100)
        await super().put(kind, items)


async def test_a_cancel_whose_record_took_too_long_does_not_leave() -> None:
    """M-24: 270 s after the pay call began the window is over, however slow the store was."""
    async with a_till() as shop, SlowBeforeCancel(shop.clock) as store:
        outcome = await shop.checkout(405, store=store)
        assert shop.till.at("cancel") == []
    assert (outcome.status, outcome.reason) == (CheckoutStatus.UNKNOWN, CheckoutReason.STILL_OPEN)


class Wrapped:
    """A shop's own gateway: all is the session's but ``send``, which knows no time-out."""

    def __init__(self, session: GatewaySession) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def send(self, request: Any) -> Any:
        return await self._session.send(request)


async def test_a_gateway_that_takes_no_time_out_is_given_none() -> None:
    """What it cannot be told cannot keep it from paying, nor from cancelling."""
    async with a_till() as shop, MemoryPollStore() as store:
        gateway = Wrapped(shop.till.session)
        assert gateway.timeout is not None
        for number, status in ((100, "PAID"), (405, "CANCELLED")):
            sold = checkout(
                gateway,  # type: ignore[arg-type]
                pay(number, f"ORDER{number}"),
                store=store,
                clock=shop.clock,
            )
            assert (await shop.clock.run(sold)).status == status


async def test_without_a_store_nobody_takes_it_up_and_it_waits_as_long_as_it_may() -> None:
    """What this process knows of the start is right, however long the payment waited."""
    async with a_till() as shop:
        shop.till = till = Timed(shop.till.session, shop.clock)
        till.given = {}
        await shop.checkout(100)
    assert till.given["pay"] is None


def test_a_fleets_payment_leaves_in_time_too(tmp_path: Path) -> None:
    """Of the session's 10 s for its pool and 5 s for a connection, 10 s are left in all."""
    world = VirtualFleet(tmp_path)
    process, given = world.process("a"), []
    inner = world.transport

    class Noting(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            given.append(request.extensions["timeout"])
            return await inner.handle_async_request(request)

    world.transport = Noting()

    async def work() -> None:
        async with world.fleet(process) as fleet:
            await fleet.checkout(fleets.pay(), then=THEN)

    world.run(process, work())
    world.close()
    assert 9 < given[0]["pool"] + given[0]["connect"] <= 10


def test_a_fleet_looks_again_where_a_look_took_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M-23: what was read over 5 s ago says no more whose the row is, and the payment waits."""
    world = VirtualFleet(tmp_path)
    world.look = 5.0
    process, hold, looks = world.process("a"), SendersStore.hold, []

    async def slow(store: SendersStore) -> None:
        await hold(store)
        looks.append(store)
        if len(looks) == 1:
            await asyncio.sleep(6)

    monkeypatch.setattr(SendersStore, "hold", slow)

    async def work() -> None:
        async with world.fleet(process) as fleet:
            outcome = await fleet.checkout(fleets.pay(), then=THEN)
            assert outcome is None or outcome.status is CheckoutStatus.PAID

    world.run(process, work())
    world.close()
    assert len(looks) == 2
