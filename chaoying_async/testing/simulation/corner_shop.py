"""The shop of the simulated world: its tables, and the functions that it gives the handler.

It is written as the README says: what it does for a paid order it does on the connection it is
lent, and nowhere else.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.notifications.deciding import Lookup
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.notifications.case import ExpectedOrder, NoAmountCheck
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.testing.simulation.process import Process, SimulatedClock
from chaoying_async.testing.simulation.timeline import Happening, Timeline
from chaoying_async.testing.simulation.weather import Weather

_TABLES = """
CREATE TABLE shop_orders (
    number TEXT PRIMARY KEY, mch_id TEXT NOT NULL, total_fee INTEGER NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL
);
CREATE TABLE shop_effects (
    id INTEGER PRIMARY KEY, number TEXT NOT NULL, how TEXT NOT NULL, payable INTEGER
);
CREATE TABLE shop_returns (
    refund_no TEXT PRIMARY KEY, number TEXT NOT NULL, amount INTEGER NOT NULL,
    paytype TEXT NOT NULL, state TEXT NOT NULL
);
"""


@attrs.frozen
class Return:
    """A refund that the shop intends."""

    refund_no: str
    """Its number, written down before anything is sent."""
    number: str
    """The order that it gives back."""
    amount: int
    """How much, in fen."""
    paytype: PayType
    """The wallet."""
    total_fee: int
    """The order's amount in fen."""


class ShopFailedError(Exception):
    """The shop's own function failed, as such functions do."""


class CornerShop:
    """The shop as one process runs it."""

    def __init__(
        self,
        engine: AsyncEngine,
        process: Process,
        *,
        clock: SimulatedClock,
        timeline: Timeline,
        rng: random.Random,
        weather: Weather,
        is_calm: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._process = process
        self._clock = clock
        self._timeline = timeline
        self._rng = rng
        self._weather = weather
        self._is_calm = is_calm

    async def on_paid(self, order: PaidOrder, connection: AsyncConnection) -> None:
        """Deliver a paid order."""
        await self._effect("paid", order, connection)

    async def on_paid_after_close(self, order: PaidOrder, connection: AsyncConnection) -> None:
        """Note that an order was paid which the shop had closed."""
        await self._effect("late", order, connection)

    async def _effect(self, how: str, order: PaidOrder, connection: AsyncConnection) -> None:
        number = order.out_trade_no
        self._note(f"{how} {number} begins")
        await connection.execute(
            text("INSERT INTO shop_effects (number, how, payable) VALUES (:number, :how, :fee)"),
            {"number": number, "how": how, "fee": order.payable},
        )
        await self._hand_over(how, order, connection)
        await connection.execute(
            text("UPDATE shop_orders SET state = :how WHERE number = :number"),
            {"number": number, "how": how},
        )
        self._note(f"{how} {number} returns")

    async def _hand_over(
        self,
        how: str,
        order: PaidOrder,
        connection: AsyncConnection,  # noqa: ARG002 - a user's shop needs it
    ) -> None:
        await self._take_time()
        if not self._is_calm() and self._rng.random() < self._weather.raises:
            self._note(f"{how} {order.out_trade_no} raises")
            raise ShopFailedError("no stock, no printer, no luck")

    async def _take_time(self) -> None:
        if self._weather.slow and not self._is_calm():
            await self._clock.sleep(self._rng.random() * self._weather.slow)

    @property
    def lookup(self) -> Lookup | NoAmountCheck:
        """What says how much an order should cost."""
        return self.expected

    async def expected(self, mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
        """What the order should cost; None for what is no order of ours."""
        sql = "SELECT total_fee, state FROM shop_orders WHERE number = :number AND mch_id = :mch"
        async with self._engine.connect() as connection:
            rows = await connection.execute(text(sql), {"number": out_trade_no, "mch": mch_id})
            row = rows.first()
        if row is None:
            return None
        return ExpectedOrder(row.total_fee, mch_id, closed=row.state == "closed")

    async def write_order(
        self,
        number: str,
        mch_id: str,
        total_fee: int,
        kind: str,
        hand_over: Callable[[AsyncConnection], Awaitable[None]] | None = None,
    ) -> None:
        """Write an order down before anything is sent for it, and hand it over with that."""
        sql = "INSERT INTO shop_orders VALUES (:number, :mch, :fee, :kind, 'open')"
        values = {"number": number, "mch": mch_id, "fee": total_fee, "kind": kind}
        async with self._engine.begin() as connection:
            await connection.execute(text(sql), values)
            await self._write_down(number, total_fee, connection)
            if hand_over is not None:
                await hand_over(connection)

    async def _write_down(self, number: str, total_fee: int, connection: AsyncConnection) -> None:
        """Nothing more: a user's shop has an order of its own."""

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction of the shop's own."""
        return self._engine.begin()

    async def close_order(self, number: str) -> None:
        """Close an order that is still open."""
        await self._write(
            "UPDATE shop_orders SET state = 'closed' WHERE number = :number AND state = 'open'",
            number=number,
        )

    async def open_orders(self) -> list[tuple[str, int]]:
        """Numbers and amounts of the orders by code that nothing is known of yet."""
        rows = await self._read(
            "SELECT number, total_fee FROM shop_orders WHERE kind = 'code' AND state = 'open'"
            " ORDER BY number"
        )
        return [(row.number, row.total_fee) for row in rows]

    async def write_return(self, wanted: Return) -> None:
        """Write a refund down before it is sent."""
        await self._write(
            "INSERT OR IGNORE INTO shop_returns VALUES (:no, :number, :amount, :paytype, 'open')",
            no=wanted.refund_no,
            number=wanted.number,
            amount=wanted.amount,
            paytype=wanted.paytype,
        )

    async def end_return(self, refund_no: str, state: str) -> None:
        """Write down how a refund ended."""
        await self._write(
            "UPDATE shop_returns SET state = :state WHERE refund_no = :no",
            no=refund_no,
            state=state,
        )

    async def open_returns(self) -> list[Return]:
        """Refunds whose end is not known yet."""
        rows = await self._read(
            "SELECT r.refund_no, r.number, r.amount, r.paytype, o.total_fee FROM shop_returns r"
            " JOIN shop_orders o ON o.number = r.number WHERE r.state = 'open' ORDER BY 1"
        )
        return [
            Return(row.refund_no, row.number, row.amount, PayType(row.paytype), row.total_fee)
            for row in rows
        ]

    async def _write(self, sql: str, **values: Any) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(text(sql), values)

    async def _read(self, sql: str) -> list[Any]:
        async with self._engine.connect() as connection:
            return list((await connection.execute(text(sql))).all())

    def _note(self, what: str) -> None:
        self._timeline.note(Happening.EFFECT, what, self._process.name)


def create_tables(path: str) -> None:
    """Make the shop's tables in a file."""
    connection = sqlite3.connect(path)
    connection.executescript(_TABLES)
    connection.close()
