"""A user's shop in the simulated world: what is wrong with it is found, and told as a story."""

from __future__ import annotations

import asyncio
import re
from ast import literal_eval
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async import (
    NO_AMOUNT_CHECK,
    NotificationHandler,
    PaidOrder,
    ParameterError,
    UsageError,
)
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.testing.simulation import (
    ClosedBooks,
    ShopProcess,
    SimulationFailedError,
    outside,
    simulate,
)
from tests.sizes import FULL

METADATA = MetaData()
PARCELS = Table(
    "parcels", METADATA, Column("id", Integer, primary_key=True), Column("number", Text)
)
DELIVERED = "SELECT number FROM parcels"


async def pack(order: PaidOrder, connection: AsyncConnection) -> None:
    await connection.execute(insert(PARCELS).values(number=order.out_trade_no))


async def pack_and_mail(order: PaidOrder, connection: AsyncConnection) -> None:
    await pack(order, connection)
    outside("mail", order.out_trade_no)


def one_mail(books: ClosedBooks) -> Iterator[str]:
    for number, times in books.done("mail").items():
        if times > 1:
            yield f"{number} was sent {times} mails"


def test_a_sound_shop_is_left_alone() -> None:
    """Its own rows are what is counted, and the books that it sees agree with them."""
    seen: list[ClosedBooks] = []

    def look(books: ClosedBooks) -> None:
        assert books.delivered.keys() <= books.paid
        assert sorted(books.delivered.elements()) == sorted(row[0] for row in books.rows(DELIVERED))
        seen.append(books)

    done = simulate(on_paid=pack, tables=METADATA, delivered=DELIVERED, check=look, seeds=3)
    assert done.seeds == 3
    assert any(books.delivered for books in seen)


@pytest.mark.usefixtures("impatient")
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_mail_in_on_paid_is_found_and_its_story_told() -> None:
    """With the seed that tells it again, and without a line about anybody else."""
    options: Any = {
        "on_paid": pack_and_mail,
        "tables": METADATA,
        "delivered": DELIVERED,
        "check": one_mail,
        "shrink": False,  # which has a test of its own
        "first": 1 if FULL else 244,  # the first that finds it, or one near by
    }
    with pytest.raises(SimulationFailedError, match="was sent 2 mails") as caught:
        simulate(**options)
    story, told = caught.value.story, str(caught.value)
    assert f"first={story.seed}, seeds=1" in told
    assert told.count("outside   mail") == 2
    with pytest.raises(SimulationFailedError) as again:
        simulate(**options | {"first": story.seed, "seeds": 1})
    assert str(again.value) == told


@pytest.mark.usefixtures("impatient")
@pytest.mark.slow
def test_a_handler_of_ones_own_is_held_against_the_gateways_books() -> None:
    """The one here writes everything down twice."""

    @asynccontextmanager
    async def lifespan(process: ShopProcess) -> AsyncGenerator[NotificationHandler]:
        async def twice(order: PaidOrder, connection: AsyncConnection) -> None:
            await pack(order, connection)
            await pack(order, connection)

        inbox = SqlInbox(process.engine, clock=process.clock)
        async with NotificationHandler(
            process.credentials, inbox, twice, expected=NO_AMOUNT_CHECK, clock=process.clock
        ) as handler:
            yield handler

    with pytest.raises(SimulationFailedError, match=r"M-16: .* took effect 2 times"):
        simulate(app=lifespan, tables=METADATA, delivered=DELIVERED, seeds=20, shrink=False)


@pytest.mark.usefixtures("impatient")
@pytest.mark.slow
def test_another_file_outlives_its_process_and_can_be_checked() -> None:
    """Every process opens it by the same name."""

    @asynccontextmanager
    async def lifespan(process: ShopProcess) -> AsyncGenerator[None]:
        engine = process.open_file("starts.db")
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE IF NOT EXISTS starts (name TEXT)"))
            await connection.execute(text("INSERT INTO starts VALUES (:n)"), {"n": process.name})
        yield

    def look(books: ClosedBooks) -> Iterator[str]:
        found = [row[0] for row in books.rows("SELECT name FROM starts", file="starts.db")]
        if "shop1" in found:
            yield "it was started"

    with pytest.raises(SimulationFailedError, match="it was started"):
        simulate(on_paid=pack, app=lifespan, tables=METADATA, check=look, seeds=1, shrink=False)


@pytest.mark.usefixtures("impatient")
@pytest.mark.slow
def test_a_check_that_fails_says_where() -> None:
    """An assertion or a slip in the check itself: the world comes to its end all the same."""

    def slips(books: ClosedBooks) -> None:
        books.rows("SELECT a FROM nowhere")

    with pytest.raises(
        SimulationFailedError, match=r"no such table: nowhere \(test_simulate.py:\d+"
    ):
        simulate(on_paid=pack, tables=METADATA, check=slips, seeds=1, shrink=False)


def test_what_cannot_be_simulated_is_said_at_once() -> None:
    """And not as a shop that loses everything."""
    with pytest.raises(ParameterError, match="on_paid"):
        simulate()
    with pytest.raises(ParameterError, match="delivered"):
        simulate(app=lambda _: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(ParameterError, match="seeds"):
        simulate(on_paid=pack, seeds=0)
    with pytest.raises(ParameterError, match=r"(?s)on_paid.*check"):
        simulate(on_paid=7, check="look")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="outside"):
        outside("mail", "1")


async def test_it_is_not_called_where_a_loop_runs() -> None:
    """Two loops in one thread would be nobody's to understand."""
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="event loop"):
        simulate(on_paid=pack)


@pytest.mark.usefixtures("impatient")
@pytest.mark.slow
def test_a_story_is_made_shorter_and_told_again() -> None:
    """What is not needed is taken away, the same rule breaks, and the names tell it again."""

    async def twice(order: PaidOrder, connection: AsyncConnection) -> None:
        await pack(order, connection)
        await pack(order, connection)

    options: Any = {"on_paid": twice, "tables": METADATA, "delivered": DELIVERED, "first": 2}
    with pytest.raises(SimulationFailedError, match="M-16") as shorter:
        simulate(**options)
    plainer = shorter.value.story.weather
    assert plainer.processes == 1
    assert len(plainer.wire) + len(plainer.mail) + len(plainer.disk) == 0
    found = re.search(r"without=(\[.*\])", str(shorter.value))
    assert found is not None
    taken = literal_eval(found[1])
    assert {"wire", "blows"} <= {*taken}
    options |= {"first": shorter.value.story.seed, "seeds": 1, "without": taken}
    with pytest.raises(SimulationFailedError) as again:
        simulate(**options)
    assert str(again.value) == str(shorter.value)


def test_what_is_not_in_a_world_cannot_be_taken_away() -> None:
    """The names that are there are said."""
    with pytest.raises(ValueError, match=r"called rain: .*sales"):
        simulate(on_paid=pack, first=2, seeds=1, without=["rain"])
