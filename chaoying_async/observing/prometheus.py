"""For Prometheus: a collector that reads all numbers when it is asked, and counts nothing itself.

::

    from prometheus_client import REGISTRY, start_http_server

    REGISTRY.register(ChaoyingCollector(session=gateway, poller=poller, handler=handler))
    start_http_server(9100)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from chaoying_async.observing.metric_table import MERCHANT_METRICS, METRICS, MetricKind, MetricRow
from chaoying_async.observing.readings import BOUNDS, Reading
from chaoying_async.observing.watched import HasStats, Watched

if TYPE_CHECKING:
    from chaoying_async.notifications.answering import HandlerStats
    from chaoying_async.observing.whole_fleet import WholeFleetStats
    from chaoying_async.polling.outcome import PollStats
    from chaoying_async.sansio.call_numbers import SessionStats
    from chaoying_async.workers.worker import FleetStats

__all__ = ["ChaoyingCollector", "exposition", "registry_of"]


class ChaoyingCollector(Collector):
    """The numbers of a program's sessions, pollers, handlers and fleet, for one registry.

    Each is one object, or a sequence of several, whose numbers are added up. Of several pollers
    give a mapping, ``{"orders": ..., "refunds": ...}``: its names are the label ``poller``, which
    is ``poller`` for a single one and ``fleet`` for a fleet's. A fleet gives the calls of its own
    session too, so leave that one out.

    ``fleet`` has the numbers of this process; ``whole_fleet``, a :class:`~.whole_fleet.WholeFleet`,
    those of all processes, from the tables.

    A registry takes one collector: a second one has the same metrics, and ``register`` says so.

    Every number is read when Prometheus asks, by ``stats()``, from memory: no query of a database,
    and no event loop that has to turn. So it does not matter in which thread that happens
    (``start_http_server`` has one of its own), and of a loop that hangs the numbers are still seen:
    they stand still. A fleet that is not open has none, and its metrics are left out.

    No label has an order number, a buyer, a key or an operator. ``merchants=True`` adds two metrics
    by ``mch_id``, three series for each merchant: leave it off where there are thousands.

    The mode of ``prometheus_client`` for several processes (``PROMETHEUS_MULTIPROC_DIR``) leaves
    out collectors like this one: give each process a port of its own.
    """

    def __init__(
        self,
        *,
        session: HasStats[SessionStats] | Sequence[HasStats[SessionStats]] = (),
        poller: HasStats[PollStats] | Mapping[str, HasStats[PollStats]] | None = None,
        handler: HasStats[HandlerStats] | Sequence[HasStats[HandlerStats]] = (),
        fleet: HasStats[FleetStats] | None = None,
        whole_fleet: HasStats[WholeFleetStats] | None = None,
        merchants: bool = False,
    ) -> None:
        self._watched = Watched(
            session=session,
            poller=poller,
            handler=handler,
            fleet=fleet,
            whole_fleet=whole_fleet,
            merchants=merchants,
        )

    def describe(self) -> Iterable[Metric]:
        """The metrics without values, by which a registry notices a second collector."""
        return [_family(row) for row in self._rows()]

    def collect(self) -> Iterable[Metric]:
        """Read every number now."""
        found = self._watched.readings()
        for row in self._rows():
            family = _family(row)
            for reading in found.get(row.name, {}).values():
                _add(family, reading)
            if family.samples:
                yield family

    def _rows(self) -> Iterator[MetricRow]:
        for row in METRICS.values():
            if self._watched.merchants or row.name not in MERCHANT_METRICS:
                yield row


def registry_of(collector: ChaoyingCollector) -> CollectorRegistry:
    """A registry with this collector, and with what Prometheus usually knows of a process."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry, accept: str = "") -> tuple[str, bytes]:
    """The content type and the body that answer ``GET /metrics``; ``accept``: that header's value.

    For a route of your own; ``make_asgi_app`` and ``start_http_server`` of ``prometheus_client``
    serve the same.
    """
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # it compares what a stranger calls a version
        encode, content_type = choose_encoder("")
    body: bytes = encode(registry)
    return content_type, body


_FAMILIES: Mapping[MetricKind, Callable[..., Metric]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
    "summary": SummaryMetricFamily,
}


def _family(row: MetricRow) -> Metric:
    return _FAMILIES[row.kind](row.name, row.words, labels=row.labels)


def _add(family: Metric, reading: Reading) -> None:
    labels, value = list(reading.labels), float(reading.value)
    match family:
        case CounterMetricFamily() | GaugeMetricFamily():
            family.add_metric(labels, value)
        case HistogramMetricFamily():
            within = map(float, reading.counts)
            family.add_metric(labels, list(zip(BOUNDS, within, strict=True)), value)
        case SummaryMetricFamily():
            (count,) = reading.counts
            family.add_metric(labels, count, value)
        case _:
            raise TypeError(f"{family.name} has an unknown kind")
