"""Answers on a port whether the process lives, and whether it serves, and gives its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from chaoying_async.exceptions import SessionClosedError
from chaoying_async.workers import Fleet

if TYPE_CHECKING:
    from chaoying_async.observing.whole_fleet import WholeFleet
    from chaoying_async.sandbox.serving.bodies import Receive, Scope
    from chaoying_async.sandbox.serving.sandbox_app import Send

#: Seconds for which a process counts as ready after it saw the database; it looks every second.
READY_FOR = 5.0


class HealthApp:
    """``GET /health``: the event loop turns. ``GET /ready``: the process saw the database just now.

    A process that is ready serves its share of the shards, or takes it when it is free. Each
    answer is JSON with the numbers of the process, and 200 or 503. ``GET /metrics`` is for
    Prometheus, where the extra ``[prometheus]`` is installed.
    """

    def __init__(self, fleet: Fleet, whole_fleet: WholeFleet | None = None) -> None:
        self._fleet = fleet
        self._metrics = metrics_of(fleet, whole_fleet)

    @property
    def paths(self) -> Sequence[str]:
        """What it answers to."""
        return ("/health", "/ready", *(("/metrics",) if self._metrics else ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, content_type, body = self._answer(scope)
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, scope: Scope) -> tuple[int, str, bytes]:
        path = scope["path"]
        if path == "/metrics" and self._metrics is not None:
            accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
            return HTTPStatus.OK, *self._metrics(accept.decode("latin-1"))
        status, record = self._told(path)
        return status, "application/json", json.dumps(record).encode()

    def _told(self, path: str) -> tuple[int, dict[str, Any]]:
        if path == "/health":
            return HTTPStatus.OK, {"ok": True}
        if path != "/ready":
            return HTTPStatus.NOT_FOUND, {"ok": False, "paths": self.paths}
        try:
            stats = self._fleet.stats()
        except SessionClosedError:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"ok": False, "why": "it begins, or ends"}
        ready = stats.looked <= READY_FOR
        record: dict[str, Any] = {
            "ok": ready,
            "worker": stats.worker,
            "workers": stats.workers,
            "shards": sorted(stats.shards),
            "pending": stats.pending,
            "lag": round(stats.lag, 3),
        }
        if not ready:
            record["why"] = f"it has not seen the database for {READY_FOR:.0f} s"
        return HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, record


def metrics_of(
    fleet: Fleet, whole_fleet: WholeFleet | None = None
) -> Callable[[str], tuple[str, bytes]] | None:
    """What answers a scrape, by its ``Accept``; None without the extra ``[prometheus]``."""
    try:
        from chaoying_async.observing.prometheus import (
            ChaoyingCollector,
            exposition,
            registry_of,
        )
    except ImportError:
        return None
    return partial(exposition, registry_of(ChaoyingCollector(fleet=fleet, whole_fleet=whole_fleet)))
