"""Prometheus scrapes in a thread of its own, while the event loop changes what is counted."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from chaoying_async import (
    ExpectedOrder,
    MemoryInbox,
    NotificationHandler,
    OrderQuery,
    PaidOrder,
    PayType,
    Poller,
    PollSchedule,
)
from chaoying_async.polling.queue import DueQueue, QueuedOrder
from chaoying_async.sansio.call_numbers import CallCounts
from tests.factories import CREDENTIALS
from tests.fake_gateway import FakeGateway, session

pytest.importorskip("prometheus_client")

from chaoying_async.observing.prometheus import (
    ChaoyingCollector,
    exposition,
    registry_of,
)

ORDERS, MANY = 300, 3000


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Reader:
    """Reads again and again in its thread; keeps the first error."""

    def __init__(self, read: Callable[[], object]) -> None:
        self._read = read
        self._stopping = threading.Event()
        self.reads = 0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._read()
                self.reads += 1
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.error = error


async def test_a_thread_may_read_while_the_loop_works(hasty: None) -> None:
    """No copy is torn, and the last scrape has every order of every merchant."""
    async with session(FakeGateway()) as till:
        handler = NotificationHandler(
            CREDENTIALS,
            MemoryInbox(),
            lambda _: None,
            expected=lambda mch_id, _: ExpectedOrder(total_fee=100, mch_id=mch_id),
        )
        schedule = PollSchedule(first=0.0, every=1.0, until=5.0, jitter=0)
        async with Poller(till, schedule=schedule, merchant_rate=10_000) as poller:
            collector = ChaoyingCollector(
                session=till, poller=poller, handler=handler, merchants=True
            )
            registry = registry_of(collector)
            with Reader(lambda: exposition(registry)) as reader:
                await _work(poller, handler)
            assert reader.error is None
            assert reader.reads > 3
            assert till.stats().calls["orderquery", "RESULT"] == ORDERS
            assert sum(handler.stats().decisions.values()) == ORDERS


async def _work(poller: Poller, handler: NotificationHandler) -> None:
    """Every order is of another merchant, so that each one grows what is looked through."""

    async def one(index: int) -> None:
        query = OrderQuery(
            paytype=PayType.WECHAT, out_trade_no=f"A{index:05}", mch_id=f"{index:08}"
        )
        outcome = await poller.wait(query)
        assert isinstance(outcome.paid, PaidOrder)
        await handler.settle(outcome.paid)

    await asyncio.gather(*map(one, range(ORDERS)))


def test_calls_may_be_read_while_endpoints_and_outcomes_are_new(hasty: None) -> None:
    """A dictionary that grows is copied in one step, not walked through."""
    counts = CallCounts()
    with Reader(counts.snapshot) as reader:
        for index in range(MANY):
            counts.begin()
            counts.end(f"endpoint {index}", "RESULT", 0.1)
    assert reader.error is None
    assert len(counts.snapshot().calls) == MANY


def test_orders_that_are_due_may_be_read_while_merchants_are_new(hasty: None) -> None:
    """The poller's lag is found among them, by whoever asks."""
    queue = DueQueue(merchant_rate=1.0)
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1")
    with Reader(lambda: len(list(queue.orders()))) as reader:
        for index in range(MANY):
            kind = ("orderquery", f"{index:08}", "WECHAT", "out_trade_no")
            queue.push(QueuedOrder(query, kind, PollSchedule(), None, 0.0))
    assert reader.error is None
    assert len(list(queue.orders())) == MANY
