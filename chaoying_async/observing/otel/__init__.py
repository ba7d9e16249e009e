"""Traces and metrics by OpenTelemetry; needs the extra ``[otel]``, which brings its API alone.

- ``attributes``: what stands on spans and metrics, and so what does not.
- ``instruments``: the numbers of every ``stats()``, as instruments that are read when exported.
- ``payment_spans``: which span began an order, so that what is heard later can be linked to it.
- ``telemetry``: ``Telemetry``, the observer that makes spans and measures how long work takes.
"""

from __future__ import annotations

try:
    from chaoying_async.observing.otel.telemetry import Telemetry
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "opentelemetry":
        raise
    raise ImportError(
        "chaoying_async.observing.otel needs opentelemetry-api: pip install 'chaoying-async[otel]'"
    ) from error

__all__ = ["Telemetry"]
