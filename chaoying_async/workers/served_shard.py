"""Serves one shard: asks about what is waited for, and sees each outcome on its way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import attrs

from chaoying_async.abc import Clock, Gateway
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.polling.outcome import PollStats, record_of
from chaoying_async.polling.poller import Poller
from chaoying_async.pollstore.failures import GONE
from chaoying_async.sansio.polling.record import POLL, PendingOrder, read_pending
from chaoying_async.sql.dialects import EPOCH
from chaoying_async.workers.delivery import OutcomeDelivery
from chaoying_async.workers.log_texts import log, said
from chaoying_async.workers.outcomes import OutcomeReport, poll_report
from chaoying_async.workers.queues.protocol import OutcomeQueue
from chaoying_async.workers.shard import Shard
from chaoying_async.workers.shard_payments import ShardPayments
from chaoying_async.workers.tables import WATCH

#: Seconds before a write that failed is tried again, doubling.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
#: Seconds that queries and tasks under way may go on for while their shard is handed back, and
#: between two looks at whether their outcomes were written down.
GRACE, _LOOK_AGAIN = 10.0, 0.05
#: How many outcomes of a shard are written down at a time.
_WRITERS = 8
#: The kinds of rows that the poller asks about.
_WATCHED = (POLL, WATCH)


class ServedShard:
    """One shard, from when its lease was taken until it is handed back or lost."""

    def __init__(
        self,
        shard: Shard,
        gateway: Gateway,
        poller: Poller,
        *,
        queue: OutcomeQueue | None,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.shard = shard
        self._poller = poller
        self._clock = clock
        self._delivery = OutcomeDelivery(shard, queue, clock, rng)
        self._payments = ShardPayments(shard, gateway, clock=clock, rng=rng, tell=self._tell)
        self._stopping = asyncio.Event()
        #: How many outcomes are being written down.
        self._under_pen = 0
        self._doubted = False
        self._taking = asyncio.Lock()
        #: Rows that were to be marked, by their ``seq``, and are not seen to yet.
        self._unsure: Collection[int] = ()
        #: Whether it takes up what is handed over.
        self.is_open = False
        #: Whether it ended with an error that was not the loss of its lease.
        self.failed = False

    def stop(self) -> None:
        """Hand the shard back as soon as what is under way was written down."""
        self._stopping.set()

    def doubt(self) -> None:
        """Read again whose the shard is; where it is somebody else's, what is under way ends."""
        self._doubted = True
        self._stopping.set()

    def stats(self) -> PollStats:
        """Numbers of its poller."""
        return self._poller.stats()

    def growing(self, stats: PollStats) -> Mapping[str, int]:
        """The numbers that only grow, since the shard was taken; ``stats`` are its own."""
        return {
            "polls": stats.polls,
            "errors": stats.errors,
            "store_errors": stats.store_errors,
            "unreadable": stats.unreadable,
            "failed_deliveries": self._delivery.failed,
        }

    async def serve(self) -> None:
        """Serve until told to stop; a shard that somebody else took is no error of this process."""
        try:
            async with self.shard, self._poller:
                try:
                    await self._serve()
                finally:
                    self.is_open = False
                    async with self._taking:
                        pass  # no row is marked once the shard is handed back
        except* GONE:
            log.warning(
                "shard %d has another owner now: this process leaves its orders to that one",
                self.shard.number,
            )
        except* Exception as errors:  # noqa: BLE001 - the fleet outlives one shard's trouble
            self.failed = True
            for error in _leaves(errors):
                log.error(
                    "shard %d is handed back, for another process to take: %s",
                    *(self.shard.number, said(error)),
                )

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            await self._payments.start(group)
            self.is_open = True
            delivering = group.create_task(self._delivery.run(), name="chaoying fleet: deliver")
            writing = [
                group.create_task(self._hand_over(), name="chaoying fleet: hand over")
                for _ in range(_WRITERS)
            ]
            await self._stopping.wait()
            if self._doubted:
                await self.shard.hold()
            self.is_open = False
            self._delivery.stop()
            with suppress(TimeoutError):
                async with self._clock.timeout(GRACE):
                    await self._poller.rest()
                    while self._under_pen or self._poller.stats().unread:
                        await self._clock.sleep(_LOOK_AGAIN)
                    await asyncio.wait([delivering])
            self._payments.stop()
            for task in (delivering, *writing):
                task.cancel()

    async def take_up(self, rows: Sequence[Any]) -> int:
        """Mark rows that nobody had taken up, and wait for their orders; return how many."""
        async with self._taking:
            if not self.is_open:
                return 0
            await self._make_sure()
            marks: dict[int, str | None] = {}
            for row in rows:
                if row.kind in _WATCHED and self._poller.takes(row.item):
                    marks[row.seq] = _begun(row)
                elif self._payments.takes(row.kind, row.item):
                    marks[row.seq] = None  # its sender may have written more since it was read
            if marks:
                self._unsure = marks
                await self.shard.mark(marks)
                await self._make_sure()
            return len(marks)

    async def _make_sure(self) -> None:
        """See to what was marked, by the texts that were there by then.

        Also where the COMMIT failed and was made: nobody else would see to it. A row that is not
        marked was withdrawn, or comes again.
        """
        if self._unsure:
            marked = await self.shard.marked(self._unsure)
            self._unsure = ()
            self._poller.take_up((row.item, row.body) for row in marked if row.kind in _WATCHED)
            for row in marked:
                if row.kind not in _WATCHED:
                    self._payments.take_up(row.kind, row.item, row.body)

    async def _hand_over(self) -> None:
        """Write each outcome down where its way to the task begins."""
        async for outcome in self._poller.outcomes():
            merchant = outcome.query.mch_id or ""
            report = poll_report(outcome, merchant)
            self._under_pen += 1
            try:
                await self._tell(POLL, record_of(outcome), report)
            finally:
                self._under_pen -= 1

    async def _tell(self, kind: str, key: str, report: OutcomeReport) -> None:
        """Write an outcome down where its way to the task begins, again until that is answered.

        A COMMIT that failed may have been made: then there is nothing left to write, and the task
        waits for its outcome all the same.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                await self.shard.tell(kind, key, report)
                return self._delivery.wake()
            except GONE:
                raise
            except ChaoyingError as error:
                log.error(
                    "shard %d: %s; tried again in %.3g s",
                    *(self.shard.number, said(error), pause),
                )
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _begun(row: Any) -> str:
    """The text of a row, begun at the moment when the database got it (M-26)."""
    with suppress(ValueError):  # the poller says that this version cannot read it
        pending = read_pending(row.body)
        if isinstance(pending, PendingOrder):
            started = EPOCH + timedelta(microseconds=int(row.created))
            merchant = pending.query.mch_id or ""
            schedule = pending.schedule.begun(started)
            return attrs.evolve(pending, started=started, schedule=schedule).text(merchant)
    return str(row.body)


def _leaves(errors: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in errors.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
