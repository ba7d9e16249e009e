"""An ``on_paid`` that ends the transaction it was lent: a person has to look, once and for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.notifications.due import CUT_SHORT
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision, SetAside
from chaoying_async.sansio.notifications.inbox_values import Mark, SeenState
from tests.inbox.benches import AGEING
from tests.servers import Servers
from tests.shop import FAIL, SUCCESS
from tests.sizes import cases
from tests.sql.shops import delivery, expected, handler_of, key_of
from tests.sql_shop import DATABASES, Effect, SqlShop, effects, sql_shop, take_effect

NUMBER = "E1"
Act = Callable[[Any], Awaitable[Any]]


async def expected_inside(mch_id: str, out_trade_no: str, connection: Any) -> ExpectedOrder:
    await connection.execute(select(effects))
    return await expected(mch_id, out_trade_no)


LOOKUPS = {"asked before": expected, "asked inside": expected_inside}


@attrs.define
class Till:
    """A shop whose ``on_paid`` takes effect and then does something to its connection."""

    shop: SqlShop
    act: Act
    lookup: Any = expected
    begun: int = 0
    told: list[SetAside] = attrs.field(factory=list)
    acted: asyncio.Event = attrs.field(factory=asyncio.Event)
    go_on: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def on_paid(self, _order: Any, connection: Any) -> None:
        self.begun += 1
        await take_effect(connection, NUMBER)
        await self.act(connection)
        self.acted.set()
        await self.go_on.wait()

    def handler(self, **options: Any) -> Any:
        knobs = {"expected": self.lookup, "on_conflict": self.told.append}
        return handler_of(self.shop, self.on_paid, **knobs | options)

    def reasons(self) -> list[tuple[Decision, str]]:
        return [(one.decision, one.reason) for one in self.told]


@asynccontextmanager
async def till_at(
    kind: str, servers: Servers, act: Act, lookup: Any = expected, *, waits: bool = False
) -> AsyncGenerator[Till]:
    async with sql_shop(kind, servers) as shop:
        till = Till(shop, act, lookup)
        if not waits:
            till.go_on.set()
        yield till


# ------------------------------------------------------------------------ it ended its transaction


async def _sync_commit(connection: Any) -> None:
    await connection.run_sync(lambda sync: sync.commit())


async def _sync_rollback(connection: Any) -> None:
    await connection.run_sync(lambda sync: sync.rollback())


async def _of_the_transaction(connection: Any) -> None:
    await connection.get_transaction().commit()


async def _commit(connection: Any) -> None:
    await connection.execute(text("COMMIT"))


async def _rollback(connection: Any) -> None:
    await connection.execute(text("ROLLBACK"))


async def _commit_and_begin(connection: Any) -> None:
    await connection.execute(text("COMMIT"))
    await connection.execute(text("BEGIN"))
    await take_effect(connection, "rolled back")


async def _driver_commit(connection: Any) -> None:
    raw = await connection.get_raw_connection()
    await connection.run_sync(lambda _: raw.commit())


async def _driver_rollback(connection: Any) -> None:
    raw = await connection.get_raw_connection()
    await connection.run_sync(lambda _: raw.rollback())


async def _close(connection: Any) -> None:
    await connection.run_sync(lambda sync: sync.close())


async def _ddl(connection: Any) -> None:
    await connection.execute(text("CREATE TABLE surprise (n INTEGER)"))


async def _ddl_and_on(connection: Any) -> None:
    await connection.execute(text("TRUNCATE TABLE singles"))
    await take_effect(connection, "rolled back")


ENDING: dict[str, Act] = {
    "commit of the synchronous connection": _sync_commit,
    "rollback of the synchronous connection": _sync_rollback,
    "commit of the transaction": _of_the_transaction,
    "COMMIT": _commit,
    "ROLLBACK": _rollback,
    "COMMIT and BEGIN": _commit_and_begin,
    "commit of the driver": _driver_commit,
    "rollback of the driver": _driver_rollback,
    "close": _close,
}
ENDED = [
    *((kind, name) for kind in DATABASES for name in ENDING),
    ("mariadb", "CREATE TABLE"),
    ("mariadb", "TRUNCATE TABLE"),
]
#: All of them in both ways are the full run's.
_SAMPLE = [
    ((kind, name), lookup)
    for kind, name in ENDED
    for lookup in LOOKUPS
    if name == "COMMIT" or (lookup == "asked before" and kind in ("asyncpg", "mariadb"))
]
_ALL = [(ended, lookup) for ended in ENDED for lookup in LOOKUPS]
_ACTS = ENDING | {"CREATE TABLE": _ddl, "TRUNCATE TABLE": _ddl_and_on}


@pytest.mark.parametrize(
    ("ended", "lookup"), cases(_SAMPLE, more=[one for one in _ALL if one not in _SAMPLE])
)
async def test_an_order_whose_transaction_was_ended_is_quarantined_and_never_run_again(
    servers: Servers, ended: tuple[str, str], lookup: str
) -> None:
    """M-16: nobody knows whether it took effect; a person is told of it once, and decides."""
    kind, name = ended
    async with till_at(kind, servers, _ACTS[name], LOOKUPS[lookup]) as till:
        handler, shop = till.handler(), till.shop
        answer = await handler.handle(delivery(NUMBER))
        assert answer.body == FAIL
        record = await shop.inbox.look(key_of(NUMBER))
        assert record is not None
        assert (record.state, record.lease) == (SeenState.QUARANTINED, 0.0)
        reason = "on_paid ended the transaction that it was lent"
        assert record.reason == reason
        for _ in range(2):
            assert (await handler.handle(delivery(NUMBER))).body == FAIL
            await handler.run_due()
        assert till.begun == 1
        assert till.reasons()[0] == (Decision.CONFLICT, reason)
        assert [one for one in till.reasons() if one[1] == reason] == till.reasons()[:1]
        assert await shop.effects(NUMBER) <= 1
        assert not await shop.effects("rolled back")
        await shop.inbox.mark(key_of(NUMBER), Mark.DISMISS)  # a person has found the effect
        assert (await handler.handle(delivery(NUMBER))).body == SUCCESS
        assert till.begun == 1


@pytest.mark.parametrize(
    ("kind", "act"),
    [
        ("sqlite", _commit),
        ("psycopg", _commit),
        ("asyncpg", _commit),
        ("mariadb", _commit),
        ("mariadb", _ddl),
    ],
)
async def test_while_it_goes_on_with_its_transaction_ended_nobody_else_begins(
    servers: Servers, kind: str, act: Act
) -> None:
    """M-16: what it committed is the order's row with a lease: IN_PROGRESS for everybody else."""
    async with till_at(kind, servers, act, waits=True) as till:
        running = asyncio.create_task(till.handler().handle(delivery(NUMBER)))
        await till.acted.wait()
        other = create_async_engine(till.shop.url)
        elsewhere = handler_of(
            attrs.evolve(till.shop, inbox=SqlInbox(other)), till.on_paid, budget=0.3
        )
        answer = await elsewhere.handle(delivery(NUMBER))
        assert (answer.decision, answer.body) == (Decision.IN_PROGRESS, FAIL)
        record = await till.shop.inbox.look(key_of(NUMBER))
        assert record is not None
        assert (record.state, record.lease > 50) == (SeenState.HELD, True)
        assert not await till.shop.inbox.unfinished(10)
        till.go_on.set()
        await running
        assert await till.shop.state(key_of(NUMBER)) == "QUARANTINED"
        assert till.begun == 1
        await other.dispose()


# ---------------------------------------------------------------------------- what is no misuse


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize("kind", ["sqlite", "psycopg", "asyncpg"])
async def test_a_table_made_in_a_transaction_is_no_misuse(
    servers: Servers, kind: str, lookup: str
) -> None:
    """M-16: SQLite and PostgreSQL make tables inside of transactions."""
    async with till_at(kind, servers, _ddl, LOOKUPS[lookup]) as till:
        answer = await till.handler().handle(delivery(NUMBER))
        assert (answer.decision, answer.body) == (Decision.APPLY, SUCCESS)
        assert await till.shop.effects(NUMBER) == 1


async def _session_commits(connection: Any) -> None:
    async with AsyncSession(bind=connection) as session:
        session.add(Effect(number="by session"))
        await session.commit()
        session.add(Effect(number="by session"))
        await session.commit()


async def _session_rolls_back(connection: Any) -> None:
    async with AsyncSession(bind=connection) as session:
        session.add(Effect(number="undone"))
        await session.flush()
        await session.rollback()


async def _nested_raises(connection: Any) -> None:
    with suppress(ZeroDivisionError):
        async with connection.begin_nested():
            await take_effect(connection, "undone")
            raise ZeroDivisionError


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize(
    ("act", "by_session"), [(_session_commits, 2), (_session_rolls_back, 0), (_nested_raises, 0)]
)
@pytest.mark.parametrize("kind", DATABASES)
async def test_sessions_and_savepoints_end_nothing(
    servers: Servers, kind: str, act: Act, by_session: int, lookup: str
) -> None:
    """M-16: a session's commit and rollback end at a savepoint of its own."""
    async with till_at(kind, servers, act, LOOKUPS[lookup]) as till:
        answer = await till.handler().handle(delivery(NUMBER))
        assert (answer.decision, answer.body) == (Decision.APPLY, SUCCESS)
        found = [await till.shop.effects(one) for one in (NUMBER, "by session", "undone")]
        assert found == [1, by_session, 0]


async def _left_open(connection: Any) -> None:
    await connection.begin_nested()
    await take_effect(connection, "in doubt")


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize("kind", DATABASES)
async def test_a_savepoint_left_open_is_a_failure_that_is_tried_again(
    servers: Servers, kind: str, lookup: str
) -> None:
    """M-16: nobody knows whether its part is meant, but all of it can be rolled back."""
    async with till_at(kind, servers, _left_open, LOOKUPS[lookup]) as till:
        for failures in (1, 2):
            answer = await till.handler().handle(delivery(NUMBER))
            assert (answer.decision, answer.body) == (Decision.APPLY, FAIL)
            record = await till.shop.inbox.look(key_of(NUMBER))
            assert record is not None
            assert (record.state, record.failures) == (SeenState.HELD, failures)
        assert await till.shop.effects() == 0
        till.act = _nested_raises
        assert (await till.handler().handle(delivery(NUMBER))).body == SUCCESS
        assert await till.shop.effects() == 1


# ---------------------------------------------------------------- expected ends the transaction

_WAYS = sorted(ENDING, key=["rollback of the driver", "COMMIT"].__contains__, reverse=True)


@pytest.mark.parametrize("name", cases(_WAYS[:2], more=_WAYS[2:]))
@pytest.mark.parametrize("kind", DATABASES)
async def test_a_lookup_that_ends_the_transaction_lets_nothing_take_effect(
    servers: Servers, kind: str, name: str
) -> None:
    """M-16: ``on_paid`` is not begun on a connection whose transaction has ended."""

    async def ending(_mch_id: str, _out_trade_no: str, connection: Any) -> ExpectedOrder:
        await ENDING[name](connection)
        return await expected("", "")

    async with till_at(kind, servers, _nested_raises, ending) as till:
        assert (await till.handler().handle(delivery(NUMBER))).body == FAIL
        assert till.begun == 0
        assert await till.shop.effects() == 0


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_row_that_a_lookup_committed_before_anything_was_done_is_told_of_once(
    servers: Servers, kind: str
) -> None:
    """M-16, M-17: it has no message to run again, so run_due gives it to a person and is done."""

    async def ending(_mch_id: str, _out_trade_no: str, connection: Any) -> None:
        await _commit(connection)

    async with till_at(kind, servers, _nested_raises, ending) as till:
        assert (await till.handler().handle(delivery(NUMBER))).decision == Decision.UNKNOWN_ORDER
        orders, _asides = AGEING
        async with till.shop.engine.begin() as connection:  # the row has a lease of a minute
            await connection.execute(orders, {"span": 61_000_000})
        assert await till.handler().run_due() == 1
        assert await till.shop.state(key_of(NUMBER)) == "QUARANTINED"
        assert await till.handler().run_due() == 0
        assert till.reasons() == [
            (Decision.UNKNOWN_ORDER, "the shop knows no such order"),
            (Decision.CONFLICT, CUT_SHORT),
        ]
        assert till.begun == 0
