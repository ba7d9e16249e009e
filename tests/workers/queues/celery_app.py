"""The shop's Celery app; `python -m celery -A tests.workers.queues.celery_app worker` runs it."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery  # type: ignore[import-untyped]

from chaoying_async.workers.queues.celery import outcome_task
from tests.workers.queues import shop_task

#: Seconds after which Redis gives a killed worker's message to another one: an hour by default.
VISIBLE_AGAIN = 3


def shop_app(broker: str, **transport: Any) -> Celery:
    app = Celery("shop", broker=broker, set_as_current=False)
    app.conf.update(
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": VISIBLE_AGAIN,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            **transport,
        },
        worker_hijack_root_logger=False,
    )
    for name in shop_task.names():
        outcome_task(app, name)(shop_task.order_ended)
    return app


if "BROKER" in os.environ:
    app = shop_app(os.environ["BROKER"])
