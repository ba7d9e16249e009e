"""RedisInbox cancelled at every await, on a cluster's node, restarted, full, and asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from chaoying_async.inbox.redis import RedisInbox
from chaoying_async.inbox.redis.hashes import name_of
from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    ClaimLostError,
    Entry,
    Mark,
    OrderKey,
    SeenState,
)
from tests import servers as programs
from tests.cancelling import cancelled_at
from tests.factories import MCH_ID
from tests.servers import MissingProgramError, Servers

KEY = OrderKey(MCH_ID, "A100011")
DONE = SeenState.DONE


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


async def _one_turn() -> None:
    await asyncio.sleep(0)


async def keep(
    inbox: RedisInbox,
    state: SeenState = DONE,
    key: OrderKey = KEY,
    during: Callable[[], Awaitable[Any]] = _one_turn,
    **changes: Any,
) -> None:
    """Record this of an order under its lock; what is not the entry's is the record's."""
    failures = changes.pop("failures", 0)
    entry = an_entry(**changes)
    async with inbox.lock(key, entry) as order:
        assert order is not None
        await during()
        await order.save(state, entry, failures=failures)


async def fail(
    inbox: RedisInbox, key: OrderKey, during: Callable[[], Awaitable[Any]] = _one_turn
) -> None:
    async with inbox.lock(key, an_entry()) as order:
        assert order is not None
        await during()
        raise ZeroDivisionError


async def is_free(inbox: RedisInbox, key: OrderKey = KEY) -> bool:
    async with inbox.lock(key, an_entry()) as order:
        return order is not None


# ------------------------------------------------------------------------ cancelled anywhere

Call = Callable[[RedisInbox, OrderKey], Awaitable[Callable[[], Any]]]


def _plain(call: Callable[[RedisInbox, OrderKey], Any]) -> Call:
    async def prepare(inbox: RedisInbox, key: OrderKey) -> Callable[[], Any]:
        return lambda: call(inbox, key)

    return prepare


def _of_record(call: Callable[[RedisInbox, OrderKey], Any]) -> Call:
    async def prepare(inbox: RedisInbox, key: OrderKey) -> Callable[[], Any]:
        await keep(inbox, SeenState.QUARANTINED, key)
        return lambda: call(inbox, key)

    return prepare


def _of_aside(call: Callable[[RedisInbox, Aside], Any]) -> Call:
    async def prepare(inbox: RedisInbox, key: OrderKey) -> Callable[[], Any]:
        aside = an_aside(key)
        await inbox.set_aside(aside, retry_in=0)
        return lambda: call(inbox, aside)

    return prepare


async def _ended(inbox: RedisInbox, key: OrderKey) -> Callable[[], Any]:
    await keep(inbox, SeenState.NOT_PAID, key, first_seen=datetime.now(UTC) - timedelta(days=9))
    return lambda: inbox.prune(datetime.now(UTC), keys=True)


async def _of_claim(inbox: RedisInbox, key: OrderKey) -> Callable[[], Any]:
    claim = await inbox._claim(key, an_entry())
    assert claim is not None
    return lambda: inbox._renew(claim)


CALLS: dict[str, Call] = {
    "look": _plain(lambda inbox, key: inbox.look(key)),
    "lock": _plain(lambda inbox, key: keep(inbox, DONE, key)),
    "lock that is left": _plain(fail),
    "lock of a record": _of_record(lambda inbox, key: keep(inbox, SeenState.HELD, key)),
    "lock of a record that is left": _of_record(fail),
    "set_aside": _plain(lambda inbox, key: inbox.set_aside(an_aside(key), retry_in=1.0)),
    "renew": _of_claim,
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
                await keep(inbox, DONE, after, payable=at)
                records = await asyncio.gather(inbox.look(after), inbox.look(KEY))
                assert records[1] is None
                assert records[0] is not None
                assert (records[0].key, records[0].entry.payable) == (after, at)
                at += 1
            assert at > 1


@pytest.mark.timeout(240)
@pytest.mark.parametrize("ends", [keep, fail])
@pytest.mark.parametrize("before", [None, SeenState.HELD, SeenState.NOT_PAID])
async def test_cancelled_at_any_await_no_lock_outlives_its_lease(
    servers: Servers, ends: Any, before: SeenState | None
) -> None:
    """M-16: an order is free at once, or when its lease ends; a record is the old one or the new.

    Where nothing but failures was heard before, it may be HELD with the message that came: that is
    found (M-17). Twice in a row too, as by a time-out and the end of the process.
    """
    async with Redis.from_url(servers.redis_url()) as client:
        inbox = RedisInbox(client)
        await keep(inbox, DONE, OrderKey(MCH_ID, "so that the scripts are known"))
        for times in (1, 2):
            at, reached = 0, True
            while reached:
                key = OrderKey(MCH_ID, f"{times} {at}")
                if before is not None:
                    await keep(inbox, before, key, failures=7)
                was = await inbox.look(key)
                work = keep(inbox, DONE, key) if ends is keep else fail(inbox, key)
                reached = (await cancelled_at(at, work, times=times)).reached
                if not await is_free(inbox, key):
                    lease = f"chaoying:lease:{name_of(key)}"
                    assert 0 < await client.pttl(lease) <= 30_000
                    await client.delete(lease)
                    assert await is_free(inbox, key)
                now = await inbox.look(key)
                at += 1
                if was is None:
                    assert now is None or now.state in {DONE, SeenState.HELD}
                    continue
                assert now is not None
                found = now.state is SeenState.HELD and was.state is SeenState.NOT_PAID
                if not found and now.state is not DONE:
                    assert attrs.evolve(now, token=was.token) == was
            assert at > 3


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
    for state in (SeenState.NOT_PAID, SeenState.HELD):
        await keep(inbox, state, key)
    assert len(await inbox.unfinished(10)) == 1
    with pytest.raises(ZeroDivisionError):
        await fail(inbox, key)
    await keep(inbox, SeenState.QUARANTINED, key)
    assert len(await inbox.listing(10)) == 1
    assert await inbox.mark(key, Mark.RETRY)
    claim = await inbox._claim(key, an_entry())
    assert claim is not None
    assert not await is_free(inbox, key)
    assert await inbox._renew(claim)
    await inbox._leave(claim)
    await keep(inbox, DONE, key)
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
        await keep(inbox, DONE, done)

        async def killed() -> None:
            server.kill()
            with pytest.raises((RedisError, OSError)):
                await inbox.look(KEY)
            server.serve()
            assert await asyncio.to_thread(server.wait)
            assert not await is_free(inbox)

        await keep(inbox, DONE, KEY, killed)
        for key in (KEY, done):
            record = await inbox.look(key)
            assert record is not None
            assert record.state is DONE
        await client.script_flush()
        assert await inbox.prune(datetime.now(UTC) + timedelta(days=1)) == 2


async def test_a_full_server_takes_no_half_of_anything(own: Own) -> None:
    """maxmemory with noeviction: an error, nothing is half there, and it works on with room."""
    server = own(programs.Redis)
    async with client_of(server) as client:
        inbox = RedisInbox(client)
        key = OrderKey(MCH_ID, "held")
        await keep(inbox, SeenState.HELD, key)
        before = await inbox.look(key)
        with pytest.raises(OutOfMemoryError):
            await keep(inbox, DONE, key, lambda: client.config_set("maxmemory", "1"))
        for call in (
            lambda: keep(inbox),
            lambda: keep(inbox, DONE, key),
            lambda: inbox.set_aside(an_aside(KEY), retry_in=0),
        ):
            with pytest.raises(OutOfMemoryError):
                await call()
        await client.config_set("maxmemory", "0")
        assert await inbox.look(KEY) is None
        assert await inbox.look(key) == before
        assert len(await inbox.listing(10)) == 1
        await keep(inbox, DONE, key)


# --------------------------------------------------------------------- the same thing, twice


@pytest_asyncio.fixture
async def client(servers: Servers) -> AsyncGenerator[Any]:
    async with Redis.from_url(servers.redis_url()) as made:
        yield made


_execute: Any = Redis.execute_command  # which has no types


class Twice(Redis):
    """Repeats every script, as redis-py does where the reply to the first was lost."""

    doubling = False

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        reply = await _execute(self, *args, **options)
        if args[0] == "EVALSHA" and self.doubling:
            return await _execute(self, *args, **options)
        return reply


@pytest.mark.parametrize("state", SeenState)
async def test_work_that_a_client_records_twice_is_recorded_not_lost(
    servers: Servers, state: SeenState
) -> None:
    """M-16: the second says so too, and changes nothing; no new order is left behind either."""
    twice: Any = Twice.from_url(servers.redis_url())
    async with twice as client:
        inbox = RedisInbox(client)
        await keep(inbox, SeenState.NOT_PAID)

        async def from_here_on() -> None:
            client.doubling = True

        await keep(inbox, state, KEY, from_here_on, failures=3)
        client.doubling = False
        record = await inbox.look(KEY)
        assert record is not None
        assert (record.state, record.failures) == (state, 3)
        new = OrderKey(MCH_ID, "new")
        with pytest.raises(ZeroDivisionError):
            await fail(inbox, new, from_here_on)
        client.doubling = False
        assert await inbox.look(new) is None
        assert await is_free(inbox, new)


async def test_a_claim_that_was_lost_is_not_taken_for_one_that_was_recorded(client: Any) -> None:
    """M-16: somebody else has tried, or a person has decided, since it was taken."""
    inbox, lease = RedisInbox(client), f"chaoying:lease:{name_of(KEY)}"

    async def marked() -> None:
        assert await inbox.mark(KEY, Mark.RETRY)

    async def claimed() -> None:
        await client.delete(lease)
        assert await inbox._claim(KEY, an_entry())

    for during in (marked, claimed):
        await keep(inbox, SeenState.QUARANTINED)
        with pytest.raises(ClaimLostError):
            await keep(inbox, DONE, KEY, during)
        await client.delete(lease)
        record = await inbox.look(KEY)
        assert record is not None
        assert record.state is not DONE


def test_a_password_is_not_shown() -> None:
    """M-27: neither the inbox nor what it raises about its server."""
    inbox = RedisInbox(Redis.from_url("redis://shop:hunter2@127.0.0.1:1/0"))
    assert "hunter2" not in repr(inbox)
    with pytest.raises(RedisError) as caught:
        asyncio.run(inbox.look(KEY))
    assert "hunter2" not in f"{caught.value!s}{caught.value!r}"
