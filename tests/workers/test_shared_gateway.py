"""Payments of a process that asks about many orders, whose answers are slow (M-24)."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaoying_async import CheckoutStatus, OrderQuery, PayType
from chaoying_async.abc import Clock
from chaoying_async.testing import FakeClock
from chaoying_async.workers.shared_gateway import SharedGateway
from tests.pollers import PENDING, Scripted, always, order
from tests.workers.test_fleet_payments import NEVER, PAID, pay
from tests.workers.virtual import THEN, TOLD, VirtualFleet

pytestmark = pytest.mark.filterwarnings(
    # The process is still asking when the test ends, and its connections are thrown away.
    "ignore:The garbage collector is trying to clean up",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)

#: The orders that are asked about begin with this, and no answer about them comes in time.
SLOW = "W"


class SlowQueries(httpx.AsyncBaseTransport):
    """Holds each query about a slow order until it is given up; all else is carried out."""

    def __init__(self, inner: httpx.AsyncBaseTransport, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        #: When each payment and each cancel left.
        self.left: list[tuple[str, float]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = request.content.decode()
        if f"out_trade_no={SLOW}" in body:
            await self._clock.sleep(60)  # longer than the session's deadline
        for name in ("pay", "cancel"):
            if request.url.path.endswith(name) or f"method={name}" in body:
                self.left.append((name, self._clock.monotonic()))
        return await self._inner.handle_async_request(request)


@pytest.fixture
def world(tmp_path: Path) -> Generator[VirtualFleet]:
    found = VirtualFleet(tmp_path)
    yield found
    found.close()


def asking(world: VirtualFleet, amount: str) -> tuple[SlowQueries, list[Any]]:
    """A process whose every place is taken by slow queries, and that is paid in then."""
    world.shards = 5  # each has a poller that waits for a place
    transport = world.transport = SlowQueries(world.transport, world.clock)
    process = world.process("a")
    fleet = world.fleet(process, concurrency=2)
    returned: list[Any] = []

    async def work() -> None:
        async with fleet:
            numbers = [f"{SLOW}{n:06}" for n in range(25)]
            slow = [OrderQuery(paytype=PayType.WECHAT, out_trade_no=each) for each in numbers]
            await fleet.watch_many(slow, then=THEN)
            await world.clock.sleep(30)
            returned.append(world.clock.monotonic())
            returned.append(await fleet.checkout(pay(amount), then=THEN))
            await world.clock.sleep(10_000)

    process.start(work(), lasts=True)
    return transport, returned


def test_a_payment_does_not_wait_behind_queries(world: VirtualFleet) -> None:
    """M-24: it leaves within 10 s of the start that is stored, or the fleet gives it up first."""
    transport, returned = asking(world, PAID)
    world.until(lambda: len(returned) == 2)
    called, outcome = returned
    ((_, left),) = transport.left
    assert left - called < 10
    assert outcome.status is CheckoutStatus.PAID


def test_nor_does_a_cancel_or_what_it_is_decided_by(world: VirtualFleet) -> None:
    """M-24: it leaves from 30 to 240 s after the payment, and what it did is learnt soon."""
    transport, _ = asking(world, NEVER)
    world.until(lambda: any(told["of"] == "checkout" for told in TOLD), seconds=600)
    (status,) = [told["status"] for told in TOLD if told["of"] == "checkout"]
    assert status == "CANCELLED"
    (_, paid), (name, cancelled) = transport.left
    assert name == "cancel"
    assert 30 <= cancelled - paid <= 240


async def test_what_pollers_ask_keeps_to_the_limit() -> None:
    """So many at once; who is cancelled while he waits takes no place with him."""
    clock = FakeClock()
    gateway = Scripted(clock, always(PENDING))
    go_on = asyncio.Event()
    gateway.before = lambda _number: go_on.wait()  # type: ignore[assignment, return-value]
    shared = SharedGateway(gateway, 2)
    asked = [asyncio.create_task(shared.in_turn.send(order(f"A{n}"))) for n in range(6)]
    await asyncio.sleep(0)
    for given_up in asked[1:4]:  # one that is under way, and two that wait
        given_up.cancel()
    go_on.set()
    await asyncio.wait(asked)
    assert gateway.most_under_way == 2
    assert [task.cancelled() for task in asked] == [False, True, True, True, False, False]


class Plain:
    """A gateway of the user's that has a session's time-outs, and whose ``send`` takes none."""

    mch_id = "1"
    timeout = httpx.Timeout(5)

    async def send(self, request: Any) -> Any:
        return request


async def test_a_gateway_that_takes_no_time_out_is_given_none() -> None:
    """What is sent at once, and what waits for its turn."""
    shared = SharedGateway(Plain(), 2)  # type: ignore[arg-type]
    assert shared.timeout is None
    assert await shared.send(order()) is not None
    assert await shared.in_turn.send(order()) is not None
