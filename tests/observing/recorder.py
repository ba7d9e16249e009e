"""An SDK that keeps every span and number in memory, and the canary that looks through them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chaoying_async.observing.otel import Telemetry
from tests.factories import (
    CANARIES,
    CREDENTIALS,
    MCH_ID,
    ORDER,
    REFUND,
    REFUND_ID,
    SCANNED_URL,
    TRANSACTION,
)

#: What somebody else says in words, or as a code that no table lists.
SAID, ODD_CODE = "the words of somebody else", "31415926"

#: What no exporter may see: secrets, and whatever tells one order, refund or merchant from another.
NEVER = (
    *CANARIES,
    *(ORDER, REFUND, TRANSACTION, REFUND_ID, MCH_ID, CREDENTIALS.agent_id, CREDENTIALS.pid),
    *(SCANNED_URL, "0000000100", "op1", "13800000000", "493817", "face-code-0001", "js-code-0001"),
    *("raw-of-the-face", "session-key-1", "od1", SAID, ODD_CODE),
)


_MOMENTS_AND_IDS = re.compile(r'"(?:\w*time\w*|(?:trace|span|parent)_id)": ("[^"]*"|\d+)')


@attrs.define
class Recorder:
    """A program's telemetry, and what was exported of it."""

    telemetry: Telemetry
    provider: TracerProvider
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    @classmethod
    def made(cls) -> Recorder:
        exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        telemetry = Telemetry(tracer_provider=provider, meter_provider=MeterProvider([reader]))
        return cls(telemetry, provider, exporter, reader)

    @property
    def spans(self) -> list[ReadableSpan]:
        """All that have ended, in the order in which they began."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def metrics(self) -> Iterator[Metric]:
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                yield from scope.metrics

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """The attributes and the value of each series; of a histogram how many there were."""
        return [
            (dict(point.attributes or {}), getattr(point, "value", getattr(point, "count", None)))
            for metric in self.metrics()
            if metric.name == name
            for point in metric.data.data_points
        ]

    def everything(self) -> str:
        """All that an exporter could send: spans with events, links and texts; numbers."""
        spans = "\n".join(str(span.to_json()) for span in self.spans)
        data = self.reader.get_metrics_data()
        return spans + ("" if data is None else str(data.to_json()))


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    return span.parent is not None and span.parent.span_id == parent.context.span_id


def look_for_canaries(recorder: Recorder) -> None:
    """Fail where anything that was exported holds what nobody may see.

    Moments and the ids of spans are left out: their digits are any, a code of six among them.
    """
    text = _MOMENTS_AND_IDS.sub("", recorder.everything())
    assert [secret for secret in NEVER if secret in text] == []
