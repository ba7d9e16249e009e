"""Workers that are killed, and a database that is restarted: one effect for each paid order.

CI kills one worker of two and restarts a database once; ``FULL=1`` has three, 200 kills, 50
restarts, and all of MORE.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.servers import Servers, find_program
from tests.sizes import FULL, cases

ROOT = Path(__file__).parents[2]
WORKERS, KILLS, RESTARTS, EVERY = ("3", "200", "50", "0.1") if FULL else ("2", "1", "1", "0.4")
KINDS = [("psycopg", "settle")]
#: The example of a fleet is one on SQLite whose worker is killed, and so are simulated worlds.
MORE = [
    *[("sqlite", "effect"), ("sqlite", "settle"), ("psycopg", "effect")],
    *[("mariadb", "effect"), ("mariadb", "settle")],
]

POSTGRESQL = ("initdb", "postgresql")
MARIADB = ("mariadbd", "mariadb-server")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200 if FULL else 600)]


@pytest.mark.parametrize(("kind", "mode"), cases(KINDS, more=MORE))
async def test_a_fleet_that_is_killed_and_cut_off_loses_and_doubles_nothing(
    servers: Servers, kind: str, mode: str
) -> None:
    """By the gateway's books, while orders are handed over and rolled back all the time."""
    await _holds(servers, kind, "--mode", mode)


@pytest.mark.skipif(not FULL, reason="a minute and more: FULL=1")
@pytest.mark.parametrize(("kind", "queue"), [("asyncpg", "pgqueuer"), ("psycopg", "celery")])
async def test_a_queue_and_a_fleet_that_are_killed_and_cut_off_lose_and_double_nothing(
    servers: Servers, kind: str, queue: str
) -> None:
    """The queue's workers are killed too: an outcome is told again, and takes effect once."""
    pytest.importorskip(queue)
    await _holds(servers, kind, "--queue", queue)


async def _holds(servers: Servers, kind: str, *arguments: str) -> None:
    if kind != "sqlite":  # it starts a server of its own, to kill it
        missing = MARIADB if kind == "mariadb" else POSTGRESQL
        servers.found(lambda: find_program(*missing))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hard.fleet_killed", kind, *arguments),
        *("--workers", WORKERS, "--kills", KILLS, "--restarts", RESTARTS, "--every", EVERY),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert out, err.decode()[-3000:]
    found = json.loads(out)
    assert not any(found["problems"].values()), found
    assert process.returncode == 0, found
