"""The programs of examples/, run as their readers would: processes, sockets, databases."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import SystemClock
from chaoying_async.sandbox import Sandbox
from tests.examples.shops import EXAMPLES, environment, open_example, running, told, until
from tests.servers import Servers
from tests.sizes import FULL, cases

#: Runs one after the other, as each would be run alone: most of an example's time are imports.
_IN_ONE_PROCESS = """
import runpy
import sys

ended = []
for name in sys.argv[1:-1]:
    sys.argv[:] = [name, sys.argv[-1]]
    try:
        if name.endswith(".py"):
            runpy.run_path(name, run_name="__main__")
        else:
            runpy.run_module(name, run_name="__main__")
    except SystemExit as error:
        ended.append(error.code)
sys.exit(any(ended))
"""
_PACKAGES = ("fastapi_shop", "django_shop")
_FILES = ("till", "asking_shop", "watched_shop", "queue_worker", "flask_till", "celery_shop")
_PATHS = {name: str(EXAMPLES / f"{name}.py") for name in _FILES}
#: What is run, and how many demos it is; ``FULL=1``: each in a process of its own.
DEMOS: dict[str, tuple[tuple[str, ...], int]] = {}
if FULL:
    DEMOS |= {name: (("-m", name), 1) for name in _PACKAGES}
    DEMOS |= {name: ((path,), 1) for name, path in _PATHS.items()}
else:
    _ALL = (*_PACKAGES, *_PATHS.values())
    DEMOS["all"] = ("-c", _IN_ONE_PROCESS, *_ALL), len(_ALL)


@pytest.fixture(scope="module", autouse=True)
def demos(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All of them at once, beside the other tests: they mostly wait for their customers."""
    folder = tmp_path_factory.mktemp("demos")
    started = {
        name: subprocess.Popen(
            [sys.executable, "-W", "error", *command, "--demo"],
            cwd=EXAMPLES,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,  # with whatever it starts itself
        )
        for name, (command, _) in DEMOS.items()
    }
    yield started
    for process in started.values():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(
    ("name", "database"),
    [("fastapi", "sqlite"), ("fastapi", "postgresql"), ("django", "postgresql")],
)
async def test_a_shop_that_is_killed_before_the_commit_ships_once_after_the_redelivery(
    name: str, database: str, servers: Servers, tmp_path: Path
) -> None:
    """M-16, M-15: the order's row and the inbox's record are committed together or not at all."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}"
    if database == "postgresql":
        url = servers.postgresql_url()
    async with open_example(name, tmp_path, url, Sandbox(clock=SystemClock())) as shop:
        async with shop.served() as process:
            number = await shop.order()
            shop.trap.touch()
            shop.sandbox.customer_pays(number)
            body = await shop.notified(number)
            assert await process.wait() == -signal.SIGKILL
        assert await shop.shipped(number) == 0
        assert await shop.sql("SELECT state FROM chaoying_orders") is None  # nor anything of it

        forged = body.replace(b"total_fee=", b"total_fee=9")
        async with shop.served() as process:
            answers = await asyncio.gather(*map(shop.post, (body, forged, body, body)))
            assert answers[1] == "fail"
            assert set(answers[:1] + answers[2:]) <= {"success", "fail"}
            assert await shop.post(body) == "success"
            assert await shop.status(number) == "PAID"
            process.send_signal(signal.SIGTERM)
            await process.wait()
        assert await shop.shipped(number) == 1
        assert await shop.sql("SELECT state FROM chaoying_orders") == "DONE"


async def test_the_queue_worker_finishes_what_a_killed_one_had_taken(
    servers: Servers, tmp_path: Path
) -> None:
    """A notification leaves the stream when its effect is committed; a forgery never has one."""
    import redis.asyncio

    sandbox = Sandbox(clock=SystemClock())
    numbers = [f"A{index:05}" for index in range(12)]
    bodies = [sandbox.sign_notification(number, total_fee=1230) for number in numbers]
    url, stream = f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}", "chaoying:notifications"
    settings = environment(
        tmp_path,
        **told(sandbox),
        DATABASE_URL=url,
        REDIS_URL=servers.redis_url(),
        RETRY_AFTER="0.5",
        TRIES="3",
    )
    engine = create_async_engine(url)
    client: Any = redis.asyncio.from_url(settings["REDIS_URL"])
    worker = (str(EXAMPLES / "queue_worker.py"),)
    await _worker_tables(engine, numbers, sandbox.mch_id)
    for body in bodies:
        for copy in (body, body.replace(b"total_fee=", b"total_fee=9"), body):
            await client.xadd(stream, {"body": copy})

    async def shipped() -> int:
        async with engine.connect() as connection:
            found = await connection.execute(text("SELECT sum(shipments) FROM orders"))
            return int(found.scalar_one())

    async def begun() -> bool:
        return await shipped() > 0

    async def empty() -> bool:
        return bool(await client.xlen(stream) == 0)

    async with running(*worker, folder=tmp_path, settings=settings) as first:
        await until(begun)
        first.kill()
        await first.wait()
    async with engine.begin() as connection:  # the dead process's lease of 30 s runs out
        await connection.execute(text("UPDATE chaoying_orders SET held_until = 1"))
    async with running(*worker, folder=tmp_path, settings=settings) as second:
        await until(empty)
        second.send_signal(signal.SIGTERM)
        assert await second.wait() == 0
    async with engine.connect() as connection:
        rows = (await connection.execute(text("SELECT shipments FROM orders"))).scalars().all()
    assert rows == [1] * len(numbers)
    dead = [fields[b"body"] for _, fields in await client.xrange(f"{stream}:dead")]
    assert sorted(dead) == sorted(body.replace(b"total_fee=", b"total_fee=9") for body in bodies)
    await client.aclose()
    await engine.dispose()


async def _worker_tables(engine: Any, numbers: list[str], mch_id: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "CREATE TABLE orders (out_trade_no VARCHAR(32) PRIMARY KEY, mch_id VARCHAR(32),"
                " total_fee INTEGER, shipments INTEGER)"
            )
        )
        await connection.execute(
            text("INSERT INTO orders VALUES (:number, :mch_id, 1230, 0)"),
            [{"number": number, "mch_id": mch_id} for number in numbers],
        )


async def test_a_till_that_loses_its_power_finds_out_how_the_sale_ended(tmp_path: Path) -> None:
    """M-23, M-24: the next start asks before it sells, and nothing is paid a second time."""
    sandbox = Sandbox(clock=SystemClock())
    async with sandbox, sandbox.serve() as url:
        settings = environment(tmp_path, **told(sandbox, url), TILL_LEASE="1")
        pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
        program = (str(EXAMPLES / "till.py"),)
        async with running(*program, folder=tmp_path, settings=settings, **pipes) as till:
            assert till.stdin is not None
            till.stdin.write(b"4.02\n130000000000000001\n")  # the customer types for 40 s

            async def ordered() -> bool:
                return bool(sandbox.ledger.orders)

            await until(ordered)
            till.kill()
            await till.wait()
        sandbox.customer_pays("T1X000000101")
        async with running(*program, folder=tmp_path, settings=settings, **pipes) as till:
            said, _ = await till.communicate(b"\n")
            assert till.returncode == 0
        assert b"left over: sale T1X0000001 PAID: deliver, once\n" in said
        assert sandbox.requests["pay"] == 1
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'till.db'}")
    async with engine.connect() as connection:
        rows = (await connection.execute(text("SELECT status, paid FROM sales"))).all()
    await engine.dispose()
    assert [tuple(row) for row in rows] == [("PAID", 402)]


def test_a_till_and_its_workers_add_up_although_one_is_killed() -> None:
    """``make demo WORKERS=2``: by the gateway's books and the shop's own. Less without FULL=1."""
    workers, payments = ("2", "20") if FULL else ("1", "6")
    ran = subprocess.run(
        [
            sys.executable,
            str(EXAMPLES / "fleet_shop.py"),
            "--workers",
            workers,
            "--payments",
            payments,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=110,
    )
    assert ran.returncode == 0, ran.stdout
    assert "Everything adds up, to the fen." in ran.stdout


@pytest.mark.parametrize("name", DEMOS)
def test_the_demo_of_every_example_adds_up(
    demos: dict[str, subprocess.Popen[str]], name: str
) -> None:
    """Each example sells something to somebody, compares the books, and ends with status 0."""
    said, _ = demos[name].communicate(timeout=100)
    assert demos[name].returncode == 0, said
    assert said.count("Everything adds up.\n") == DEMOS[name][1]
    assert said.endswith("Everything adds up.\n")


def test_the_demo_that_needs_postgresql_adds_up(servers: Servers, tmp_path: Path) -> None:
    """Fleet, queue and worker in one database, which has nothing in it before."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / "pgqueuer_shop.py"), "--demo"],
        cwd=tmp_path,
        env=environment(tmp_path, DATABASE_URL=servers.postgresql_url("asyncpg")),
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.endswith("Everything adds up.\n")


#: Without making the stories shorter, which takes forty worlds more; the sound shop in fewer
#: worlds, and the others from a seed on that finds their bug, or is near one that does.
#: ``FULL=1`` runs each as its readers do.
_BRIEFLY = """
import sys
import simulated_shop as shops

whole = shops.simulate
brief = {
    "sound_shop": {"seeds": 4},
    "mail_shop": {"first": 23},
    "warehouse_shop": {"first": 24},
    "number_shop": {"first": 10},
}
for name, fewer in brief.items():
    shops.simulate = lambda fewer=fewer, **o: whole(shrink=False, **o | fewer)
    if shops.main([name]):
        sys.exit(1)
"""
_WHOLE = (str(EXAMPLES / "simulated_shop.py"),)
_SHOPS = ["mail_shop", "warehouse_shop", "number_shop", "sound_shop"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("command", "shops"),
    cases([(("-c", _BRIEFLY), _SHOPS)], more=[(_WHOLE, [shop]) for shop in _SHOPS]),
    ids=lambda given: "-".join(given) if isinstance(given, list) else "",
)
def test_the_world_finds_what_is_wrong_with_a_shop(
    command: tuple[str, ...], shops: list[str], tmp_path: Path
) -> None:
    """Three of them have a bug, and the fourth has none."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", *command, *shops],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert all(f"{shop}: " in ran.stdout for shop in shops)
