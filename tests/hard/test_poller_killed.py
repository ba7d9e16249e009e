"""Real processes, really killed: what they tracked is picked up by the next one (M-23)."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chaoying_async import Poller
from chaoying_async.exceptions import StoreInUseError
from chaoying_async.pollstore.sql import SqlPollStore
from tests.hard.poll_process import LEASE, Slow, end_of
from tests.pollers import PAID
from tests.servers import Servers
from tests.sizes import FULL

ORDERS = 120 if FULL else 40
#: Of those that went on where the first one was killed.
KILLS = 12 if FULL else 0
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def process(where: str, track: int, done: int) -> AsyncGenerator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hard.poll_process", where, str(track), str(done)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def lines(child: asyncio.subprocess.Process) -> AsyncGenerator[list[str]]:
    assert child.stdout is not None
    async for line in child.stdout:
        if not line.endswith(b"\n"):
            return  # killed in the middle of it
        yield line.decode().split()


class Books:
    """What all processes together said."""

    def __init__(self) -> None:
        self.took: Counter[str] = Counter()
        self.done: set[str] = set()

    async def follow(self, child: asyncio.subprocess.Process, events: float) -> bool:
        """Listen to so many events and kill it; whether it came to its end before."""
        assert child.stdin is not None
        child.stdin.write(b"go on\n")
        heard = 0
        async for what, name, *status in lines(child):
            if what == "took":
                assert name not in self.done
                assert status == ["PAID" if end_of(name) is PAID else "CLOSED"]
                self.took[name] += 1
            elif what == "done":
                self.done.add(name)
            elif what == "end":
                assert name == "0"
                return True
            heard += what != "kept"
            if heard == events:
                child.kill()
        return False


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_processes_that_are_killed_forget_nothing(
    kind: str, servers: Servers, tmp_path: Path
) -> None:
    """Each outcome comes at least once, none after it was done, and a second owner is refused."""
    url = servers.postgresql_url() if kind == "postgresql" else str(tmp_path / "polls.db")
    books, rng = Books(), random.Random(7)
    async with process(url, ORDERS, done=5) as child:
        assert await anext(lines(child)) == ["kept", str(ORDERS)]
        with pytest.raises(StoreInUseError):
            await SqlPollStore(url, lease=LEASE).__aenter__()
        assert not await books.follow(child, 15)
    for _ in range(KILLS):
        async with process(url, 0, done=3) as child:
            if await books.follow(child, rng.randrange(5, 25)):
                break
    async with process(url, 0, done=0) as child:
        assert await books.follow(child, float("inf"))
    assert len(books.took) == ORDERS
    assert len(books.done) >= 5
    async with SqlPollStore(url, lease=LEASE) as store, Poller(Slow(), store=store) as poller:
        assert [outcome async for outcome in poller.drain()] == []
