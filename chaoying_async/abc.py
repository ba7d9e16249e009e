"""Interfaces: what the engines are handed instead of reaching for it themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
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


class PollStore(Protocol):
    """What is being waited for, kept where the next process finds it; one process owns it.

    It knows nothing of orders: it keeps texts (JSON) under a ``kind`` and a ``key``. A poller keeps
    its orders and their outcomes in it, ``checkout`` and ``refund_and_track`` their intents. Only
    an open store can be used; opening it takes the ownership, and
    :class:`~chaoying_async.exceptions.StoreInUseError` says that somebody else has it.
    """

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        """Keep these texts under their keys, durable on return; what was there is replaced.

        Calls that come together are written together.
        """
        ...

    async def get(self, kind: str, key: str) -> str | None:
        """One text; None where there is none."""
        ...

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        """Drop these; keys that are not there are no error."""
        ...

    def load(self, kind: str) -> AsyncIterator[tuple[str, str]]:
        """Everything of one kind as ``(key, text)``, in the order of the first ``put``."""
        ...

    async def hold(self) -> None:
        """Read again that this process owns the store, as before every call that moves money.

        :class:`~chaoying_async.exceptions.StoreInUseError` when another one has taken it over.
        """
        ...
