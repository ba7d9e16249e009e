"""Takes up what nobody will deliver again: dead work, failures, set-aside messages, marks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from chaoying_async.abc import Inbox
from chaoying_async.clock import within
from chaoying_async.notifications.deciding import DecidedMessage, storable
from chaoying_async.notifications.processing import Limits, Outcome, Processor
from chaoying_async.notifications.reporting import (
    FIRST_RETRY,
    LONGEST_RETRY,
    is_untold,
    log,
    retry_in,
)
from chaoying_async.notifications.tasks import only_exceptions
from chaoying_async.notifications.working import entry_of
from chaoying_async.sansio.notifications.case import ExpectedOrder, order_of_case
from chaoying_async.sansio.notifications.decide import (
    PAID_BUT_CLOSED,
    Decision,
    Judgement,
    has_effect,
)
from chaoying_async.sansio.notifications.facts import Facts, facts_from_text, kept_facts
from chaoying_async.sansio.notifications.inbox_values import (
    BY_A_PERSON,
    Aside,
    Mark,
    OrderKey,
    Record,
    SeenState,
)
from chaoying_async.sansio.paid import PaidOrder

#: How many orders and messages a look at the inbox brings, and how many are done at once.
PAGE, AT_ONCE = 100, 10
#: Seconds between two rounds, and how long a round waits for one piece of work.
EVERY = 30.0
#: Seconds that everything before the effect may take where no gateway waits for an answer.
PATIENCE = 30.0
Name = tuple[OrderKey, str]
_OVER = frozenset({Decision.DUPLICATE, Decision.NOT_PAID})


class DueWork:
    """Rounds through what is due; the next round finds again whatever this one did not finish."""

    def __init__(self, inbox: Inbox, processor: Processor, limits: Limits) -> None:
        self._inbox = inbox
        self._processor = processor
        self._decider = processor.decider
        self._effects = processor.effects
        self._reporter = processor.reporter
        self._tasks = processor.tasks
        self._clock = processor.clock
        self._limits = limits
        #: Orders and messages that an earlier round has not finished.
        self._under_way: set[Name] = set()

    async def run(self) -> int:
        """One round; how many orders and messages it looked at."""
        looked_at: set[Name] = set()
        most = PAGE
        while True:
            page = await within(self._clock, PATIENCE, self._inbox.unfinished(most))
            passed = looked_at | self._under_way
            fresh = _without_own_messages([item for item in page if _name(item) not in passed])
            looked_at.update(map(_name, fresh))
            await self._take_up(fresh)
            if len(page) < most:
                return len(looked_at)
            # What stays on the list is left to the next round, and must not hide the rest.
            most = PAGE + 2 * (len(page) - len(fresh))

    async def known(self, mch_id: str, out_trade_no: str) -> int:
        """Take up everything that is set aside about an order; how many messages that were."""
        expected = await self._decider.expected(mch_id, out_trade_no)
        names = {mch_id: None}
        if isinstance(expected, ExpectedOrder):
            names |= dict.fromkeys((expected.mch_id, *expected.also))
        items = [
            aside
            for name in names
            for aside in await self._inbox.asides(OrderKey(name, out_trade_no))
        ]
        await self._take_up(items)
        return len(items)

    async def _take_up(self, items: Sequence[Record | Aside]) -> None:
        limiter = asyncio.Semaphore(AT_ONCE)

        async def one(item: Record | Aside) -> None:
            async with limiter:
                await self._one(item)

        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(one(item))

    async def _one(self, item: Record | Aside) -> None:
        until = self._clock.monotonic() + EVERY
        with suppress(TimeoutError):  # it goes on, and holds up no other work
            await self._tasks.run(self._watched(item), until=until)

    async def _watched(self, item: Record | Aside) -> None:
        """Do it; if that takes longer than a round, the next rounds leave it alone."""
        name = _name(item)
        self._under_way.add(name)
        try:
            await only_exceptions(
                self._order(item) if isinstance(item, Record) else self._aside(item)
            )
        except Exception as error:  # noqa: BLE001 - the next round may do better
            number = item.key.out_trade_no
            log.warning("order %r could not be taken up: %s", number, type(error).__name__)
        finally:
            self._under_way.discard(name)

    async def _order(self, record: Record) -> None:
        """Judge work that died or failed again, by what the shop expects now (M-17).

        Where the order is not to take effect any more, its message is set aside as if it had just
        come, and the order itself is given up: it is due no more. A message that was closed is not
        set aside again; then a person has to know.
        """
        entry = record.entry
        if not entry.payload:
            return
        facts = kept_facts(entry.payload, entry.source)
        if entry.decision == BY_A_PERSON:
            await self._run_as_decided(record, facts)
            return
        now, message = self._clock.monotonic(), (storable(facts) or record.key, facts.fingerprint)
        before = await self._inbox.aside(*message)
        outcome = await self._processor.process(
            facts, self._limits, now, first_seen=entry.first_seen
        )
        decision = outcome.decision
        if outcome.durable and not has_effect(decision):
            seen_to = decision in _OVER or await self._reporter.waits(*message)
            news = before is None or before.decision != decision
            await self._give_up(record, outcome, seen_to=seen_to, told=seen_to and news)

    async def _give_up(
        self, record: Record, outcome: Outcome, *, seen_to: bool, told: bool
    ) -> None:
        """End the retries of an order whose retry came to nothing.

        ``seen_to``: the order is over, or its message waits in its place. Else nobody works on it
        (the message was closed), so it is quarantined. So is an order that the shop has closed
        since: whether it is to be delivered where it is opened again, a person has to say. Where
        only the gateway's word is missing, it is retried. Nothing of this has an effect where
        somebody has claimed the order since it was read: that may be another payment.
        """
        claim = record.as_claim()
        if outcome.decision is Decision.UNCONFIRMED:
            await self._inbox.release(claim, retry_in=retry_in(record.failures), failed=False)
        elif seen_to and outcome.reason != PAID_BUT_CLOSED:
            await self._inbox.give_up(claim)
        elif await self._inbox.quarantine(claim, outcome.reason) and not told:
            await self._reporter.report(outcome.decision, outcome.reason, record.key)

    async def _run_as_decided(self, record: Record, facts: Facts) -> None:
        """Run what a person decided, whatever the shop expects by now."""
        received = storable(facts) or record.key
        gathering = self._decider.case(facts, received, record.entry.first_seen)
        case, _ = await within(self._clock, PATIENCE, gathering)
        order = order_of_case(case, record.key.mch_id)
        matter = _decided(facts, record.key, order, record.entry.first_seen, record)
        held = await self._effects.claim(matter, order, BY_A_PERSON)
        if held is not None:
            _tell_applied(facts, record.key, case.order)
            await self._effects.run(held)

    async def _aside(self, aside: Aside) -> None:
        facts = facts_from_text(aside.payload)
        if aside.mark is Mark.APPLY:
            await self._apply(aside, facts)
            return
        now, first_seen = self._clock.monotonic(), aside.first_seen
        outcome = await self._processor.process(facts, self._limits, now, first_seen=first_seen)
        if outcome.decision in _OVER or (has_effect(outcome.decision) and outcome.durable):
            await self._inbox.close(aside)
        elif has_effect(outcome.decision):
            # The order itself is due; its retry may be judged otherwise, and sets this aside again.
            await self._inbox.postpone(aside, retry_in=LONGEST_RETRY)
        elif outcome.decision is Decision.IN_PROGRESS:
            await self._inbox.postpone(aside, retry_in=FIRST_RETRY)
        else:
            retry = self._reporter.next_try(outcome.decision, outcome.reason, aside.tries + 1)
            if retry is None and is_untold(aside):  # somebody else may be reporting it
                retry = FIRST_RETRY
            await self._inbox.postpone(aside, retry_in=retry)

    async def _apply(self, aside: Aside, facts: Facts) -> None:
        """Run ``on_paid`` since a person said so, whatever the amounts; never a second time."""
        received = storable(facts)
        if received is None:
            log.error("a message without a usable order number cannot be applied")
            await self._inbox.close(aside)
            return
        gathering = self._decider.case(facts, received, aside.first_seen)
        case, record = await within(self._clock, PATIENCE, gathering)
        if case.seen is not None and case.seen.state is SeenState.DONE:
            log.error("order %r has taken effect already: not again", received.out_trade_no)
            await self._inbox.close(aside)
            return
        order = order_of_case(case)
        key = OrderKey(order.mch_id, order.out_trade_no)
        matter = _decided(facts, key, order, aside.first_seen, record)
        if record is not None:
            entry = entry_of(matter, order)
            await self._effects.keep_what_is_replaced(key, entry, record)
        held = await self._effects.claim(matter, order, BY_A_PERSON)
        if held is None:
            await self._inbox.postpone(aside, retry_in=FIRST_RETRY)
            return
        await self._inbox.close(aside)  # from here on the order itself is due
        _tell_applied(facts, key, case.order)
        await self._effects.run(held)


def _decided(
    facts: Facts, key: OrderKey, order: PaidOrder, first_seen: datetime, record: Record | None
) -> DecidedMessage:
    verdict = Judgement(Decision.APPLY, "a person said so", order)
    return DecidedMessage(facts, key, verdict, first_seen, record)


def _tell_applied(facts: Facts, key: OrderKey, expected: ExpectedOrder | None) -> None:
    """Log that an order is delivered on a person's word alone; the record says so as well."""
    told = facts.payable if facts.payable is not None else facts.total_fee
    wanted = "no known order" if expected is None else f"{expected.total_fee} fen expected"
    log.warning(
        "on_paid is run for order %r of merchant %r because a person said so: %s fen paid, %s",
        key.out_trade_no,
        key.mch_id,
        told,
        wanted,
    )


def _without_own_messages(items: Sequence[Record | Aside]) -> list[Record | Aside]:
    """Without the messages of orders in the list: both at once might be reported twice."""
    own = {_own_message(item) for item in items if isinstance(item, Record)}
    return [item for item in items if isinstance(item, Record) or item.fingerprint not in own]


def _own_message(record: Record) -> str:
    """The fingerprint of an order's message; empty where that cannot be read."""
    try:
        return kept_facts(record.entry.payload, record.entry.source).fingerprint
    except Exception:  # noqa: BLE001 - one broken order keeps no other from its turn
        return ""


def _name(item: Record | Aside) -> Name:
    return item.key, item.fingerprint if isinstance(item, Aside) else ""
