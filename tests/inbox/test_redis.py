"""What RedisInbox promises beyond the contract, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.redis import RedisInbox
from chaoying_async.sansio.notifications.inbox_values import (
    AHEAD,
    Claim,
    ClaimLostError,
    Entry,
    OrderKey,
    Record,
)
from tests.factories import MCH_ID
from tests.servers import Servers

KEY = OrderKey(MCH_ID, "A100011")
ORDER, LEASE = (f'chaoying:{kind}:["{MCH_ID}","A100011"]' for kind in ("order", "lease"))


@pytest_asyncio.fixture
async def client(servers: Servers) -> AsyncGenerator[Any]:
    async with Redis.from_url(servers.redis_url()) as made:
        yield made


async def claimed(inbox: RedisInbox, lease: float = 30.0, key: OrderKey = KEY) -> Claim:
    entry = Entry(payload="{}", first_seen=datetime.now(UTC))
    claim = await inbox.claim(key, entry, lease=lease)
    assert isinstance(claim, Claim)
    return claim


async def test_a_lease_ends_on_rediss_own_clock(client: Any) -> None:
    """M-26: PX; whatever our clocks say, the key is gone when Redis says so."""
    await claimed(RedisInbox(client))
    assert 29_000 < await client.pttl(LEASE) <= 30_000
    await claimed(RedisInbox(client), lease=0.05, key=OrderKey(MCH_ID, "short"))
    assert await client.pttl(f'chaoying:lease:["{MCH_ID}","short"]') <= 50


async def test_a_lease_that_ran_out_while_the_work_goes_on_is_fenced(client: Any) -> None:
    """M-16: the next one has the claim; what the late one wants to record is refused."""
    inbox = RedisInbox(client)
    late = await claimed(inbox)

    async def overtaken() -> None:
        async with inbox.work(late):
            await client.delete(LEASE)  # as if 30 s had gone by
            new = await claimed(inbox)
            assert new.token > late.token

    with pytest.raises(ClaimLostError):
        await overtaken()
    record = await inbox.look(KEY)
    assert record is not None
    assert str(record.state) == "HELD"


async def test_a_late_renewal_is_good_while_nobody_came(client: Any) -> None:
    """M-16: the claim is ours until somebody else takes it, and then it keeps them out again."""
    inbox = RedisInbox(client)
    claim = await claimed(inbox)
    await client.delete(LEASE)
    assert await inbox.renew(claim, lease=30.0)
    entry = Entry(payload="{}", first_seen=datetime.now(UTC))
    assert isinstance(await inbox.claim(KEY, entry, lease=30.0), Record)


async def test_what_ended_is_forgotten_a_day_later_and_nothing_else(client: Any) -> None:
    """M-19: kept for the window and the ten minutes that a message may be ahead; HELD for ever."""
    inbox = RedisInbox(client)
    claim = await claimed(inbox)
    assert await client.pttl(ORDER) == -1
    async with inbox.work(claim):
        pass
    kept = (inbox.window + AHEAD).total_seconds() * 1000
    assert kept - 10_000 < await client.pttl(ORDER) <= kept
    assert not await client.exists(LEASE)


async def test_every_key_begins_with_the_prefix(client: Any) -> None:
    """Several shops, one Redis."""
    one, two = RedisInbox(client, prefix="{one}:"), RedisInbox(client, prefix="{two}:")
    await claimed(one)
    await claimed(two)
    names = [name.decode() for name in await client.keys()]
    assert all(name.startswith(("{one}:", "{two}:")) for name in names)


async def test_the_client_stays_the_users(client: Any) -> None:
    """M-17: never closed; scripts that Redis has forgotten are sent again."""
    inbox = RedisInbox(client)
    await claimed(inbox)
    await client.script_flush()
    await claimed(inbox, key=OrderKey(MCH_ID, "another"))
    assert await client.ping()


def test_a_client_that_cannot_be_awaited_is_refused() -> None:
    """At once, and with the name of the right one."""
    with pytest.raises(UsageError, match=r"redis\.asyncio"):
        RedisInbox(SyncRedis())  # type: ignore[arg-type]
