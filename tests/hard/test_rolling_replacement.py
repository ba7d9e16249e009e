"""A fleet in each process of a server or worker: all start at once, and a deployment overlaps.

The next generation starts before the last one gets its SIGTERM, while orders come in. Nobody says
an error, no customer sees one, and each paid order takes effect once by the gateway's books.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.examples.folder_installs import folder_of
from tests.examples.shops import EXAMPLES
from tests.hard.rolling import Program, World, post, world_of
from tests.servers import PostgreSQL, Servers
from tests.sizes import FULL, cases

pytest.importorskip("celery")
pytest.importorskip("uvicorn_worker")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if FULL else 300)]

#: How often the processes are replaced, and how many customers come before and after it.
REPLACEMENTS, CUSTOMERS = (10, 100) if FULL else (1, 10)
#: How many processes a server or worker has.
EACH = 4 if FULL else 2
#: How often the database is restarted.
RESTARTS = 10 if FULL else 1
APP = "tests.hard.rolling_shop:app"


async def by_celery(world: World, number: str) -> None:
    """A customer's order is a task of its own."""
    from celery import Celery  # type: ignore[import-untyped,import-not-found,unused-ignore]

    app = Celery(broker=world.redis_url)
    await asyncio.to_thread(app.send_task, "shop.sell", [number], ignore_result=True)


async def by_hand(world: World, number: str) -> None:
    """In a transaction of a process that is not one of the workers."""
    from sqlalchemy import insert

    from chaoying_async.pollstore.sql import SqlPollStore
    from chaoying_async.workers import Fleet
    from tests.hard.rolling_shop import SHARDS, orders, watch_of

    fleet = Fleet(SqlPollStore(world.engine, shards=SHARDS), lambda: world.session)
    async with world.engine.begin() as connection:
        await connection.execute(insert(orders).values(number=number))
        await fleet.watch(**watch_of(number), connection=connection)


PROGRAMS = {
    "uvicorn": Program(
        command=(
            *("-m", "uvicorn", APP, "--fd", "{fd}", "--workers", "{count}"),
            *("--timeout-graceful-shutdown", "20"),
        ),
        processes=EACH,
        order=post,
    ),
    "gunicorn": Program(
        command=(
            *("-m", "gunicorn", APP, "-k", "uvicorn_worker.UvicornWorker", "-w", "{count}"),
            *("--bind", "fd://{fd}", "--graceful-timeout", "30", "--preload"),
        ),
        processes=EACH,
        order=post,
    ),
    "celery": Program(
        command=(
            *("-m", "celery", "-A", "tests.hard.rolling_celery", "worker", "-c", "{count}"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        processes=EACH,
        order=by_celery,
        redis=True,
    ),
    "arq": Program(
        command=("-m", "arq", "tests.hard.rolling_arq.WorkerSettings"),
        processes=2,
        commands=2,
        order=by_hand,
        redis=True,
        folders=lambda: (folder_of("arq"), EXAMPLES),
    ),
}


@pytest.fixture(scope="module")
def own(servers: Servers) -> Iterator[Servers]:
    """Other tests use the shared ones; these are restarted."""
    servers.found(PostgreSQL)  # or the test is skipped
    with Servers() as running:
        yield running


def restart(server: PostgreSQL, how: signal.Signals) -> None:
    assert server.process is not None
    server.process.send_signal(how)
    server.process.wait()
    server.serve()
    assert server.wait()


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_deployment_overlaps_without_an_error(
    name: str, own: Servers, servers: Servers, tmp_path: Path
) -> None:
    """By the gateway's books, and by what every process said."""
    program = PROGRAMS[name]
    redis_url = servers.redis_url() if program.redis else ""
    async with world_of(program, tmp_path, own.postgresql_url(), redis_url) as world:
        generation = await world.start()
        async with world.customers():
            for _ in range(REPLACEMENTS):
                await world.orders_more(CUSTOMERS)
                following = await world.start()
                assert set(await generation.stop()) == {0}, world.said()
                await world.until_serving(program.processes)
                generation = following
            await world.orders_more(CUSTOMERS)
        await world.until_all_ended()
        assert set(await generation.stop()) == {0}, world.said()
        assert await world.serving() == 0
        assert not any((await world.problems()).values()), (await world.problems(), world.said())
        assert world.counts["refused"] == 0


@pytest.mark.parametrize("name", cases(["gunicorn"], more=["uvicorn"]))
async def test_a_web_server_outlives_a_restart_of_its_database(
    name: str, own: Servers, tmp_path: Path
) -> None:
    """The same processes go on, and serve what was handed over before, during and after it."""
    program = attrs.evolve(PROGRAMS[name], processes=2)
    server = own.postgresql
    async with world_of(program, tmp_path, own.postgresql_url(), "") as world:
        generation = await world.start()
        began = await world.names()
        async with world.customers():
            await world.orders_more(CUSTOMERS)
            world.excuse()
            for number in range(RESTARTS):
                how = server.stop_signal if number % 2 else signal.SIGKILL
                await asyncio.to_thread(restart, server, how)
                await world.orders_more(CUSTOMERS)
        await world.until_all_ended()
        assert await world.names() == began
        assert set(await generation.stop()) == {0}, world.said()
        assert not any((await world.problems()).values()), (await world.problems(), world.said())
