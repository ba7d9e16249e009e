"""What is recorded of an ``on_paid`` or a COMMIT that failed, and over what it is never written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import Entry, OrderKey, SeenState
from tests.cutting import Cutting
from tests.servers import Servers
from tests.shop import FAIL, SUCCESS
from tests.sql.shops import delivery, handler_of, key_of, on_paid
from tests.sql_shop import DATABASES, SqlShop, sql_shop, take_effect

NUMBER = "F1"
KEY = key_of(NUMBER)


async def failing(order: Any, connection: Any) -> None:
    await on_paid(order, connection)
    raise RuntimeError("no stock")


def _whose_commit_fails(shop: SqlShop) -> Any:
    """An ``on_paid`` that returns; the COMMIT after it raises (a hook of SQLAlchemy)."""
    dialect: Any = shop.engine.dialect
    commit, armed = dialect.do_commit, list[bool]()

    def do_commit(connection: Any) -> None:
        if armed:
            armed.clear()
            raise RuntimeError("the line went dead")
        commit(connection)

    async def effect(order: Any, connection: Any) -> None:
        await on_paid(order, connection)
        armed.append(True)

    dialect.do_commit = do_commit
    return effect


FAILURES: dict[str, Callable[[SqlShop], Any]] = {
    "on_paid": lambda _shop: failing,
    "COMMIT": _whose_commit_fails,
}


async def _due_in(shop: SqlShop) -> float:
    """Seconds until the order's next try, by its row."""
    async with shop.engine.connect() as connection:
        due = (await connection.execute(text("SELECT due FROM chaoying_orders"))).scalar_one()
    return float(due / 1_000_000 - datetime.now(UTC).timestamp())


async def _time_passes(shop: SqlShop) -> None:
    async with shop.engine.begin() as connection:
        await connection.execute(text("UPDATE chaoying_orders SET due = 0"))


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("kind", DATABASES)
async def test_a_failure_is_recorded_with_its_next_try(
    servers: Servers, kind: str, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-16: after 30 s, doubling; reported once; run_due needs nothing but the record."""
    async with sql_shop(kind, servers) as shop:
        effect = FAILURES[failure](shop)
        handler = handler_of(shop, effect)
        for failures, pause in ((1, 30), (2, 60), (3, 120)):
            answer = await handler.handle(delivery(NUMBER))
            assert (answer.decision, answer.body) == (Decision.APPLY, FAIL)
            record = await shop.inbox.look(KEY)
            assert record is not None
            assert (record.state, record.failures) == (SeenState.HELD, failures)
            assert pause - 10 < await _due_in(shop) <= pause
            assert not await shop.inbox.unfinished(10)
        assert await shop.effects() == 0
        said = [one for one in caplog.records if one.levelname == "ERROR"]
        assert len(said) == 1
        await _time_passes(shop)
        assert await handler_of(shop).run_due() == 1
        assert (await shop.effects(), await shop.state(KEY)) == (1, "DONE")


# ---------------------------------------------------------------------------- over what it never is


class Between:
    """An inbox where something happens between the failure and the record of it."""

    def __init__(self, inbox: SqlInbox, act: Callable[[], Awaitable[Any]]) -> None:
        self._inbox, self._act, self._locks = inbox, act, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inbox, name)

    @asynccontextmanager
    async def lock(self, key: OrderKey, entry: Entry) -> AsyncGenerator[Any]:
        self._locks += 1
        if self._locks == 2:
            await self._act()
        async with self._inbox.lock(key, entry) as order:
            yield order


async def _done(shop: SqlShop) -> None:
    assert (await handler_of(shop).handle(delivery(NUMBER))).body == SUCCESS


async def _failed(shop: SqlShop) -> None:
    assert (await handler_of(shop, failing).handle(delivery(NUMBER))).body == FAIL


async def _quarantined(shop: SqlShop) -> None:
    await shop.record(SeenState.QUARANTINED, KEY, reason="a person has to look")


MEANWHILE = {
    "done": (_done, "DONE", 0, 1),
    "failed": (_failed, "HELD", 1, 0),
    "quarantined": (_quarantined, "QUARANTINED", 0, 0),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("kind", DATABASES)
async def test_a_failure_is_never_written_over_what_somebody_did_since(
    servers: Servers, kind: str, failure: str, meanwhile: str
) -> None:
    """M-16: neither over DONE nor QUARANTINED, nor over a try that is newer."""
    act, state, failures, effects = MEANWHILE[meanwhile]
    async with sql_shop(kind, servers) as shop:
        effect = FAILURES[failure](shop)
        inbox: Any = Between(shop.inbox, lambda: act(shop))
        answer = await handler_of(attrs.evolve(shop, inbox=inbox), effect).handle(delivery(NUMBER))
        assert answer.body == FAIL
        record = await shop.inbox.look(KEY)
        assert record is not None
        assert (record.state, record.failures) == (state, failures)
        assert await shop.effects() == effects


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("kind", DATABASES)
async def test_a_failure_is_not_written_while_somebody_is_at_work(
    servers: Servers, kind: str, failure: str
) -> None:
    """M-16: whoever has the lock has the order; on SQLite the failure waits, and is too late."""
    async with sql_shop(kind, servers) as shop:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow(order: Any, connection: Any) -> None:
            await on_paid(order, connection)
            begun.set()
            await go_on.wait()

        working: list[asyncio.Task[Any]] = []

        async def act() -> None:
            handling = handler_of(shop, slow).handle(delivery(NUMBER))
            working.append(asyncio.create_task(handling))
            await begun.wait()
            asyncio.get_running_loop().call_later(0.3, go_on.set)

        inbox: Any = Between(shop.inbox, act)
        handler = handler_of(attrs.evolve(shop, inbox=inbox), FAILURES[failure](shop))
        assert (await handler.handle(delivery(NUMBER))).body == FAIL
        assert (await working[0]).body == SUCCESS
        record = await shop.inbox.look(KEY)
        assert record is not None
        assert (record.state, record.failures) == (SeenState.DONE, 0)
        assert await shop.effects() == 1


# --------------------------------------------------------------------- a COMMIT nobody heard of


@pytest.mark.parametrize("delivered", [True, False])
@pytest.mark.parametrize("kind", ["psycopg", "asyncpg", "mariadb"])
async def test_a_commit_whose_outcome_is_unknown_is_found_out_under_the_lock(
    servers: Servers, kind: str, delivered: bool
) -> None:
    """M-16: `fail`, then either a duplicate or a second try; the effect is there once."""
    async with sql_shop(kind, servers) as shop:
        url = make_url(shop.url)
        assert url.port is not None
        proxy = Cutting(url.port, delivered=delivered)
        async with proxy.listening() as port:
            engine = create_async_engine(url.set(port=port))

            async def effect(order: Any, connection: Any) -> None:
                await take_effect(connection, order.out_trade_no)
                proxy.armed = True

            handler = handler_of(attrs.evolve(shop, inbox=SqlInbox(engine)), effect)
            assert (await handler.handle(delivery(NUMBER))).body == FAIL
            assert proxy.cut
            record = await shop.inbox.look(KEY)
            assert record is not None
            found = (SeenState.DONE, 0) if delivered else (SeenState.HELD, 1)
            assert (record.state, record.failures) == found
            assert await shop.effects() == int(delivered)
            again = await handler_of(shop).handle(delivery(NUMBER))
            assert again.body == SUCCESS
            assert again.decision == (Decision.DUPLICATE if delivered else Decision.APPLY)
            assert (await shop.effects(), await shop.state(KEY)) == (1, "DONE")
            await engine.dispose()
