"""The same shop on Celery: a fleet in each child of the worker, and outcomes in its tasks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from celery import Celery  # type: ignore[import-untyped,import-not-found,unused-ignore]
from celery.signals import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    worker_process_init,
    worker_process_shutdown,
)
from sqlalchemy import Engine, create_engine, insert
from sqlalchemy.exc import IntegrityError

from chaoying_async.abc import Gateway
from chaoying_async.workers import BlockingGateway
from chaoying_async.workers.queues.celery import CeleryQueue, outcome_task
from tests.hard.rolling_shop import (
    POOL,
    THEN,
    fleet_with,
    orders,
    session,
    take_effect,
    watch_of,
)

SELL = "shop.sell"

app = Celery("shop", broker=os.environ.get("BROKER_URL"))
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False
gateway = BlockingGateway(session, fleet=lambda: fleet_with(CeleryQueue(app)))


@cache
def engine() -> Engine:
    """Made in the child that uses it."""
    return create_engine(os.environ["DATABASE_URL"], **POOL)


@worker_process_init.connect  # type: ignore[untyped-decorator,unused-ignore]
def opened(**_: Any) -> None:
    """From now on the child is a process of the fleet."""
    gateway.call(_nothing)


async def _nothing(_: Gateway) -> None:
    """The first call opens what the gateway has."""


@worker_process_shutdown.connect  # type: ignore[untyped-decorator,unused-ignore]
def closed(**_: Any) -> None:
    """Hand the shards back."""
    gateway.close()


@app.task(name=SELL)  # type: ignore[untyped-decorator,unused-ignore]
def sell(number: str) -> None:
    """A worker that ends may give a message back although its task has run."""
    with suppress(IntegrityError), engine().begin() as connection:
        connection.execute(insert(orders).values(number=number))
        connection.execute(_fleet().watching(**watch_of(number)))


@cache
def _fleet() -> Any:
    """For statements only; it is never opened."""
    return fleet_with()


@outcome_task(app, THEN)
def order_ended(outcome: Mapping[str, Any]) -> None:
    with engine().begin() as connection:
        take_effect(connection, outcome)
