"""The running gateway: it answers requests, lets time pass, and sends notifications."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Protocol

import attrs

from chaoying_async.abc import Clock
from chaoying_async.sandbox.bank.entities import Consequence, Key, Ledger, Noted, Notify, Wake
from chaoying_async.sandbox.bank.ledger import unfinished
from chaoying_async.sandbox.document.http_messages import HttpRequest, HttpResponse
from chaoying_async.sandbox.serving import masked
from chaoying_async.sandbox.serving.faults import Fault, Faults
from chaoying_async.sandbox.serving.gateway import SandboxGateway, World
from chaoying_async.sandbox.serving.notifier import KEPT, Delivery, Notifier
from chaoying_async.sandbox.serving.sandbox_file import SandboxFile
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.redact import shown_url

#: How many answers a notification is delivered for, where a fault wants it otherwise than once.
_TIMES: Mapping[Fault | None, int] = {Fault.NOTIFY_NEVER: 0, Fault.NOTIFY_TWICE: 2}


class Watcher(Protocol):
    """An onlooker that hears of everything: the console."""

    def exchanged(
        self, at: datetime, request: HttpRequest, response: HttpResponse, fault: Fault | None
    ) -> None:
        """Hear that a request was answered, and which fault struck it, if any."""

    def changed(self) -> None:
        """Hear that an order or a notification changed."""


class Runtime:
    """The gateway together with everything that happens by itself; all waits are on ``clock``.

    Tasks are started where a request needs them and belong to this object: :meth:`aclose` ends
    them.
    """

    def __init__(
        self,
        world: World,
        clock: Clock,
        rng: random.Random,
        *,
        notify_transport: Any = None,
        store: SandboxFile | None = None,
    ) -> None:
        self.clock = clock
        self._store = store
        known = store.load() if store else None
        keep = store.save if store else None
        self.gateway = SandboxGateway(
            world, clock, rng, on_event=self._happened, ledger=known, keep=keep
        )
        if store and known is None:
            store.save(Ledger(), self.gateway.ledger)
            store.set("serial", "0")
        #: What goes wrong on purpose.
        self.faults = Faults(random.Random(rng.getrandbits(64)), clock)
        self.notifier = Notifier(
            clock, self.gateway.notification, notify_transport, on_attempt=self._attempted
        )
        #: Who hears of everything that happens, if anybody.
        self.watcher: Watcher | None = None
        #: What happened to orders lately, oldest first; for people who look on.
        self.happened: deque[Noted] = deque(maxlen=KEPT)
        #: Where those notes are kept over restarts, if anywhere.
        self.chronicle = store.chronicle if store else None
        if self.chronicle is not None:
            self.happened.extend(self.chronicle.load(Noted, KEPT))
            self.notifier.deliveries.extend(self.chronicle.load(Delivery, KEPT))
        self._tasks: set[asyncio.Task[None]] = set()

    async def exchange(self, request: HttpRequest) -> HttpResponse:
        """The response to a request, after the faults in force."""
        plan = self.faults.draw(request.endpoint) if self.faults.plans else None
        if plan is None and self.watcher is None:
            return self.gateway.answer(request)
        at = self.clock.now()
        if plan is None:
            response = self.gateway.answer(request)
        else:
            response = await self.faults.befall(plan, request, self.gateway)
        if self.watcher is not None:
            self.watcher.exchanged(at, request, response, plan.fault if plan else None)
        return response

    @property
    def date(self) -> str:
        """The ``Date`` header of a reply, by the sandbox's own clock, as its ``time_end`` is."""
        return format_datetime(self.clock.now().astimezone(UTC), usegmt=True)

    def resume(self) -> None:
        """Take up what was unfinished when the books of an earlier run were closed."""
        for event in unfinished(self.gateway.ledger, self.clock.now()):
            self._happened(event)

    def _attempted(self, delivery: Delivery) -> None:
        if self.chronicle is not None:
            self.chronicle.add(_masked(delivery, self.gateway.world.credentials), KEPT)
        self._changed()

    def _changed(self) -> None:
        if self.watcher is not None:
            self.watcher.changed()

    def _happened(self, event: Consequence) -> None:
        self._changed()
        match event:
            case Noted():
                self.happened.append(event)
                if self.chronicle is not None:
                    self.chronicle.add(event, KEPT)
            case Wake():
                self.spawn(self._wake(event))
            case Notify():
                self.spawn(self._deliver(event.key))

    async def _wake(self, event: Wake) -> None:
        await self.clock.sleep((event.at - self.clock.now()).total_seconds())
        self.gateway.pass_time(event.key)

    async def _deliver(self, key: Key) -> None:
        order = self.gateway.ledger.orders[key]
        plan = self.faults.draw(notification=True)
        fault = plan.fault if plan else None
        if fault is Fault.NOTIFY_FORGED:
            await self.notifier.attempt(order, 0, self.gateway.forgery(order), forged=True)
        times = _TIMES.get(fault, 1)
        await self.notifier.deliver(order, times=times, late=self.faults.wait(plan))
        self.gateway.told(key)
        self._changed()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background until it ends or :meth:`aclose` ends it."""
        task = asyncio.get_running_loop().create_task(coroutine, name="chaoying sandbox: later")
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """End everything that still waits, undelivered notifications too."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.notifier.aclose()
        if self._store is not None:
            self._store.close()


def _masked(delivery: Delivery, credentials: Credentials) -> Delivery:
    """The delivery as it may be kept: without anything personal (M-27)."""
    answer = masked.answer_of(delivery.answer, delivery.body, credentials)
    body = masked.wire(delivery.body, credentials)
    url = shown_url(delivery.url)
    return attrs.evolve(delivery, url=url, body=body.encode(), answer=answer.encode())
