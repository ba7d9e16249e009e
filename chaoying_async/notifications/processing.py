"""Takes one message from its facts to its outcome: decides, then does what was decided."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import attrs

from chaoying_async.abc import Clock
from chaoying_async.clock import within
from chaoying_async.notifications.deciding import DecidedMessage, Decider
from chaoying_async.notifications.reporting import Reporter, log
from chaoying_async.notifications.tasks import OwnedTasks, only_exceptions
from chaoying_async.notifications.working import (
    DECIDED_FOR_ANOTHER,
    ClaimedOrder,
    EffectRunner,
    entry_of,
    is_decided_for_another,
)
from chaoying_async.sansio.notifications.decide import (
    OTHER_NUMBERS,
    Decision,
    Judgement,
    has_effect,
)
from chaoying_async.sansio.notifications.facts import Facts
from chaoying_async.sansio.notifications.inbox_values import OrderKey, TooManyWaitError
from chaoying_async.sansio.paid import PaidOrder

#: The warning where a query says "paid" of the order, and names another transaction (M-15).
CONFIRMED_BY_ANOTHER_NUMBER = (
    "the query that confirms it names another transaction than the notification"
)
#: Seconds between two looks at an order that another process works on.
LOOK_EVERY = 0.2


@attrs.frozen
class Limits:
    """How long a message may take; seconds from when it came."""

    wait: float
    """So long we wait for somebody else's work on the order."""
    claim: float
    """By then everything before the effect has ended, or is given up with a :class:`TimeoutError`.
    """
    answer: float | None = None
    """So long the caller waits for work that has an owner, then gets a :class:`TimeoutError`; None:
    to its end.
    """
    opened: bool = False
    """Whether work had an owner when the message came: then none of it may begin without one."""


class Outcome(NamedTuple):
    """What became of a message."""

    decision: Decision
    durable: bool
    """Whether its effect, or that there is none, is recorded."""
    paid: PaidOrder | None = None
    """The order, where its effect is durable."""
    reason: str = ""


class Processor:
    """Decides about messages and does what was decided."""

    def __init__(
        self,
        clock: Clock,
        decider: Decider,
        effects: EffectRunner,
        reporter: Reporter,
        tasks: OwnedTasks,
    ) -> None:
        self.clock = clock
        self.tasks = tasks
        self.decider = decider
        self.effects = effects
        self.reporter = reporter

    async def process(
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
            matter, held = await within(
                self.clock,
                claim_until - self.clock.monotonic(),
                self._decide_and_claim(facts, claim_until, first_seen),
            )
            decision = matter.verdict.decision
            has_no_owner = limits.opened and not self.tasks.is_open
            if held is not None:
                if has_no_owner:
                    await self.effects.give_back(held)  # the handler was closed in the meantime
                    return Outcome(Decision.IN_PROGRESS, durable=False)
                await self.tasks.run(self.effects.run(held), until=answer_until)
                return Outcome(decision, held.durable, held.order if held.durable else None)
            if decision is Decision.DUPLICATE:
                if matter.verdict.reason == OTHER_NUMBERS:
                    log.warning("order %r: %s", matter.key.out_trade_no, OTHER_NUMBERS)
                return Outcome(decision, durable=True, paid=matter.done)
            if decision is not Decision.IN_PROGRESS and not has_effect(decision):
                if has_no_owner:
                    return Outcome(decision, durable=False)
                kept = await self._keep(matter, answer_until)
                return Outcome(decision, kept, reason=matter.verdict.reason)
            # Somebody holds the order, or took it between the decision and our claim.
            if not await self._waited(matter.key, came + limits.wait):
                return Outcome(Decision.IN_PROGRESS, durable=False)

    async def _decide_and_claim(
        self, facts: Facts, until: float, first_seen: datetime | None
    ) -> tuple[DecidedMessage, ClaimedOrder | None]:
        """What was decided, and the order where we hold it for that."""
        matter = await self.decider.decide(facts, first_seen=first_seen, until=until)
        paid, before = matter.verdict.paid, matter.before
        if paid is None:
            return matter, None
        if before is not None:
            entry = entry_of(matter, paid)
            if is_decided_for_another(entry, before):
                verdict = Judgement(Decision.CONFLICT, DECIDED_FOR_ANOTHER)
                return attrs.evolve(matter, verdict=verdict), None
            keeping = self.effects.keep_what_is_replaced(matter.key, entry, before)
            if not await self.tasks.run(only_exceptions(keeping)):
                return matter, None
        held = await self.effects.claim(matter, paid)
        if held is not None and matter.verdict.names_another_transaction:
            log.warning("order %r: %s", matter.key.out_trade_no, CONFIRMED_BY_ANOTHER_NUMBER)
        return matter, held

    async def _keep(self, matter: DecidedMessage, until: float | None) -> bool:
        """Record a message without an effect; False where it was not kept."""
        keeping = only_exceptions(self._without_effect(matter))
        try:
            return await self.tasks.run(keeping, until=until)
        except TooManyWaitError as error:
            self.reporter.refused(matter.as_received, error)
            return False

    async def _without_effect(self, matter: DecidedMessage) -> None:
        if matter.leaves_nothing:
            return
        if matter.verdict.decision is Decision.NOT_PAID:
            await self.reporter.not_paid(matter)
        else:
            await self.reporter.set_aside(matter)

    async def _waited(self, key: OrderKey, until: float) -> bool:
        """Wait until the order may be free; False when no time is left."""
        left = until - self.clock.monotonic()
        if left <= 0:
            return False
        ended = self.effects.ended(key)
        if ended is None:
            await self.clock.sleep(min(LOOK_EVERY, left))
            return True
        try:
            async with self.clock.timeout(left):
                await ended.wait()
        except TimeoutError:
            return False
        return True
