"""SqlInbox under every isolation, in races of its methods, and where a commit's answer is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.inbox_values import (
    Claim,
    ClaimLostError,
    Mark,
    OrderKey,
    Record,
)
from tests.inbox.test_sql_cancelled import an_aside, an_entry
from tests.servers import Servers
from tests.sql_shop import DATABASES, KEY, SqlShop, metadata, sql_shop, take_effect

LEVELS = [
    *(
        (kind, level)
        for kind in ("psycopg", "asyncpg", "mariadb")
        for level in (None, "REPEATABLE READ", "SERIALIZABLE")
    ),
    ("sqlite", None),
]
#: MariaDB from 11.6 on has it from the start.
SNAPSHOTS = {"connect_args": {"init_command": "SET SESSION innodb_snapshot_isolation=ON"}}


def _options(level: str | None) -> dict[str, Any]:
    return {} if level is None else {"isolation_level": level}


# ---------------------------------------------------------------------- renewed while it works


async def _renewed_meanwhile(shop: SqlShop) -> None:
    claim = await shop.claimed()
    async with shop.inbox.work(claim) as connection:
        await take_effect(connection)
        for _ in range(2):
            async with asyncio.timeout(5):
                assert await shop.inbox.renew(claim, lease=30.0)
    assert (await shop.effects(), await shop.state()) == (1, "DONE")
    assert not await shop.inbox.renew(claim, lease=30.0)


@pytest.mark.parametrize(("kind", "level"), [one for one in LEVELS if one[0] != "sqlite"])
async def test_slow_work_is_renewed_and_done_under_any_isolation(
    servers: Servers, kind: str, level: str | None
) -> None:
    """M-16: a renewal neither waits for the work nor makes its commit fail."""
    async with sql_shop(kind, servers, **_options(level)) as shop:
        await _renewed_meanwhile(shop)


@pytest.mark.parametrize("level", [None, "SERIALIZABLE"])
async def test_slow_work_is_done_on_newer_mariadbs(servers: Servers, level: str | None) -> None:
    """M-16: innodb_snapshot_isolation refuses to change what another transaction changed."""
    async with sql_shop("mariadb", servers, **SNAPSHOTS, **_options(level)) as shop:
        await _renewed_meanwhile(shop)


@pytest.mark.parametrize(("kind", "level"), [one for one in LEVELS if one[0] != "sqlite"])
async def test_whoever_comes_when_the_lease_has_ended_never_works_beside(
    servers: Servers, kind: str, level: str | None
) -> None:
    """M-16: one effect, whether the late one is kept out by the token or by the row."""
    async with sql_shop(kind, servers, **_options(level)) as shop:
        late = await shop.claimed()
        taken: list[Claim | Record] = []

        async def take_over() -> None:
            taken.append(await shop.inbox.claim(KEY, an_entry(), lease=30.0))

        lost = False
        try:
            async with shop.inbox.work(late) as connection:
                await take_effect(connection)
                async with shop.engine.begin() as other:
                    with suppress(DBAPIError):
                        await _end_lease(shop, other)
                taking = asyncio.create_task(take_over())
                await asyncio.wait([taking], timeout=0.3)
        except (ClaimLostError, DBAPIError):
            lost = True
        await taking
        (got,) = taken
        assert isinstance(got, Claim) == lost
        assert await shop.effects() == int(not lost)
        assert await shop.state() == ("HELD" if lost else "DONE")


async def _end_lease(shop: SqlShop, connection: Any) -> None:
    """As time would, which changes no row: only where the row can be changed now."""
    if shop.kind == "mariadb":
        await connection.execute(text("SET innodb_lock_wait_timeout = 1"))
    else:
        await connection.execute(text("SET LOCAL lock_timeout = '100ms'"))
    await connection.execute(text("UPDATE chaoying_orders SET held_until = 0"))


# ------------------------------------------------------------------------------------ races


@pytest.mark.parametrize(("kind", "level"), LEVELS)
async def test_of_many_claims_at_once_one_succeeds(
    servers: Servers, kind: str, level: str | None
) -> None:
    """M-16: a new order and a released one; nobody is told an error."""
    async with sql_shop(kind, servers, **_options(level)) as shop:
        for _ in range(3):
            tries = (shop.inbox.claim(KEY, an_entry(), lease=30.0) for _ in range(8))
            got = [one for one in await asyncio.gather(*tries) if isinstance(one, Claim)]
            assert len(got) == 1
            await shop.inbox.release(got[0], retry_in=0, failed=False)


@pytest.mark.parametrize(("kind", "level"), LEVELS)
async def test_everything_at_once_ends_in_one_effect_each(
    servers: Servers, kind: str, level: str | None
) -> None:
    """M-16: claims, failures, releases, quarantines, marks and pruning of the same few orders."""
    async with sql_shop(kind, servers, **_options(level)) as shop:
        keys = [OrderKey(KEY.mch_id, f"N{n}") for n in range(6)]
        old = datetime.now(UTC) - timedelta(days=90)
        over = asyncio.Event()

        async def work(claim: Claim) -> None:
            try:
                async with shop.inbox.work(claim) as connection:
                    await take_effect(connection, claim.key.out_trade_no)
            except (DBAPIError, ClaimLostError):  # as SERIALIZABLE has it, on_paid is run again
                await shop.inbox.release(claim, retry_in=0, failed=True)

        async def pay(key: OrderKey, turn: int) -> None:
            while await shop.state(key) != "DONE":
                await shop.inbox.not_paid(key, an_entry(first_seen=old))
                claim = await shop.inbox.claim(key, an_entry(), lease=30.0)
                if not isinstance(claim, Claim):
                    await shop.inbox.mark(key, Mark.RETRY)
                elif turn > 0:
                    turn -= 1
                    if turn % 2:
                        await shop.inbox.quarantine(claim, "why")
                    else:
                        await shop.inbox.release(claim, retry_in=0, failed=True)
                else:
                    await work(claim)

        async def prune() -> None:
            while not over.is_set():
                await shop.inbox.prune(datetime.now(UTC) - timedelta(days=40), keys=True)
                await shop.inbox.unfinished(10)
                await shop.inbox.listing(10)

        pruning = asyncio.create_task(prune())
        async with asyncio.timeout(50):
            await asyncio.gather(*(pay(key, turn) for key in keys for turn in range(3)))
        over.set()
        await pruning
        assert [await shop.effects(key.out_trade_no) for key in keys] == [1] * len(keys)


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


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


class Cutting:
    """Between a client and its server; cuts a connection at the first COMMIT once it is armed."""

    def __init__(self, port: int, *, delivered: bool) -> None:
        self._port, self._delivered = port, delivered
        self.armed = self.cut = False
        self._serving: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[int]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]
            server.close()
            await asyncio.wait(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(_this_task())
        back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        down = asyncio.create_task(self._down(back, writer))
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.armed and b"COMMIT" in data:
                    await self._cut(data, back, forth, down)
                    break
                forth.write(data)
        down.cancel()
        await asyncio.wait([down])
        for end in (writer, forth):
            end.close()
            with suppress(OSError):
                await end.wait_closed()

    async def _down(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await back.read(65536):
                writer.write(data)
            writer.close()

    async def _cut(
        self,
        data: bytes,
        back: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
        down: asyncio.Task[None],
    ) -> None:
        self.armed, self.cut = False, True
        down.cancel()
        await asyncio.wait([down])
        if self._delivered:
            forth.write(data)
            await back.read(1)  # the server has done it


def _through(shop: SqlShop, inbox: SqlInbox) -> SqlShop:
    return attrs.evolve(shop, inbox=inbox)


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
            claim = await shop.claimed()

            async def cut_off(connection: Any) -> None:
                await take_effect(connection)
                proxy.armed = True

            with pytest.raises(DBAPIError):
                await _through(shop, inbox).paid(cut_off, claim)
            assert proxy.cut
            assert await inbox.release(claim, retry_in=0, failed=True) == (not delivered)
            again = await inbox.claim(KEY, an_entry(), lease=30.0)
            assert isinstance(again, Record) == delivered
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
        assert (await shop.effects(), await shop.state()) == (0, "HELD")
        await engine.dispose()
