"""Machines whose clocks differ: what is stored is the database's time (M-26)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from chaoying_async import PollSchedule
from chaoying_async.clock import SystemClock
from tests.hanging import KINDS
from tests.pollers import PENDING, always, order
from tests.servers import Servers
from tests.workers.fleets import DATABASES, ENDED, FleetWorld, until

#: How far the stored deadline may lie from the one that was asked for: taking up is not instant.
NEAR = timedelta(seconds=5)


class Wrong(SystemClock):
    """A clock that somebody set by hand."""

    def __init__(self, hours: int) -> None:
        self._off = timedelta(hours=hours)

    def now(self) -> datetime:
        return super().now() + self._off


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_pre_order_ends_when_it_was_to_end_whatever_the_watchers_clock_says(
    servers: Servers, kind: str, hours: int
) -> None:
    """An hour fast it would end unasked; an hour slow it would be asked about for an hour more."""
    world = FleetWorld(DATABASES[kind](servers, Path()), always(PENDING))
    expires = datetime.now(UTC) + timedelta(minutes=10)
    async with world.open(1) as (serving,):
        watcher = world.fleet(clock=Wrong(hours))
        await watcher.watch(order(), then=ENDED, schedule=PollSchedule.preorder(expires))
        await until(lambda: serving.stats().pending)
        async with serving._engine.connect() as connection:
            rows = "SELECT body FROM chaoying_fleet WHERE kind = 'poll'"
            body = (await connection.execute(text(rows))).scalar_one()
        await watcher._engine.dispose()
    deadline = datetime.fromisoformat(json.loads(body)["deadline"])
    assert abs(deadline - (expires + timedelta(minutes=2))) < NEAR
