"""Fleets on a real database, a scripted gateway, and tasks that write down what they were given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chaoying_async import PollSchedule
from chaoying_async.clock import SystemClock
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.workers import Fleet
from tests.pollers import PAID, Script, Scripted, always
from tests.servers import Servers

#: A database's clock is not moved by hand, so everything is short. Seconds.
LEASE = 1.5
LOOK = 0.1
SOON = PollSchedule(first=0.05, every=0.1, until=5, jitter=0)

#: Databases, by a function that makes a new one's address.
DATABASES: dict[str, Callable[[Servers, Path], str]] = {
    "sqlite": lambda _, directory: f"sqlite:///{directory}/fleet.db",
    "psycopg": lambda servers, _: servers.postgresql_url("psycopg"),
    "asyncpg": lambda servers, _: servers.postgresql_url("asyncpg"),
    "mariadb": lambda servers, _: servers.mariadb_url(),
}

#: What :func:`order_ended` was given, by the number of the order.
GIVEN: dict[str, list[Mapping[str, Any]]] = {}
ENDED = f"{__name__}:order_ended"


async def order_ended(outcome: Mapping[str, Any]) -> None:
    """The user's task."""
    GIVEN.setdefault(outcome["out_trade_no"], []).append(outcome)


class FleetWorld:
    """One database, one gateway, and any number of processes of a fleet."""

    def __init__(self, url: str, script: Script | None = None) -> None:
        self.url = url
        self.gateway = Scripted(SystemClock(), script or always(PAID))  # type: ignore[arg-type]

    def fleet(self, **options: Any) -> Fleet:
        """A process of the fleet, which is not open yet."""
        shards = options.pop("shards", 4)
        lease = options.pop("lease", LEASE)
        clock = options.pop("store_clock", None)
        named = {name: options.pop(name) for name in ("table_prefix",) if name in options}
        store = SqlPollStore(self.url, shards=shards, lease=lease, clock=clock, **named)
        return Fleet(store, lambda: self.gateway, **{"look": LOOK} | options)

    @asynccontextmanager
    async def open(self, count: int, **options: Any) -> AsyncGenerator[list[Fleet]]:
        """So many processes that serve."""
        fleets = [self.fleet(**options) for _ in range(count)]
        for fleet in fleets:
            await fleet.__aenter__()
        try:
            yield fleets
        finally:
            await asyncio.gather(*(fleet.__aexit__(None, None, None) for fleet in fleets))


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for threads and servers, which live in real time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
