"""Bugs that are planted into the fleet: whose an order is, and when its outcome is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chaoying_async.exceptions import StoreInUseError
from chaoying_async.payments import running
from chaoying_async.pollstore.sql.ownership import Ownership
from chaoying_async.sansio.polling.record import POLL
from chaoying_async.workers import delivery
from chaoying_async.workers.database import FleetDatabase
from chaoying_async.workers.outcomes import OutcomeReport
from chaoying_async.workers.senders_store import SendersStore
from chaoying_async.workers.sending import Sending
from chaoying_async.workers.served_shard import ServedShard
from tests.hard.planting import planted


@planted("a till tells an end without reading that the payment is still its own", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    put = SendersStore.put

    async def careless(self: SendersStore, kind: str, items: Mapping[str, str]) -> None:
        try:
            await put(self, kind, items)
        except StoreInUseError:
            return

    async def unread(_: SendersStore) -> None:
        """Say that it is ours, whatever the database has."""

    # Else hardly any end is left to be told: what is late does not leave.
    patch.setattr(running, "_STARTS_WITHIN", float("inf"))
    patch.setattr(SendersStore, "put", careless)
    patch.setattr(SendersStore, "hold", unread)


@planted("an outcome is forgotten before its task has returned", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    deliver = delivery.OutcomeDelivery._deliver

    async def forgetful(self: delivery.OutcomeDelivery, row: Any) -> None:
        await self._shard.delivered(row.seq)
        await deliver(self, row)

    patch.setattr(delivery.OutcomeDelivery, "_deliver", forgetful)


@planted("what was handed over is found by a number above the last seen", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    fresh = FleetDatabase.fresh

    async def above(self: FleetDatabase, mine: Any, of: int) -> Any:
        last = getattr(self, "_last", 0)
        rows = [row for row in await fresh(self, mine, of) if row.seq > last]
        self._last = max([last, *(row.seq for row in rows)])  # type: ignore[attr-defined]
        return rows

    patch.setattr(FleetDatabase, "fresh", above)


@planted("a payment leaves although nobody has read that it may", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    async def unread(*_: object) -> None:
        """Let it leave, whoever has taken it up meanwhile."""

    patch.setattr(Sending, "_look", unread)


@planted("a payment leaves however long ago its start was written down", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(running, "_STARTS_WITHIN", float("inf"))


@planted("an outcome whose COMMIT failed and was made wakes nobody", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    tell = ServedShard._tell

    async def tells(self: ServedShard, kind: str, key: str, report: OutcomeReport) -> None:
        if kind == POLL:
            return await tell(self, kind, key, report)
        await self.shard.tell(kind, key, report)
        return self._delivery.wake()

    patch.setattr(ServedShard, "_tell", tells)


@planted("a shard has two owners", "M-26")
def _(patch: pytest.MonkeyPatch) -> None:
    async def takes(self: Ownership) -> bool:
        self.token = self.token or 1
        return True

    async def unfenced(*_: object) -> None:
        """Write, whoever the owner is."""

    patch.setattr(Ownership, "take_if_free", takes)
    patch.setattr(Ownership, "renew_in", unfenced)
    patch.setattr(Ownership, "_read_that_it_is_ours", unfenced)
