"""Sees the payments and refunds of one shard to their end, whichever process sent them (M-24)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping

from chaoying_async.abc import Clock, Gateway
from chaoying_async.payments.outcome import CheckoutOutcome
from chaoying_async.payments.records import Records, close_order
from chaoying_async.payments.refunds import RefundTracker
from chaoying_async.payments.resume import Resuming
from chaoying_async.payments.running import outcome_of
from chaoying_async.pollstore.failures import GONE
from chaoying_async.sansio.payments.intent import CHECKOUT, REFUND, Intent, intent_in
from chaoying_async.sansio.payments.refunds import refund_intent_in
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.workers.log_texts import log, said
from chaoying_async.workers.outcomes import OutcomeReport, checkout_report, poll_report
from chaoying_async.workers.shard import Shard

_PAYMENTS, _REFUNDS = PollSchedule(), PollSchedule.refunds()
#: Seconds before an order that could not be seen to its end is taken up again, doubling.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class ShardPayments:
    """Asks about each payment and refund, cancels in time, and reports how it ended."""

    def __init__(
        self,
        shard: Shard,
        gateway: Gateway,
        *,
        clock: Clock,
        rng: random.Random,
        tell: Callable[[str, str, OutcomeReport], Awaitable[None]],
    ) -> None:
        self._shard = shard
        self._clock = clock
        self._tell = tell
        checkouts = Records(shard, CHECKOUT)
        self._resuming = Resuming(
            gateway, shard, checkouts, schedule=_PAYMENTS, clock=clock, rng=rng
        )
        self._tracker = RefundTracker(gateway, shard, _REFUNDS, clock, rng)
        self._under_way: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._ways: Mapping[str, Callable[[str], Awaitable[OutcomeReport | None]]] = {
            CHECKOUT: self._checkout,
            REFUND: self._refund,
        }

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Take up what has the shard's mark already, with a task of this group for each."""
        self._group = group
        for kind in self._ways:
            async for key, text in self._shard.load(kind):
                self.take_up(kind, key, text)

    def stop(self) -> None:
        """Leave all of them to the shard's next owner: what was sent was written down before."""
        for task in [*self._under_way.values()]:
            task.cancel()

    def takes(self, kind: str, key: str) -> bool:
        """Whether a row is for here, and no earlier one of its key is still at work."""
        return kind in self._ways and (kind, key) not in self._under_way

    def take_up(self, kind: str, key: str, text: str) -> None:
        """See one payment or refund to its end."""
        task = self._group.create_task(
            self._until_reported(kind, key, text), name="chaoying fleet: payment"
        )
        self._under_way[kind, key] = task
        task.add_done_callback(lambda _: self._under_way.pop((kind, key)))

    async def _until_reported(self, kind: str, key: str, text: str) -> None:
        pause, again = _FIRST_PAUSE, False
        while True:
            try:
                if again:
                    text = await self._shard.get(kind, key) or text
                report = await self._ways[kind](text)
                if report is not None:
                    await self._tell(kind, key, report)
                    return
            except ValueError:
                log.error("the %s %s cannot be read by this version: query it by hand", kind, key)
                return
            except GONE:
                raise
            except Exception as error:  # noqa: BLE001 - one order must not stop the others
                log.error("%s %s: %s; tried again in %.0f s", *(kind, key, said(error), pause))
            await self._clock.sleep(pause)
            pause, again = min(2 * pause, _LONGEST_PAUSE), True

    async def _checkout(self, text: str) -> OutcomeReport | None:
        """How a payment ended; None where it is to be asked about again."""
        intent = intent_in(text)
        if intent.end is not None:  # its pay call was answered at once, or a process died here
            return await self._ended(intent, outcome_of(intent, intent.end, intent.paid, (), None))
        found = await self._resuming.until_ended(intent)
        if found is None or not found[2]:
            return None
        return await self._ended(found[0], found[1])

    async def _ended(self, intent: Intent, outcome: CheckoutOutcome) -> OutcomeReport:
        await self._resuming.records.before_an_end(self._clock)
        await close_order(self._shard, intent)  # or it would pass for one that was never sent
        return checkout_report(outcome)

    async def _refund(self, text: str) -> OutcomeReport | None:
        """How a refund ended; None where it is to be asked about again."""
        found = await self._tracker.resumed(refund_intent_in(text), self._shard)
        if found is None:
            return None
        await self._tracker.records.before_an_end(self._clock)
        return poll_report(found[1], found[0].mch_id)
