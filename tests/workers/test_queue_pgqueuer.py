"""What PgQueuerQueue promises beyond the contract: its tables, its workers, and their accidents."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from pgqueuer import PgQueuer, Queries, RetryRequested
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder
from pgqueuer.db import AsyncpgDriver
from pgqueuer.domain.settings import DBSettings
from sqlalchemy import text

from chaoying_async.workers.queues.pgqueuer import PgQueuerQueue, outcome_task
from tests.servers import Servers
from tests.workers.queues.kits import PgQueuerByAsyncpg, opened, outcome, until
from tests.workers.queues.shop_task import NAME

pytestmark = pytest.mark.outside


@pytest.fixture
async def kit(servers: Servers, tmp_path: Path) -> AsyncIterator[PgQueuerByAsyncpg]:
    async with opened(PgQueuerByAsyncpg, servers, tmp_path) as kit:
        assert isinstance(kit, PgQueuerByAsyncpg)
        yield kit


async def rows(kit: PgQueuerByAsyncpg, statement: str) -> list[dict[str, Any]]:
    async with kit.engine.connect() as connection:
        return [{**row} for row in (await connection.execute(text(statement))).mappings()]


async def test_a_job_is_the_outcome_as_json_under_the_name_of_its_task(
    kit: PgQueuerByAsyncpg,
) -> None:
    """Any worker of PgQueuer can read it, one that does not have this library too."""
    queue = PgQueuerQueue(priority=7)
    async with kit.engine.begin() as connection:
        await queue.send(NAME, outcome(1), connection)
    (job,) = await rows(kit, "SELECT * FROM pgqueuer")
    assert (job["entrypoint"], job["priority"]) == (NAME, 7)
    assert json.loads(job["payload"]) == outcome(1)
    assert job["execute_after"] <= job["created"]


async def test_an_outcome_that_is_queued_is_not_queued_twice(kit: PgQueuerByAsyncpg) -> None:
    """For this task: another task gets the same outcome too."""
    await kit.send(outcome(1), outcome(1))
    await kit.send(outcome(1))
    await kit.send(outcome(1), then="warehouse.order_ended")
    assert await kit.jobs() == 2


async def test_tables_may_have_a_prefix_and_a_schema_of_their_own(kit: PgQueuerByAsyncpg) -> None:
    """As `Queries` and `PgQueuer` of the same shop have them."""
    settings = DBSettings(prefix="shop_", db_schema="queues_of_ours")
    connection = await asyncpg.connect(kit.database)
    await Queries(
        AsyncpgDriver(connection),
        qbe=QueryBuilderEnvironment(settings),
        qbq=QueryQueueBuilder(settings),
    ).install()
    await connection.close()
    async with kit.engine.begin() as joined:
        await PgQueuerQueue(settings=settings).send(NAME, outcome(1), joined)
    assert len(await rows(kit, "SELECT * FROM queues_of_ours.shop_pgqueuer")) == 1
    async with kit.engine.begin() as joined:
        await joined.execute(text("DROP SCHEMA queues_of_ours CASCADE"))  # the database is shared


async def test_a_percent_sign_is_no_parameter(servers: Servers, tmp_path: Path) -> None:
    """psycopg writes its parameters with one."""
    from tests.workers.queues.kits import PgQueuerByPsycopg

    async with opened(PgQueuerByPsycopg, servers, tmp_path) as kit:
        await kit.send(outcome(1, attach="100 %(p1)s $1"), then="100 %s")
        assert await kit.jobs() == 1


# ----------------------------------------------------------------------------------------- workers


class Embedded:
    """A worker in this process, whose task does what a test says."""

    def __init__(self, pool: Any, task: Any) -> None:
        self.worker = PgQueuer.from_asyncpg_pool(pool)
        outcome_task(self.worker, NAME)(task)

    async def run(self) -> None:
        await self.worker.run(
            dequeue_timeout=timedelta(seconds=0.2), heartbeat_timeout=timedelta(seconds=3)
        )


async def test_a_worker_that_is_cancelled_gives_its_jobs_back(kit: PgQueuerByAsyncpg) -> None:
    """Ctrl-C under `asyncio.run`, or a task group that ends: PgQueuer would delete the job."""
    began = asyncio.Event()

    async def waits(_: dict[str, Any]) -> None:
        began.set()
        await asyncio.Event().wait()

    await kit.send(outcome(1))
    async with asyncpg.create_pool(kit.database, min_size=2, max_size=4) as pool:
        before = asyncio.all_tasks()
        running = asyncio.create_task(Embedded(pool, waits).run())
        await asyncio.wait_for(began.wait(), 20)
        for task in asyncio.all_tasks() - before:  # what asyncio.run does at its end
            task.cancel()
        await asyncio.wait([running], timeout=20)
        pool.terminate()  # what was cancelled may not have given its connection back
    (job,) = await rows(kit, "SELECT * FROM pgqueuer")
    assert job["status"] in {"queued", "picked"}
    async with kit.worker():
        await until(lambda: bool(kit.effects))


async def test_a_task_that_cancels_itself_runs_again(kit: PgQueuerByAsyncpg) -> None:
    """A time-out of some library's that was not turned into an error."""
    times = 0

    async def second_time_lucky(_: dict[str, Any]) -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise asyncio.CancelledError

    await kit.send(outcome(1))
    async with asyncpg.create_pool(kit.database, min_size=2, max_size=4) as pool:
        embedded = Embedded(pool, second_time_lucky)
        running = asyncio.create_task(embedded.run())
        await kit.finished()
        embedded.worker.shutdown.set()
        await running
    assert times == 2


async def test_a_task_may_say_when_it_runs_again(kit: PgQueuerByAsyncpg) -> None:
    """PgQueuer's own RetryRequested is left alone."""

    async def later(_: dict[str, Any]) -> None:
        raise RetryRequested(timedelta(hours=1))

    await kit.send(outcome(1))
    async with asyncpg.create_pool(kit.database, min_size=2, max_size=4) as pool:
        embedded = Embedded(pool, later)
        running = asyncio.create_task(embedded.run())
        async with asyncio.timeout(20):
            while not await rows(kit, "SELECT 1 FROM pgqueuer WHERE attempts = 1"):
                await asyncio.sleep(0.05)
        embedded.worker.shutdown.set()
        await running
    (job,) = await rows(kit, "SELECT execute_after - updated AS delay FROM pgqueuer")
    assert job["delay"] == timedelta(hours=1)


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 1), (1, 2), (8, 256), (9, 300), (9999, 300)])
async def test_a_task_that_goes_on_failing_is_tried_every_five_minutes(
    kit: PgQueuerByAsyncpg, attempts: int, seconds: int
) -> None:
    """For ever: nobody's order is dropped since a database was away over a holiday."""

    async def fails(_: dict[str, Any]) -> None:
        raise ConnectionError("away")

    await kit.send(outcome(1))
    async with kit.engine.begin() as connection:
        await connection.execute(text("UPDATE pgqueuer SET attempts = :n"), {"n": attempts})
    async with asyncpg.create_pool(kit.database, min_size=2, max_size=4) as pool:
        embedded = Embedded(pool, fails)
        running = asyncio.create_task(embedded.run())
        async with asyncio.timeout(20):
            while not await rows(kit, "SELECT 1 FROM pgqueuer_log WHERE traceback IS NOT NULL"):
                await asyncio.sleep(0.02)
        embedded.worker.shutdown.set()
        await running
    (job,) = await rows(kit, "SELECT execute_after - updated AS delay FROM pgqueuer")
    assert job["delay"] == timedelta(seconds=seconds)


async def test_a_worker_whose_loop_is_blocked_loses_its_job_to_another(
    kit: PgQueuerByAsyncpg,
) -> None:
    """Both run it: the task is idempotent by the outcome's id."""
    (kit.folder / "held").touch()
    await kit.send(outcome(1))
    async with kit.worker(BLOCKING="yes"):
        await until(lambda: len(kit.began) == 1)
        async with kit.worker():
            await until(lambda: len(kit.began) == 2)
            (kit.folder / "held").unlink()
            await until(lambda: len(kit.effects) == 2)
    assert len({each["pid"] for each in kit.effects}) == 2
    assert {each["id"] for each in kit.effects} == {"shop:A00001:1"}


async def test_a_worker_that_no_longer_hears_of_jobs_finds_them_and_ends(
    kit: PgQueuerByAsyncpg,
) -> None:
    """Its listening connection is dead: it still looks, and its supervisor starts it anew."""
    await kit.send(outcome(1))
    async with kit.worker() as process:
        await until(lambda: bool(kit.effects))
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user"
        found = await rows(kit, f"{cut} AND query LIKE 'LISTEN%'")
        assert len(found) == 1
        await kit.send(outcome(2))
        await until(lambda: {each["seq"] for each in kit.effects[1:]} == {1})
        async with asyncio.timeout(40):
            assert await process.wait() != 0
