"""Takes up what nobody will deliver again: failures, dead claims, set-aside messages, marks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from chaoying_async.abc import Observer
from chaoying_async.clock import within
from chaoying_async.notifications.deciding import Expected, storable
from chaoying_async.notifications.journey import Journey, Limits, Outcome
from chaoying_async.notifications.reporting import (
    FIRST_RETRY,
    LONGEST_RETRY,
    is_untold,
    log,
    retry_in,
)
from chaoying_async.notifications.tasks import only_exceptions
from chaoying_async.observation import Observation
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import (
    PAID_BUT_CLOSED,
    Decision,
    has_effect,
    has_ended,
)
from chaoying_async.sansio.notifications.facts import facts_from_text, kept_facts
from chaoying_async.sansio.notifications.inbox_values import (
    BY_A_PERSON,
    Aside,
    Entry,
    Mark,
    OrderKey,
    Record,
    SeenState,
)
from chaoying_async.sansio.notifications.unreadable import UnreadableRecordError, readable
from chaoying_async.sansio.observed import ObservedMessage, order_mark

#: How many orders and messages a look at the inbox brings, and how many are done at once.
PAGE, AT_ONCE = 100, 10
#: Seconds between two rounds, and how long a round waits for one piece of work.
EVERY = 30.0
#: Seconds that everything before the effect may take where no gateway waits for an answer.
PATIENCE = 30.0
Name = tuple[OrderKey, str]
#: The reason of a quarantined order of which nothing was kept but its row.
CUT_SHORT: Final = (
    "its transaction was ended before its work was: whether it took effect is not known, and no"
    " message of it was kept"
)
_OVER = frozenset({Decision.DUPLICATE, Decision.NOT_PAID})


class DueWork:
    """Rounds through what is due; the next round finds again whatever this one did not finish."""

    def __init__(self, journey: Journey, limits: Limits, observer: Observer | None) -> None:
        self._journey = journey
        self._observer = observer
        self._inbox = journey.inbox
        self._decider = journey.decider
        self._reporter = journey.reporter
        self._clock = journey.clock
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
        expected = await self._asked(OrderKey(mch_id, out_trade_no))
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

    async def _asked(self, key: OrderKey) -> Expected:
        """What the shop expects; None where it is asked under the order's lock and has no order."""
        if not self._decider.asks_inside:
            return (await self._decider.ask(key)).expected
        async with self._inbox.lock(key, Entry("", self._clock.now())) as order:
            return None if order is None else (await self._decider.ask(key, order)).expected

    async def _take_up(self, items: Sequence[Record | Aside]) -> None:
        limiter = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(self._one(item, limiter), name="chaoying notifications: due")

    async def _one(self, item: Record | Aside, limiter: asyncio.Semaphore) -> None:
        # What takes longer than a round goes on, and holds up no other work.
        async with limiter:
            until = self._clock.monotonic() + EVERY
            with suppress(TimeoutError):
                await self._journey.tasks.run(self._watched(item), until=until)

    async def _watched(self, item: Record | Aside) -> None:
        """Do it; if that takes longer than a round, the next rounds leave it alone."""
        name = _name(item)
        self._under_way.add(name)
        work = ObservedMessage(
            name="run_due", order=order_mark(item.key.mch_id, item.key.out_trade_no)
        )
        try:
            with Observation(self._observer, work, self._clock):
                outcome = await only_exceptions(
                    self._order(item) if isinstance(item, Record) else self._aside(item)
                )
                if outcome is not None:
                    over = has_ended(outcome.decision, durable=outcome.durable)
                    work.decided(outcome.decision, over=over)
        except UnreadableRecordError as error:
            self._reporter.unreadable.tell(error)
        except Exception as error:  # noqa: BLE001 - the next round may do better
            log.warning(
                "order %r of merchant %r could not be taken up (%s): the next round tries again",
                *(item.key.out_trade_no, item.key.mch_id, type(error).__name__),
            )
        finally:
            self._under_way.discard(name)

    async def _order(self, record: Record) -> Outcome | None:
        """Judge work that died or failed again, by what the shop expects now (M-17).

        Where the order is not to take effect any more, its message is set aside as if it had just
        come, and the order itself is given up: it is due no more. A message that was closed is not
        set aside again; then a person has to know.
        """
        entry = record.entry
        if not entry.payload:
            await self._quarantine(record)
            return None
        facts = readable(lambda: kept_facts(entry.payload, entry.source), record.key)
        if entry.decision == BY_A_PERSON:  # whatever the shop expects by now
            return await self._journey.run(
                facts, self._limits, first_seen=entry.first_seen, by_a_person=True, key=record.key
            )
        message = storable(facts) or record.key, facts.fingerprint
        waiting = await self._inbox.aside(*message)
        outcome = await self._journey.run(facts, self._limits, first_seen=entry.first_seen)
        decision = outcome.decision
        if outcome.durable and not has_effect(decision):
            seen_to = decision in _OVER or await self._reporter.waits(*message)
            news = waiting is None or waiting.decision != decision
            await self._give_up(record, outcome, seen_to=seen_to, told=seen_to and news)
        return outcome

    async def _quarantine(self, record: Record) -> None:
        """End an order whose row was committed before its work had ended, and so has no message.

        A function of the user's has ended the transaction that it was lent, and either returned
        nothing to run, or its process died. A person has to look.
        """
        async with self._inbox.lock(record.key, record.entry) as order:
            if order is None or order.before is None or order.before.token != record.token:
                return
            entry, failures = order.before.entry, record.failures
            await order.save(SeenState.QUARANTINED, entry, failures=failures, reason=CUT_SHORT)
        await self._reporter.report(Decision.CONFLICT, CUT_SHORT, record.key)

    async def _give_up(
        self, record: Record, outcome: Outcome, *, seen_to: bool, told: bool
    ) -> None:
        """End the retries of an order whose retry came to nothing.

        ``seen_to``: the order is over, or its message waits in its place. Else nobody works on it
        (the message was closed), so it is quarantined. So is an order that the shop has closed
        since: whether it is to be delivered where it is opened again, a person has to say. Where
        only the gateway's word is missing, it is retried. Nothing of this has an effect where
        somebody has tried the order since it was read: that may be another payment.
        """
        async with self._inbox.lock(record.key, record.entry) as order:
            if order is None or order.before is None or order.before.token != record.token:
                return
            entry, failures = order.before.entry, record.failures
            if outcome.decision is Decision.UNCONFIRMED:
                retry = retry_in(failures)
                await order.save(SeenState.HELD, entry, failures=failures, retry_in=retry)
                return
            gives_up = seen_to and outcome.reason != PAID_BUT_CLOSED
            state = SeenState.NOT_PAID if gives_up else SeenState.QUARANTINED
            await order.save(state, entry, failures=failures, reason=outcome.reason)
        if not gives_up and not told:
            await self._reporter.report(outcome.decision, outcome.reason, record.key)

    async def _aside(self, aside: Aside) -> Outcome | None:
        facts = readable(lambda: facts_from_text(aside.payload), aside.key)
        if aside.mark is Mark.APPLY and storable(facts) is None:
            log.error(
                "a message of merchant %r without a usable order number cannot be applied: it is"
                " closed, so look its payment up by hand",
                aside.key.mch_id,
            )
            await self._inbox.close(aside)
            return None
        by_a_person = aside.mark is Mark.APPLY
        outcome = await self._journey.run(
            facts, self._limits, first_seen=aside.first_seen, by_a_person=by_a_person
        )
        decision = outcome.decision
        if by_a_person and decision is Decision.DUPLICATE:
            log.error(
                "order %r of merchant %r has taken effect already: on_paid is not run again",
                *(aside.key.out_trade_no, aside.key.mch_id),
            )
        is_the_orders = outcome.durable or (by_a_person and outcome.is_kept)
        if decision in _OVER or (has_effect(decision) and is_the_orders):
            await self._inbox.close(
                aside
            )  # it took effect, or the order itself is due from here on
        elif has_effect(decision):
            # The order itself is due; its retry may be judged otherwise, and sets this aside again.
            await self._inbox.postpone(aside, retry_in=LONGEST_RETRY)
        elif decision is Decision.IN_PROGRESS:
            await self._inbox.postpone(aside, retry_in=FIRST_RETRY)
        else:
            retry = self._reporter.next_try(decision, outcome.reason, aside.tries + 1)
            if retry is None and is_untold(aside):  # somebody else may be reporting it
                retry = FIRST_RETRY
            await self._inbox.postpone(aside, retry_in=retry)
        return outcome


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
