"""Waiting until somebody gives a terminal its merchant."""

from __future__ import annotations

from chaoying_async.abc import Clock, Gateway
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import (
    MalformedMessageError,
    NotConfiguredYetError,
    ParameterError,
    TransportError,
)
from chaoying_async.sansio.api.terminal import PayBoxConfGet, PayBoxConfGetResult


async def wait_for_terminal(
    gateway: Gateway, request: PayBoxConfGet, *, every: float = 5.0, clock: Clock | None = None
) -> PayBoxConfGetResult:
    """The terminal's configuration, asked for every 5 seconds until there is one (C 27, C 98).

    The first query leaves at once. There is no limit of ours: put one around it
    (``asyncio.timeout``), cancelling is safe. No answer, or none that can be read, counts as "not
    yet". A refusal (state FAIL or VER) ends it with its
    :class:`~chaoying_async.exceptions.GatewayError`, whose ``msg`` is for the person at the
    terminal; a wrong signature ends it too, since waiting does not mend a key.
    """
    if not every > 0:
        raise ParameterError({"every": "must be a number of seconds above 0"})
    clock = clock or SystemClock()
    while True:
        try:
            return (await gateway.send(request)).unwrap()
        except (TransportError, MalformedMessageError, NotConfiguredYetError):
            await clock.sleep(every)
