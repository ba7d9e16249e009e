"""Four shops in a world that tries to lose their money: three have a bug, and the world finds it.

    python simulated_shop.py            # a minute or two: three stories, and the fourth shop holds
    python simulated_shop.py mail_shop  # one of them

Each shop works on every day on which nothing goes wrong. In a test of yours it is one line, with
the fixture ``simulate`` (docs/simulation.md).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async import ExpectedOrder, NotificationHandler, PaidOrder
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.testing.simulation import (
    ClosedBooks,
    ShopProcess,
    SimulationFailedError,
    outside,
    simulate,
)

TABLES = """
CREATE TABLE orders (mch_id TEXT, number TEXT, total_fee INTEGER, PRIMARY KEY (mch_id, number));
CREATE TABLE parcels (id INTEGER PRIMARY KEY, number TEXT NOT NULL);
CREATE TABLE outbox (number TEXT PRIMARY KEY, sent INTEGER NOT NULL DEFAULT 0);
"""
PARCELS = "SELECT number FROM parcels"
MCH_ID = "00000001"  # the shop's own; the agent has other merchants, too


# ------------------------------------------------------------------------- what all of them share


async def place(number: str, total_fee: int, connection: AsyncConnection) -> None:
    """A customer orders something."""
    values = {"mch_id": MCH_ID, "number": number, "total_fee": total_fee}
    await connection.execute(
        text("INSERT INTO orders VALUES (:mch_id, :number, :total_fee)"), values
    )


async def expected(mch_id: str, number: str, connection: AsyncConnection) -> ExpectedOrder | None:
    """What an order should cost."""
    found = await connection.execute(
        text("SELECT total_fee FROM orders WHERE mch_id = :mch_id AND number = :number"),
        {"mch_id": mch_id, "number": number},
    )
    row = found.first()
    return None if row is None else ExpectedOrder(row.total_fee, mch_id)


async def pack(order: PaidOrder, connection: AsyncConnection) -> None:
    """A parcel for the customer, on the connection that the inbox lends: the right way."""
    await connection.execute(
        text("INSERT INTO parcels (number) VALUES (:number)"), {"number": order.out_trade_no}
    )


def send_mail(number: str, *, key: str = "") -> None:
    """The fake of the mail provider: it sends one mail for each key, however often it is asked."""
    outside("mail with a key" if key else "mail", number)


# --------------------------------------------------------------------------- 1: a mail in on_paid


async def pack_and_mail(order: PaidOrder, connection: AsyncConnection) -> None:
    """The bug: no rollback takes a mail back, and on_paid runs again when its COMMIT failed."""
    await pack(order, connection)
    send_mail(order.out_trade_no)


def one_mail(books: ClosedBooks) -> Iterator[str]:
    """What the customer sees."""
    for number, times in books.done("mail").items():
        if times > 1:
            yield f"the customer of {number} was sent {times} mails"


def mail_shop() -> None:
    """Sends the mail where it packs the parcel."""
    simulate(
        on_paid=pack_and_mail,
        expected=expected,
        on_order=place,
        tables=TABLES,
        delivered=PARCELS,
        check=one_mail,
    )


# ---------------------------------------------------------------------- 2: a commit of its own


@asynccontextmanager
async def with_warehouse(process: ShopProcess) -> AsyncGenerator[NotificationHandler]:
    """A lifespan with a second database, and a handler of its own."""
    warehouse = process.open_file("warehouse.db")
    async with warehouse.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS picked (number TEXT)"))

    async def pick_and_pack(order: PaidOrder, connection: AsyncConnection) -> None:
        """The bug: this COMMIT stays, whatever becomes of the one that it runs in."""
        async with warehouse.begin() as own:
            values = {"number": order.out_trade_no}
            await own.execute(text("INSERT INTO picked VALUES (:number)"), values)
        await pack(order, connection)

    inbox = SqlInbox(process.engine, clock=process.clock)
    async with NotificationHandler(
        process.credentials, inbox, pick_and_pack, expected=expected, clock=process.clock
    ) as handler:
        yield handler


def picked_once(books: ClosedBooks) -> None:
    """A check may assert, too."""
    sql = "SELECT number, count(*) FROM picked GROUP BY number HAVING count(*) > 1"
    for number, times in books.rows(sql, file="warehouse.db"):
        raise AssertionError(f"{number} was picked {times} times")


def warehouse_shop() -> None:
    """Tells its warehouse by a transaction of its own."""
    simulate(
        app=with_warehouse, on_order=place, tables=TABLES, delivered=PARCELS, check=picked_once
    )


# -------------------------------------------------------------------- 3: known by number alone


async def expected_of_number(
    mch_id: str, number: str, connection: AsyncConnection
) -> ExpectedOrder | None:
    """The bug: another merchant of the agent's has an order of this number, and was paid."""
    sql = text("SELECT total_fee FROM orders WHERE number = :number")
    row = (await connection.execute(sql, {"number": number})).first()
    return None if row is None else ExpectedOrder(row.total_fee, mch_id)


def number_shop() -> None:
    """Delivers what has the right number. No check is needed: this is a rule of money."""
    simulate(
        on_paid=pack,
        expected=expected_of_number,
        on_order=place,
        tables=TABLES,
        delivered=PARCELS,
    )


# ------------------------------------------------------------------------------ 4: as it should be


async def pack_and_note(order: PaidOrder, connection: AsyncConnection) -> None:
    """The parcel and the mail that is to be sent: committed together, or neither."""
    await pack(order, connection)
    values = {"number": order.out_trade_no}
    await connection.execute(text("INSERT INTO outbox (number) VALUES (:number)"), values)


async def send_noted(engine: AsyncEngine) -> None:
    """Send what is in the outbox; one that is asked for again has the same key."""
    async with engine.connect() as connection:
        sql = text("SELECT number FROM outbox WHERE sent = 0")
        numbers = (await connection.execute(sql)).scalars().all()
    for number in numbers:
        send_mail(number, key=number)
        async with engine.begin() as connection:
            mark = text("UPDATE outbox SET sent = 1 WHERE number = :number")
            await connection.execute(mark, {"number": number})


@asynccontextmanager
async def with_postman(process: ShopProcess) -> AsyncGenerator[None]:
    """A lifespan with a worker; the handler is the world's, with ``on_paid`` in it."""

    async def work() -> None:
        while True:
            await asyncio.sleep(5.0)  # takes no time in a simulated world
            with suppress(SQLAlchemyError):  # the disk is full, or somebody holds the lock
                await send_noted(process.engine)

    worker = asyncio.create_task(work())
    try:
        yield
    finally:
        worker.cancel()
        await asyncio.wait([worker])


def every_mail(books: ClosedBooks) -> Iterator[str]:
    """Nobody is forgotten, and nobody is written to twice."""
    yield from one_mail(books)
    for number in books.delivered.keys() - books.done("mail with a key").keys():
        yield f"the customer of {number} was sent no mail"


def sound_shop() -> None:
    """Writes down what is to be done outside, and does it after the COMMIT."""
    simulate(
        on_paid=pack_and_note,
        app=with_postman,
        expected=expected,
        on_order=place,
        tables=TABLES,
        delivered=PARCELS,
        check=every_mail,
        seeds=40,
    )


SHOPS = {shop.__name__: shop for shop in (mail_shop, warehouse_shop, number_shop, sound_shop)}


def main(names: list[str]) -> int:
    """Run the shops; 0 where the bugs were found, and the sound shop has none."""
    wrong = 0
    for name in names or list(SHOPS):
        try:
            SHOPS[name]()
        except SimulationFailedError as error:
            print(f"\n{name}: {error}")
            wrong += name == "sound_shop"
        else:
            print(f"\n{name}: no rule was broken")
            wrong += name != "sound_shop"
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
