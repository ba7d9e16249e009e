"""``WholeFleet``: the numbers of a whole fleet, read from its tables every so often."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Self

import attrs

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock, within
from chaoying_async.exceptions import ParameterError, SessionClosedError
from chaoying_async.workers.fleet_status import FleetStatus, fleet_status
from chaoying_async.workers.log_texts import log
from chaoying_async.workers.tables import fleet_tables

if TYPE_CHECKING:
    from chaoying_async.pollstore.sql import SqlPollStore

#: Seconds between two looks, and after one that failed at the latest.
EVERY, AGAIN = 30.0, 5.0
#: Seconds that a look may take.
PATIENCE = 20.0


@attrs.frozen(kw_only=True)
class WholeFleetStats:
    """What the tables of a fleet said, and how long ago."""

    status: FleetStatus | None
    """The numbers, as ``chaoying poller status`` shows them; None before the first look."""
    age: float
    """Seconds since they were read; before the first look, since there could have been one."""


class WholeFleet:
    """Reads the numbers of a whole fleet from its tables every so often, inside ``async with``.

    ::

        async with WholeFleet(SqlPollStore(url)) as whole:
            REGISTRY.register(ChaoyingCollector(whole_fleet=whole))

    One process of a fleet is enough, or one that serves nothing; where several have it, they all
    say the same: take ``max``, never ``sum``. ``store`` is that of the fleet, and need not be open;
    nothing of it is taken, and no table is made. ``every``: seconds between two looks; a look
    counts the rows by an index, so let it be minutes where millions wait. ``merchants=True`` counts
    by merchant too, which reads every row.

    :meth:`stats` reads nothing: no scrape waits for the database. Where a look fails (a line at
    WARNING), the last numbers stay, and their age grows; so it does where there are none yet.
    """

    def __init__(
        self,
        store: SqlPollStore,
        *,
        every: float = EVERY,
        merchants: bool = False,
        clock: Clock | None = None,
    ) -> None:
        if not every > 0:
            raise ParameterError({"every": "must be a number above 0"})
        self._store = store
        self._every = every
        self._merchants = merchants
        self._clock = clock or SystemClock()
        self._found: tuple[FleetStatus | None, float] | None = None
        self._task: asyncio.Task[None] | None = None

    def stats(self) -> WholeFleetStats:
        """The last numbers; :class:`SessionClosedError` outside the block."""
        if self._found is None:
            raise SessionClosedError("this WholeFleet is not open: use it inside `async with`")
        status, at = self._found
        return WholeFleetStats(status=status, age=max(0.0, self._clock.monotonic() - at))

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise SessionClosedError("this WholeFleet is open already")
        self._found = None, self._clock.monotonic()
        self._task = asyncio.create_task(self._read_for_ever(), name="chaoying fleet: numbers")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, self._task, self._found = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._found = None

    async def _read_for_ever(self) -> None:
        engine, tables = self._store.new_engine(), fleet_tables(self._store.table_prefix)
        try:
            while True:
                pause = self._every
                look = fleet_status(engine, tables, self._clock, merchants=self._merchants)
                try:
                    found = await within(self._clock, PATIENCE, look)
                except Exception as error:  # noqa: BLE001 - the next look may do better
                    pause = min(AGAIN, self._every)
                    log.warning(
                        "the numbers of the whole fleet could not be read (%s): tried again in"
                        " %.0f s",
                        *(type(error).__name__, pause),
                    )
                else:
                    self._found = found, self._clock.monotonic()
                await self._clock.sleep(pause)
        finally:
            await self._store.dispose(engine)
