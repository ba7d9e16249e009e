"""The same shop on arq: a fleet in each worker, with the queue of examples/arq_shop.py."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from arq.worker import func  # type: ignore[import-not-found,unused-ignore]
from arq_shop import (  # type: ignore[import-not-found,unused-ignore]
    ArqQueue,
    as_json,
)
from arq_shop import (  # type: ignore[import-not-found,unused-ignore]
    WorkerSettings as OfTheExample,
)

from tests.hard.rolling_shop import THEN, fleet_with, order_ended, shop_engine


async def ended(ctx: Mapping[str, Any], outcome: dict[str, Any]) -> None:
    """The shop's task."""
    await order_ended(outcome)


async def startup(ctx: dict[str, Any]) -> None:
    stack = ctx["stack"] = AsyncExitStack()
    stack.push_async_callback(shop_engine().dispose)
    await stack.enter_async_context(fleet_with(ArqQueue(ctx["redis"])))


async def shutdown(ctx: Mapping[str, Any]) -> None:
    await ctx["stack"].aclose()


class WorkerSettings:
    functions = (func(ended, name=THEN),)
    redis_settings = OfTheExample.redis_settings
    on_startup = startup
    on_shutdown = shutdown
    job_serializer = as_json
    job_deserializer = OfTheExample.job_deserializer
    job_completion_wait = OfTheExample.job_completion_wait
