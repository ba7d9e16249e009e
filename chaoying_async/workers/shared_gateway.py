"""The one gateway of a fleet's process, as each of its shards uses it: so many calls at once."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from chaoying_async.abc import Gateway
from chaoying_async.observation import observer_of
from chaoying_async.polling.order import default_of
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.call_numbers import SessionStats

T = TypeVar("T")


class SharedGateway:
    """Sends what every shard sends, within one limit; who asks next waits for its turn."""

    def __init__(self, gateway: Gateway, concurrency: int) -> None:
        connections = getattr(gateway, "max_connections", None) or concurrency
        self._gateway = gateway
        #: More calls than the session has connections would wait for one and fail.
        self.max_connections = min(concurrency, connections)
        self._places = asyncio.Semaphore(self.max_connections)
        self.mch_id = default_of(gateway, "mch_id")
        self.op_user_id = default_of(gateway, "op_user_id")
        self.observer = observer_of(gateway)

    def stats(self) -> SessionStats | None:
        """Numbers of the calls; None where the gateway keeps none."""
        stats = getattr(self._gateway, "stats", None)
        found = stats() if callable(stats) else None
        return found if isinstance(found, SessionStats) else None

    async def send(self, request: Request[T], *, timeout: Any = None) -> Reply[T]:
        """See :class:`~chaoying_async.abc.Gateway`."""
        async with self._places:
            return await self._gateway.send(request, timeout=timeout)
