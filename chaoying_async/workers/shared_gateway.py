"""The one gateway of a fleet's process, as each of its shards uses it."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from chaoying_async.abc import Gateway
from chaoying_async.observation import observer_of
from chaoying_async.polling.order import default_of, phases_of
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.api.follow_up import RefundQuery
from chaoying_async.sansio.call_numbers import SessionStats

T = TypeVar("T")


class SharedGateway:
    """Sends at once what payments send; the other queries of all shards wait for their turn.

    A payment, its cancel and its queries have to leave in time (M-24). In one queue with thousands
    of slow queries they would leave minutes later, when the fleet had taken the payment for one
    that never arrived. Here they wait for nothing but a connection of the session, which bounds
    that: what found none was not sent.
    """

    def __init__(self, gateway: Gateway, concurrency: int) -> None:
        connections = getattr(gateway, "max_connections", None) or concurrency
        self._gateway = gateway
        #: More queries than the session has connections would wait for one and fail.
        self.max_connections = min(concurrency, connections)
        self.mch_id = default_of(gateway, "mch_id")
        self.op_user_id = default_of(gateway, "op_user_id")
        self.observer = observer_of(gateway)
        self.timeout = phases_of(gateway)
        #: What pollers use.
        self.in_turn = InTurn(gateway, self.max_connections)

    def stats(self) -> SessionStats | None:
        """Numbers of the calls; None where the gateway keeps none."""
        stats = getattr(self._gateway, "stats", None)
        found = stats() if callable(stats) else None
        return found if isinstance(found, SessionStats) else None

    async def send(self, request: Request[T], *, timeout: Any = None) -> Reply[T]:
        """See :class:`~chaoying_async.abc.Gateway`."""
        # Refunds take days, so there may be thousands, and nothing is cancelled by their answers.
        at_once = not isinstance(request, RefundQuery)
        gateway = self._gateway if at_once else self.in_turn
        return await gateway.send(request, **_given(timeout))


class InTurn:
    """Sends so many calls at once; who asks next waits for its turn, as long as that takes."""

    def __init__(self, gateway: Gateway, places: int) -> None:
        self._gateway = gateway
        self._places = asyncio.Semaphore(places)
        self.mch_id = default_of(gateway, "mch_id")

    async def send(self, request: Request[T], *, timeout: Any = None) -> Reply[T]:
        """See :class:`~chaoying_async.abc.Gateway`."""
        async with self._places:
            return await self._gateway.send(request, **_given(timeout))


def _given(timeout: Any) -> dict[str, Any]:
    """A gateway of the user's may take none."""
    return {} if timeout is None else {"timeout": timeout}
