"""A gateway, a clock and a store that outlive their pollers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from chaoying_async import (
    Poller,
)
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.testing import FakeClock
from tests.pollers import (
    EXACT,
    Script,
    Scripted,
)


class World:
    """A store, and processes that come and go on it; each has a monotonic clock of its own."""

    def __init__(self, script: Script) -> None:
        self.store: Any = MemoryPollStore()
        self.clock = FakeClock()
        self.gateway = Scripted(self.clock, script)

    def later(self, seconds: float = 0.0) -> None:
        """The process is dead for so long; the next one's monotonic clock begins anew."""
        self.clock = FakeClock(self.clock.now() + timedelta(seconds=seconds))
        self.gateway.clock = self.clock

    def poller(self, **options: Any) -> Poller:
        schedule = options.pop("schedule", EXACT)
        return Poller(self.gateway, schedule, store=self.store, clock=self.clock, **options)

    async def killed_after(self, seconds: float, *queries: Any, **options: Any) -> None:
        """A process that tracks these, lives so long, and is killed: nothing is written any more.

        What it had in memory is gone with it; the store keeps what it had by then.
        """
        async with self.store:
            poller = await self.poller(**options).__aenter__()
            for query in queries:
                poller.track(query, 100)
            await self.clock.advance(seconds)
            left = {kind: dict(texts) for kind, texts in self.store._texts.items()}
            await poller.__aexit__(None, None, None)
            self.store._texts = left

    def texts(self) -> list[dict[str, Any]]:
        kept = self.store._texts.get("poll", {})
        return [json.loads(text) for text in kept.values()]


class Troubled(MemoryPollStore):
    """A store that raises while it is told to, and counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble: Exception | None = None
        self.puts: list[int] = []

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        self._fail()
        self.puts.append(len(items))
        await super().put(kind, items)

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        self._fail()
        await super().forget(kind, keys)

    def _fail(self) -> None:
        if self.trouble is not None:
            raise self.trouble


def troubled(script: Script) -> World:
    world = World(script)
    world.store = Troubled()
    return world
