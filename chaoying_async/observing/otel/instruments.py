"""The numbers of every ``stats()``, as instruments that are read when metrics are exported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from chaoying_async.observing.metric_table import MERCHANT_METRICS, METRICS, MetricRow
from chaoying_async.observing.readings import Reading
from chaoying_async.observing.watched import Watched

#: ``chaoying.call.duration`` says the same of each call, and more.
_MEASURED_ELSEWHERE = frozenset(
    {"chaoying_calls_total", "chaoying_call_errors_total", "chaoying_call_duration_seconds"}
)

#: Words that several names of the table begin with.
_NAMESPACES = frozenset({"callback", "calls", "deliveries", "fleet", "poller"})


class Instrument(NamedTuple):
    """One instrument, and where its values come from."""

    name: str
    """As OpenTelemetry has it: with dots, and the unit beside it."""
    unit: str
    """``s``, or nothing for what is counted."""
    row: MetricRow
    """Its row in the table that all exporters share."""
    value: Callable[[Reading], float]
    """Its value in a reading of that row."""


def all_instruments() -> Iterator[Instrument]:
    """The instruments of the table. What is a summary there are two counters here."""
    for row in METRICS.values():
        if row.name in _MEASURED_ELSEWHERE or row.name in MERCHANT_METRICS:
            continue
        stem, unit = row.name.removesuffix("_total"), ""
        if stem.endswith("_seconds"):
            stem, unit = stem.removesuffix("_seconds"), "s"
        name = _dotted(stem)
        if row.kind == "summary":
            yield Instrument(f"{name}.sum", unit, row, lambda reading: reading.value)
            yield Instrument(f"{name}.count", "", row, lambda reading: reading.counts[0])
        else:
            yield Instrument(name, unit, row, lambda reading: reading.value)


def _dotted(name: str) -> str:
    first, second, *rest = name.split("_")
    if second in _NAMESPACES:
        return f"{first}.{second}.{'_'.join(rest)}"
    return f"{first}.{'_'.join((second, *rest))}"


def instruments_of(meter: Meter, watched: Watched) -> None:
    """Make them all; each reads its part of what all of ``watched`` says, when it is exported."""
    shared = _SharedReadings(watched)
    for each in all_instruments():
        is_gauge = each.row.kind == "gauge"
        make = meter.create_observable_gauge if is_gauge else meter.create_observable_counter
        make(each.name, [shared.callback(each)], unit=each.unit, description=each.row.words)


class _SharedReadings:
    """Reads everything once for all instruments of an export, not once for each.

    Whoever finds its part taken begins a new export.
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._left: dict[tuple[str, str], Mapping[tuple[str, ...], Reading]] = {}
        self._lock = threading.Lock()  # several exporters may have a thread each

    def callback(self, instrument: Instrument) -> Callable[[CallbackOptions], list[Observation]]:
        """What an instrument calls to be read."""
        mine = instrument.row.name, instrument.name

        def read(_options: CallbackOptions) -> list[Observation]:
            with self._lock:
                if mine not in self._left:
                    found = self._watched.readings()
                    self._left = {
                        (each.row.name, each.name): found.get(each.row.name, {})
                        for each in all_instruments()
                    }
                readings = self._left.pop(mine)
            return list(_observed(instrument, readings.values()))

        return read


def _observed(instrument: Instrument, readings: Iterable[Reading]) -> Iterator[Observation]:
    names = [f"chaoying.{label}" for label in instrument.row.labels]
    for reading in readings:
        attributes = dict(zip(names, reading.labels, strict=True))
        yield Observation(instrument.value(reading), attributes)
