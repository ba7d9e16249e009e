"""Brings the outcomes of one shard to the tasks that they are for, until each has arrived."""

from __future__ import annotations

import asyncio
import inspect
import json
import pkgutil
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter

from chaoying_async.abc import Clock
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.pollstore.failures import GONE
from chaoying_async.workers.log_texts import log, said
from chaoying_async.workers.outcomes import KEPT_IN, KEPT_UNTIL_TAKEN
from chaoying_async.workers.queues.protocol import OutcomeQueue
from chaoying_async.workers.shard import Shard, check_named

#: Seconds before an outcome that could not be delivered is tried again, doubling.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0
#: Seconds before the database is asked again after an error.
_AFTER_AN_ERROR = 1.0
#: Seconds before it is looked whether a task that had the outcome's row has taken it.
_WHILE_TAKEN = 1.0
#: How many outcomes of one shard are on their way at a time.
_AT_ONCE = 100
#: How many of its tasks that are not async run at a time.
_THREADS = 20


class _TaskError(Exception):
    """A task or its queue did not take an outcome; the text says what may be said of it."""


class OutcomeDelivery:
    """Delivers one shard's outcomes, each at least once; none waits for another."""

    def __init__(
        self, shard: Shard, queue: OutcomeQueue | None, clock: Clock, rng: random.Random
    ) -> None:
        self._shard = shard
        self._queue = queue
        self._patience: float | None = getattr(queue, "patience", None)
        self._clock = clock
        self._rng = rng
        self._news = asyncio.Event()
        self._stopping = False
        self._on_their_way: dict[int, asyncio.Task[None]] = {}
        #: Rows that their tasks have in open transactions, or whose pause could not be written
        #: down, and when to look at them again.
        self._kept_back: dict[int, float] = {}
        #: Whether there was no room for all that was due when it was last read.
        self._more = False
        #: How often an outcome could not be given to its task.
        self.failed = 0
        # Of its own: a web framework runs its views in anyio's usual threads.
        self._threads = CapacityLimiter(_THREADS)

    def wake(self) -> None:
        """Look now: an outcome was written down."""
        self._news.set()

    def stop(self) -> None:
        """Send off no more; :meth:`run` returns when all that are on their way have arrived."""
        self._stopping = True
        self._news.set()

    async def run(self) -> None:
        """Deliver until told to stop, or the shard is somebody else's."""
        async with asyncio.TaskGroup() as group:
            while not self._stopping:
                self._news.clear()
                try:
                    left = await self._begin(group)
                except GONE:
                    raise
                except ChaoyingError as error:
                    log.error("%s; tried again in %.0f s", said(error), _AFTER_AN_ERROR)
                    left = _AFTER_AN_ERROR
                with suppress(TimeoutError):
                    async with self._clock.timeout(left):
                        await self._news.wait()

    async def _begin(self, group: asyncio.TaskGroup) -> float | None:
        """Send off what is due; return when to look again, None: after the next news."""
        room = _AT_ONCE - len(self._on_their_way)
        if room <= 0:
            self._more = True
            return None  # the end of each is news
        rows = await self._shard.due(room, self._busy())
        for row in rows:
            task = group.create_task(self._deliver(row), name="chaoying fleet: deliver one")
            self._on_their_way[row.seq] = task
            task.add_done_callback(partial(self._arrived, row.seq))
        self._more = len(rows) == room
        # A task that takes long must not keep others from their next try.
        if self._more:
            return None
        busy = self._busy()
        waits = [when - self._clock.monotonic() for when in self._kept_back.values()]
        due = await self._shard.next_due(busy)
        return min(waits if due is None else [due, *waits], default=None)

    def _busy(self) -> set[int]:
        """Rows that are not to be read: on their way, or kept back for a moment yet."""
        now = self._clock.monotonic()
        self._kept_back = {seq: when for seq, when in self._kept_back.items() if when > now}
        return {*self._on_their_way, *self._kept_back}

    def _arrived(self, seq: int, _: asyncio.Task[None]) -> None:
        del self._on_their_way[seq]
        if self._more:
            self.wake()

    async def _deliver(self, row: Any) -> None:
        try:
            await self._shard.hold()  # M-23: nothing is given out by who is not its owner any more
            check_named(row.then)
            outcome = json.loads(row.body)
            if self._queue is not None and self._queue.joins:
                await self._shard.send(row.seq, row.then, outcome)
            elif self._patience is not None:
                await self._lend(row, outcome, self._patience)
            else:
                await self._give(row.then, outcome)
                await self._forget(row.seq)
        except GONE:
            raise
        except Exception as error:  # noqa: BLE001 - one task's trouble is not another's
            await self._later(row, error)
            self.wake()

    async def _lend(self, row: Any, outcome: Mapping[str, Any], patience: float) -> None:
        """Send an outcome that its task takes out of the database: see ``took_effect``.

        When it is due again is written before it is sent: afterwards its task may have the row.
        """
        if await self._shard.lend(row.seq, patience):
            where = {KEPT_UNTIL_TAKEN: True, KEPT_IN: self._shard.table_prefix}
            await self._give(row.then, {**outcome, **where})
        else:
            self._kept_back[row.seq] = self._clock.monotonic() + _WHILE_TAKEN
        self.wake()  # it may be due again before any other

    async def _give(self, then: str, outcome: Mapping[str, Any]) -> None:
        """Bring an outcome to its task, or into its queue; whatever goes wrong is the task's.

        A task may well raise our own errors, which say nothing of this shard, or be cancelled, by
        itself too, which is not to end its delivery: so it has an asyncio task of its own.
        """
        giving = asyncio.get_running_loop().create_task(
            self._give_now(then, outcome), name="chaoying fleet: the user's task"
        )
        try:
            await giving
        except asyncio.CancelledError as error:
            this = asyncio.current_task()
            if this is None or this.cancelling():
                raise
            raise _TaskError("it was cancelled") from error

    async def _give_now(self, then: str, outcome: Mapping[str, Any]) -> None:
        try:
            if self._queue is None:
                await run_task(then, outcome, self._threads)
            else:
                await self._queue.send(then, outcome, None)
        except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            raise _TaskError(said(error)) from error

    async def _forget(self, seq: int) -> None:
        """Forget what its task has; a database that fails is tried again, the task is not."""
        while True:
            try:
                return await self._shard.delivered(seq)
            except GONE:
                raise
            except ChaoyingError as error:
                log.error("%s; tried again in %.0f s", said(error), _AFTER_AN_ERROR)
            await self._clock.sleep(_AFTER_AN_ERROR)

    async def _later(self, row: Any, error: Exception) -> None:
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(row.tries, 30))
        pause *= 1 + self._rng.random() / 10
        why = str(error) if isinstance(error, _TaskError) else said(error)
        self.failed += 1
        log.error(
            "the outcome %d could not be given to %s (try %d: %s): again in %.0f s",
            *(row.seq, row.then or "any task", row.tries + 1, why, pause),
        )
        try:
            await self._shard.deliver_later(row.seq, pause)
        except ChaoyingError:  # where nothing can be written down, it would be due at once
            self._kept_back[row.seq] = self._clock.monotonic() + pause


async def run_task(then: str, outcome: Mapping[str, Any], threads: CapacityLimiter) -> None:
    """Call a function by its name, ``module:function``, in this process.

    One that is not ``async`` runs in a thread, which goes on alone where this is cancelled.
    """
    task: Callable[..., Any] = pkgutil.resolve_name(then)
    if inspect.iscoroutinefunction(task):
        await task(outcome=outcome)
        return
    call = partial(task, outcome=outcome)
    returned = await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=threads)
    if inspect.isawaitable(returned):
        await returned
