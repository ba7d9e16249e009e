"""A worker of PgQueuer with the shop's task, to be killed at any moment.

``python -m tests.hard.fleet_queue_worker`` with ``DATABASE_URL`` in its environment. It ends by
itself when its database has gone, as in production: a supervisor starts it again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import asyncpg  # type: ignore[import-untyped]
from pgqueuer import PgQueuer, Queries
from sqlalchemy import make_url

from chaoying_async.workers.queues.pgqueuer import outcome_task
from tests.hard.fleet_shop import THEN, engine_of, take_outcome


def address_of(url: str) -> str:
    """SQLAlchemy's address as asyncpg wants it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


async def make_tables(url: str) -> None:
    """Those of PgQueuer, once."""
    connection = await asyncpg.connect(address_of(url))
    await Queries.from_asyncpg_connection(connection).install()
    await connection.close()


async def main() -> None:
    url = os.environ["DATABASE_URL"]
    engine = engine_of(url)
    async with asyncpg.create_pool(address_of(url), min_size=2, max_size=4) as pool:
        worker = PgQueuer.from_asyncpg_pool(pool)

        async def order_ended(outcome: Mapping[str, Any]) -> None:
            async with engine.begin() as connection:
                await connection.run_sync(take_outcome, outcome)

        outcome_task(worker, THEN)(order_ended)
        await worker.run(
            dequeue_timeout=timedelta(seconds=1),
            heartbeat_timeout=timedelta(seconds=3),
            shutdown_on_listener_failure=True,
        )


if __name__ == "__main__":
    asyncio.run(main())
