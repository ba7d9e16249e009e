"""Interfaces: what the engines are handed instead of reaching for it themselves."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from chaoying_async.sansio.request import Reply, Request

T = TypeVar("T")


class Clock(Protocol):
    """Time, handed in: every wait, now() and time-out of the library goes through one of these."""

    def now(self) -> datetime:
        """The wall clock as an aware datetime, for what is stored or compared with the document."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for durations inside one process."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long on this clock."""
        ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[Any]:
        """Cancel the block and raise :class:`TimeoutError` when it takes longer; None: never."""
        ...


class Gateway(Protocol):
    """What pollers, checkouts and handlers need of a session: one way to send any request."""

    async def send(self, request: Request[T], *, timeout: Any = None) -> Reply[T]:
        """Send one request once (reads may be repeated) and return its verified reply."""
        ...
