"""What a poller writes into its store, when, and what it gives out once that is durable.

An order is written as soon as it is tracked, and its outcome as soon as it has one; what queries
said in between is written within :data:`LAZY` seconds. Whatever comes while a write is under way
goes into the next write together. One record is one wait: its outcome takes the place of what was
pending, in one write, and stays until the consumer has taken it (M-23).

``sql.batching`` has callers who wait for an answer each. Here nobody waits for a single write: the
newest state of each order counts, and a write that failed is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

import attrs

from chaoying_async.abc import Clock, PollStore
from chaoying_async.exceptions import (
    ChaoyingError,
    SessionClosedError,
    StoreError,
    StoreInUseError,
)
from chaoying_async.observation import SafeLog
from chaoying_async.polling.joined import JoinedRecords
from chaoying_async.polling.outcome import PollOutcome, Receipt
from chaoying_async.polling.queue import Key, QueuedOrder, Sink
from chaoying_async.pollstore.errands import Durable, Task, durable, errands_of
from chaoying_async.pollstore.failures import GONE, store_error
from chaoying_async.pollstore.guarded import GuardedStore
from chaoying_async.sansio.polling.record import (
    POLL,
    EndedOrder,
    PendingOrder,
    check_keepable,
    number_in,
    read_pending,
    record_key,
)
from chaoying_async.sansio.polling.status import PollStatus

log = SafeLog("chaoying_async.polling")

#: Seconds after which answers that did not decide are written, all of them together. Less than the
#: 5 s between two queries of a payment (M-22): who is killed asks each order once more, not twice.
LAZY = 4.0
#: How many records are written at a time.
MOST = 1000
#: Seconds before a failed write is tried again, doubling.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
#: Seconds that leaving the poller waits for the last write.
LAST = 10.0

#: The attribute that marks a store while a poller is open on it.
_POLLED = "polled_by"


@attrs.frozen
class LoadedRecords:
    """What an earlier poller left."""

    ended: list[PollOutcome[Any]]
    """Outcomes that nobody took, in the order in which they were tracked."""
    waiting: list[tuple[str, PendingOrder]]
    """Orders to be asked about, with the key of their record."""


class PollRecords:
    """One poller's records, from opening to leaving; without a store nothing is kept.

    ``lost`` is called when the store is not ours any more, with the error and with everybody who
    waits for an outcome that can no longer be given out.
    """

    def __init__(
        self,
        store: PollStore | None,
        clock: Clock,
        lost: Callable[[Exception, list[Sink]], None],
    ) -> None:
        self._store = store
        if store is not None:
            self._texts = GuardedStore(store)
        self._clock = clock
        self._lost = lost
        #: The key of the record of each order that is kept, and the highest number in a key.
        self._keys: dict[Key, str] = {}
        self._last_number = 0
        #: Orders with a record that nobody waits for any more.
        self._left: dict[Key, QueuedOrder] = {}
        #: Records of orders that the store has not seen yet.
        self._new: set[str] = set()
        #: What to write next for each record: an order, an outcome's text, or None (forget it).
        self._changes: dict[str, QueuedOrder | str | None] = {}
        self._writing: dict[str, QueuedOrder | str | None] = {}
        #: Orders with news that may wait until ``_lazy_until``, and those whose news has waited.
        self._lazy: dict[Key, QueuedOrder] = {}
        self._lazy_until = 0.0
        self._overdue: dict[Key, QueuedOrder] = {}
        #: Outcomes that are given out when their record is durable, and to whom.
        self._held: dict[str, tuple[tuple[Sink, ...], PollOutcome[Any]]] = {}
        #: Records of outcomes that no consumer has taken yet.
        self._untaken: set[str] = set()
        self._joined = JoinedRecords(clock)
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self._error: Exception | None = None
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self.errors = 0
        self.unreadable = 0

    @property
    def unwritten(self) -> int:
        """How many changes the store does not have yet."""
        return len(self._changes) + len(self._writing)

    # -------------------------------------------------------------------------------- opening

    async def load(self) -> LoadedRecords:
        """Read everything that the store holds; what cannot be read stays there, and is logged.

        A store has one poller: two would ask twice, and one of them would write again what the
        other has forgotten, so that it came once more.
        """
        found = LoadedRecords([], [])
        if self._store is None:
            return found
        if getattr(self._store, _POLLED, None) is not None:
            raise StoreInUseError("another poller is open on this store: one store, one poller")
        self._mark(self)
        try:
            async for key, text in self._texts.load(POLL):
                self._read(key, text, found)
        except BaseException:
            self._mark(None)
            raise
        return found

    def read(self, texts: Iterable[tuple[str, str]]) -> LoadedRecords:
        """Read records by their keys; one that cannot be read stays where it is."""
        found = LoadedRecords([], [])
        for key, text in texts:
            self._read(key, text, found)
        return found

    def _read(self, key: str, text: str, found: LoadedRecords) -> None:
        self._last_number = max(self._last_number, number_in(key))
        try:
            pending = read_pending(text)
        except ValueError:
            self.unreadable += 1
            log.error(  # noqa: TRY400
                "the poll store's record %s cannot be read by this version: it stays there", key
            )
            return
        if isinstance(pending, PendingOrder):
            found.waiting.append((key, pending))
        else:
            fields = attrs.asdict(pending, recurse=False)
            receipt = Receipt(key, self._untaken, self._taken)
            found.ended.append(PollOutcome(**fields, forget=receipt))
            self._untaken.add(key)

    def is_leaving(self, key: str) -> bool:
        """Whether a record under this key ended, and has not left the store yet."""
        return key in self._untaken or key in self._changes or key in self._writing

    def _mark(self, poller: PollRecords | None) -> None:
        with contextlib.suppress(AttributeError):  # a store of the user's, with slots
            setattr(self._store, _POLLED, poller)

    def restore(self, key: str, order: QueuedOrder) -> bool:
        """Whether this order is to be waited for; its record is that one.

        Not where another record is of the same order: see :mod:`~chaoying_async.polling.joined`.
        """
        first = self._keys.get(order.key)
        if first is None and not self._joined.is_over(order):
            self._keys[order.key] = key
            return True
        if first is None or (first != key and not self._joined.join(key, order)):
            self._change(key, None)
        return False

    def next_wait(self, order: QueuedOrder, status: PollStatus) -> QueuedOrder | None:
        """How an order that ended is waited for next, where a record had joined too late."""
        joined = self._joined.ended(order, status)
        if joined is None:
            return None
        key, following = joined
        if following is None:
            self._change(key, None)
        else:
            self._keys[order.key] = key
        return following

    def start(self) -> None:
        """Begin to write."""
        if self._store is not None:
            self._task = asyncio.get_running_loop().create_task(
                self._keep_writing(), name="chaoying poller: write"
            )

    # ------------------------------------------------------------------------- what happens

    def track(self, order: QueuedOrder, *, keep: bool, news: bool = False) -> None:
        """Keep this order from now on (``keep``), or write it anew where there is ``news`` of it.

        An order that cannot be kept is a :class:`ParameterError`, and nothing has happened.
        """
        if self._store is None:
            return
        key = self._keys.get(order.key)
        if not (keep if key is None else news):
            return
        check_keepable(order.query, order.schedule)
        if key is None:
            now = int(self._clock.now().timestamp() * 1_000_000)
            number = max(now, self._last_number + 1)
            key = record_key((*order.key[0], order.key[1]), number)
            self._keys[order.key], self._last_number = key, number
            self._new.add(key)
        else:
            self._lazy.pop(order.key, None)  # the order itself is as new, or newer
            self._overdue.pop(order.key, None)
        self._change(key, order)

    def leave(self, order: QueuedOrder) -> None:
        """Keep an order that nobody waits for any more; its record stays."""
        if order.key in self._keys:
            self._left[order.key] = order

    def take_up(self, key: Key) -> QueuedOrder | None:
        """The order that was left, to be waited for again; None if there is none."""
        left = self._left.get(key)
        return None if left is None else left.again()

    def learnt(self, order: QueuedOrder) -> None:
        """Write the order down a little later: a query was answered, and did not decide."""
        if self._store is not None and order.key in self._keys:
            if not self._lazy:
                self._lazy_until = self._clock.monotonic() + LAZY
                self._wake.set()
            self._lazy[order.key] = order

    def ended(self, order: QueuedOrder, sinks: tuple[Sink, ...], outcome: PollOutcome[Any]) -> bool:
        """Give the outcome to these as soon as it is durable; False where it is not kept."""
        if order.key not in self._keys:
            return False
        key = self._keys.pop(order.key)
        for waiting in (self._lazy, self._overdue, self._left):
            waiting.pop(order.key, None)
        ended = EndedOrder(**{name: getattr(outcome, name) for name in _ENDED})
        self._untaken.add(key)
        receipt = Receipt(key, self._untaken, self._taken)
        self._held[key] = (sinks, attrs.evolve(outcome, forget=receipt))
        self._change(key, ended.text(order.merchant))
        return True

    def _taken(self, key: str) -> Durable:
        """Forget a record whose outcome the consumer has, with the next write.

        A poller that was left writes nothing more, so then it is forgotten at once.
        """
        if self._closed:
            return durable(self._forget_at_once(key)) if key in self._untaken else Durable()
        if key in self._untaken and self._error is None:
            self._untaken.discard(key)
            self._change(key, None)
        return Durable(partial(self._kept, {key}))

    def _forget_at_once(self, key: str) -> Task:
        async def forget() -> None:
            await self._texts.forget(POLL, [key])
            self._untaken.discard(key)  # not before: if this fails, done() can be called again

        return errands_of(self._store).begin((id(self._store), POLL, key), f"poll {key}", forget)

    def _change(self, key: str, what: QueuedOrder | str | None) -> None:
        self._changes[key] = what
        self._wake.set()

    async def kept(self) -> None:
        """Return when everything that happened so far is durable."""
        await self._kept({*self._changes, *self._writing})

    async def _kept(self, keys: set[str]) -> None:
        while True:
            if self._error is not None:
                raise self._error
            keys = {key for key in keys if key in self._changes or key in self._writing}
            if not keys:
                return
            if self._closed:
                raise SessionClosedError("the poller was left before this was kept")
            self._written.clear()
            await self._written.wait()

    async def hold(self) -> None:
        """Read again that the store is ours, as before every outcome that is given out (M-23).

        While the store fails, this waits, as outcomes do; if the store was lost, it raises.
        """
        pause = FIRST_PAUSE
        while self._store is not None:
            if self._error is not None:
                raise self._error
            try:
                return await self._texts.hold()
            except GONE as error:
                self._lose(error)
                raise
            except StoreError as error:
                if self._closed:
                    raise
                pause = await self._pause_after(error, pause)
        return None

    # ----------------------------------------------------------------------------- writing

    async def _keep_writing(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._wait_for_work()
                await self._write()
                pause = FIRST_PAUSE
            except GONE as error:
                self._lose(error)
                return
            except Exception as error:  # noqa: BLE001 - also for a record that cannot be written
                pause = await self._pause_after(error, pause)

    async def _pause_after(self, error: Exception, pause: float) -> float:
        """Wait before the store is tried again; return how long to wait after the next failure."""
        self.errors += 1
        log.error("%s; tried again in %.0f s", _words(error), pause)
        await self._clock.sleep(pause)
        return min(2 * pause, LONGEST_PAUSE)

    async def _wait_for_work(self) -> None:
        """Return when there is something to write."""
        while True:
            left = self._lazy_until - self._clock.monotonic() if self._lazy else None
            if left is not None and left <= 0:
                self._make_overdue()
            if self._changes or self._overdue:
                return
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(left):
                    await self._wake.wait()

    def _make_overdue(self) -> None:
        self._overdue.update(self._lazy)
        self._lazy.clear()

    async def _write(self) -> None:
        for order in [*islice(self._overdue, MOST)]:
            self._changes.setdefault(self._keys[order], self._overdue.pop(order))
        self._writing = {key: self._changes[key] for key in [*islice(self._changes, MOST)]}
        for key in self._writing:
            del self._changes[key]
        gone = [key for key, what in self._writing.items() if what is None]
        try:
            texts = {
                key: self._text(what) if isinstance(what, QueuedOrder) else what
                for key, what in self._writing.items()
                if what is not None
            }
            if texts:
                await self._texts.put(POLL, texts)
            if gone:
                await self._texts.forget(POLL, gone)
        except BaseException:
            self._changes = self._writing | self._changes  # the newer state of a record counts
            self._writing = {}
            raise
        written, self._writing = self._writing, {}
        self._new.difference_update(written)
        for key, what in written.items():
            if isinstance(what, str) and key in self._held:
                sinks, outcome = self._held.pop(key)
                for sink in sinks:
                    sink.deliver(outcome)
        self._written.set()

    def _text(self, order: QueuedOrder) -> str:
        ago = timedelta(seconds=self._clock.monotonic() - order.started)
        return PendingOrder(
            query=order.query,
            expected=order.expected,
            schedule=order.schedule,
            started=self._clock.now() - ago,
            attempts=order.attempts,
            sent=order.sent - order.started,
            standing=order.standing,
        ).text(order.merchant)

    # ------------------------------------------------------------------------------- leaving

    def _lose(self, error: Exception) -> None:
        if self._error is not None:
            return
        log.error("the poll store is not ours any more: nothing is asked, given out or kept")
        self._error = error
        self._written.set()
        self._lost(error, self.holders())

    def holders(self) -> list[Sink]:
        """Everybody who waits for an outcome that is not durable yet."""
        return [sink for sinks, _ in self._held.values() for sink in sinks]

    async def close(self) -> Exception | None:
        """Write what is left, within :data:`LAST` seconds; return the error if any is missing."""
        if self._store is None:
            return None
        try:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])
            failed = await self._write_what_is_left()
        finally:  # when this is cancelled, too: nobody may wait for what will not come
            self._closed = True
            # done() may be called again for records that could not be forgotten.
            self._untaken.update(key for key, what in self._changes.items() if what is None)
            self._written.set()
            self._mark(None)
        return failed if self._new else None

    async def _write_what_is_left(self) -> Exception | None:
        failed: Exception | None = self._error
        if failed is None:
            try:
                async with self._clock.timeout(LAST):
                    self._make_overdue()
                    while self._changes or self._overdue:
                        await self._write()
            except Exception as error:  # noqa: BLE001 - also for a time-out
                failed = error if isinstance(error, ChaoyingError) else store_error(error)
                self.errors += 1
                log.error("%s", _words(failed))  # noqa: TRY400
        return failed


#: An outcome's fields that are kept.
_ENDED = tuple(field.name for field in attrs.fields(EndedOrder))


def _words(error: Exception) -> str:
    """The text of an error of ours, and the kind of any other, whose text may hold anything."""
    if isinstance(error, ChaoyingError):
        return str(error)
    return f"the poll store failed: {type(error).__name__}"
