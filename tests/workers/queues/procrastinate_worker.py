"""A worker of procrastinate with the shop's task, which looks for jobs of killed workers too."""

from __future__ import annotations

import asyncio
import json
import logging
import os

from procrastinate import App, PsycopgConnector, RetryStrategy

from tests.workers.queues import shop_task

STALLED_AFTER = 2.0


def shop_app(database: str) -> App:
    app = App(connector=PsycopgConnector(conninfo=database))

    async def run(outcome: str) -> None:
        try:
            await shop_task.order_ended_async(json.loads(outcome))
        except Exception:
            logging.getLogger("shop").exception("it runs again")
            raise

    for name in shop_task.names():
        app.task(name=name, retry=RetryStrategy(wait=1))(run)
    return app


async def _retry_stalled(app: App) -> None:
    while True:
        await asyncio.sleep(0.5)
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER):
            await app.job_manager.retry_job(job)


async def main() -> None:
    # At INFO procrastinate shows the arguments, and there alone why a task has to run again.
    logging.basicConfig(level=logging.WARNING)
    app = shop_app(os.environ["DATABASE"])
    async with app.open_async():
        rescuing = asyncio.create_task(_retry_stalled(app))
        await app.run_worker_async(
            concurrency=4,
            fetch_job_polling_interval=0.5,
            update_heartbeat_interval=0.5,
            stalled_worker_timeout=STALLED_AFTER,
            listen_notify=True,
        )
        rescuing.cancel()


if __name__ == "__main__":
    asyncio.run(main())
