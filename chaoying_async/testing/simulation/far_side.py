"""The gateway of the simulated world: the sandbox's books, and how it notifies the shop of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Protocol

import attrs

from chaoying_async.sandbox.bank.entities import (
    Consequence,
    Key,
    Ledger,
    Noted,
    Notify,
    Order,
    Status,
    Wake,
)
from chaoying_async.sandbox.bank.ledger import MERCHANTS
from chaoying_async.sandbox.bank.reply_fields import notification_fields
from chaoying_async.sandbox.bank.scenarios import SCENARIOS
from chaoying_async.sandbox.document.http_messages import written_form
from chaoying_async.sandbox.document.signature import signature
from chaoying_async.sandbox.serving.gateway import SandboxGateway, World
from chaoying_async.sandbox.serving.notifier import SCHEDULE, SUCCESS
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.testing.simulation.key_ring import KeyRing
from chaoying_async.testing.simulation.process import SimulatedClock
from chaoying_async.testing.simulation.surroundings import Surroundings
from chaoying_async.testing.simulation.timeline import Happening
from chaoying_async.testing.simulation.weather import MailFault, struck

#: When the storm is over the gateway comes again at least this often. Seconds.
_SOON = 60.0


class Post(Protocol):
    """How a notification gets to the shop."""

    async def __call__(
        self, key: Key, body: bytes, *, untrue: str = "", outdated: bool = False
    ) -> bytes | None:
        """Deliver a body to some process: what it answered, None where nothing came back.

        ``untrue`` says what is wrong with a body that may have no effect; ``outdated``: that its
        key has ended, and so it is not delivered to whoever was not told of that.
        """
        ...


class FarSide:
    """Keeps the books, and delivers notifications until they are accepted or given up."""

    def __init__(
        self,
        world: Surroundings,
        rng: random.Random,
        *,
        keys: KeyRing,
        post: Post,
    ) -> None:
        self._world = world
        self._rng = rng
        self._post = post
        self.keys = keys
        weather = world.weather
        self.clock = SimulatedClock(world.loop, weather.ahead)
        behaves = World(
            credentials=keys.old,
            sign_failures=weather.sign_failures,
            total_is_paid=weather.total_is_paid,
        )
        self.gateway = SandboxGateway(behaves, self.clock, rng, on_event=self._happened)
        if weather.changes.rotation is not None:
            at = weather.changes.rotation.at
            world.loop.call_later(at, self._rotate, context=world.context)
        #: Notifications that are still to be delivered, by task.
        self.under_way: dict[asyncio.Task[None], Key] = {}
        #: Orders whose notification was accepted.
        self.accepted: set[Key] = set()
        #: Orders whose notification was given up.
        self.given_up: set[Key] = set()

    @property
    def ledger(self) -> Ledger:
        """The books as they stand."""
        return self.gateway.ledger

    def _rotate(self) -> None:
        self._world.timeline.note(Happening.BOOKED, "the gateway signs with the new key")
        self.gateway.world = attrs.evolve(self.gateway.world, credentials=self.keys.gateways)

    def _happened(self, event: Consequence) -> None:
        match event:
            case Noted():
                self._world.timeline.note(Happening.BOOKED, f"{event.key[1]}: {event.what}")
            case Wake():
                wait = (event.at - self.clock.now()).total_seconds()
                self._world.loop.call_later(
                    max(0.0, wait), self.gateway.pass_time, event.key, context=self._world.context
                )
            case Notify():
                task = self._world.loop.create_task(
                    self._deliver(event.key),
                    name=f"notify {event.key[1]}",
                    context=self._world.context,
                )
                self.under_way[task] = event.key
                task.add_done_callback(self.under_way.pop)

    async def _deliver(self, key: Key) -> None:
        scenario = SCENARIOS[self.ledger.orders[key].scenario]
        wanted = scenario.notified
        if not wanted:
            self.given_up.add(key)
            return
        await self.clock.sleep(scenario.notified_late)
        for wait in SCHEDULE[: self._world.weather.attempts]:
            await self._wait(wait)
            wanted -= await self._attempt(key)
            if wanted <= 0:
                self.accepted.add(key)
                self.gateway.told(key)
                return
        self.given_up.add(key)
        self._world.timeline.note(Happening.BOOKED, f"{key[1]}: the notification is given up")

    def paid(self, order: Order, signer: Credentials) -> bytes:
        """That the order is paid, whatever the books say, signed with some key."""
        fields = dict(notification_fields(order, self.gateway.nonce(), total_is_paid=False))
        fields |= {"pay_result": "0", "result_code": "SUCCESS"}
        return written_form({**fields, "sign": signature(fields, signer)})

    def twin(self, order: Order) -> bytes:
        """Rightly signed for another merchant; a number is an order's only with its merchant's."""
        twin = attrs.evolve(
            order,
            mch_id=MERCHANTS[1].mch_id,
            transaction_id=f"{order.transaction_id}2",
            out_transaction_id=f"{order.out_transaction_id}2",
            status=Status.PAID,
            paid_at=order.paid_at or self.clock.now(),
            ended=order.ended or self.clock.now(),
        )
        if self._world.weather.changes.resolves:
            return self.paid(twin, self.keys.stranger)
        return self.gateway.notification(twin)

    async def _wait(self, seconds: float) -> None:
        until = self._world.loop.time() + seconds
        while not self._world.is_calm and self._world.loop.time() < until:
            await self.clock.sleep(min(_SOON, until - self._world.loop.time()))
        await self.clock.sleep(max(0.0, min(_SOON, until - self._world.loop.time())))

    async def _attempt(self, key: Key) -> bool:
        order = self.ledger.orders[key]
        fault = None if self._world.is_calm else struck(self._rng, self._world.weather.mail)
        body = self.gateway.notification(order)
        if fault is MailFault.LATE:
            await self.clock.sleep(self._rng.uniform(0.0, 120.0))
        if fault in _COMES_FIRST:
            untrue, made = _COMES_FIRST[fault]
            outdated = fault is MailFault.OLD_KEY
            await self._post(key, made(self, order), untrue=untrue, outdated=outdated)
        if fault is MailFault.LOST:
            return False
        if fault is MailFault.TWICE:
            return SUCCESS in await asyncio.gather(self._post(key, body), self._post(key, body))
        answer = await self._post(key, body)
        if fault is MailFault.TRICKLED:
            answer = await self._post(key, self.gateway.notification(order))
        return answer == SUCCESS and fault is not MailFault.UNHEARD


#: What comes before the true notification: what is wrong with it, and how it is made.
_COMES_FIRST: Mapping[MailFault | None, tuple[str, Callable[[FarSide, Order], bytes]]] = {
    MailFault.FORGED: ("a forgery", lambda far, order: far.gateway.forgery(order)),
    MailFault.OLD_KEY: ("a key that has ended", lambda far, order: far.paid(order, far.keys.old)),
    MailFault.OTHERS_KEY: (
        "another merchant's key",
        lambda far, order: far.paid(order, far.keys.stranger),
    ),
    MailFault.TWIN: ("another merchant's", FarSide.twin),
}
