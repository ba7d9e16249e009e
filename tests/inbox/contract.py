"""What the tests of the inboxes' contract share."""

from __future__ import annotations

from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    OrderKey,
    SeenState,
)
from tests.inbox.inboxes import KEY, Bench

DONE, HELD = SeenState.DONE, SeenState.HELD
NOT_PAID, QUARANTINED = SeenState.NOT_PAID, SeenState.QUARANTINED


async def state_of(bench: Bench, key: OrderKey = KEY) -> SeenState | None:
    record = await bench.other.look(key)
    return None if record is None else record.state


async def put_aside(bench: Bench, aside: Aside, retry_in: float | None = None) -> bool:
    return await bench.inbox.set_aside(aside, retry_in=retry_in)
