"""What RedisInbox promises beyond the contract, on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
import pytest_asyncio
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError

from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.redis import RedisInbox
from chaoying_async.inbox.redis.hashes import name_of
from chaoying_async.sansio.notifications.inbox_values import (
    AHEAD,
    ClaimLostError,
    Entry,
    OrderKey,
    Record,
    SeenState,
)
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID
from tests.servers import Servers

KEY = OrderKey(MCH_ID, "A100011")
ORDER, LEASE = (f'chaoying:{kind}:["{MCH_ID}","A100011"]' for kind in ("order", "lease"))


@pytest_asyncio.fixture
async def client(servers: Servers) -> AsyncGenerator[Any]:
    async with Redis.from_url(servers.redis_url()) as made:
        yield made


def an_entry() -> Entry:
    return Entry(payload="{}", first_seen=datetime.now(UTC))


async def keep(inbox: RedisInbox, state: SeenState = SeenState.DONE, key: OrderKey = KEY) -> None:
    async with inbox.lock(key, an_entry()) as order:
        assert order is not None
        await order.save(state, an_entry())


async def test_a_lease_ends_on_rediss_own_clock(client: Any) -> None:
    """M-26: PX; whatever our clocks say, the key is gone when Redis says so."""
    inbox = RedisInbox(client)
    async with inbox.lock(KEY, an_entry()):
        assert 15_000 < await client.pttl(LEASE) <= 30_000
    assert not await client.exists(LEASE)


async def test_a_claim_is_renewed_on_the_clock_that_was_given(client: Any) -> None:
    """M-16: every 10 s, so that work of any length keeps others out."""
    clock = FakeClock()
    inbox = RedisInbox(client, clock=clock)
    async with inbox.lock(KEY, an_entry()) as order:
        assert order is not None
        await client.pexpire(LEASE, 14_000)
        await clock.advance(10)
        async with asyncio.timeout(30):
            while await client.pttl(LEASE) <= 14_000:
                await asyncio.sleep(0.01)
        await order.save(SeenState.DONE, an_entry())


async def test_a_lock_that_is_taken_over_ends_its_block(client: Any) -> None:
    """M-16: the next one has the order; the late one is cancelled, and records nothing."""
    clock = FakeClock()
    inbox = RedisInbox(client, clock=clock)

    async def work() -> None:
        async with inbox.lock(KEY, an_entry()) as order:
            assert order is not None
            await order.save(SeenState.DONE, an_entry())
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    while not await client.exists(LEASE):
        await asyncio.sleep(0.001)
    await client.delete(LEASE)  # as if 30 s had gone by
    async with asyncio.timeout(30), RedisInbox(client).lock(KEY, an_entry()) as order:
        assert order is not None
        await clock.advance(10)
        with pytest.raises(ClaimLostError):
            await task
        await order.save(SeenState.HELD, an_entry())
    record = await inbox.look(KEY)
    assert record is not None
    assert record.state is SeenState.HELD


async def test_a_new_order_in_somebodys_hands_is_seen_and_found_when_he_dies(client: Any) -> None:
    """M-17: the message is kept from the claim on, for ``run_due`` of any process."""
    inbox, entry = RedisInbox(client), an_entry()
    async with inbox.lock(KEY, entry):
        record = await inbox.look(KEY)
        assert record is not None
        assert (record.state, record.entry) == (SeenState.HELD, entry)
        assert 0 < record.lease <= 30
    assert await inbox.look(KEY) is None
    dead = await inbox._claim(KEY, entry)
    assert dead is not None
    await client.delete(LEASE)
    await client.zadd("chaoying:due", {name_of(KEY): 0})
    (due,) = await inbox.unfinished(10)
    assert isinstance(due, Record)
    assert (due.key, due.entry) == (KEY, entry)


async def test_a_failed_payments_order_is_found_when_who_works_on_it_dies(client: Any) -> None:
    """M-17: 余额不足, then a second try that is paid: its message is kept from the claim on."""
    inbox, entry = RedisInbox(client), attrs.evolve(an_entry(), payload='{"paid":1}', payable=100)
    await keep(inbox, SeenState.NOT_PAID)
    failed, ends = await inbox.look(KEY), await client.zscore("chaoying:ended", name_of(KEY))
    async with inbox.lock(KEY, entry) as order:
        assert order is not None
        assert order.before == failed
        record = await inbox.look(KEY)
        assert record is not None
        assert (record.state, record.entry) == (SeenState.HELD, entry)
        assert len(await inbox.listing(10)) == 1
    assert await inbox.look(KEY) == failed  # nothing took effect, so the failure is all there was
    assert not await inbox.listing(10)
    assert await client.pttl(ORDER) > 60_000
    assert await client.zscore("chaoying:ended", name_of(KEY)) >= ends
    assert await inbox.prune(datetime.now(UTC) + AHEAD) == 1
    assert await inbox._claim(KEY, entry) is not None
    await client.delete(LEASE)
    await client.zadd("chaoying:due", {name_of(KEY): 0})
    (due,) = await inbox.unfinished(10)
    assert isinstance(due, Record)
    assert (due.key, due.entry) == (KEY, entry)
    assert await client.pttl(ORDER) == -1


async def test_what_ended_is_forgotten_a_day_later_and_nothing_else(client: Any) -> None:
    """M-19: kept for the window and the ten minutes that a message may be ahead; HELD for ever."""
    inbox = RedisInbox(client)
    kept = (inbox.window + AHEAD).total_seconds() * 1000
    for state, ends in (
        (SeenState.HELD, False),
        (SeenState.NOT_PAID, True),
        (SeenState.QUARANTINED, False),
        (SeenState.DONE, True),
    ):
        await keep(inbox, state)
        left = await client.pttl(ORDER)
        assert left == -1 or kept - 10_000 < left <= kept
        assert (left != -1) is ends


async def test_what_ended_is_not_forgotten_while_somebody_works_on_it(client: Any) -> None:
    """M-19: a payment that comes at the end of a failure's day finds its place until it is done."""
    inbox = RedisInbox(client)
    await keep(inbox, SeenState.NOT_PAID)
    await client.pexpire(ORDER, 5000)
    async with inbox.lock(KEY, an_entry()) as order:
        assert order is not None
        assert await client.pttl(ORDER) == -1
        await order.save(SeenState.DONE, an_entry())


async def test_every_key_begins_with_the_prefix(client: Any) -> None:
    """Several shops, one Redis."""
    one, two = RedisInbox(client, prefix="{one}:"), RedisInbox(client, prefix="{two}:")
    for inbox in (one, two):
        await keep(inbox)
        assert await inbox._claim(OrderKey(MCH_ID, "held"), an_entry())
        await keep(inbox, SeenState.HELD, OrderKey(MCH_ID, "failed"))
    names = [name.decode() for name in await client.keys()]
    assert all(name.startswith(("{one}:", "{two}:")) for name in names)


async def test_the_client_stays_the_users(client: Any) -> None:
    """M-17: never closed; scripts that Redis has forgotten are sent again."""
    inbox = RedisInbox(client)
    await keep(inbox)
    await client.script_flush()
    await keep(inbox, key=OrderKey(MCH_ID, "another"))
    assert await client.ping()


def test_a_client_that_cannot_be_awaited_is_refused() -> None:
    """At once, and with the name of the right one."""
    with pytest.raises(UsageError, match=r"redis\.asyncio"):
        RedisInbox(SyncRedis())  # type: ignore[arg-type]


async def test_a_connection_to_a_replica_is_not_kept(client: Any) -> None:
    """After a failover the next one goes where the address leads, without a restart."""
    inbox, before = RedisInbox(client), await client.client_id()
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(ReadOnlyError):
            async with inbox.lock(KEY, an_entry()):
                pass
        assert await client.client_id() != before
    finally:
        await client.execute_command("REPLICAOF", "NO", "ONE")
