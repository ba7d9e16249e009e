"""The numbers of every ``stats()`` as OpenTelemetry's instruments, and life without it."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from chaoying_async import OrderQuery, ParameterError, PayType, Poller
from chaoying_async.observing.metric_table import MERCHANT_METRICS, METRICS
from chaoying_async.observing.otel import Telemetry
from chaoying_async.observing.otel.instruments import all_instruments
from chaoying_async.testing import FakeClock
from tests.factories import ORDER
from tests.fake_gateway import FakeGateway, session
from tests.observing.recorder import Recorder
from tests.shop import Shop, queried


async def test_every_number_of_the_table_is_given_out(recorder: Recorder) -> None:
    """The same numbers as Prometheus gets, by names with dots."""
    clock, shop = FakeClock(), Shop()
    async with (
        session(FakeGateway(), clock=clock) as gateway,
        Poller(gateway, clock=clock) as poller,
        shop.handler() as handler,
    ):
        recorder.telemetry.watch(session=gateway, poller={"orders": poller}, handler=handler)
        poller.track(OrderQuery(paytype=PayType.WECHAT, out_trade_no=ORDER))
        await handler.handle(shop.body())
        await handler.settle(queried())
        assert recorder.points("chaoying.poller.pending") == [({"chaoying.poller": "orders"}, 1)]
        assert ({"chaoying.decision": "APPLY"}, 1) in recorder.points("chaoying.decisions")
        assert ({"chaoying.decision": "DUPLICATE"}, 1) in recorder.points("chaoying.decisions")
        sources = {
            each["chaoying.source"]: value
            for each, value in recorder.points("chaoying.paid_orders")
        }
        assert sources == {"notification": 1, "query": 0}
        assert recorder.points("chaoying.callback.delay.count") == [({}, 1)]
        assert recorder.points("chaoying.callback.delay.sum") == [({}, 5.0)]
        given = {metric.name: metric for metric in recorder.metrics()}
    wanted = {each.name: each for each in all_instruments() if "fleet" not in each.name}
    assert given.keys() == wanted.keys()
    assert {name: metric.unit for name, metric in given.items()} == {
        name: each.unit for name, each in wanted.items()
    }
    assert all(metric.description for metric in given.values())


def test_no_row_of_the_table_is_forgotten() -> None:
    """But for those that the histogram of calls says better, and those by merchant."""
    rows = {each.row.name for each in all_instruments()}
    better = {
        *("chaoying_calls_total", "chaoying_call_errors_total", "chaoying_call_duration_seconds")
    }
    assert rows == METRICS.keys() - better - MERCHANT_METRICS
    names = [each.name for each in all_instruments()]
    assert len(set(names)) == len(names)
    assert not [name for name in names if name.endswith(("total", "seconds"))]


class Counting:
    """Something with numbers that notes how often it was asked, and by which thread."""

    def __init__(self, stats: Any) -> None:
        self._stats = stats
        self.asked: list[str] = []

    def stats(self) -> Any:
        self.asked.append(threading.current_thread().name)
        return self._stats


async def test_an_export_asks_each_object_once(recorder: Recorder) -> None:
    """Not once for each of thirty instruments; and two exporters do no harm."""
    clock = FakeClock()
    async with session(FakeGateway(), clock=clock) as gateway, Poller(gateway) as poller:
        counting = Counting(poller.stats())
        readers = [InMemoryMetricReader(), InMemoryMetricReader()]
        telemetry = Telemetry(meter_provider=MeterProvider(readers))
        telemetry.watch(poller=counting)
        for number in range(1, 4):
            readers[0].get_metrics_data()
            assert len(counting.asked) == number
        readers[1].get_metrics_data()
        readers[0].get_metrics_data()
        assert len(counting.asked) == 5


async def test_an_exporters_thread_may_read_while_the_loop_works(recorder: Recorder) -> None:
    """Exporters have a thread of their own: nothing is read half, and nothing raises there."""
    shop, wrong, stop = Shop(), list[BaseException](), threading.Event()

    def export() -> None:
        while not stop.is_set():
            try:
                recorder.reader.get_metrics_data()
            except BaseException as error:  # noqa: BLE001 - whatever a reader would see
                wrong.append(error)

    async with shop.handler(observer=recorder.telemetry) as handler:
        recorder.telemetry.watch(handler=handler)
        exporter = threading.Thread(target=export)
        exporter.start()
        try:
            for _ in range(300):
                await handler.handle(shop.body())
        finally:
            stop.set()
            exporter.join()
    assert wrong == []


def test_nothing_to_watch_is_refused(recorder: Recorder) -> None:
    """An empty call would give out nothing, for ever, without a word."""
    with pytest.raises(ParameterError):
        recorder.telemetry.watch()


# ------------------------------------------------------------------------------- what is installed


@pytest.fixture
def without_otel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if opentelemetry-api were not installed."""
    for name in [*sys.modules]:
        if name.startswith(("opentelemetry", "chaoying_async.observing.otel")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    yield
    for name in [*sys.modules]:
        if name.startswith("chaoying_async.observing.otel"):
            monkeypatch.delitem(sys.modules, name)


def test_an_error_names_the_extra_where_opentelemetry_is_not_installed(without_otel: None) -> None:
    """And says how to get it."""
    with pytest.raises(ImportError, match=r"pip install 'chaoying-async\[otel\]'"):
        importlib.import_module("chaoying_async.observing.otel")


_IMPORTED = """
import sys
import chaoying_async
from chaoying_async import GatewaySession, NotificationHandler, checkout
others = ("opentelemetry", "chaoying_async.observing")
assert not [name for name in sys.modules if name.startswith(others)]
sys.modules["opentelemetry.sdk"] = None  # the API alone
from chaoying_async.observing.otel import Telemetry
Telemetry()
"""


@pytest.mark.outside
def test_nothing_loads_opentelemetry_but_its_own_room() -> None:
    """And that needs the API alone, without an SDK."""
    subprocess.run([sys.executable, "-W", "error", "-c", _IMPORTED], check=True)
