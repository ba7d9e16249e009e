"""The shop's own tables, and what is done to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import uuid4

import attrs
from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    and_,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async import ExpectedOrder, PaidOrder, PayType

LIFETIME = timedelta(minutes=15)

metadata = MetaData()
orders = Table(
    "orders",
    metadata,
    Column("out_trade_no", String(32), primary_key=True),
    Column("mch_id", String(32), nullable=False),
    Column("item", Text, nullable=False),
    Column("total_fee", Integer, nullable=False),  # fen
    Column("wallet", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("expires", BigInteger, nullable=False),  # seconds since 1970
    Column("code_url", Text),
    Column("transaction_id", Text),
)
#: One row for every time that goods were handed out. Nothing here keeps a second row out: that
#: there is none is the inbox's doing.
shipments = Table(
    "shipments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("out_trade_no", String(32), nullable=False),
    Column("item", Text, nullable=False),
)


class Status(StrEnum):
    """How far an order has come."""

    OPEN = "OPEN"
    PAID = "PAID"
    #: The gateway did not take it. Should it be paid all the same, a person has to look.
    REFUSED = "REFUSED"
    #: Not paid when its code expired. Should it be paid all the same, it is shipped.
    LAPSED = "LAPSED"


@attrs.frozen(kw_only=True)
class Order:
    """A row of ``orders``."""

    out_trade_no: str
    mch_id: str
    item: str
    total_fee: int
    wallet: PayType
    status: Status
    expires: datetime
    code_url: str | None = None


class OrderBook:
    """The orders of one merchant; every method but ``ship`` is a transaction of its own."""

    def __init__(self, engine: AsyncEngine, mch_id: str) -> None:
        self._engine = engine
        self._mch_id = mch_id

    async def create_tables(self) -> None:
        """For the example; a real shop has migrations."""
        async with self._engine.begin() as connection:
            await connection.run_sync(metadata.create_all)

    async def add(self, item: str, total_fee: int, wallet: PayType) -> Order:
        """A new order, durable before the gateway hears of it, so that no notification is early."""
        order = Order(
            out_trade_no=uuid4().hex,
            mch_id=self._mch_id,
            item=item,
            total_fee=total_fee,
            wallet=wallet,
            status=Status.OPEN,
            expires=(datetime.now(UTC) + LIFETIME).replace(microsecond=0),
        )
        row = attrs.asdict(order) | {"expires": int(order.expires.timestamp())}
        async with self._engine.begin() as connection:
            await connection.execute(insert(orders).values(row))
        return order

    async def find(self, out_trade_no: str, mch_id: str | None = None) -> Order | None:
        """One order of this merchant, or of the one that is named; None: not ours."""
        query = select(orders).where(
            orders.c.out_trade_no == out_trade_no, orders.c.mch_id == (mch_id or self._mch_id)
        )
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else _order(row)

    async def expected(self, mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
        """What the handler asks: the amount as *we* know it, of that very merchant's order."""
        order = await self.find(out_trade_no, mch_id)
        if order is None:
            return None
        closed = order.status is Status.REFUSED
        return ExpectedOrder(order.total_fee, order.mch_id, closed=closed)

    async def ship(self, paid: PaidOrder, connection: AsyncConnection) -> None:
        """``on_paid``: in the transaction that records the notification, so both or neither.

        Everything has to go through ``connection``. What cannot (a mail, another service) belongs
        into a table that is written here and worked off elsewhere.

        The order may have been refused or repriced since ``expected`` was asked. So the update says
        what it expects; raising takes everything back, and the handler judges anew.
        """
        this = and_(orders.c.out_trade_no == paid.out_trade_no, orders.c.mch_id == paid.mch_id)
        as_expected = and_(
            orders.c.status.in_((Status.OPEN, Status.LAPSED)),
            orders.c.total_fee == paid.payable,
        )
        changes = {"status": Status.PAID, "transaction_id": paid.transaction_id}
        change = update(orders).where(this, as_expected).values(changes)
        if (await connection.execute(change)).rowcount != 1:
            raise LookupError(paid.out_trade_no)
        item = (await connection.execute(select(orders.c.item).where(this))).scalar_one()
        shipment = {"out_trade_no": paid.out_trade_no, "item": item}
        await connection.execute(insert(shipments).values(shipment))

    async def offer(self, out_trade_no: str, code_url: str) -> None:
        """The gateway has taken the order: this is what its QR code says."""
        await self._change(out_trade_no, code_url=code_url)

    async def end(self, out_trade_no: str, status: Status) -> None:
        """The end of an order that is still open; one that was paid meanwhile stays paid."""
        await self._change(out_trade_no, status=status)

    async def open_orders(self) -> Sequence[Order]:
        """Whatever is not known to be paid or over, however old."""
        query = select(orders).where(orders.c.status == Status.OPEN)
        async with self._engine.connect() as connection:
            return [_order(row) for row in await connection.execute(query)]

    async def shipped(self, out_trade_no: str) -> int:
        """How often this order was shipped: 0 or 1, or there is a mistake."""
        query = select(shipments.c.id).where(shipments.c.out_trade_no == out_trade_no)
        async with self._engine.connect() as connection:
            return len((await connection.execute(query)).all())

    async def _change(self, out_trade_no: str, **values: str) -> None:
        query = update(orders).where(
            orders.c.out_trade_no == out_trade_no, orders.c.status == Status.OPEN
        )
        async with self._engine.begin() as connection:
            await connection.execute(query.values(values))


def _order(row: Row[tuple[object, ...]]) -> Order:
    found = row._asdict()  # public, in spite of its name
    del found["transaction_id"]
    found["expires"] = datetime.fromtimestamp(found["expires"], UTC)
    found["status"] = Status(found["status"])
    found["wallet"] = PayType(found["wallet"])
    return Order(**found)
