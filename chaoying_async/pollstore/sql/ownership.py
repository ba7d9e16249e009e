"""Which process owns a store: a lease by the database's clock, a token in every write (M-26)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.exceptions import StoreInUseError
from chaoying_async.observation import SafeLog
from chaoying_async.sql.addresses import shown_url
from chaoying_async.sql.dialects import dialect_of
from chaoying_async.sql.transactions import check_transaction, connected, limited, transaction
from chaoying_async.sql.turns import Turns

log = SafeLog("chaoying_async.pollstore")

_MICRO = 1_000_000
#: Seconds between two looks at somebody else's lease.
_LOOK = 1.0
#: The ``id`` of the only row of a store that has one owner.
ONLY = 1
#: A reading of the lease that took too long proves nothing: how often it is made at most.
_READINGS = 3
#: A store that has one owner renews its lease, reads it and takes it: two of these at a time.
_AT_ONCE = 2
#: Seconds for which a store that is being opened may take to answer.
_TAKING = 10.0
#: Seconds for which a transaction may be idle, however short the lease is.
_LEAST_IDLE = 5.0
LOST = "another process has taken this store over: nothing more may be written, or paid"


def longest_idle(lease: float) -> float:
    """Seconds for which a transaction on a lease may be idle: its locks keep everybody from it.

    Of an owner whose connection died in the middle of a renewal, the lease can be renewed again by
    another connection long before it runs out. A busy process may need some seconds between two
    statements, however short the lease is.
    """
    return max(_LEAST_IDLE, lease / 3)


class OwnerRow(NamedTuple):
    """The owner's row as it was read, and the moment; microseconds."""

    token: int
    held_until: int
    lease: int
    now: int

    @property
    def until(self) -> str:
        """When the lease ends, in UTC on the clock of the lease."""
        ends = datetime.fromtimestamp(self.held_until / _MICRO, UTC)
        return f"{ends:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def left(self) -> float:
        """Seconds until the lease ends.

        Never more than a whole lease: an end further off was written before a clock was set back.
        """
        return min(self.held_until - self.now, self.lease) / _MICRO


class Ownership:
    """The claim of one process on one store."""

    def __init__(
        self,
        engine: AsyncEngine,
        table: Table,
        clock: Clock,
        lease: float,
        row: int = ONLY,
        *,
        turns: Turns | None = None,
    ) -> None:
        self._engine = engine
        # There is time for several tries before the lease runs out.
        self._turns = turns or Turns(engine, clock, seconds=max(1.0, lease / 6), at_once=_AT_ONCE)
        self._clock = clock
        self._dialect = dialect_of(engine)
        #: The owner's number, which grows with every change of hands; 0: it was never taken.
        self.token = 0
        #: Whether it is known that somebody else took the store.
        self.lost = False
        #: Somebody else's lease as it was first seen, and when: see ``take_if_free``.
        self._others: OwnerRow | None = None
        self._others_since = 0.0
        #: Readings of the lease: how many began, which was the last that found it ours, and until
        #: when (on the monotonic clock) that is certain.
        self._began = 0
        self._found_ours = 0
        self._sure_until = 0.0
        self._reading = asyncio.Lock()
        self.lease = lease
        now, columns = self._dialect.now, table.c
        mine = columns.id == row
        self._add_row = self._dialect.insert_or_keep(table, "id").values(
            id=row, token=0, held_until=0, lease=0
        )
        self._read = select(
            columns.token, columns.held_until, columns.lease, now.label("now")
        ).where(mine)
        self._idle = longest_idle(lease)
        self._read_locked = self._read.with_for_update()
        self._take = (
            update(table)
            .where(mine)
            .values(
                token=bindparam("p_token"),
                held_until=now + bindparam("p_lease"),
                lease=bindparam("p_lease"),
            )
        )
        self._renew = (
            update(table)
            .where(
                mine,
                columns.token == bindparam("p_token"),
                *self._dialect.limits_idling(self._idle),
            )
            .values(held_until=now + bindparam("p_lease"))
        )
        self._release = (
            update(table)
            .where(mine, columns.token == bindparam("p_token"))
            # A renewal that arrives late must not take it once more.
            .values(held_until=0, token=columns.token + 1)
        )

    async def take(self) -> None:
        """Become the owner; waits for a dead owner's lease, and raises where the owner lives."""
        first: OwnerRow | None = None
        started = self._clock.monotonic()
        while True:
            waited = self._clock.monotonic() - started
            trying = partial(self._try, first, waited)
            found = await self._turns.take(trying, seconds=_TAKING)
            if found is None:
                return
            if first is None:
                first = found
                self._say_waiting(found)
            elif found[:2] != first[:2] or waited > first.left + _LOOK:
                raise StoreInUseError(
                    "this store is in use: its owner, another process, holds it until "
                    f"{found.until} and renews that while it lives; one store has one owner"
                )
            await self._clock.sleep(min(max(first.left - waited, 0.05), _LOOK))

    async def take_if_free(self) -> bool:
        """Become the owner where nobody is, and return whether that was so; never waits.

        Called again and again, it also takes what a clock that was set back keeps for too long.
        """
        waited = self._clock.monotonic() - self._others_since
        found = await self._turns.take(partial(self._try, self._others, waited))
        if found is None:
            self._others = None
            return True
        if self._others is None or found[:2] != self._others[:2]:
            self._others, self._others_since = found, self._clock.monotonic()
        return False

    def _say_waiting(self, found: OwnerRow) -> None:
        log.warning(
            "the poll store at %s is held until %s by its owner number %d, another process: "
            "waiting up to %.0f s, in case that process is dead; if it lives, end it or use "
            "another store",
            shown_url(self._engine.url),
            found.until,
            found.token,
            found.left + _LOOK,
        )

    async def _try(self, first: OwnerRow | None, waited: float) -> OwnerRow | None:
        async with limited(self._engine, self._idle) as connection:
            # A write comes first: on SQLite that keeps every other writer out.
            await connection.execute(self._add_row)
            check_transaction(connection)
            row = (await connection.execute(self._read_locked, self._time())).one()
            found = OwnerRow(*map(int, row))
            unchanged = first is not None and found[:2] == first[:2] and waited >= first.left
            set_back = found.held_until - found.now > found.lease
            if found.held_until > found.now and not (unchanged and set_back):
                return found
            await connection.execute(self._take, self._values(token=found.token + 1))
        self.token = found.token + 1
        self.lost = False
        return None

    def check(self) -> None:
        """:class:`StoreInUseError` once it is known that somebody else has taken the store."""
        if self.lost:
            raise StoreInUseError(LOST)

    async def renew_in(self, connection: AsyncConnection) -> None:
        """Renew the lease in this transaction, which by that is the owner's or fails.

        A lease that ran out and that nobody took is ours again: nobody wrote meanwhile.
        """
        self.check()
        renewed = await connection.execute(self._renew, self._values(token=self.token))
        if renewed.rowcount != 1:
            self._lose()

    async def renew(self) -> None:
        """Renew the lease in a transaction of its own."""
        await self._turns.take(self._renew_now)

    async def _renew_now(self) -> None:
        async with transaction(self._engine) as connection:
            await self.renew_in(connection)

    async def hold(self) -> None:
        """Read that the store is still ours; on return it is, whatever happened to this process.

        Nobody can take the store before half a lease after the reading began. A process that was
        stopped for longer than that in the middle of it reads again. Those who ask at the same time
        share one reading, which began after they asked.
        """
        asked = self._began
        async with self._reading:
            for _ in range(_READINGS):
                self.check()
                if self._found_ours > asked and self._clock.monotonic() < self._sure_until:
                    return
                self._began += 1
                began = self._clock.monotonic()
                await self._read_that_it_is_ours()
                self._found_ours, self._sure_until = self._began, began + self.lease / 2
            if self._clock.monotonic() >= self._sure_until:
                raise TimeoutError("reading the lease takes longer than half of it")

    async def _read_that_it_is_ours(self) -> None:
        """On return the store is ours, and at least half a lease is left."""
        found = await self._turns.take(self._read_now)
        if found is None or found.token != self.token:
            self._lose()
        elif found.left < self.lease / 2:
            await self.renew()

    async def _read_now(self) -> OwnerRow | None:
        async with connected(self._engine) as connection:
            row = (await connection.execute(self._read, self._time())).first()
        return None if row is None else OwnerRow(*map(int, row))

    async def release(self) -> None:
        """Give the store back, unless somebody took it."""
        await self._turns.take(self._release_now)

    async def _release_now(self) -> None:
        async with limited(self._engine, self._idle) as connection:
            await connection.execute(self._release, {"p_token": self.token})

    def _lose(self) -> None:
        self.lost = True
        self.check()

    def _values(self, token: int) -> dict[str, Any]:
        return {"p_token": token, "p_lease": round(self.lease * _MICRO)} | self._time()

    def _time(self) -> dict[str, int]:
        return self._dialect.timed(self._clock)
