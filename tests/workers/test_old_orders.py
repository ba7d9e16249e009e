"""Records of business orders: forgotten when they are old, and never while anybody needs them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from sqlalchemy import event, insert, select, text, update
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import CheckoutStatus, ParameterError
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.payments.intent import CHECKOUT, ORDER, OrderRecord, key_of
from chaoying_async.workers import Fleet, old_orders, worker
from chaoying_async.workers.old_orders import KEEP, OldOrders
from chaoying_async.workers.outcomes import OUTCOME, outcome_item
from chaoying_async.workers.senders_store import SendersStore
from chaoying_async.workers.tables import FRESH, KEPT, fleet_tables
from tests.factories import MCH_ID
from tests.hanging import KINDS
from tests.servers import Servers
from tests.workers.fleets import DATABASES, FleetWorld, until
from tests.workers.test_fleet_clocks import Wrong

ROWS = fleet_tables("chaoying_").rows
NOW = datetime.now(UTC)
OLD, YOUNG = NOW - KEEP - timedelta(days=1), NOW - KEEP + timedelta(days=1)
SETTLED = ("PAID", "PAID_EARLIER", "FAILED", "CANCELLED")
OPEN = (None, "UNKNOWN", "PAID_AFTER_CANCEL")


@attrs.frozen
class Books:
    """The rows of a fleet that nobody serves."""

    fleet: Fleet

    async def add(self, kind: str, item: str, body: str, *, shard: int, made: datetime) -> None:
        values = {"kind": kind, "item": item, "body": body, "shard": shard, "slot": 0, "then": ""}
        moment = round(made.timestamp() * 1_000_000)
        async with self.fleet._engine.begin() as connection:
            await connection.execute(insert(ROWS).values(**values, created=moment, due=0, tries=0))

    async def order(
        self, name: str, status: str | None, *, made: datetime = OLD, last: datetime | None = None
    ) -> None:
        """An order whose first attempt was ``made`` then, and whose last was begun at ``last``."""
        record = OrderRecord(
            out_trade_no=f"{name}01",
            attempt=1,
            started=last or made,
            status=None if status is None else CheckoutStatus(status),
        )
        await self.add(ORDER, key_of(MCH_ID, name), record.text(), shard=KEPT, made=made)

    async def left(self) -> list[str]:
        """The numbers of the orders that are there still."""
        question = select(ROWS.c.item).where(ROWS.c.kind == ORDER).order_by(ROWS.c.seq)
        async with self.fleet._engine.connect() as connection:
            items = (await connection.execute(question)).scalars()
            return [item.split('"')[3] for item in items]

    async def prune(self, **options: Any) -> int:
        return await OldOrders(self.fleet._database, SystemClock(), KEEP).prune(**options)


@pytest.fixture(params=DATABASES)
async def books(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Path
) -> AsyncGenerator[Books]:
    world = FleetWorld(DATABASES[request.param](servers, tmp_path))
    async with world.open(1):
        pass  # the tables are made
    async with world.fleet().handing_over() as fleet:
        yield Books(fleet)


async def test_what_is_old_and_ended_is_forgotten_and_nothing_else(books: Books) -> None:
    """A person looks into what was not decided; what is young may be refunded still."""
    for status in SETTLED:
        await books.order(f"OLD{status}", status)
        await books.order(f"AGAIN{status}", status, last=YOUNG)
    for undecided in OPEN:
        await books.order(f"OPEN{undecided}", undecided)
    await books.add(ORDER, key_of(MCH_ID, "UNREADABLE"), "{}", shard=KEPT, made=OLD)
    await books.order("YOUNG", "PAID", made=YOUNG)
    await books.order("BEHIND", "PAID")  # its transaction was committed after a younger one's
    before = await books.left()
    assert await books.prune() == 5
    assert await books.left() == [each for each in before if not each.startswith(("OLD", "BEH"))]
    assert await books.prune() == 0


async def test_what_is_under_way_or_not_delivered_stays(books: Books) -> None:
    """Whatever its record says: the shop does not know yet that the order is paid."""
    for name in ("UNDERWAY", "UNTOLD", "TOLD"):
        await books.order(name, "PAID")
    attempts = {name: key_of(MCH_ID, f"{name}01") for name in ("UNDERWAY", "UNTOLD")}
    await books.add(CHECKOUT, attempts["UNDERWAY"], "", shard=FRESH, made=OLD)
    untold = outcome_item(77, attempts["UNTOLD"])
    await books.add(OUTCOME, untold, "{}", shard=3, made=OLD)
    assert await books.prune() == 1
    assert await books.left() == ["UNDERWAY", "UNTOLD"]


async def test_where_very_much_is_not_delivered_everything_stays(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To tell them apart would cost more each time, while a person has other troubles."""
    monkeypatch.setattr(old_orders, "_MOST_UNDELIVERED", 2)
    await books.order("A", "PAID")
    for number in range(3):
        await books.add(OUTCOME, f"{number} x", "{}", shard=1, made=OLD)
    assert await books.prune() == 0
    assert await books.left() == ["A"]


async def test_many_are_forgotten_a_page_at_a_time(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on behind what stays, and ends where the process has the shard no more."""
    monkeypatch.setattr(old_orders, "PAGE", 3)
    monkeypatch.setattr(old_orders, "_PAUSE", 0.0)
    names = [f"{'STAYS' if number % 4 == 0 else 'GOES'}{number}" for number in range(12)]
    for name in names:
        await books.order(name, "UNKNOWN" if name.startswith("STAYS") else "PAID")
    commits: list[bool] = []
    engine = books.fleet._engine.sync_engine
    event.listen(engine, "commit", lambda _: commits.append(True))
    answers = iter([True, True, False])
    assert await books.prune(goes_on=lambda: next(answers)) == 4
    assert len(commits) == 2
    assert await books.prune() == 5
    assert await books.left() == [name for name in names if name.startswith("STAYS")]


async def test_an_order_that_is_charged_again_meanwhile_stays(books: Books) -> None:
    """Its text is another one since it was read."""
    await books.order("A", "FAILED")
    database = books.fleet._database
    write_rows = database.write_rows

    async def charged_first(statement: Any, rows: Any = None) -> None:
        record = OrderRecord(out_trade_no="A02", attempt=2, started=NOW)
        async with books.fleet._engine.begin() as connection:
            await connection.execute(update(ROWS).values(body=record.text()))
        await write_rows(statement, rows)

    database.write_rows = charged_first  # type: ignore[method-assign]
    await books.prune()
    assert await books.left() == ["A"]


@pytest.mark.parametrize("kind", ["psycopg", "asyncpg"])
async def test_an_order_whose_old_record_goes_at_this_moment_is_written_down_again(
    servers: Servers, kind: str
) -> None:
    """PostgreSQL does not lock a row that an INSERT finds: else two tills would charge at once."""
    world = FleetWorld(DATABASES[kind](servers, Path()))
    async with world.open(1):
        pass
    async with world.fleet().handing_over() as fleet:
        books = Books(fleet)
        await books.order("A", "PAID")
        other = create_async_engine(world.url)
        store = SendersStore(fleet._database, CHECKOUT, "P1")
        rows = store._rows
        gone: list[bool] = []

        async def forgotten_first(statement: Any, kind: str, key: str) -> Any:
            if not gone:
                gone.append(True)
                async with other.begin() as connection:
                    await connection.execute(text("DELETE FROM chaoying_fleet"))
            return await rows(statement, kind, key)

        store._rows = forgotten_first  # type: ignore[method-assign]
        key = key_of(MCH_ID, "A")
        await store.together(lambda: store.lock_order(key, 0))
        await other.dispose()
        assert gone
        assert await books.left() == ["A"]


@pytest.mark.parametrize("kind", KINDS)
async def test_ages_are_by_the_databases_clock(servers: Servers, kind: str) -> None:
    """A machine whose clock is years ahead forgets nothing that is young (M-26)."""
    world = FleetWorld(DATABASES[kind](servers, Path()))
    async with world.open(1):
        pass
    async with world.fleet(clock=Wrong(24 * 900)).handing_over() as fleet:
        books = Books(fleet)
        await books.order("YOUNG", "PAID", made=YOUNG)
        await OldOrders(fleet._database, Wrong(24 * 900), KEEP).prune()
        assert await books.left() == ["YOUNG"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_database_whose_clock_leapt_ahead_forgets_nothing(
    servers: Servers, kind: str
) -> None:
    """Paid five minutes ago, 500 days by its clock: a charge tried again would pay twice."""
    world = FleetWorld(DATABASES[kind](servers, Path()))
    async with world.open(1):
        pass
    behind = Wrong(-24 * 500)  # as the database sees this process
    lately = behind.now() - timedelta(minutes=5)
    async with world.fleet(clock=behind).handing_over() as fleet:
        books = Books(fleet)
        await books.order("LATELY", "PAID", made=lately)
        await books.order("OLD", "PAID", made=lately - KEEP)
        await books.order("AGAIN", "PAID", made=lately - KEEP, last=lately)
        await OldOrders(fleet._database, fleet._clock.own, KEEP).prune()
        assert await books.left() == ["LATELY", "AGAIN"]


async def test_a_fleet_that_serves_does_it_by_itself(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner of one shard: the others have enough to do."""
    monkeypatch.setattr(worker, "_FIRST_PRUNING", 0.2)
    monkeypatch.setattr(worker, "_PRUNING", 0.2)
    await books.order("OLD", "PAID")
    world = FleetWorld(books.fleet._engine.url.render_as_string(hide_password=False))
    async with world.open(1, keep_orders=None) as (fleet,):
        await until(lambda: len(fleet.stats().shards) == 4)
        await SystemClock().sleep(0.5)
    assert await books.left() == ["OLD"]
    async with world.open(2):
        end = SystemClock().monotonic() + 20
        while await books.left():
            assert SystemClock().monotonic() < end
            await SystemClock().sleep(0.1)


async def test_an_index_finds_them_among_much_else(books: Books) -> None:
    """A million orders that are waited for cost nothing here."""
    engine = books.fleet._engine
    fresh = {"kind": "poll", "body": "", "slot": 0, "then": "", "created": 0, "due": 0, "tries": 0}
    async with engine.begin() as connection:
        waited_for = [{**fresh, "shard": n % 8, "item": f"W{n}"} for n in range(2000)]
        kept = [{**fresh, "kind": ORDER, "shard": KEPT, "item": f"K{n}"} for n in range(300)]
        await connection.execute(insert(ROWS), waited_for + kept)
    await books.order("A", "PAID")
    asked: list[tuple[str, Any]] = []

    def asking(_connection: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        asked.append((statement, values))

    event.listen(engine.sync_engine, "before_cursor_execute", asking)
    await books.prune()
    event.remove(engine.sync_engine, "before_cursor_execute", asking)
    statement, values = next(each for each in asked if "ORDER BY" in each[0])
    on_sqlite = engine.dialect.name == "sqlite"
    async with engine.connect() as connection:
        if not on_sqlite:
            table = "TABLE " if engine.dialect.name == "mysql" else ""
            await connection.exec_driver_sql(f"ANALYZE {table}chaoying_fleet")
        explain = "EXPLAIN QUERY PLAN" if on_sqlite else "EXPLAIN"
        found = (await connection.exec_driver_sql(f"{explain} {statement}", values)).all()
    assert "chaoying_fleet_shard" in str(found), found


@pytest.mark.parametrize("keep", [timedelta(days=30), 400, timedelta(0), "400"])
def test_a_time_within_which_wallets_take_refunds_is_refused(keep: Any, tmp_path: Path) -> None:
    """And so is what is no time: it would mean days to one and seconds to another."""
    world = FleetWorld(f"sqlite:///{tmp_path}/fleet.db")
    with pytest.raises(ParameterError, match="keep_orders: must be a timedelta of 366 days"):
        world.fleet(keep_orders=keep)
