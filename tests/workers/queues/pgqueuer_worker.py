"""A worker of PgQueuer with the shop's task; ends with what is in hand on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from datetime import timedelta

import asyncpg  # type: ignore[import-untyped]
from pgqueuer import PgQueuer

from chaoying_async.workers.queues.pgqueuer import outcome_task
from tests.workers.queues import shop_task


async def main() -> None:
    logging.basicConfig(level=logging.INFO)
    async with asyncpg.create_pool(os.environ["DATABASE"], min_size=2, max_size=4) as pool:
        worker = PgQueuer.from_asyncpg_pool(pool)
        for name in shop_task.names():
            outcome_task(worker, name)(shop_task.order_ended_async)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, worker.shutdown.set)
        await worker.run(
            dequeue_timeout=timedelta(seconds=1),
            heartbeat_timeout=timedelta(seconds=3),
            shutdown_on_listener_failure=True,
        )


if __name__ == "__main__":
    asyncio.run(main())
