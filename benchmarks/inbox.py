"""Distinct paid orders a second through ``NotificationHandler``, each with a row of the shop's.

On SQLite (on disk, ``synchronous=FULL``) at least 300; "peer" is that number. PostgreSQL, MariaDB
and Redis, each a fresh server with its default durability, are stated beside it.

    python -m benchmarks.inbox                     orders a second
    python -m benchmarks.inbox --hammer            eight processes, a thousand orders, three times
    python -m benchmarks.inbox --kill              a process killed before and after every await
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.report import Row, finish
from chaoying_async import NotificationHandler
from tests.hard.inbox_kills import STORIES
from tests.hard.inbox_workers import notification, redis_handler, sql_handler
from tests.servers import Servers
from tests.sql_shop import DATABASES, effects, sql_shop

REQUIRED = 300.0
AT_ONCE = 32
PROCESSES = 8


@asynccontextmanager
async def handler_on(kind: str, servers: Servers) -> AsyncGenerator[NotificationHandler]:
    if kind == "redis":
        async with redis_handler(servers.redis_url()) as handler:
            yield handler
        return
    async with sql_shop(kind, servers) as shop, sql_handler(kind, shop.url) as handler:
        yield handler


async def per_second(kind: str, servers: Servers, orders: int) -> float:
    """Post so many, 32 at a time; what is not acknowledged is posted again."""
    bodies = [notification(f"B{n}") for n in range(orders)]
    async with handler_on(kind, servers) as handler, handler:
        await handler.handle(notification("warm"))
        began = time.perf_counter()

        async def post() -> None:
            while bodies:
                body = bodies.pop()
                if (await handler.handle(body)).body != b"success":
                    bodies.insert(0, body)

        await asyncio.gather(*(post() for _ in range(AT_ONCE)))
        return orders / (time.perf_counter() - began)


def speed(options: argparse.Namespace) -> int:
    rounds, orders = (1, 60) if options.quick else (5, 1_500)
    kinds = [kind for kind in (*DATABASES, "redis") if options.only in (None, kind)]
    rows: list[Row] = []
    also: dict[str, Any] = {}
    with Servers() as servers:
        for kind in kinds:
            found = [asyncio.run(per_second(kind, servers, orders)) for _ in range(rounds)]
            if kind == "sqlite":
                rows.append(_row(found))
            else:
                also[f"{kind}: orders a second"] = statistics.median(found)
    return finish("inbox", rows, options, also)


def _row(found: Sequence[float]) -> Row:
    return Row(
        what="sqlite, synchronous=FULL: orders a second",
        ours=statistics.median(found),
        peer=REQUIRED,
        unit="/s",
        limit=1.0,
        reach=2.0,
        rounds=[one / REQUIRED for one in found],
    )


# ------------------------------------------------------------------------ hammering, killing


def worker(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def hammering(kind: str, url: str, orders: int, repeats: int) -> list[subprocess.Popen[bytes]]:
    command = ("tests.hard.inbox_workers", kind, url, orders, repeats)
    return [worker(*command, seed) for seed in range(PROCESSES)]


def ended(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a worker ended with {process.returncode}")
    result: dict[str, Any] = json.loads(out)
    return result


async def in_the_books(url: str) -> dict[str, int]:
    """How often each order took effect: counted in the shop's own table."""
    engine = create_async_engine(url)
    question = select(effects.c.number, func.count()).group_by(effects.c.number)
    async with engine.connect() as connection:
        rows = (await connection.execute(question)).all()
    await engine.dispose()
    return {str(number): int(count) for number, count in rows}


async def hammered(kind: str, servers: Servers, orders: int, repeats: int) -> dict[str, Any]:
    began = time.perf_counter()
    async with sql_shop(kind, servers) as shop:
        workers = hammering(kind, shop.url, orders, repeats)
        results = [await asyncio.to_thread(ended, process) for process in workers]
        books = await in_the_books(shop.url)
    return {
        "orders": orders,
        "posted": sum(result["posted"] for result in results),
        "refused meanwhile": sum(result["refused"] for result in results),
        "took effect": len(books),
        "took effect twice": sum(count > 1 for count in books.values()),
        "seconds": round(time.perf_counter() - began, 1),
    }


async def hammered_on_redis(servers: Servers, orders: int, repeats: int) -> dict[str, Any]:
    """The workers count their effects in Redis itself, and whether two were ever at work."""
    began = time.perf_counter()
    url = servers.redis_url()
    workers = hammering("redis", url, orders, repeats)
    results = [await asyncio.to_thread(ended, process) for process in workers]
    async with Redis.from_url(url) as client:
        counts: Any = client
        books = [int(count) for count in await counts.hvals("effects")]
        together = int(await counts.get("two at a time") or 0)
    return {
        "orders": orders,
        "posted": sum(result["posted"] for result in results),
        "refused meanwhile": sum(result["refused"] for result in results),
        "took effect": len(books),
        "took effect twice": sum(count > 1 for count in books) + together,
        "seconds": round(time.perf_counter() - began, 1),
    }


async def killed(kind: str, servers: Servers, step: int) -> dict[str, Any]:
    """Each story of ``tests/hard/inbox_kills.py``, killed at every ``step``-th moment."""
    began = time.perf_counter()
    found: dict[str, Any] = {}
    problems: list[str] = []
    async with sql_shop(kind, servers) as shop:
        process = worker("tests.hard.inbox_kills", kind, shop.url, 1, step, *STORIES)
        results = await asyncio.to_thread(ended, process)
    for story, one in results.items():
        problems += [f"{story}: {problem}" for problem in one["problems"]]
        found[f"{story}: moments"] = one["moments"]
        found[f"{story}: done before the kill"] = one["done before the kill"]
    seconds = round(time.perf_counter() - began, 1)
    return found | {"problems": problems, "seconds": seconds}


async def proven(kind: str, servers: Servers, options: argparse.Namespace) -> dict[str, Any]:
    orders, repeats, step = (20, 2, 10) if options.quick else (1_000, 3, 1)
    if options.kill:
        return await killed(kind, servers, step)
    if kind == "redis":
        return await hammered_on_redis(servers, orders, repeats)
    return await hammered(kind, servers, orders, repeats)


def is_wrong(one: dict[str, Any]) -> bool:
    if "problems" in one:
        return bool(one["problems"])
    return bool(one["took effect"] != one["orders"] or one["took effect twice"])


def prove(options: argparse.Namespace) -> int:
    known = [*DATABASES] if options.kill else [*DATABASES, "redis"]
    also: dict[str, Any] = {}
    wrong = False
    with Servers() as servers:
        for kind in (kind for kind in known if options.only in (None, kind)):
            one = asyncio.run(proven(kind, servers, options))
            wrong |= is_wrong(one)
            also |= {f"{kind}: {what}": value for what, value in one.items()}
            print(kind, one, flush=True)
    return max(int(wrong), finish("inbox", [], options, also))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inbox")
    parser.add_argument("--quick", action="store_true", help="a moment only; never fails on speed")
    parser.add_argument("--only", choices=[*DATABASES, "redis"], help="one of them")
    parser.add_argument("--hammer", action="store_true", help="eight processes on one inbox")
    parser.add_argument("--kill", action="store_true", help="SIGKILL at every await")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there")
    options = parser.parse_args()
    return prove(options) if options.hammer or options.kill else speed(options)


if __name__ == "__main__":
    sys.exit(main())
