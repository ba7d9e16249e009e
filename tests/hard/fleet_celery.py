"""The shop's task as Celery runs it: `python -m celery -A tests.hard.fleet_celery worker`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from celery import Celery  # type: ignore[import-untyped,import-not-found,unused-ignore]
from sqlalchemy import Engine, create_engine

from chaoying_async.workers import took_effect
from chaoying_async.workers.queues.celery import outcome_task
from tests.hard.fleet_shop import THEN, take_outcome

#: Seconds after which Redis gives a killed worker's message to another one: an hour by default. A
#: task that failed is run again after less, while the database is away.
VISIBLE_AGAIN = 8

app = Celery("shop", broker=os.environ.get("BROKER_URL"), set_as_current=False)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": VISIBLE_AGAIN,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
    worker_hijack_root_logger=False,
)


@cache
def engine() -> Engine:
    """Made in the child that uses it."""
    return create_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)


@outcome_task(app, THEN)
def order_ended(outcome: Mapping[str, Any]) -> None:
    with engine().begin() as connection:
        if connection.execute(took_effect(outcome)).rowcount:
            take_outcome(connection, outcome)
