"""A gateway that is alive: requests, time passing, and notifications, on one clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

from chaoying_async.abc import Clock
from chaoying_async.sandbox.gateway import Request, Response, SandboxGateway, World
from chaoying_async.sandbox.notifier import Notifier
from chaoying_async.sandbox.records import Event, Key, Noted, Notify, Wake


class Runtime:
    """The gateway with what happens behind its back; everything waits on ``clock``.

    Tasks are started where a request needs them and belong to this object: :meth:`aclose` ends
    them.
    """

    def __init__(
        self, world: World, clock: Clock, rng: random.Random, transport: Any = None
    ) -> None:
        self.clock = clock
        self.gateway = SandboxGateway(world, clock, rng, self._happened)
        self.notifier = Notifier(clock, self.gateway.notification, transport)
        #: What happened to orders, oldest first; for people who look on.
        self.happened: list[Noted] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def exchange(self, request: Request) -> Response:
        """What a client gets for a request."""
        return self.gateway.answer(request)

    def _happened(self, event: Event) -> None:
        match event:
            case Noted():
                self.happened.append(event)
            case Wake():
                self._spawn(self._wake(event))
            case Notify():
                self._spawn(self._deliver(event.key))

    async def _wake(self, event: Wake) -> None:
        await self.clock.sleep((event.at - self.clock.now()).total_seconds())
        self.gateway.pass_time(event.key)

    async def _deliver(self, key: Key) -> None:
        await self.notifier.deliver(self.gateway.ledger.orders[key])

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)  # the loop itself keeps no hold of a task
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """End everything that is still waiting: undelivered notifications too."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.notifier.aclose()
