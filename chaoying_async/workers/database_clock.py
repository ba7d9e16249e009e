"""A clock whose wall time is the database's: machines that share orders share it (M-26)."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any

from chaoying_async.abc import Clock


class DatabaseClock:
    """The process's clock, put right by what the database's clock was found to be.

    Durations are this process's own. Until the fleet is open its wall time is, too.
    """

    def __init__(self, clock: Clock) -> None:
        #: The process's own clock.
        self.own = clock
        self._ahead = timedelta()

    def compare(self, theirs: datetime, asked: datetime) -> None:
        """Learn what the database's clock said; ``asked``: ours, when it was asked.

        How far it is ahead lies between two bounds, and what we believed is moved to the nearer one
        only where it lies outside. So a look that took long changes little: nobody knows when in
        that time the database's clock was read, and this process may have been stopped meanwhile.
        """
        least, most = theirs - self.own.now(), theirs - asked
        self._ahead = min(max(self._ahead, least), most)

    def now(self) -> datetime:
        """The database's wall time, to about the time that a query takes."""
        return self.own.now() + self._ahead

    def monotonic(self) -> float:
        """See ``Clock``."""
        return self.own.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See ``Clock``."""
        await self.own.sleep(seconds)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[Any]:
        """See ``Clock``."""
        return self.own.timeout(seconds)
