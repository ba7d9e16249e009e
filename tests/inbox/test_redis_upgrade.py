"""A process of the last version beside a new one, on the same Redis, and what it has left there.

The last version had claims that its handler held; their scripts are kept in ``last_redis_scripts``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from chaoying_async.inbox.redis import RedisInbox
from chaoying_async.inbox.redis.hashes import entry_args, name_of, text, to_hash, to_record
from chaoying_async.sansio.notifications.inbox_values import (
    BY_A_PERSON,
    ClaimLostError,
    Entry,
    OrderKey,
    Record,
    SeenState,
)
from tests.factories import MCH_ID
from tests.inbox import last_redis_scripts as last
from tests.servers import Servers

KEY = OrderKey(MCH_ID, "A100011")
ORDER, LEASE = (f"chaoying:{kind}:{name_of(KEY)}" for kind in ("order", "lease"))
SETS = ("chaoying:due", "chaoying:open", "chaoying:ended")
DAY = 86_400_000
DONE, HELD, NOT_PAID = SeenState.DONE, SeenState.HELD, SeenState.NOT_PAID


def an_entry(**changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "payload": '{"a":"1"}',
        "first_seen": datetime.now(UTC),
        "payable": 100,
        "transaction_id": "T1",
        "decision": "APPLY",
    }
    return Entry(**fields | changes)


class LastVersion:
    """What a process of the last version does with one order."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def _run(self, script: str, *args: Any) -> Any:
        known = self._client.register_script(script)
        return await known(keys=[ORDER, LEASE, *SETS], args=[name_of(KEY), *args])

    async def claim(self, entry: Entry) -> tuple[int, Record | None]:
        token, before, left = await self._run(last.CLAIM, 30_000, *entry_args(entry))
        fields = to_hash(before)
        return token, to_record(KEY, fields, left) if fields else None

    async def renew(self, token: int) -> bool:
        return bool(await self._run(last.RENEW, token, 30_000))

    async def complete(self, token: int) -> bool:
        return bool(await self._run(last.COMPLETE, token, DAY))

    async def release(self, token: int, retry_in: int) -> bool:
        return bool(await self._run(last.RELEASE, token, retry_in, 1) != -1)

    async def quarantine(self, token: int) -> bool:
        return bool(await self._run(last.QUARANTINE, token, "why"))

    async def give_up(self, token: int) -> bool:
        return bool(await self._run(last.GIVE_UP, token, DAY))

    async def not_paid(self, entry: Entry) -> bool:
        return bool(await self._run(last.NOT_PAID, DAY, *entry_args(entry)))

    async def apply(self) -> bool:
        return bool(await self._run(last.MARK_ORDER, DAY, 0, BY_A_PERSON))

    async def due(self) -> list[str]:
        known = self._client.register_script(last.DUE)
        return [text(name) for name in await known(keys=SETS[:2], args=[10])]


@pytest_asyncio.fixture
async def client(servers: Servers) -> AsyncGenerator[Any]:
    async with Redis.from_url(servers.redis_url()) as made:
        yield made


@pytest.fixture
def inbox(client: Any) -> RedisInbox:
    return RedisInbox(client)


@pytest.fixture
def old(client: Any) -> LastVersion:
    return LastVersion(client)


async def save(inbox: RedisInbox, state: SeenState, **told: Any) -> None:
    async with inbox.lock(KEY, an_entry()) as order:
        assert order is not None
        await order.save(state, an_entry(), **told)


async def record_of(inbox: RedisInbox) -> Record:
    record = await inbox.look(KEY)
    assert record is not None
    return record


# ------------------------------------------------------------------------- what the old one wrote


@pytest.mark.parametrize("end", ["done", "released", "quarantined", "given up", "not paid"])
async def test_what_the_last_version_wrote_is_read(
    inbox: RedisInbox, old: LastVersion, end: str
) -> None:
    """M-16, M-19: every state with its entry; what it was not done with can be locked."""
    entry = an_entry(other_numbers=("W9",))
    if end == "not paid":
        await old.not_paid(entry)
    else:
        token, _ = await old.claim(entry)
        ways: dict[str, Any] = {
            "done": lambda: old.complete(token),
            "released": lambda: old.release(token, 0),
            "quarantined": lambda: old.quarantine(token),
            "given up": lambda: old.give_up(token),
        }
        assert await ways[end]()
    states = {"done": DONE, "released": HELD, "quarantined": SeenState.QUARANTINED}
    record = await record_of(inbox)
    assert (record.state, record.entry) == (states.get(end, NOT_PAID), entry)
    assert record.failures == (end == "released")
    async with inbox.lock(KEY, an_entry(transaction_id="T2")) as order:
        assert order is not None
        assert order.before == record
    assert await record_of(inbox) == record
    assert len(await inbox.unfinished(10)) == (end == "released")
    if end != "done":
        await save(inbox, DONE)


async def test_what_a_person_told_the_last_version_is_read(
    inbox: RedisInbox, old: LastVersion
) -> None:
    """M-16: an order that is to be applied."""
    token, _ = await old.claim(an_entry())
    await old.quarantine(token)
    assert await old.apply()
    (due,) = await inbox.unfinished(10)
    assert isinstance(due, Record)
    assert due.entry.decision == BY_A_PERSON
    await save(inbox, DONE)
    assert (await record_of(inbox)).entry.decision == "APPLY"


async def test_the_last_versions_claim_keeps_a_new_process_out(
    inbox: RedisInbox, old: LastVersion
) -> None:
    """M-16: an order that is HELD, and whose lease runs, is in somebody's hands."""
    token, _ = await old.claim(an_entry())
    async with inbox.lock(KEY, an_entry()) as order:
        assert order is None
    assert not await inbox.unfinished(10)
    assert await old.complete(token)
    assert (await record_of(inbox)).state is DONE


async def test_an_old_holder_whose_lease_ended_is_taken_over(
    inbox: RedisInbox, old: LastVersion, client: Any
) -> None:
    """M-16: taking it over raises its token, so the old one can do nothing any more."""
    token, _ = await old.claim(an_entry())
    await client.delete(LEASE)
    async with inbox.lock(KEY, an_entry()) as order:
        assert order is not None
        assert order.before is not None
        assert order.before.token == token
        assert not await old.renew(token)
        assert not await old.release(token, 0)
        assert not await old.complete(token)
        await order.save(HELD, an_entry(), failures=1)
    assert (await record_of(inbox)).token > token
    assert not await old.complete(token)


# ------------------------------------------------------------------------- what the new one writes


async def test_a_new_process_keeps_the_last_version_out(
    inbox: RedisInbox, old: LastVersion
) -> None:
    """M-16: of a new order and of one that is there; an order is done by one of them."""
    for before in (None, NOT_PAID, HELD):
        if before is not None:
            await save(inbox, before)
        async with inbox.lock(KEY, an_entry()) as order:
            assert order is not None
            token, record = await old.claim(an_entry(transaction_id="T2"))
            assert token == 0
            assert record is not None
            assert record.entry.transaction_id == "T1"
            assert await old.due() == ([name_of(KEY)] if before is HELD else [])
    token, record = await old.claim(an_entry())
    assert token > 0
    assert record is not None
    assert await old.complete(token)


async def test_the_last_version_takes_over_from_a_new_process_that_died(
    inbox: RedisInbox, old: LastVersion, client: Any
) -> None:
    """M-16: it finds the order due; a new one that was only late can do nothing any more."""
    late = await inbox._claim(KEY, an_entry())
    assert late is not None
    await client.delete(LEASE)
    await client.zadd(SETS[0], {name_of(KEY): 0})
    assert await old.due() == [name_of(KEY)]
    token, before = await old.claim(an_entry(transaction_id="T2"))
    assert token > late.token
    assert before is not None
    assert (before.state, before.entry.transaction_id) == (HELD, "T1")
    assert not await inbox._renew(late)
    await inbox._leave(late)
    assert await old.renew(token)
    assert await old.complete(token)


async def test_a_late_new_holder_records_nothing_over_the_last_version(
    inbox: RedisInbox, old: LastVersion, client: Any
) -> None:
    """M-16: whatever the last version has made of it in the meantime."""

    async def late() -> None:
        async with inbox.lock(KEY, an_entry()) as order:
            assert order is not None
            await client.delete(LEASE)
            token, _ = await old.claim(an_entry())
            assert await old.release(token, 0)
            await order.save(DONE, an_entry())

    with pytest.raises(ClaimLostError):
        await late()
    assert ((await record_of(inbox)).state, (await record_of(inbox)).failures) == (HELD, 1)


@pytest.mark.parametrize("state", SeenState)
async def test_the_last_version_reads_what_a_new_one_saved(
    inbox: RedisInbox, old: LastVersion, state: SeenState
) -> None:
    """M-16: DONE stays done, a failure is retried, a failed payment may be paid."""
    await save(inbox, state, failures=2, reason="why")
    assert await old.due() == ([name_of(KEY)] if state is HELD else [])
    token, before = await old.claim(an_entry())
    assert before is not None
    assert (before.state, before.failures, before.reason) == (state, 2, "why")
    assert (token > 0) == (state in {HELD, NOT_PAID})
    if token:
        assert await old.complete(token)
