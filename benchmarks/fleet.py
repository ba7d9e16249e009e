"""What a fleet does on one database: orders handed over a second, and how many it can wait for.

    python -m benchmarks.fleet [--quick] [--only postgresql|mariadb|sqlite] [--json PATH]

It takes some twenty minutes for each database, so ``python -m benchmarks`` leaves it out.

Three things, on a server that this starts, or a SQLite file:

- orders that are handed over at once (``watch_many``);
- 100,000 that are pending, each asked every 60 s, with 1, 2 and 4 processes, against a gateway in
  the same process that answers "not yet" after 0.1 s: by how much the latest query is late, and how
  much CPU a query costs. The peer is one process with a ``Poller`` on a ``SqlPollStore``;
- the share of the database's own processes in the CPU.

A tenth of the orders with ``--quick``, for a shorter time.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.polling import NotYet
from benchmarks.report import Row, finish
from chaoying_async import OrderQuery, Poller, PollSchedule
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.enums import PayType
from chaoying_async.workers import Fleet
from tests.servers import Servers

#: Every order is asked once in this time, and may be late by a fifth of it. Seconds.
INTERVAL, LATE = 60.0, 0.2
#: So many groups of orders, each a second later than the one before: no two rushes at once.
GROUPS = int(INTERVAL)
LATENCY = 0.1
ORDERS = 100_000
LEAST_WATCHED = 2000.0
_TICKS = os.sysconf("SC_CLK_TCK")

URLS: dict[str, Callable[[Servers, Path], str]] = {
    "postgresql": lambda servers, _: servers.postgresql_url("asyncpg"),
    "mariadb": lambda servers, _: servers.mariadb_url(),
    "sqlite": lambda _, directory: f"sqlite:///{directory}/fleet.db",
}


class Slow(NotYet):
    """It answers "not yet" after so long, as a gateway far away does."""

    max_connections = 1000

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        await asyncio.sleep(LATENCY)
        return await super().send(request, timeout=timeout)


def groups(count: int) -> Iterator[tuple[PollSchedule, list[OrderQuery]]]:
    """All orders, in groups with the schedule of each."""
    many = [
        OrderQuery(paytype=PayType.WECHAT, mch_id="00000001", out_trade_no=f"A{n:019d}")
        for n in range(count)
    ]
    for group in range(GROUPS):
        yield (
            PollSchedule(
                *(5.0 + group, INTERVAL, 86_400.0), jitter=0.0, factor=1.0, longest=INTERVAL
            ),
            many[group::GROUPS],
        )


def fleet_on(url: str) -> Fleet:
    return Fleet(SqlPollStore(url), Slow, concurrency=1000, then="benchmarks.fleet:nothing")


async def nothing(outcome: Any) -> None:
    """No order ends."""


async def handed_over(url: str, count: int) -> float:
    """Orders a second."""
    fleet = fleet_on(url)
    async with fleet:  # it makes the tables
        pass
    fleet = fleet_on(url)
    began = time.perf_counter()
    for schedule, queries in groups(count):
        await fleet.watch_many(queries, then="benchmarks.fleet:nothing", schedule=schedule)
    return count / (time.perf_counter() - began)


async def serving(url: str, told: Connection) -> None:
    """One process of a fleet: it says how much it did, and how late it was, when it is asked."""
    async with fleet_on(url) as fleet:
        while True:
            await asyncio.sleep(0.2)
            stats = fleet.stats()
            lag = stats.lag
            if told.poll():
                if told.recv() == "end":
                    return
                polls = sum(shard.polls for shard in stats.shards.values())
                told.send((polls, stats.pending, lag, time.process_time()))


async def alone(url: str, told: Connection, count: int) -> None:
    """The peer: one process, one store, one poller."""
    async with (
        SqlPollStore(url, table_prefix="alone_") as store,
        Poller(Slow(), concurrency=1000, store=store) as poller,
    ):
        for schedule, queries in groups(count):
            for query in queries:
                poller.track(query, schedule=schedule)
        await poller.kept()
        while True:
            await asyncio.sleep(0.2)
            if told.poll():
                if told.recv() == "end":
                    return
                stats = poller.stats()
                told.send((stats.polls, stats.pending, stats.lag, time.process_time()))


def _run(what: Callable[..., Any], *arguments: Any) -> None:
    asyncio.run(what(*arguments))


class Processes:
    """Processes under way, and what they say of themselves."""

    def __init__(self, what: Callable[..., Any], url: str, count: int, *more: Any) -> None:
        self._pipes = []
        self._processes = []
        spawn = multiprocessing.get_context("spawn")
        for _ in range(count):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_run, args=(what, url, theirs, *more))
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    def ask(self) -> list[tuple[int, int, float, float]]:
        for pipe in self._pipes:
            pipe.send("how much")
        return [pipe.recv() for pipe in self._pipes]

    def until_pending(self, count: int) -> None:
        """Return when they wait for so many."""
        while sum(pending for _, pending, _, _ in self.ask()) < count:
            time.sleep(0.5)

    def end(self) -> None:
        for pipe in self._pipes:
            pipe.send("end")
        for process in self._processes:
            process.join()


def measured(processes: Processes, count: int, seconds: float) -> dict[str, float]:
    """What they do in so many seconds, from when every order has been asked once."""
    processes.until_pending(count)
    time.sleep(INTERVAL)
    before, database, began = processes.ask(), database_cpu(), time.perf_counter()
    lags = []
    while time.perf_counter() - began < seconds:
        time.sleep(1)
        lags.append(max(lag for _, _, lag, _ in processes.ask()))
    after, took = processes.ask(), time.perf_counter() - began
    polls = sum(each[0] for each in after) - sum(each[0] for each in before)
    cpu = sum(each[3] for each in after) - sum(each[3] for each in before)
    return {
        "queries/s": polls / took,
        "CPU a query, µs": cpu / max(1, polls) * 1e6,
        "of the database, µs": (database_cpu() - database) / max(1, polls) * 1e6,
        "latest, s": max(lags),
    }


def database_cpu() -> float:
    """The CPU seconds of all database servers of this machine so far."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :]
        if name in ("postgres", "mariadbd"):
            fields = rest.split()
            total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def compared(
    kind: str, url: str, processes: Sequence[int], *, quick: bool
) -> tuple[list[Row], Any]:
    count, seconds = (ORDERS // 10, 15.0) if quick else (ORDERS, 60.0)
    watched = asyncio.run(handed_over(url, count))
    found: dict[str, Any] = {"orders": count, "handed over, orders/s": watched}
    rows = [
        Row(f"{kind}: handed over", watched, LEAST_WATCHED, "/s", limit=1.0, reach=2.0),
    ]
    peer = Processes(alone, url, 1, count)
    found["one poller"] = one = measured(peer, count, seconds)
    peer.end()
    for workers in processes:
        fleet = Processes(serving, url, workers)
        found[f"{workers} processes"] = each = measured(fleet, count, seconds)
        fleet.end()
        rows += [
            Row(
                f"{kind}, {workers} processes: latest query, s",
                *(each["latest, s"] + 1e-3, INTERVAL * LATE, "s"),
                limit=1.0,
                reach=0.5,
                smaller_is_better=True,
            ),
            Row(
                f"{kind}, {workers} processes: CPU a query",
                *(each["CPU a query, µs"], one["CPU a query, µs"], "µs"),
                limit=1.3,
                reach=1.1,
                smaller_is_better=True,
            ),
        ]
    return rows, found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet")
    parser.add_argument("--quick", action="store_true", help="10,000 orders; never fails")
    parser.add_argument("--only", choices=URLS, help="this database")
    parser.add_argument("--processes", type=int, nargs="+", default=(1, 2, 4), help="how many")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there")
    options = parser.parse_args()
    rows: list[Row] = []
    found: dict[str, Any] = {}
    with Servers() as servers, ExitStack() as stack:
        for kind in [options.only] if options.only else URLS:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = URLS[kind](servers, directory)
            more, found[kind] = compared(kind, url, options.processes, quick=options.quick)
            rows += more
    return finish("fleet", rows, options, found)


if __name__ == "__main__":
    sys.exit(main())
