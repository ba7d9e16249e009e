"""Workers that are killed, and a database that is restarted: one effect for each paid order."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.sizes import FULL, cases

ROOT = Path(__file__).parents[2]
KILLS, RESTARTS = ("200", "50") if FULL else ("5", "2")
KINDS = [("sqlite", "effect"), ("psycopg", "settle")]
MORE = [("sqlite", "settle"), ("psycopg", "effect"), ("mariadb", "effect"), ("mariadb", "settle")]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200 if FULL else 600)]


@pytest.mark.parametrize(("kind", "mode"), cases(KINDS, more=MORE))
async def test_a_fleet_that_is_killed_and_cut_off_loses_and_doubles_nothing(
    kind: str, mode: str
) -> None:
    """By the gateway's books, while orders are handed over and rolled back all the time."""
    await _holds(kind, "--mode", mode)


@pytest.mark.skipif(not FULL, reason="a minute and more: FULL=1")
@pytest.mark.parametrize(("kind", "queue"), [("asyncpg", "pgqueuer"), ("psycopg", "celery")])
async def test_a_queue_and_a_fleet_that_are_killed_and_cut_off_lose_and_double_nothing(
    kind: str, queue: str
) -> None:
    """The queue's workers are killed too: an outcome is told again, and takes effect once."""
    pytest.importorskip(queue)
    await _holds(kind, "--queue", queue)


async def _holds(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hard.fleet_killed", *arguments),
        *("--kills", KILLS, "--restarts", RESTARTS),
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
