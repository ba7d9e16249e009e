"""The store of a payment's sender: it writes until the fleet takes the payment over."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from chaoying_async import StoreInUseError
from chaoying_async.sansio.payments.intent import CHECKOUT
from chaoying_async.workers.senders_store import SendersStore
from chaoying_async.workers.tables import fleet_tables
from tests.servers import Servers
from tests.workers.fleets import DATABASES, FleetWorld

ROWS = fleet_tables("chaoying_").rows


@pytest.mark.parametrize("database", DATABASES)
async def test_each_call_says_that_the_fleet_has_taken_a_payment_over(
    database: str, servers: Servers, tmp_path: Path
) -> None:
    """M-23: a sender that stood still neither pays nor tells an end of it."""
    async with FleetWorld(DATABASES[database](servers, tmp_path)).fleet() as fleet:
        store = SendersStore(fleet._database, CHECKOUT, "A1")
        assert await store.begin("sent", 0, "")
        await store.hold()
        await store.put(CHECKOUT, {"A1": "answered"})
        async with fleet._engine.begin() as connection:
            await connection.execute(update(ROWS).values(shard=0))
        for call in (
            store.hold(),
            store.put(CHECKOUT, {"A1": "ended"}),
            store.forget(CHECKOUT, ["A1"]),
        ):
            with pytest.raises(StoreInUseError, match="taken this over"):
                await call
        assert await store.get(CHECKOUT, "A1") == "answered"
