"""What a fleet of processes costs, and how it grows: their orders are in a database that all share.

    python -m benchmarks.fleet [--quick] [--only postgresql|mariadb|sqlite] [--json PATH]
                               [--orders N] [--interval SECONDS] [--slow TIMES] [--processes N ...]

It takes some ten minutes for each database, so ``python -m benchmarks`` leaves it out.

Three things, on servers that this starts, or in SQLite files:

- orders that are handed over at once (``watch_many``);
- 100,000 that are pending, each asked every 60 s, with 1, 2 and 4 processes, against a gateway in
  the same process that answers "not yet" after 0.1 s: by how much the latest query is late, and how
  much CPU a query costs, in the processes and in their database. The peer is one process with a
  ``Poller`` on a ``SqlPollStore``. It runs beside the fleet on a server of its own, and both are
  measured in the same windows, so that a busy machine is as hard on one as on the other. A window
  is one interval, in which every order is asked once;
- how many queries 1, 2 and 4 processes ask when more is due than they may ask: each has
  :data:`AT_ONCE` calls in the air. The peer is one process, times their number.

A tenth of the orders with ``--quick``, for a shorter time. ``--slow 5`` shows a machine with other
work to do all of it in slow motion: every second of the processes takes five, and all figures are
in theirs. Leases are five times longer there, so a fleet renews them more rarely, which makes a
query some 3 µs cheaper than it is.
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
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.polling import NotYet
from benchmarks.report import Row, finish
from chaoying_async import OrderQuery, Poller, PollSchedule
from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.enums import PayType
from chaoying_async.workers import Fleet
from tests.servers import Server, Servers

#: Every order is asked once in this time (seconds), and may be late by so much of it.
INTERVAL, LATE = 60.0, 0.2
LATENCY = 0.1
ORDERS = 100_000
LEAST_WATCHED = 2000.0
#: For growth: orders that are due every second, and calls that a process has in the air.
GREEDY, AT_ONCE = 2000, 20
#: Seconds until a fleet that has all its orders asks as fast as it can.
SETTLING = 5.0
LEASE = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Database(NamedTuple):
    """A database of its own, and the server that has it; SQLite has none."""

    url: str
    server: Server | None


DATABASES: dict[str, Callable[[Servers, Path], Database]] = {
    "postgresql": lambda servers, _: Database(
        servers.postgresql_url("asyncpg"), servers.postgresql
    ),
    "mariadb": lambda servers, _: Database(servers.mariadb_url(), servers.mariadb),
    "sqlite": lambda _, directory: Database(
        f"sqlite:///{tempfile.mkdtemp(dir=directory)}/fleet.db", None
    ),
}


class Pace(NamedTuple):
    """How often each order is asked, and how many times slower than real time passes."""

    interval: float = INTERVAL
    slow: float = 1.0

    def clock(self) -> SlowClock:
        return SlowClock(self.slow)

    def store(self, url: str) -> SqlPollStore:
        return SqlPollStore(url, lease=LEASE * self.slow, clock=self.clock())

    def gateway(self) -> FarAway:
        return FarAway(self.clock())

    def fleet(self, url: str, concurrency: int = 1000) -> Fleet:
        then = "benchmarks.fleet:nothing"
        return Fleet(self.store(url), self.gateway, concurrency=concurrency, then=then)


class SlowClock(SystemClock):
    """The system's clock in slow motion."""

    def __init__(self, slow: float) -> None:
        self._slow = slow
        self._began = time.monotonic()

    def monotonic(self) -> float:
        return self._began + (time.monotonic() - self._began) / self._slow

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._slow)

    def timeout(self, seconds: float | None) -> asyncio.Timeout:
        return asyncio.timeout(None if seconds is None else seconds * self._slow)


class FarAway(NotYet):
    """It answers "not yet" after so long, as a gateway far away does."""

    max_connections = 1000

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        await self._clock.sleep(LATENCY)
        return await super().send(request, timeout=timeout)


Groups = Iterator[tuple[PollSchedule, list[OrderQuery]]]


def in_turn(count: int, interval: float) -> Groups:
    """All orders, in groups with the schedule of each, a second later than that of the last."""
    many = [
        OrderQuery(paytype=PayType.WECHAT, mch_id="00000001", out_trade_no=f"A{n:019d}")
        for n in range(count)
    ]
    groups = int(interval)
    for group in range(groups):
        yield _steady(5.0 + group, interval), many[group::groups]


def greedy(count: int) -> Groups:
    """Orders that are all due every second."""
    for _, queries in in_turn(count, 1.0):
        yield _steady(1.0, 1.0), queries


def _steady(first: float, interval: float) -> PollSchedule:
    return PollSchedule(first, interval, 86_400.0, jitter=0.0, factor=1.0, longest=interval)


async def nothing(outcome: Any) -> None:
    """No order ends."""


async def handed_over(url: str, orders: Groups, count: int) -> float:
    """Orders a second."""
    async with Pace().fleet(url):  # it makes the tables
        pass
    async with Pace().fleet(url).handing_over() as fleet:
        began = time.perf_counter()
        for schedule, queries in orders:
            await fleet.watch_many(queries, schedule=schedule)
        return count / (time.perf_counter() - began)


class Said(NamedTuple):
    """What a process says of itself."""

    polls: int
    pending: int
    lag: float
    cpu: float


async def serving(url: str, told: Connection, pace: Pace, concurrency: int) -> None:
    """One process of a fleet."""
    async with pace.fleet(url, concurrency) as fleet:
        while await _asked(told):
            stats = fleet.stats()
            polls = sum(shard.polls for shard in stats.shards.values())
            told.send(Said(polls, stats.pending, stats.lag, time.process_time()))


async def alone(url: str, told: Connection, pace: Pace, count: int) -> None:
    """The peer: one process, one store, one poller."""
    async with (
        pace.store(url) as store,
        Poller(pace.gateway(), concurrency=1000, store=store, clock=pace.clock()) as poller,
    ):
        for schedule, queries in in_turn(count, pace.interval):
            for query in queries:
                poller.track(query, schedule=schedule)
        await poller.kept()
        while await _asked(told):
            stats = poller.stats()
            told.send(Said(stats.polls, stats.pending, stats.lag, time.process_time()))


async def _asked(told: Connection) -> bool:
    """Wait to be asked; False: it is to end."""
    wanted: str = await asyncio.to_thread(told.recv)
    return wanted != "end"


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

    def ask(self) -> Said:
        """All of them together; the lag is that of the latest."""
        for pipe in self._pipes:
            pipe.send("how much")
        polls, pending, lags, cpu = zip(*(pipe.recv() for pipe in self._pipes), strict=True)
        return Said(sum(polls), sum(pending), max(lags), sum(cpu))

    def until_pending(self, count: int) -> None:
        """Return when they wait for so many."""
        while self.ask().pending < count:
            time.sleep(0.5)

    def end(self) -> None:
        for pipe in self._pipes:
            pipe.send("end")
        for process in self._processes:
            process.join()


class Measured(NamedTuple):
    """What was measured in one window."""

    rate: float
    """Queries a second."""
    cpu: float
    """CPU of the processes for a query, in µs."""
    database: float
    """CPU of the database for a query, in µs."""


def measured(
    all_of_them: Sequence[tuple[Processes, Database]], seconds: float, slow: float
) -> tuple[list[Measured], float]:
    """What each did in the same seconds, and by how much the latest query of the first was late."""
    began, before = time.perf_counter(), _numbers(all_of_them)
    lag = 0.0
    while time.perf_counter() - began < seconds * slow:
        time.sleep(1)
        lag = max(lag, all_of_them[0][0].ask().lag)
    took, after = time.perf_counter() - began, _numbers(all_of_them)
    found = []
    for (said_before, cpu_before), (said, cpu) in zip(before, after, strict=True):
        polls = max(1, said.polls - said_before.polls)
        each = 1e6 / polls
        found.append(
            Measured(
                polls / took * slow, (said.cpu - said_before.cpu) * each, (cpu - cpu_before) * each
            )
        )
    return found, lag


def _middle(windows: Sequence[Measured]) -> Measured:
    return Measured(*map(median, zip(*windows, strict=True)))


def _numbers(all_of_them: Sequence[tuple[Processes, Database]]) -> list[tuple[Said, float]]:
    return [(processes.ask(), database_cpu(database)) for processes, database in all_of_them]


def database_cpu(database: Database) -> float:
    """The CPU seconds so far of a server and of the processes it made, ended ones included."""
    if database.server is None or database.server.process is None:
        return 0.0
    server = database.server.process.pid
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        fields = text[text.rindex(")") + 2 :].split()
        if int(stat.parent.name) == server:
            total += sum(map(int, fields[11:15]))
        elif int(fields[1]) == server:
            total += sum(map(int, fields[11:13]))
    return total / _TICKS


def cost(
    kind: str, ours: Database, theirs: Database, options: argparse.Namespace
) -> tuple[list[Row], dict[str, Any]]:
    """Orders that are pending: how late they are, and what a query costs beside one poller's."""
    count, pace = options.orders, Pace(options.interval, options.slow)
    windows = 1 if options.quick else 3
    watched = asyncio.run(handed_over(ours.url, in_turn(count, pace.interval), count))
    rows = [Row(f"{kind}: handed over", watched, LEAST_WATCHED, "/s", limit=1.0, reach=2.0)]
    found: dict[str, Any] = {"orders": count, **pace._asdict(), "handed over, orders/s": watched}
    peer = Processes(alone, theirs.url, 1, pace, count)
    for workers in options.processes:
        fleet = Processes(serving, ours.url, workers, pace, 1000)
        fleet.until_pending(count)
        peer.until_pending(count)
        time.sleep(pace.interval * pace.slow)
        both = (fleet, ours), (peer, theirs)
        pairs, lags = zip(
            *(measured(both, pace.interval, pace.slow) for _ in range(windows)), strict=True
        )
        fleet.end()
        mine, one = (_middle(each) for each in zip(*pairs, strict=True))
        found[f"{workers} processes"] = {
            "queries/s": mine.rate,
            "CPU a query, µs": mine.cpu,
            "of the database, µs": mine.database,
            "latest, s": max(lags),
            "one poller beside it: CPU a query, µs": one.cpu,
            "one poller beside it: of the database, µs": one.database,
        }
        rows += [
            Row(
                f"{kind}, {workers} processes: latest query, s",
                *(max(lags) + 1e-3, pace.interval * LATE, "s"),
                limit=1.0,
                reach=0.5,
                smaller_is_better=True,
            ),
            Row(
                f"{kind}, {workers} processes: CPU a query",
                *(mine.cpu, one.cpu, "µs"),
                limit=1.3,
                reach=1.1,
                smaller_is_better=True,
                rounds=[fleets.cpu / pollers.cpu for fleets, pollers in pairs],
            ),
        ]
    peer.end()
    return rows, found


def growth(
    kind: str, database: Database, options: argparse.Namespace
) -> tuple[list[Row], dict[str, Any]]:
    """How many queries so many processes ask, where the gateway's latency is what they wait for."""
    pace = Pace(slow=options.slow)
    asyncio.run(handed_over(database.url, greedy(GREEDY), GREEDY))
    found: dict[str, Any] = {}
    rows: list[Row] = []
    for workers in options.processes:
        fleet = Processes(serving, database.url, workers, pace, AT_ONCE)
        fleet.until_pending(GREEDY)
        time.sleep(SETTLING * pace.slow)
        ((each,), _) = measured([(fleet, database)], 10.0, pace.slow)
        fleet.end()
        found[f"{workers} processes"] = each._asdict()
        one = found[f"{options.processes[0]} processes"]["rate"] / options.processes[0]
        rows.append(
            Row(
                f"{kind}, {workers} processes: queries/s, {AT_ONCE} at once",
                *(each.rate, one * workers, "/s"),
                limit=0.8,
                reach=0.95,
            )
        )
    return rows, found


def everything_on(kind: str, options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    make = DATABASES[kind]
    with tempfile.TemporaryDirectory() as name, Servers() as servers, Servers() as others:
        directory = Path(name)
        ours, theirs = make(servers, directory), make(others, directory)
        rows, found = cost(kind, ours, theirs, options)
        more, grown = growth(kind, make(servers, directory), options)
    return rows + more, found | {"growth": grown}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet")
    parser.add_argument("--quick", action="store_true", help="10,000 orders; never fails")
    parser.add_argument("--only", choices=DATABASES, nargs="+", help="these databases")
    parser.add_argument("--orders", type=int, help=f"how many are pending ({ORDERS})")
    parser.add_argument("--interval", type=float, default=INTERVAL, help="each is asked so often")
    parser.add_argument("--slow", type=float, default=1.0, help="so many times slower")
    parser.add_argument("--processes", type=int, nargs="+", default=(1, 2, 4), help="how many")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there")
    options = parser.parse_args()
    options.orders = options.orders or (ORDERS // 10 if options.quick else ORDERS)
    rows: list[Row] = []
    found: dict[str, Any] = {}
    for kind in options.only or DATABASES:
        more, found[kind] = everything_on(kind, options)
        rows += more
    return finish("fleet", rows, options, found)


if __name__ == "__main__":
    sys.exit(main())
