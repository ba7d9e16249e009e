"""Tasks that an app finds by `include=`, and that no test imports."""

from __future__ import annotations

from celery import current_app  # type: ignore[import-untyped]

from chaoying_async.workers.queues.celery import outcome_task

outcome_task(current_app, "shop.included")(print)
