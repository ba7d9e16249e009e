"""A clock that stands still until a test moves it: days of waiting take milliseconds."""

from __future__ import annotations

import asyncio
import heapq
import math
import types
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar

from chaoying_async.testing.real_waits import real_wait

T = TypeVar("T")

#: Time is counted in whole nanoseconds: sums of floats would drift apart.
_PER_SECOND = 1_000_000_000

#: After so many turns of the loop without coming to rest, something spins.
MAX_TURNS = 100_000
#: How many turns a loop gets that does not show what is still to run (uvloop).
_BLIND_TURNS = 200
#: How often it is looked whether a database has answered. Real seconds.
_LOOK = 0.0005

_START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Time by hand, for everything that takes a ``Clock``.

    ::

        clock = FakeClock()
        task = asyncio.create_task(poller.wait(query))
        await clock.advance(180)  # walks from timer to timer, in order

    It neither reads real time nor waits for it. ``now()`` begins at ``start`` (aware), and
    ``monotonic()`` at 0. Timers of the same moment ring in the order in which they were set, and
    everything that one of them sets in motion comes to rest before the next one rings: chains of
    tasks and in-process servers too. The clock does not wait for sockets and threads, which live in
    real time: wait for those by an event of your own before moving the clock.

    ``FakeClock(databases=True)`` waits for databases: it does not move while a task of this loop
    stands inside SQLAlchemy, a driver (aiosqlite, asyncpg, psycopg, aiomysql, redis) or
    ``asyncio.to_thread``. An answer that does not come within ``patience`` real seconds is a
    :class:`RuntimeError`: what waits there may wait for a task that sleeps on this clock, for a row
    that it has locked or for the last connection of a pool. Give the same clock to the store.
    """

    def __init__(
        self, start: datetime = _START, *, databases: bool = False, patience: float = 10.0
    ) -> None:
        if start.utcoffset() is None:
            raise ValueError("start needs a time zone: datetime(2026, 1, 1, tzinfo=UTC)")
        self._start = start
        self._ns = 0
        self._timers: list[_Timer] = []
        self._count = 0
        self._tidy_at = 1000
        self._moving = False
        self._databases = databases
        self._patience = patience

    def __repr__(self) -> str:
        return f"FakeClock({self.now().isoformat()}, {self.waiting} waiting)"

    def now(self) -> datetime:
        """The wall clock: ``start`` plus all that was advanced."""
        return self._start + timedelta(microseconds=self._ns // 1000)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._ns / _PER_SECOND

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was moved that far; 0 or less is one turn of the loop."""
        due = self._after(seconds)
        if due <= self._ns:
            await _turn()
            return
        woken = asyncio.get_running_loop().create_future()

        def ring() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self._set(due, ring)
        try:
            await woken
        finally:
            timer.stop()

    def timeout(self, seconds: float | None) -> FakeTimeout:
        """``asyncio.timeout`` on this clock: :class:`TimeoutError` when the block takes longer."""
        return FakeTimeout(self, None if seconds is None else self._after(seconds))

    async def advance(self, seconds: float) -> None:
        """Move the clock, stopping at every timer on the way.

        On return everything that could run has run, and the clock stands exactly ``seconds``
        later. Two tasks must not call this at once. A program that never comes to rest
        (``while not done: await asyncio.sleep(0)``) is a :class:`RuntimeError`.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError("a clock moves forward, by a number of seconds")
        with self._moved_by_one():
            target = self._after(seconds)
            await self._rest()
            while (timer := self._next()) is not None and timer.due <= target:
                await self._ring(timer)
            self._ns = target

    async def run(self, awaitable: Awaitable[T], *, within: float = 86_400.0) -> T:
        """Await something and return its result; move the clock whenever nothing else can go on.

        More than ``within`` seconds of this clock are a :class:`TimeoutError`, and a wait that no
        timer will ever end is a :class:`RuntimeError`: both cancel the awaited work.
        """
        task = asyncio.ensure_future(awaitable)
        limit = self._after(within)
        try:
            with self._moved_by_one():
                while True:
                    await self._rest(task)
                    if task.done():
                        return await task
                    timer = self._next()
                    if timer is None:
                        raise RuntimeError("it waits for something that this clock does not move")
                    if timer.due > limit:
                        raise TimeoutError(f"not done within {within} s of this clock")
                    await self._ring(timer)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    @property
    def waiting(self) -> int:
        """How many sleeps and time-outs are pending."""
        return sum(not timer.stopped for timer in self._timers)

    @property
    def next_due(self) -> float | None:
        """Seconds until the next timer rings; None if there is none."""
        timer = self._next()
        return None if timer is None else (timer.due - self._ns) / _PER_SECOND

    @contextmanager
    def _moved_by_one(self) -> Generator[None]:
        """Let one task at a time move the clock: two would wait for each other to come to rest."""
        if self._moving:
            raise RuntimeError("this clock is being moved already, by another task")
        self._moving = True
        try:
            yield
        finally:
            self._moving = False

    def _after(self, seconds: float) -> int:
        if math.isnan(seconds):
            raise ValueError("NaN is no time")
        if seconds <= 0:
            return self._ns
        if seconds == math.inf:
            return _NEVER
        return self._ns + max(1, round(seconds * _PER_SECOND))

    def _at(self, when: float) -> int:
        """A moment of :meth:`monotonic` in nanoseconds, and no earlier than now."""
        return _NEVER if when == math.inf else max(self._ns, round(when * _PER_SECOND))

    def _set(self, due: int, ring: Callable[[], None]) -> _Timer:
        self._count += 1
        if len(self._timers) > self._tidy_at:  # drop time-outs that were not needed
            self._timers = [timer for timer in self._timers if not timer.stopped]
            heapq.heapify(self._timers)
            self._tidy_at = max(1000, 2 * len(self._timers))
        timer = _Timer(due, self._count, ring)
        heapq.heappush(self._timers, timer)
        return timer

    def _next(self) -> _Timer | None:
        while self._timers and self._timers[0].stopped:
            heapq.heappop(self._timers)
        timer = self._timers[0] if self._timers else None
        return None if timer is None or timer.due == _NEVER else timer

    async def _ring(self, timer: _Timer) -> None:
        self._ns = max(self._ns, timer.due)
        timer.stop()
        timer.ring()
        await self._rest()

    async def _rest(self, until: asyncio.Future[T] | None = None) -> None:
        """Return when only the caller is ready to run, and nobody waits for a database."""
        await _settle(until)
        if not self._databases:
            return
        loop = asyncio.get_running_loop()
        limit = loop.time() + self._patience
        while (where := real_wait()) and not (until is not None and until.done()):
            if loop.time() > limit:
                raise RuntimeError(
                    f"{where} did not end within {self._patience} real seconds: does it wait for a "
                    "task that sleeps on this clock?"
                )
            await asyncio.sleep(_LOOK)  # noqa: TID251 - of real time, which is what a database needs
            await _settle(until)


_NEVER = 1 << 100


class _Timer:
    """One pending wait; ordered by its moment, then by when it was set."""

    __slots__ = ("due", "number", "ring", "stopped")

    def __init__(self, due: int, number: int, ring: Callable[[], None]) -> None:
        self.due, self.number, self.ring = due, number, ring
        self.stopped = False

    def __lt__(self, other: _Timer) -> bool:
        return (self.due, self.number) < (other.due, other.number)

    def stop(self) -> None:
        self.stopped = True


class FakeTimeout:
    """``asyncio.Timeout`` whose moments are those of a :class:`FakeClock`.

    The real one does the work, such as cancelling; this one only tells it when.
    """

    def __init__(self, clock: FakeClock, due: int | None) -> None:
        self._clock = clock
        self._due = due
        self._inner = asyncio.Timeout(None)
        self._timer: _Timer | None = None

    def when(self) -> float | None:
        """The moment of ``clock.monotonic()`` at which the block ends; None: never."""
        return None if self._due is None else self._due / _PER_SECOND

    def reschedule(self, when: float | None) -> None:
        """Choose another moment of ``clock.monotonic()``."""
        self._inner.reschedule(None)  # raises unless the block is running
        self._due = None if when is None else self._clock._at(when)  # noqa: SLF001 - one file
        self._arm()

    def expired(self) -> bool:
        """Whether the block was ended by this time-out."""
        return self._inner.expired()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        self._arm()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.stop()
        await self._inner.__aexit__(exc_type, exc, traceback)  # always raises or returns None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        if self._due is None:
            return
        if self._due <= self._clock._ns:  # noqa: SLF001
            self._ring()
        else:
            self._timer = self._clock._set(self._due, self._ring)  # noqa: SLF001

    def _ring(self) -> None:
        self._inner.reschedule(asyncio.get_running_loop().time())


@types.coroutine
def _turn() -> Generator[None, None, None]:
    """Let everything else that is ready run once, as ``asyncio.sleep(0)`` does."""
    yield


async def _settle(until: asyncio.Future[T] | None = None) -> None:
    """Return when only the caller is ready to run, or ``until`` is done."""
    # asyncio has no public way to ask whether anything is ready to run. A loop without this
    # attribute (uvloop) gets a fixed number of turns instead; tests run on both.
    ready = getattr(asyncio.get_running_loop(), "_ready", None)
    for _ in range(_BLIND_TURNS if ready is None else MAX_TURNS):
        await _turn()
        if (until is not None and until.done()) or (ready is not None and not ready):
            return
    if ready is not None:
        raise RuntimeError("the program does not come to rest: something spins without waiting")
