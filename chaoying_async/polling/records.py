"""The poller's side of a store: what is written, when, and what may follow once it is durable.

An order is written as soon as it is tracked, and its outcome as soon as it has one; what queries
said in between is written within :data:`LAZY` seconds. Whatever comes while a write is under way
goes into the next one together. One record is one wait: its outcome takes the place of what was
pending, in one write, and stays until the consumer has taken it (M-23).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any, Protocol

import attrs

from chaoying_async.abc import Clock, PollStore
from chaoying_async.exceptions import (
    ChaoyingError,
    SessionClosedError,
    StoreError,
    StoreInUseError,
)
from chaoying_async.polling.outcome import PollOutcome, Receipt
from chaoying_async.polling.queue import Entry, Key, Sink
from chaoying_async.pollstore.errands import Durable, Task, durable, errands_of
from chaoying_async.pollstore.failures import store_error
from chaoying_async.pollstore.guarded import GuardedStore
from chaoying_async.sansio.polling.record import (
    POLL,
    Ended,
    Waiting,
    check_keepable,
    number_in,
    read_pending,
    record_key,
)

log = logging.getLogger("chaoying_async.polling")

#: What is learnt on the way is written this many seconds later, all of it together.
LAZY = 1.0
#: So many records are written at a time.
MOST = 1000
#: After a write that failed, doubling.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
#: Seconds that leaving the poller waits for the last write.
LAST = 10.0

#: What marks a store while a poller is open on it.
_POLLED = "polled_by"

#: Nothing that is asked of a store whose owner we are not will ever succeed.
_FOR_GOOD = (StoreInUseError, SessionClosedError)


class Lost(Protocol):
    """Told that the store is not ours any more."""

    def __call__(self, error: Exception, held: list[Sink], /) -> None:
        """``held``: who waits for an outcome that can no longer be given out."""
        ...


@attrs.frozen
class Found:
    """What an earlier poller left."""

    #: Outcomes that nobody took, in the order in which they were tracked.
    ended: list[PollOutcome[Any]]
    #: Orders to be asked about, with the key of their record.
    waiting: list[tuple[str, Waiting]]


class Keeping:
    """One poller's records, from opening to leaving."""

    def __init__(self, store: PollStore, clock: Clock, lost: Lost) -> None:
        self._store = store
        self._texts = GuardedStore(store)
        self._clock = clock
        self._lost = lost
        #: The number of the record of each order that is kept.
        self._numbers: dict[Key, int] = {}
        self._last_number = 0
        #: Orders that are kept and that nobody waits for any more, as they were left.
        self._left: dict[Key, Entry] = {}
        #: Records of orders that the store has not seen yet.
        self._new: set[str] = set()
        #: What is to be written next: what is pending, an outcome's text, or None (forget it).
        self._changes: dict[str, Entry | str | None] = {}
        self._writing: dict[str, Entry | str | None] = {}
        #: What was learnt and can wait until then; and what has waited.
        self._lazy: dict[Key, Entry] = {}
        self._lazy_until = 0.0
        self._overdue: dict[Key, Entry] = {}
        #: Outcomes that wait for their record, and for whom.
        self._held: dict[str, tuple[tuple[Sink, ...], PollOutcome[Any]]] = {}
        #: Records of outcomes that were given out, or are about to be.
        self._owed: set[str] = set()
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self._error: Exception | None = None
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self.errors = 0
        self.unreadable = 0

    @property
    def unwritten(self) -> int:
        """Orders, outcomes and takings that are not in the store yet."""
        return len(self._changes) + len(self._writing)

    # -------------------------------------------------------------------------------- opening

    async def load(self) -> Found:
        """Everything that the store holds; what cannot be read stays there, and is reported.

        A store has one poller: two would ask twice, and one of them would write again what the
        other has forgotten, so that it came once more.
        """
        if getattr(self._store, _POLLED, None) is not None:
            raise StoreInUseError("another poller is open on this store: one store, one poller")
        self._mark(self)
        try:
            return await self._load()
        except BaseException:
            self._mark(None)
            raise

    def _mark(self, poller: Keeping | None) -> None:
        with contextlib.suppress(AttributeError):  # a store of the user's, with slots
            setattr(self._store, _POLLED, poller)

    async def _load(self) -> Found:
        found = Found([], [])
        async for key, text in self._texts.load(POLL):
            self._last_number = max(self._last_number, number_in(key))
            try:
                pending = read_pending(text)
            except ValueError:
                self._cannot_read(key)
                continue
            if isinstance(pending, Waiting):
                found.waiting.append((key, pending))
            else:
                found.ended.append(self._outcome(key, pending))
                self._owed.add(key)
        return found

    def _cannot_read(self, key: str) -> None:
        self.unreadable += 1
        log.error("the poll store's record %s cannot be read by this version: it stays there", key)

    def restore(self, key: str, entry: Entry) -> bool:
        """Whether this entry is that record's; False where another record is of the same order."""
        if entry.key in self._numbers:
            self._cannot_read(key)
            return False
        self._numbers[entry.key] = number_in(key)
        return True

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.get_running_loop().create_task(self._keep_writing())

    # ------------------------------------------------------------------------- what happens

    def track(self, entry: Entry) -> None:
        """Keep this order from now on, or anew since something about it was changed.

        An order that cannot be kept is a :class:`ParameterError`, and nothing has happened.
        """
        check_keepable(entry.query, entry.schedule)
        number = self._numbers.get(entry.key)
        if number is not None:
            self._lazy.pop(entry.key, None)  # what was learnt is in the entry, or older than it
            self._overdue.pop(entry.key, None)
            self._change(record_key(_parts(entry.key), number), entry)
            return
        now = int(self._clock.now().timestamp() * 1_000_000)
        number = max(now, self._last_number + 1)
        key = record_key(_parts(entry.key), number)
        self._numbers[entry.key] = self._last_number = number
        self._new.add(key)
        self._change(key, entry)

    def keeps(self, entry: Entry) -> bool:
        """Whether this order has a record."""
        return entry.key in self._numbers

    def left(self, entry: Entry) -> None:
        """Nobody waits for this one any more; its record stays."""
        if entry.key in self._numbers:
            self._left[entry.key] = entry

    def taken_up(self, key: Key) -> Entry | None:
        """One that was left and is waited for again: the same wait, so as it was."""
        return self._left.get(key)

    def learnt(self, entry: Entry) -> None:
        """A query was answered, and did not decide."""
        if entry.key in self._numbers:
            if not self._lazy:
                self._lazy_until = self._clock.monotonic() + LAZY
                self._wake.set()
            self._lazy[entry.key] = entry

    def ended(self, entry: Entry, sinks: tuple[Sink, ...], outcome: PollOutcome[Any]) -> None:
        """Give the outcome to these as soon as it is durable."""
        key = record_key(_parts(entry.key), self._numbers.pop(entry.key))
        for waiting in (self._lazy, self._overdue, self._left):
            waiting.pop(entry.key, None)
        outcome = attrs.evolve(outcome, forget=self._receipt(key))
        ended = Ended(
            query=outcome.query,
            status=outcome.status,
            reply=outcome.reply,
            paid=outcome.paid,
            error=outcome.error,
            attempts=outcome.attempts,
            elapsed=outcome.elapsed,
        )
        self._owed.add(key)
        self._held[key] = (sinks, outcome)
        self._change(key, ended.text(entry.merchant))

    def _receipt(self, key: str) -> Receipt:
        return Receipt(key, self._owed, self._taken)

    def _taken(self, key: str) -> Durable:
        """The consumer has it, and its record goes: with the next write, or after leaving alone."""
        if self._closed:
            return durable(self._forget_at_once(key)) if key in self._owed else Durable()
        if key in self._owed and self._error is None:
            self._owed.discard(key)
            self._change(key, None)
        return Durable(partial(self._kept, {key}))

    def _forget_at_once(self, key: str) -> Task:
        """The poller was left, and writes nothing more."""

        async def forget() -> None:
            await self._texts.forget(POLL, [key])
            self._owed.discard(key)  # only now: where it failed, done() can be said again

        return errands_of(self._store).begin((id(self._store), POLL, key), f"poll {key}", forget)

    def _change(self, key: str, what: Entry | str | None) -> None:
        self._changes[key] = what
        self._wake.set()

    async def kept(self) -> None:
        """Return when everything that happened so far is durable."""
        await self._kept({*self._changes, *self._writing})

    async def _kept(self, wanted: set[str]) -> None:
        while True:
            if self._error is not None:
                raise self._error
            wanted = {key for key in wanted if key in self._changes or key in self._writing}
            if not wanted:
                return
            if self._closed:
                raise SessionClosedError("the poller was left before this was kept")
            self._written.clear()
            await self._written.wait()

    async def hold(self) -> None:
        """Read again that the store is ours, as before every outcome that is given out (M-23).

        It waits while the store fails, as outcomes do; a store that was lost raises.
        """
        pause = FIRST_PAUSE
        while True:
            if self._error is not None:
                raise self._error
            try:
                return await self._texts.hold()
            except _FOR_GOOD as error:
                self._lose(error)
                raise
            except StoreError as error:
                if self._closed:
                    raise
                pause = await self._pause_after(error, pause)

    # ----------------------------------------------------------------------------- writing

    async def _keep_writing(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._pause()
                await self._write()
                pause = FIRST_PAUSE
            except _FOR_GOOD as error:
                self._lose(error)
                return
            except Exception as error:  # noqa: BLE001 - a record that cannot be written, too
                pause = await self._pause_after(error, pause)

    async def _pause_after(self, error: Exception, pause: float) -> float:
        """Wait so long before the store is tried again; how long to wait after the next failure."""
        self.errors += 1
        log.error("%s; again soon", _words(error))
        await self._clock.sleep(pause)
        return min(2 * pause, LONGEST_PAUSE)

    async def _pause(self) -> None:
        """Until there is something to write; what was only learnt waits for more."""
        while True:
            left = self._lazy_until - self._clock.monotonic() if self._lazy else None
            if left is not None and left <= 0:
                self._ripen()
            if self._changes or self._overdue:
                return
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(left):
                    await self._wake.wait()

    def _ripen(self) -> None:
        self._overdue.update(self._lazy)
        self._lazy.clear()

    async def _write(self) -> None:
        for order in [*islice(self._overdue, MOST)]:
            entry = self._overdue.pop(order)
            self._changes.setdefault(record_key(_parts(order), self._numbers[order]), entry)
        self._writing = {key: self._changes[key] for key in [*islice(self._changes, MOST)]}
        for key in self._writing:
            del self._changes[key]
        gone = [key for key, what in self._writing.items() if what is None]
        try:
            texts = {
                key: self._text(what) if isinstance(what, Entry) else what
                for key, what in self._writing.items()
                if what is not None
            }
            if texts:
                await self._texts.put(POLL, texts)
            if gone:
                await self._texts.forget(POLL, gone)
        except BaseException:
            self._changes = self._writing | self._changes  # what is newer counts
            self._writing = {}
            raise
        self._give_out()

    def _give_out(self) -> None:
        written, self._writing = self._writing, {}
        self._new.difference_update(written)
        for key, what in written.items():
            if isinstance(what, str) and key in self._held:
                sinks, outcome = self._held.pop(key)
                for sink in sinks:
                    sink.deliver(outcome)
        self._written.set()

    def _text(self, entry: Entry) -> str:
        ago = timedelta(seconds=self._clock.monotonic() - entry.started)
        return Waiting(
            query=entry.query,
            expected=entry.expected,
            schedule=entry.schedule,
            started=self._clock.now() - ago,
            attempts=entry.attempts,
            sent=entry.sent - entry.started,
            standing=entry.standing,
        ).text(entry.merchant)

    def _outcome(self, key: str, ended: Ended) -> PollOutcome[Any]:
        return PollOutcome(
            query=ended.query,
            status=ended.status,
            reply=ended.reply,
            paid=ended.paid,
            error=ended.error,
            attempts=ended.attempts,
            elapsed=ended.elapsed,
            forget=self._receipt(key),
        )

    # ------------------------------------------------------------------------------- leaving

    def _lose(self, error: Exception) -> None:
        if self._error is not None:
            return
        log.error("the poll store is not ours any more: nothing is asked, given out or kept")
        self._error = error
        self._written.set()
        self._lost(error, self.holders())

    def holders(self) -> list[Sink]:
        """Who waits for an outcome that is not durable yet."""
        return [sink for sinks, _ in self._held.values() for sink in sinks]

    async def close(self) -> Exception | None:
        """Write what is left, within :data:`LAST` seconds; the error that kept orders out of it."""
        try:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])
            failed = await self._write_what_is_left()
        finally:  # cancelled in the middle of it, too: nobody waits for what will not come
            self._closed = True
            # What was done() and could not be written may be said again.
            self._owed.update(key for key, what in self._changes.items() if what is None)
            self._written.set()
            self._mark(None)
        return failed if self._new else None

    async def _write_what_is_left(self) -> Exception | None:
        failed: Exception | None = self._error
        if failed is None:
            try:
                async with self._clock.timeout(LAST):
                    self._ripen()
                    while self._changes or self._overdue:
                        await self._write()
            except Exception as error:  # noqa: BLE001 - or a time-out
                failed = error if isinstance(error, ChaoyingError) else store_error(error)
                self.errors += 1
                log.error("%s", _words(failed))  # noqa: TRY400
        return failed


def _words(error: Exception) -> str:
    """An error of ours says what it is; the text of another one may say anything."""
    if isinstance(error, ChaoyingError):
        return str(error)
    return f"the poll store failed: {type(error).__name__}"


def _parts(key: Key) -> tuple[str, ...]:
    return (*key[0], key[1])
