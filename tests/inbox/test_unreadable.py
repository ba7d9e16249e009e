"""Records that cannot be read: of a newer version, damaged, or changed by hand (M-17)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.inbox.redis import RedisInbox
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.inbox_values import Aside, OrderKey
from chaoying_async.sansio.notifications.unreadable import UnreadableRecordError
from tests.factories import MCH_ID, ORDER
from tests.servers import Servers
from tests.shop import FAIL, SUCCESS, Shop, failing, queried

#: Damages the message of the order of that number, in the way of that number.
Damage = Callable[[str, int], Awaitable[Any]]
BEGIN = datetime(2026, 11, 29, tzinfo=UTC)


def message(number: int) -> Aside:
    """One that is due; the higher its number, the younger."""
    return Aside(
        key=OrderKey(MCH_ID, f"A{number}"),
        fingerprint=f"{number:064x}",
        decision="UNKNOWN_ORDER",
        reason="",
        payload="{}",
        first_seen=BEGIN + timedelta(seconds=number),
    )


@pytest_asyncio.fixture(params=["sql", "redis"])
async def kept(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Path
) -> AsyncGenerator[tuple[SqlInbox | RedisInbox, Damage]]:
    if request.param == "sql":
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'inbox.db'}")
        inbox = SqlInbox(engine)
        await inbox.create_tables()
        ways = (
            text("UPDATE chaoying_asides SET mark = 'apply' WHERE out_trade_no = :number"),
            text("UPDATE chaoying_asides SET first_seen = 1 << 62 WHERE out_trade_no = :number"),
            text("UPDATE chaoying_asides SET decision = x'00' WHERE out_trade_no = :number"),
        )

        async def change(number: str, way: int) -> None:
            async with engine.begin() as connection:
                await connection.execute(ways[way], {"number": number})

        yield inbox, change
        await engine.dispose()
        return
    async with Redis.from_url(servers.redis_url()) as client:

        async def write(number: str, way: int) -> None:
            (name,) = await client.keys(f'chaoying:aside:*"{number}"*')
            if way == 0:
                await client.hset(name, "mark", "apply")
            elif way == 1:
                await client.hset(name, "reason", b"\xff")
            else:
                await client.set(name, "somebody else's")

        yield RedisInbox(client), write


async def test_what_cannot_be_read_hides_nothing_else(
    kept: tuple[SqlInbox | RedisInbox, Damage], caplog: pytest.LogCaptureFixture
) -> None:
    """However many stand before it; each is told of once, and stays where it is."""
    inbox, damage = kept
    for number in range(5):
        assert await inbox.set_aside(message(number), retry_in=0)
    for way, number in enumerate((0, 1, 3)):
        await damage(f"A{number}", way)
    for look in (inbox.unfinished, inbox.listing):
        for limit in (1, 2, 5):
            found = [item.key.out_trade_no for item in await look(limit)]
            # SQLite has the second one last: its moment was changed.
            assert found == ["A2", "A4"][:limit]
    told = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert sorted(told) == [
        f"the inbox's record of order {number!r} of merchant {MCH_ID!r} cannot be read by this"
        " version: it stays there"
        for number in ("A0", "A1", "A3")
    ]
    for number in (0, 1, 3):
        this = message(number)
        for look_up in (inbox.asides(this.key), inbox.aside(this.key, this.fingerprint)):
            with pytest.raises(UnreadableRecordError, match=f"A{number}") as raised:
                await look_up
            assert raised.value.__context__ is None


async def test_a_name_that_somebody_else_wrote_hides_nothing(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis has no columns: a set may hold anything, and pruning meets it too."""
    async with Redis.from_url(servers.redis_url()) as client:
        inbox = RedisInbox(client)
        await inbox.set_aside(message(0), retry_in=0)
        for name in ("due", "open", "ended"):
            await client.zadd(f"chaoying:{name}", {"nonsense": 0})
        assert len(await inbox.unfinished(1)) == len(await inbox.listing(1)) == 1
        assert await inbox.prune(BEGIN) == 0
        assert caplog.text.count("cannot be read") == 1


def assert_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line at ERROR names the order, and has no traceback."""
    (told,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert told.getMessage() == (
        f"the inbox's record of order {ORDER!r} of merchant {MCH_ID!r} cannot be read by this"
        " version: it stays there"
    )
    assert told.exc_info is None


async def test_an_order_that_cannot_be_read_is_one_line_however_often_it_is_delivered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The gateway delivers it eleven times: no traceback each time, and other orders go on."""
    shop = Shop()
    shop.orders["B100011"] = shop.orders[ORDER]
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'inbox.db'}")
    inbox = SqlInbox(engine)
    await inbox.create_tables()
    handler = shop.handler(inbox)
    assert (await handler.handle(shop.body())).body == SUCCESS
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE chaoying_orders SET state = 'done'"))
    caplog.clear()
    for _ in range(3):
        assert (await handler.handle(shop.body())).body == FAIL
        await handler.run_due()
    assert_told_once(caplog)
    assert handler.stats().troubled == 3
    assert (await handler.handle(shop.body(out_trade_no="B100011"))).body == SUCCESS
    await engine.dispose()


@pytest.mark.parametrize("way", ["set aside", "other number"])
async def test_a_kept_message_that_cannot_be_read_is_one_line_for_another_payment(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever of it is damaged: its record's message, or the first word of the other way."""
    shop = Shop()
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'inbox.db'}")
    inbox = SqlInbox(engine)
    await inbox.create_tables()
    handler = shop.handler(inbox)
    if way == "set aside":
        shop.before = failing(1)
        await handler.handle(shop.body())
    else:
        await handler.settle(queried())
        await handler.handle(shop.body(transaction_id="T2", out_transaction_id="O2"))
    async with engine.begin() as connection:
        for table in ("orders", "asides"):
            await connection.execute(text(f"UPDATE chaoying_{table} SET payload = '[1]'"))  # noqa: S608
    caplog.clear()
    another = shop.body(transaction_id="T3", out_transaction_id="O3")
    for _ in range(2):
        assert (await handler.handle(another)).body == FAIL
    assert_told_once(caplog)
    await engine.dispose()
