"""One message, from its facts to its end: decide, then do what was decided."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Any

import attrs

from chaoying_async.abc import Clock
from chaoying_async.clock import ENDED, begun, go_on
from chaoying_async.notifications.answering import Outcome
from chaoying_async.notifications.deciding import Desk, Matter
from chaoying_async.notifications.endings import tamed
from chaoying_async.notifications.reporting import Reports, log
from chaoying_async.notifications.tasks import Tasks
from chaoying_async.notifications.working import (
    DECIDED_FOR_ANOTHER,
    Effects,
    Held,
    entry_of,
    is_decided_for_another,
)
from chaoying_async.sansio.notifications.decide import OTHER_NUMBERS, Decision, Verdict, has_effect
from chaoying_async.sansio.notifications.facts import Facts
from chaoying_async.sansio.notifications.inbox_values import OrderKey, TooManyWaitError

#: The warning where a query says "paid" of the order, and names another transaction (M-15).
CONFIRMED_BY_ANOTHER_NUMBER = (
    "the query that confirms it names another transaction than the notification"
)
#: Seconds between two looks at an order that another process works on.
LOOK_EVERY = 0.2


@attrs.frozen
class Limits:
    """Seconds from a message's coming."""

    #: So long somebody else's work is waited for.
    wait: float
    #: Everything before the effect has ended by then, or is given up with a :class:`TimeoutError`.
    claim: float
    #: So long the caller waits for work that has an owner, then has a :class:`TimeoutError`; None:
    #: to its end.
    answer: float | None = None
    #: Work had an owner when the message came, so none of it may begin without one.
    opened: bool = False


class Acting:
    """Does what is decided."""

    def __init__(
        self, clock: Clock, desk: Desk, effects: Effects, reports: Reports, tasks: Tasks
    ) -> None:
        self._clock = clock
        self._tasks = tasks
        self._desk = desk
        self._effects = effects
        self._reports = reports

    async def act(
        self,
        facts: Facts,
        limits: Limits,
        came: float,
        *,
        first_seen: datetime | None = None,
    ) -> Outcome:
        """Decide, and do it; what the shop's lookup or the inbox raise comes out.

        So does a :class:`TimeoutError` of ``limits``; what was claimed by then goes on.

        ``came``: the moment of the monotonic clock that they count from. ``first_seen``: when this
        very message first came, if it was set aside before.
        """
        claim_until = came + limits.claim
        answer_until = None if limits.answer is None else came + limits.answer
        while True:
            decided: list[tuple[Matter, Held | None]] = []
            deciding = self._decide(facts, claim_until, first_seen, decided)
            waits_for = begun(deciding)
            if waits_for is not ENDED:
                left = max(0.0, claim_until - self._clock.monotonic())
                await go_on(deciding, waits_for, self._clock.timeout(left))
            matter, held = decided[0]
            decision = matter.verdict.decision
            orphan = limits.opened and not self._tasks.is_open
            if held is not None:
                if orphan:
                    await self._effects.give_back(held)  # its owner has gone in the meantime
                    return Outcome(Decision.IN_PROGRESS, durable=False)
                await self._tasks.run(self._effects.run(held), until=answer_until)
                return Outcome(decision, held.durable, held.order if held.durable else None)
            if decision is Decision.DUPLICATE:
                if matter.verdict.reason == OTHER_NUMBERS:
                    log.warning("order %r: %s", matter.key.out_trade_no, OTHER_NUMBERS)
                return Outcome(decision, durable=True, paid=matter.done)
            if decision is not Decision.IN_PROGRESS and not has_effect(decision):
                if orphan:
                    return Outcome(decision, durable=False)
                keeping = tamed(self._without_effect(matter))
                kept = await self._kept(matter, keeping, answer_until)
                return Outcome(decision, kept, reason=matter.verdict.reason)
            # Somebody holds it, or took it between the decision and our claim.
            if not await self._waited(matter.key, came + limits.wait):
                return Outcome(Decision.IN_PROGRESS, durable=False)

    async def _decide(
        self,
        facts: Facts,
        until: float,
        first_seen: datetime | None,
        decided: list[tuple[Matter, Held | None]],
    ) -> None:
        """Adds what was decided, and what is held for it."""
        matter = await self._desk.decide(facts, first_seen=first_seen, until=until)
        paid, held, free = matter.verdict.paid, None, True
        before = matter.before
        if paid is not None and before is not None:
            entry = entry_of(matter, paid)
            if is_decided_for_another(entry, before):
                verdict = Verdict(Decision.CONFLICT, DECIDED_FOR_ANOTHER)
                matter, paid = attrs.evolve(matter, verdict=verdict), None
            else:
                keeping = self._effects.keep_what_is_replaced(matter.key, entry, before)
                free = await self._tasks.run(tamed(keeping))
        if paid is not None and free:
            held = await self._effects.claim(matter, paid)
            if held is not None and matter.verdict.is_told_crosswise:
                log.warning("order %r: %s", matter.key.out_trade_no, CONFIRMED_BY_ANOTHER_NUMBER)
        decided.append((matter, held))

    async def _kept(
        self, matter: Matter, keeping: Coroutine[Any, Any, None], until: float | None
    ) -> bool:
        try:
            return await self._tasks.run(keeping, until=until)
        except TooManyWaitError as error:
            self._reports.refused(matter.as_received, error)
            return False

    async def _without_effect(self, matter: Matter) -> None:
        if matter.leaves_nothing:
            return
        if matter.verdict.decision is Decision.NOT_PAID:
            await self._reports.not_paid(matter)
        else:
            await self._reports.set_aside(matter)

    async def _waited(self, key: OrderKey, until: float) -> bool:
        """Let time pass until the order may be free; False when there is none left."""
        left = until - self._clock.monotonic()
        if left <= 0:
            return False
        ended = self._effects.ended(key)
        if ended is None:
            await self._clock.sleep(min(LOOK_EVERY, left))
            return True
        try:
            async with self._clock.timeout(left):
                await ended.wait()
        except TimeoutError:
            return False
        return True
