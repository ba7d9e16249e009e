"""Many processes, dying processes: each paid order takes effect exactly once on a SQL inbox."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select

from tests.hard.inbox_kills import STORIES
from tests.servers import Servers
from tests.sizes import FULL
from tests.sql_shop import DATABASES, SqlShop, effects, sql_shop

PROCESSES = 8 if FULL else 2
ORDERS, REPEATS = (1000, 3) if FULL else (25, 2)
#: PostgreSQL is the same one under either of its drivers.
KINDS = [kind for kind in DATABASES if FULL or kind != "psycopg"]
#: Every how many moments the process of each story is killed; the full run leaves none out.
STEPS = {story: 1 if FULL else 29 if story == "delivery" else 89 for story in STORIES}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200 if FULL else 300)]


async def worker(*arguments: object) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-3000:]
    found: dict[str, Any] = json.loads(out)
    return found


async def hammered(kind: str, url: str) -> list[dict[str, Any]]:
    command = ("tests.hard.inbox_workers", kind, url, ORDERS, REPEATS)
    return await asyncio.gather(*(worker(*command, seed) for seed in range(PROCESSES)))


async def _counts(shop: SqlShop) -> dict[str, int]:
    question = select(effects.c.number, func.count()).group_by(effects.c.number)
    async with shop.engine.connect() as connection:
        rows = (await connection.execute(question)).all()
    return {str(number): int(count) for number, count in rows}


@pytest.mark.parametrize("kind", KINDS)
async def test_many_processes_and_each_effect_is_there_once(servers: Servers, kind: str) -> None:
    """M-16: the same notifications, shuffled and repeated, in many processes at a time."""
    async with sql_shop(kind, servers) as shop:
        ended = await hammered(kind, shop.url)
        assert await _counts(shop) == {f"H{n}": 1 for n in range(ORDERS)}
    assert sum(one["posted"] for one in ended) >= PROCESSES * ORDERS * REPEATS


async def test_many_processes_on_redis_never_two_at_a_time(servers: Servers) -> None:
    """M-19: and while nobody dies or stalls, once each as well."""
    url = servers.redis_url()
    await hammered("redis", url)
    async with Redis.from_url(url) as client:
        assert await client.get("two at a time") is None
        counted: Any = await client.hgetall("effects")
    assert {number.decode(): int(count) for number, count in counted.items()} == {
        f"H{n}": 1 for n in range(ORDERS)
    }


@pytest.mark.parametrize("kind", KINDS)
async def test_a_process_killed_at_any_moment_loses_and_doubles_nothing(
    servers: Servers, kind: str
) -> None:
    """M-16, M-17: SIGKILL before and after any await; whoever comes again makes it one."""
    first = 1 if FULL else 1 + KINDS.index(kind)  # not the same moments on each
    async with sql_shop(kind, servers) as shop:
        words = [word for item in STEPS.items() for word in item]
        found = await worker("tests.hard.inbox_kills", kind, shop.url, first, *words)
    assert found.keys() == STORIES.keys()
    for story, one in found.items():
        assert one["problems"] == []
        assert one["moments"] > 20 // STEPS[story]
