"""RedisInbox cancelled at every await, on a cluster's node, restarted, full, and asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from chaoying_async.inbox.redis import RedisInbox
from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    Claim,
    Entry,
    Mark,
    OrderKey,
    Record,
    SeenState,
)
from tests import servers as programs
from tests.cancelling import cancelled_at
from tests.factories import MCH_ID
from tests.servers import MissingProgramError, Servers

KEY = OrderKey(MCH_ID, "A100011")


def an_entry(**changes: Any) -> Entry:
    fields: dict[str, Any] = {"payload": "{}", "first_seen": datetime.now(UTC), "payable": 1}
    return Entry(**fields | changes)


def an_aside(key: OrderKey) -> Aside:
    return Aside(
        key=key,
        fingerprint="ab" * 32,
        decision="UNKNOWN_ORDER",
        reason="why",
        payload="{}",
        first_seen=datetime.now(UTC),
    )


async def claimed(inbox: RedisInbox, key: OrderKey = KEY, **changes: Any) -> Claim:
    claim = await inbox.claim(key, an_entry(**changes), lease=30.0)
    assert isinstance(claim, Claim), claim
    return claim


async def worked(inbox: RedisInbox, claim: Claim) -> None:
    async with inbox.work(claim):
        await asyncio.sleep(0)


# ------------------------------------------------------------------------ cancelled anywhere

Call = Callable[[RedisInbox, OrderKey], Awaitable[Callable[[], Any]]]


def _plain(call: Callable[[RedisInbox, OrderKey], Any]) -> Call:
    async def prepare(inbox: RedisInbox, key: OrderKey) -> Callable[[], Any]:
        return lambda: call(inbox, key)

    return prepare


def _of_claim(call: Callable[[RedisInbox, Claim], Any]) -> Call:
    async def prepare(inbox: RedisInbox, key: OrderKey) -> Callable[[], Any]:
        claim = await claimed(inbox, key)
        return lambda: call(inbox, claim)

    return prepare


def _of_aside(call: Callable[[RedisInbox, Aside], Any]) -> Call:
    async def prepare(inbox: RedisInbox, key: OrderKey) -> Callable[[], Any]:
        aside = an_aside(key)
        await inbox.set_aside(aside, retry_in=0)
        return lambda: call(inbox, aside)

    return prepare


async def _ended(inbox: RedisInbox, key: OrderKey) -> Callable[[], Any]:
    await inbox.not_paid(key, an_entry(first_seen=datetime.now(UTC) - timedelta(days=9)))
    return lambda: inbox.prune(datetime.now(UTC), keys=True)


CALLS: dict[str, Call] = {
    "look": _plain(lambda inbox, key: inbox.look(key)),
    "claim": _plain(lambda inbox, key: inbox.claim(key, an_entry(), lease=30.0)),
    "not_paid": _plain(lambda inbox, key: inbox.not_paid(key, an_entry())),
    "set_aside": _plain(lambda inbox, key: inbox.set_aside(an_aside(key), retry_in=1.0)),
    "renew": _of_claim(lambda inbox, claim: inbox.renew(claim, lease=30.0)),
    "work": _of_claim(worked),
    "release": _of_claim(lambda inbox, claim: inbox.release(claim, retry_in=0, failed=True)),
    "quarantine": _of_claim(lambda inbox, claim: inbox.quarantine(claim, "why")),
    "postpone": _of_aside(lambda inbox, aside: inbox.postpone(aside, retry_in=None)),
    "close": _of_aside(lambda inbox, aside: inbox.close(aside)),
    "asides": _of_aside(lambda inbox, aside: inbox.asides(aside.key)),
    "aside": _of_aside(lambda inbox, aside: inbox.aside(aside.key, aside.fingerprint)),
    "unfinished": _of_aside(lambda inbox, _aside: inbox.unfinished(100)),
    "listing": _of_aside(lambda inbox, _aside: inbox.listing(100)),
    "mark": _of_aside(lambda inbox, aside: inbox.mark(aside.key, Mark.APPLY, aside.fingerprint)),
    "prune": _ended,
}


@pytest.mark.parametrize("later", [0, 2])
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.timeout(240)
async def test_cancelled_at_any_await_no_reply_goes_to_another(
    servers: Servers, fresh: bool, later: int
) -> None:
    """M-16: a connection whose reply nobody heard is not used again; none is lost to the pool."""
    async with Redis.from_url(servers.redis_url(), max_connections=2) as client:
        inbox = RedisInbox(client)
        for name, prepare in CALLS.items():
            at, reached = 0, True
            while reached:
                key = OrderKey(MCH_ID, f"{name} {at}")
                call = await prepare(inbox, key)
                if fresh:
                    await client.connection_pool.disconnect()
                reached = (await cancelled_at(at, call(), later=later)).reached
                pool: Any = client.connection_pool
                assert not pool._in_use_connections, (name, at)
                after = OrderKey(MCH_ID, f"after {name} {at}")
                await claimed(inbox, after, payable=at)
                records = await asyncio.gather(inbox.look(after), inbox.look(KEY))
                assert records[1] is None
                assert records[0] is not None
                assert (records[0].key, records[0].entry.payable) == (after, at)
                at += 1
            assert at > 1


# ------------------------------------------------------------------------ a server of one's own


class Cluster(programs.Redis):
    """One node that has all the slots."""

    def command(self) -> list[str]:
        plain = [*super().command()]
        plain[plain.index("--databases") + 1] = "1"
        return [*plain, "--cluster-enabled", "yes"]


@pytest.fixture
def own(servers: Servers) -> Iterator[Callable[[type[programs.Redis]], programs.Redis]]:
    """Starts one that may be stopped, filled or set up otherwise."""
    del servers  # for its way with missing programs
    started: list[programs.Redis] = []

    def start(kind: type[programs.Redis]) -> programs.Redis:
        try:
            started.append(kind())
        except MissingProgramError as missing:
            pytest.skip(str(missing))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.stop()


Own = Callable[[type[programs.Redis]], programs.Redis]


@asynccontextmanager
async def client_of(server: programs.Redis) -> AsyncGenerator[Any]:
    async with Redis.from_url(f"redis://127.0.0.1:{server.port}/0") as client:
        yield client


async def _whole_way(inbox: RedisInbox, key: OrderKey) -> None:
    assert await inbox.not_paid(key, an_entry())
    claim = await claimed(inbox, key)
    assert await inbox.renew(claim, lease=30.0)
    assert await inbox.release(claim, retry_in=0, failed=True)
    assert len(await inbox.unfinished(10)) == 1
    await inbox.quarantine(await claimed(inbox, key), "why")
    assert len(await inbox.listing(10)) == 1
    assert await inbox.mark(key, Mark.RETRY)
    await worked(inbox, await claimed(inbox, key))
    aside = an_aside(key)
    assert await inbox.set_aside(aside, retry_in=0)
    await inbox.postpone(aside, retry_in=0)
    assert await inbox.mark(key, Mark.APPLY, aside.fingerprint)
    assert len(await inbox.asides(key)) == 1
    assert await inbox.aside(key, aside.fingerprint) is not None
    await inbox.close(aside)
    assert await inbox.prune(datetime.now(UTC) + timedelta(days=1)) == 2


@pytest.mark.parametrize("number", ["A100011", "{A}1", "}{", '"\\{x}'])
async def test_a_clusters_node_takes_every_call(own: Own, number: str) -> None:
    """With a hash tag in the prefix all keys of a script are in one slot, whatever orders hold."""
    server = own(Cluster)
    async with client_of(server) as client:
        await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while (await client.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":
            await asyncio.sleep(0.05)
        await _whole_way(RedisInbox(client, prefix="{chaoying}:"), OrderKey(MCH_ID, number))


async def test_a_server_that_was_killed_has_forgotten_nothing(own: Own) -> None:
    """M-19: with appendfsync always; scripts are sent again, claims keep others out."""
    server = own(programs.Redis)
    async with client_of(server) as client:
        inbox = RedisInbox(client)
        done = OrderKey(MCH_ID, "done")
        await worked(inbox, await claimed(inbox, done))
        claim = await claimed(inbox)
        server.kill()
        with pytest.raises((RedisError, OSError)):
            await inbox.look(KEY)
        server.serve()
        assert await asyncio.to_thread(server.wait)
        assert isinstance(await inbox.claim(KEY, an_entry(), lease=30.0), Record)
        assert isinstance(await inbox.claim(done, an_entry(), lease=30.0), Record)
        await worked(inbox, claim)
        await client.script_flush()
        assert await inbox.prune(datetime.now(UTC) + timedelta(days=1)) == 2


async def test_a_full_server_takes_no_half_of_anything(own: Own) -> None:
    """maxmemory with noeviction: an error, nothing is half there, and it works on with room."""
    server = own(programs.Redis)
    async with client_of(server) as client:
        inbox = RedisInbox(client)
        claim = await claimed(inbox, OrderKey(MCH_ID, "held"))
        await client.config_set("maxmemory", "1")
        for call in (
            lambda: inbox.claim(KEY, an_entry(), lease=30.0),
            lambda: inbox.set_aside(an_aside(KEY), retry_in=0),
            lambda: inbox.not_paid(KEY, an_entry()),
            lambda: worked(inbox, claim),
            lambda: inbox.release(claim, retry_in=0, failed=True),
        ):
            with pytest.raises(OutOfMemoryError):
                await call()
        await client.config_set("maxmemory", "0")
        assert await inbox.look(KEY) is None
        held = await inbox.look(claim.key)
        assert held is not None
        assert (held.state, held.failures) == (SeenState.HELD, 0)
        assert held.lease > 0
        assert len(await inbox.listing(10)) == 1
        await worked(inbox, claim)


# --------------------------------------------------------------------- the same thing, twice


@pytest_asyncio.fixture
async def client(servers: Servers) -> AsyncGenerator[Any]:
    async with Redis.from_url(servers.redis_url()) as made:
        yield made


_execute: Any = Redis.execute_command  # which has no types


class Twice(Redis):
    """Repeats every script, as redis-py does where the reply to the first was lost."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        reply = await _execute(self, *args, **options)
        if args[0] == "EVALSHA":
            return await _execute(self, *args, **options)
        return reply


async def test_work_that_a_client_records_twice_is_done_not_lost(servers: Servers) -> None:
    """M-16: the second says so too; a claim that was really lost is not taken for it."""
    url = servers.redis_url()
    async with Redis.from_url(url) as client, Twice.from_url(url) as twice:
        inbox, doubled = RedisInbox(client), RedisInbox(twice)
        claim = await claimed(inbox)
        await worked(doubled, claim)
        record = await inbox.look(KEY)
        assert record is not None
        assert record.state is SeenState.DONE
        assert isinstance(await doubled.claim(KEY, an_entry(), lease=30.0), Record)


async def test_claims_and_everything_else_at_once(client: Any) -> None:
    """M-16: scripts of many tasks on many connections; each order is done once, alone."""
    inbox, working, done = RedisInbox(client), set[OrderKey](), list[OrderKey]()
    keys = [OrderKey(MCH_ID, str(n)) for n in range(6)]

    async def pay(key: OrderKey, turn: int) -> None:
        while True:
            await inbox.not_paid(key, an_entry())
            claim = await inbox.claim(key, an_entry(), lease=30.0)
            if isinstance(claim, Record):
                if claim.state is SeenState.DONE:
                    return
                await inbox.mark(key, Mark.RETRY)
                continue
            assert key not in working
            if turn > 0:
                turn -= 1
                await inbox.release(claim, retry_in=0, failed=True)
                continue
            working.add(key)
            async with inbox.work(claim):
                await asyncio.sleep(0)
            working.discard(key)
            done.append(key)

    async with asyncio.timeout(30):
        await asyncio.gather(*(pay(key, turn) for key in keys for turn in range(3)))
    assert sorted(done) == keys


def test_a_password_is_not_shown() -> None:
    """M-27: neither the inbox nor what it raises about its server."""
    inbox = RedisInbox(Redis.from_url("redis://shop:hunter2@127.0.0.1:1/0"))
    assert "hunter2" not in repr(inbox)
    with pytest.raises(RedisError) as caught:
        asyncio.run(inbox.look(KEY))
    assert "hunter2" not in f"{caught.value!s}{caught.value!r}"
