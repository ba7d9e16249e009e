"""Prometheus scrapes in a thread of its own, while the event loop changes what is counted."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
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
from tests.factories import CREDENTIALS
from tests.fake_gateway import FakeGateway, session

pytest.importorskip("prometheus_client")

from chaoying_async.observing.prometheus import (
    ChaoyingCollector,
    exposition,
    registry_of,
)

ORDERS = 300


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Scraper:
    """Reads again and again in its thread; keeps the first error."""

    def __init__(self, collector: ChaoyingCollector) -> None:
        self._registry = registry_of(collector)
        self._stopping = threading.Event()
        self.scrapes = 0
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
                exposition(self._registry)
                self.scrapes += 1
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
            with Scraper(collector) as scraper:
                await _work(poller, handler)
            assert scraper.error is None
            assert scraper.scrapes > 3
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
