"""SqlInbox under every isolation, in races of its methods, and where a commit's answer is lost."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import attrs
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.inbox_values import (
    LookAgainError,
    Mark,
    OrderKey,
    SeenState,
)
from tests.cutting import Cutting
from tests.inbox.test_sql_cancelled import an_aside
from tests.servers import Servers
from tests.sql_shop import (
    DATABASES,
    KEY,
    OnPaid,
    SqlShop,
    an_entry,
    metadata,
    sql_shop,
    take_effect,
)

LEVELS = [
    *(
        (kind, level)
        for kind in ("psycopg", "asyncpg", "mariadb")
        for level in (None, "REPEATABLE READ", "SERIALIZABLE")
    ),
    ("sqlite", None),
]
ON_SERVERS = [one for one in LEVELS if one[0] != "sqlite"]
#: MariaDB from 11.6 on has it from the start.
SNAPSHOTS = {"connect_args": {"init_command": "SET SESSION innodb_snapshot_isolation=ON"}}


def _options(level: str | None) -> dict[str, Any]:
    return {} if level is None else {"isolation_level": level}


# --------------------------------------------------------------------- somebody else's order


async def _at_last(shop: SqlShop, on_paid: OnPaid, key: OrderKey) -> None:
    """As a handler does it: what was undone for somebody else's sake is tried again."""
    while True:
        with suppress(LookAgainError):
            return await shop.paid(on_paid, key)


async def _others_meanwhile(shop: SqlShop) -> None:
    """While an order is worked on, it is nobody else's, and other orders are done beside it."""
    others = {"b": OrderKey(KEY.mch_id, "B"), "c": OrderKey("0", "A")}

    async def on_paid(connection: Any) -> None:
        await take_effect(connection)
        async with asyncio.timeout(40):  # whoever waited for A would do so for ever
            assert not await shop.is_free()
            while others:
                number, key = others.popitem()
                await _at_last(shop, partial(take_effect, number=number), key)

    await _at_last(shop, on_paid, KEY)
    assert await shop.is_free()
    assert (await shop.effects(), await shop.state()) == (3, "DONE")


@pytest.mark.parametrize(("kind", "level"), ON_SERVERS)
async def test_an_order_stops_nobody_but_those_who_want_it(
    servers: Servers, kind: str, level: str | None
) -> None:
    """M-16: a new order's lock, and that of one that failed before; neighbours are not stopped."""
    async with sql_shop(kind, servers, **_options(level)) as shop:
        await _others_meanwhile(shop)
    async with sql_shop(kind, servers, **_options(level)) as shop:
        await shop.record(SeenState.HELD, failures=1)
        await _others_meanwhile(shop)


@pytest.mark.parametrize("level", [None, "SERIALIZABLE"])
async def test_an_order_stops_nobody_on_newer_mariadbs(servers: Servers, level: str | None) -> None:
    """M-16: innodb_snapshot_isolation refuses to change what another transaction changed."""
    async with sql_shop("mariadb", servers, **SNAPSHOTS, **_options(level)) as shop:
        await _others_meanwhile(shop)


async def _looked(shop: SqlShop, key: OrderKey = KEY) -> SeenState | None:
    """How the order stands as one reads it under its lock, tried until the lock is free."""
    for _ in range(100):
        with suppress(LookAgainError):
            async with shop.inbox.lock(key, an_entry()) as order:
                if order is not None:
                    return None if order.before is None else order.before.state
        await asyncio.sleep(0.01)
    raise AssertionError("it is never free")


@pytest.mark.parametrize("before", [None, SeenState.HELD, SeenState.NOT_PAID])
@pytest.mark.parametrize(("kind", "level"), LEVELS)
async def test_whoever_looks_while_an_order_is_done_never_reads_what_it_was(
    servers: Servers, kind: str, level: str | None, before: SeenState | None
) -> None:
    """M-16: a row that appears, or changes, between the first look at it and its lock."""
    async with sql_shop(kind, servers, **_options(level)) as shop:
        for n in range(10):
            key = OrderKey(KEY.mch_id, f"{n}")
            if before is not None:
                await shop.record(before, key)
            done = asyncio.create_task(shop.paid(take_effect, key))
            for _ in range(n):
                await asyncio.sleep(0)
            seen = {await _looked(shop, key)}
            with suppress(LookAgainError, AssertionError):  # the one who looks had the lock
                await done
                assert await _looked(shop, key) is SeenState.DONE
            assert seen <= {before, SeenState.DONE}


# ------------------------------------------------------------------------------------ races


OLD = datetime.now(UTC) - timedelta(days=90)


async def _one_turn(order: Any, turn: int) -> str:
    """One holder of an order: it fails, is quarantined, or takes effect in the last turn."""
    before = order.before
    if before is not None and before.state in (SeenState.DONE, SeenState.QUARANTINED):
        return str(before.state)
    if turn > 0:
        how = SeenState.QUARANTINED if turn % 2 else SeenState.NOT_PAID
        await order.save(how, an_entry(first_seen=OLD), failures=turn)
        return "turned"
    async with order.lend() as connection:
        await take_effect(connection)
    await order.save(SeenState.DONE, an_entry())
    return "worked"


async def _until_done(shop: SqlShop, key: OrderKey, turn: int) -> int:
    """Come back until the order is done; how often it was worked on to the end."""
    worked, was = 0, ""
    while was != "DONE":
        was = "taken"
        with suppress(LookAgainError):
            async with shop.inbox.lock(key, an_entry(first_seen=OLD)) as order:
                ended = "taken" if order is None else await _one_turn(order, turn)
            was = ended
        worked += was == "worked"
        turn -= was in ("turned", "QUARANTINED")
        if was in ("taken", "QUARANTINED"):
            await shop.inbox.mark(key, Mark.RETRY)
    return worked


@pytest.mark.parametrize(("kind", "level"), LEVELS)
async def test_everything_at_once_ends_in_one_effect_each(
    servers: Servers, kind: str, level: str | None
) -> None:
    """M-16: work, failures, quarantines, marks and pruning of the same few orders."""
    async with sql_shop(kind, servers, **_options(level)) as shop:
        over = asyncio.Event()

        async def prune() -> None:
            while not over.is_set():
                await shop.inbox.prune(datetime.now(UTC) - timedelta(days=40), keys=True)
                await shop.inbox.unfinished(10)
                await shop.inbox.listing(10)

        pruning = asyncio.create_task(prune())
        keys = [OrderKey(KEY.mch_id, f"N{n}") for n in range(6)]
        async with asyncio.timeout(50):
            worked = await asyncio.gather(
                *(_until_done(shop, key, turn) for key in keys for turn in range(3))
            )
        over.set()
        await pruning
        assert sum(worked) == len(keys) == await shop.effects()


@pytest.mark.parametrize(("kind", "level"), LEVELS)
async def test_a_message_closed_while_it_comes_again_stays_closed(
    servers: Servers, kind: str, level: str | None
) -> None:
    """M-15: set_aside, postpone, mark and close of one message at the same moment."""
    async with sql_shop(kind, servers, **_options(level)) as shop:
        for n in range(5):
            aside = an_aside(OrderKey(KEY.mch_id, str(n)))
            await shop.inbox.set_aside(aside, retry_in=0)
            await asyncio.gather(
                shop.inbox.set_aside(aside, retry_in=0),
                shop.inbox.close(aside),
                shop.inbox.postpone(aside, retry_in=0),
                shop.inbox.mark(aside.key, Mark.APPLY, aside.fingerprint),
                shop.inbox.set_aside(aside, retry_in=None),
            )
        assert not await shop.inbox.listing(10)
        assert not await shop.inbox.unfinished(10)


# ------------------------------------------------------------------- the commit's answer lost


@pytest.mark.parametrize("kind", ["psycopg", "asyncpg", "mariadb"])
@pytest.mark.parametrize("delivered", [True, False])
async def test_a_commit_whose_answer_is_lost_counts_once(
    servers: Servers, kind: str, delivered: bool
) -> None:
    """M-16: it raises; what follows finds out which it was, and nothing takes effect twice."""
    async with sql_shop(kind, servers) as shop:
        url = make_url(shop.url)
        assert url.port is not None
        proxy = Cutting(url.port, delivered=delivered)
        async with proxy.listening() as port:
            engine = create_async_engine(url.set(port=port))
            inbox = SqlInbox(engine)

            async def cut_off(connection: Any) -> None:
                await take_effect(connection)
                proxy.armed = True

            with pytest.raises(DBAPIError):
                await attrs.evolve(shop, inbox=inbox).paid(cut_off)
            assert proxy.cut
            assert await _looked(shop) is (SeenState.DONE if delivered else None)
            assert await shop.effects() == int(delivered)
            await engine.dispose()


# ------------------------------------------------------------------- engines that do not begin


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("sqlite", {"isolation_level": None}),
        ("psycopg", {"autocommit": True}),
        ("mariadb", {"autocommit": True}),
    ],
)
async def test_a_driver_that_commits_by_itself_is_noticed(
    servers: Servers, kind: str, arguments: dict[str, Any]
) -> None:
    """M-16: refused, or made to begin: the effect and its record are one or are not."""
    with ExitStack() as stack:
        url = DATABASES[kind](servers, stack)
        engine = create_async_engine(url, connect_args=arguments)
        inbox = SqlInbox(engine)
        await inbox.create_tables()
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        shop = SqlShop(kind, url, engine, inbox)

        async def failing(connection: Any) -> None:
            await take_effect(connection)
            raise ZeroDivisionError

        with pytest.raises((UsageError, DBAPIError, ZeroDivisionError)):
            await shop.paid(failing)
        assert await shop.effects() == 0
        assert await shop.state() != "DONE"
        await engine.dispose()
