"""The files of a world before anything happened in it: made once, copied for every seed."""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine

from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.testing.simulation.corner_shop import create_tables
from chaoying_async.testing.simulation.inline_sqlite import CalmDisk, Compiled, SimulatedFiles
from chaoying_async.testing.simulation.loop import SimulatedLoop
from chaoying_async.testing.simulation.process import Process, SimulatedClock
from chaoying_async.testing.simulation.timeline import Timeline

T = TypeVar("T")

#: The shop's tables and its inbox; the poll store.
SHOP, POLLS = "shop.db", "polls.db"
_MEMORY = Path("/dev/shm")  # noqa: S108 - only a folder of our own in it


def shared_memory() -> str | None:
    """A folder in memory, where there is one: no file of a world has to survive this machine."""
    return str(_MEMORY) if _MEMORY.is_dir() else None


@lru_cache(maxsize=1)
def blank_files() -> dict[str, bytes]:
    """Their contents by name: all tables, and not a row of the shop's."""
    with tempfile.TemporaryDirectory(dir=shared_memory()) as folder:
        shop, polls = (str(Path(folder) / name) for name in (SHOP, POLLS))

        async def make(files: SimulatedFiles, clock: SimulatedClock) -> None:
            async with _disposed(files.engine(shop)) as engine:
                await SqlInbox(engine, clock=clock).create_tables()
            async with _disposed(files.engine(polls)) as engine, SqlPollStore(engine, clock=clock):
                pass

        _run(make)
        create_tables(shop)
        return {Path(path).name: Path(path).read_bytes() for path in (shop, polls)}


@lru_cache(maxsize=1)
def compiled() -> Compiled:
    """What all engines of all worlds have in common; made where no loop runs."""

    async def connect(files: SimulatedFiles, _: SimulatedClock) -> Dialect:
        async with _disposed(files.engine(":memory:")) as engine, engine.connect():
            return engine.dialect

    return Compiled(_run(connect))


def _run(work: Callable[[SimulatedFiles, SimulatedClock], Coroutine[Any, Any, T]]) -> T:
    """What the work returns, done by a process of a world in which there is nothing else."""
    rng = random.Random(0)
    loop = SimulatedLoop(rng)
    timeline = Timeline(loop.time)
    process = Process("maker", loop, timeline)
    task = process.start(
        work(SimulatedFiles(process, timeline, CalmDisk(rng)), SimulatedClock(loop))
    )
    loop.run_idle()
    loop.close()
    result: T = task.result()
    return result


@asynccontextmanager
async def _disposed(engine: AsyncEngine) -> AsyncGenerator[AsyncEngine]:
    try:
        yield engine
    finally:
        await engine.dispose()
