"""``expected(mch_id, number, connection)`` is asked under the order's lock, in its transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from sqlalchemy import AsyncAdaptedQueuePool, text

from chaoying_async.notifications import NotificationHandler
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import OrderKey, SeenState
from tests.factories import MCH_ID
from tests.pollers import PENDING, Scripted, always
from tests.servers import Servers
from tests.shop import FAIL, PRICE, SUCCESS, Dead, queried, said
from tests.sql.shops import Hurried, delivery, handler_of, key_of
from tests.sql_shop import DATABASES, SqlShop, sql_shop, take_effect

D = Decision
_TABLE = """CREATE TABLE shop_orders (number VARCHAR(64) PRIMARY KEY, mch_id VARCHAR(64) NOT NULL,
    price INTEGER NOT NULL, closed INTEGER NOT NULL, paid INTEGER NOT NULL)"""
_NEW = "INSERT INTO shop_orders VALUES (:number, :mch_id, :price, :closed, 0)"
_FIND = "SELECT mch_id, price, closed FROM shop_orders WHERE number = :number"
_PAY = "UPDATE shop_orders SET paid = 1 WHERE number = :number AND paid = 0"
_CLOSE = "UPDATE shop_orders SET closed = 1 WHERE number = :number AND paid = 0"
_PAID = "SELECT count(*) FROM shop_orders WHERE paid = 1"


@attrs.define
class Books:
    """A shop that keeps its orders beside the inbox, and locks an order's row when it is asked."""

    shop: SqlShop
    asked: list[str] = attrs.field(factory=list)
    seen: asyncio.Event = attrs.field(factory=asyncio.Event)
    go_on: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def make(self) -> None:
        async with self.shop.engine.begin() as connection:
            await connection.execute(text(_TABLE))

    async def order(self, number: str, **fields: Any) -> None:
        row = {"number": number, "mch_id": MCH_ID, "price": PRICE, "closed": 0} | fields
        async with self.shop.engine.begin() as connection:
            await connection.execute(text(_NEW), row)

    async def expected(self, mch_id: str, number: str, connection: Any) -> ExpectedOrder | None:
        self.asked.append(mch_id)
        locking = "" if self.shop.kind == "sqlite" else " FOR UPDATE"
        found = await connection.execute(text(_FIND + locking), {"number": number})
        row = found.one_or_none()
        if row is None:
            return None
        also = (mch_id,) if row.mch_id != MCH_ID else ()
        return ExpectedOrder(row.price, row.mch_id, also=also, closed=bool(row.closed))

    async def on_paid(self, order: Any, connection: Any) -> None:
        self.seen.set()
        await self.go_on.wait()
        paid = await connection.execute(text(_PAY), {"number": order.out_trade_no})
        assert paid.rowcount == 1
        await take_effect(connection, order.out_trade_no)

    def handler(self, **options: Any) -> NotificationHandler:
        return handler_of(self.shop, self.on_paid, **{"expected": self.expected} | options)

    async def close(self, number: str) -> int:
        """How many orders the shop has closed that nobody had paid for."""
        async with self.shop.engine.begin() as connection:
            return int((await connection.execute(text(_CLOSE), {"number": number})).rowcount)

    async def paid(self) -> int:
        async with self.shop.engine.connect() as connection:
            return int((await connection.execute(text(_PAID))).scalar_one())


@asynccontextmanager
async def books_in(kind: str, servers: Servers, **options: Any) -> AsyncGenerator[Books]:
    async with sql_shop(kind, servers, **options) as shop:
        books = Books(shop)
        await books.make()
        books.go_on.set()
        yield books


def asking(**says: Any) -> Scripted:
    paid = {"base_fee": str(PRICE), "total_fee": str(PRICE), "time_end": "20260101080000"}
    clock: Any = Hurried()
    return Scripted(clock, always(paid | says))


# ---------------------------------------------------------------------------------- decisions


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_payment_and_its_repetitions(servers: Servers, kind: str) -> None:
    """M-15, M-16: APPLY once, then DUPLICATE; another payment of the order is a CONFLICT."""
    async with books_in(kind, servers) as books:
        handler = books.handler()
        await books.order("1")
        assert said(await handler.handle(delivery("1"))) == (D.APPLY, SUCCESS)
        assert said(await handler.handle(delivery("1"))) == (D.DUPLICATE, SUCCESS)
        second = delivery("1", transaction_id="T2", out_transaction_id="W2")
        assert said(await handler.handle(second)) == (D.CONFLICT, FAIL)
        paid = queried(out_trade_no="1", transaction_id="T1")
        assert await handler.settle(paid) is D.DUPLICATE
        assert (await books.paid(), await books.shop.effects()) == (1, 1)


@pytest.mark.parametrize("kind", DATABASES)
async def test_an_order_that_becomes_known(servers: Servers, kind: str) -> None:
    """M-15: set aside without a row of the order's; applied when the shop has it."""
    async with books_in(kind, servers) as books:
        handler = books.handler()
        assert said(await handler.handle(delivery("1"))) == (D.UNKNOWN_ORDER, FAIL)
        assert await books.shop.inbox.look(key_of("1")) is None
        assert await handler.order_known(MCH_ID, "1") == 1
        assert await books.paid() == 0
        await books.order("1")
        assert await handler.order_known(MCH_ID, "1") == 1
        assert (await books.paid(), await books.shop.state(key_of("1"))) == (1, "DONE")
        assert said(await handler.handle(delivery("1"))) == (D.DUPLICATE, SUCCESS)


@pytest.mark.parametrize("kind", DATABASES)
async def test_what_does_not_take_effect_leaves_no_row_of_the_order(
    servers: Servers, kind: str
) -> None:
    """M-15: CONFLICT, STALE and UNCONFIRMED are set aside, and reported once."""
    told: list[Any] = []
    async with books_in(kind, servers) as books:
        handler = books.handler(on_conflict=told.append)
        await books.order("1")
        long_ago = datetime.now(UTC) - timedelta(days=40)
        for fields, decision in (
            ({"total_fee": 1}, D.CONFLICT),
            ({"time_end": long_ago}, D.STALE),
            ({"total_fee": PRICE - 10, "coupon_fee": 10}, D.UNCONFIRMED),
            ({"mch_id": "90000009"}, D.CONFLICT),
        ):
            told.clear()
            body = delivery("1", **fields)
            for _ in range(2):
                assert said(await handler.handle(body)) == (decision, FAIL)
            assert [one.decision for one in told] == [decision]
            assert await books.shop.inbox.look(key_of("1")) is None
        assert said(await handler.handle(delivery("1"))) == (D.APPLY, SUCCESS)
        assert (await books.paid(), await books.shop.effects()) == (1, 1)


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_failed_payment_never_blocks_the_paid_one(servers: Servers, kind: str) -> None:
    """M-15: NOT_PAID is recorded and told once; then comes the payment."""
    told: list[Any] = []
    async with books_in(kind, servers) as books:
        handler = books.handler(on_not_paid=told.append)
        await books.order("1")
        for _ in range(2):
            failed = delivery("1", pay_result="1")
            assert said(await handler.handle(failed)) == (D.NOT_PAID, SUCCESS)
        assert len(told) == 1
        assert await books.shop.state(key_of("1")) == "NOT_PAID"
        assert said(await handler.handle(delivery("1"))) == (D.APPLY, SUCCESS)
        assert await books.paid() == 1


@pytest.mark.parametrize("kind", DATABASES)
async def test_an_order_that_was_closed_unpaid(servers: Servers, kind: str) -> None:
    """M-15: with a hook for that it runs on the order's connection; without one: a CONFLICT."""

    async def after_close(order: Any, connection: Any) -> None:
        await take_effect(connection, f"late {order.out_trade_no}")

    async with books_in(kind, servers) as books:
        await books.order("1", closed=1)
        assert said(await books.handler().handle(delivery("1"))) == (D.CONFLICT, FAIL)
        handler = books.handler(on_paid_after_close=after_close)
        assert said(await handler.handle(delivery("1"))) == (D.PAID_AFTER_CLOSE, SUCCESS)
        assert said(await handler.handle(delivery("1"))) == (D.DUPLICATE, SUCCESS)
        assert (await books.paid(), await books.shop.effects("late 1")) == (0, 1)


@pytest.mark.parametrize("kind", DATABASES)
async def test_the_gateway_is_asked_outside_of_the_transaction(servers: Servers, kind: str) -> None:
    """M-16: one connection in all, and while the gateway thinks nobody holds it, nor the order."""
    pool: dict[str, Any] = {"poolclass": AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 0}
    async with books_in(kind, servers, **pool) as books:
        await books.order("1")
        gateway = asking()
        free: list[bool] = []

        async def before(_number: str) -> None:
            free.append(await books.shop.is_free(key_of("1")))

        gateway.before = before
        handler = books.handler(confirm=gateway)
        body = delivery("1", total_fee=PRICE - 10, coupon_fee=10)
        assert said(await handler.handle(body)) == (D.APPLY, SUCCESS)
        assert said(await handler.handle(body)) == (D.DUPLICATE, SUCCESS)
        assert free == [True]
        assert len(gateway.asked) == 1
        assert await books.paid() == 1


@pytest.mark.parametrize(
    ("says", "decision"),
    [(PENDING, D.UNCONFIRMED), ({"base_fee": "1"}, D.CONFLICT), (None, D.UNCONFIRMED)],
)
@pytest.mark.parametrize("kind", DATABASES)
async def test_what_the_gateway_does_not_back_up_takes_no_effect(
    servers: Servers, kind: str, says: Any, decision: Decision
) -> None:
    """M-15: the gateway's word is missing, or it says something else, or nothing in time."""
    async with books_in(kind, servers) as books:
        await books.order("1")
        gateway = Dead() if says is None else asking(**says)
        handler = books.handler(confirm=gateway, budget=1.0)
        assert said(await handler.handle(delivery("1"))) == (decision, FAIL)
        assert (await books.paid(), await books.shop.state(key_of("1"))) == (0, None)


# ----------------------------------------------------------------------------- another merchant


@pytest.mark.parametrize("kind", DATABASES)
async def test_an_order_of_another_merchant_is_begun_again_under_its_own_key(
    servers: Servers, kind: str
) -> None:
    """M-16, M-18: locked as received, rolled back, locked under the shop's own merchant number."""
    async with books_in(kind, servers) as books:
        await books.order("1", mch_id="SHOP")

        async def expected(mch_id: str, number: str, connection: Any) -> ExpectedOrder | None:
            await take_effect(connection, "asked")
            return await books.expected(mch_id, number, connection)

        handler = books.handler(expected=expected)
        own = OrderKey("SHOP", "1")
        assert said(await handler.handle(delivery("1"))) == (D.APPLY, SUCCESS)
        assert books.asked == [MCH_ID, MCH_ID]
        assert (await books.paid(), await books.shop.effects("asked")) == (1, 1)
        assert await books.shop.inbox.look(key_of("1")) is None
        assert await books.shop.state(own) == "DONE"
        assert said(await handler.handle(delivery("1"))) == (D.DUPLICATE, SUCCESS)
        paid = queried(out_trade_no="1", transaction_id="T1", mch_id="SHOP")
        assert await handler.settle(paid) is D.DUPLICATE
        assert (await books.paid(), await books.shop.effects("1")) == (1, 1)


@pytest.mark.parametrize("kind", DATABASES)
async def test_one_order_under_two_names_at_once_takes_effect_once(
    servers: Servers, kind: str
) -> None:
    """M-18: a notification and a poller name the merchant in two ways at the same moment."""
    async with books_in(kind, servers) as books:
        await books.order("1", mch_id="SHOP")
        handler = books.handler()
        paid = queried(out_trade_no="1", transaction_id="T1", mch_id="SHOP")
        await asyncio.gather(
            *(handler.handle(delivery("1")) for _ in range(3)),
            *(handler.settle(paid) for _ in range(3)),
        )
        assert (await books.paid(), await books.shop.effects("1")) == (1, 1)
        assert await books.shop.state(OrderKey("SHOP", "1")) == "DONE"
        assert await books.shop.inbox.look(key_of("1")) is None


# ------------------------------------------------------------------------------ the shop's row


@pytest.mark.parametrize("kind", DATABASES)
async def test_the_shop_cannot_close_an_order_that_it_was_just_asked_about(
    servers: Servers, kind: str
) -> None:
    """M-16: its row is locked from ``expected`` to COMMIT; who closes it waits, and is too late."""
    async with books_in(kind, servers) as books:
        await books.order("1")
        books.go_on.clear()
        handling = asyncio.create_task(books.handler().handle(delivery("1")))
        await books.seen.wait()
        closing = asyncio.create_task(books.close("1"))
        await asyncio.sleep(0.1)
        assert not closing.done()
        books.go_on.set()
        assert said(await handling) == (D.APPLY, SUCCESS)
        assert await closing == 0
        assert await books.paid() == 1


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_shop_that_is_closing_the_order_is_waited_for(servers: Servers, kind: str) -> None:
    """M-16: the row is the shop's at that moment; afterwards the order is closed."""
    async with books_in(kind, servers) as books:
        await books.order("1")
        async with books.shop.engine.connect() as connection:
            await connection.execute(text(_CLOSE), {"number": "1"})
            handling = asyncio.create_task(books.handler().handle(delivery("1")))
            await asyncio.sleep(0.2)
            assert not handling.done()
            await connection.commit()
        assert said(await handling) == (D.CONFLICT, FAIL)
        assert await books.paid() == 0


@pytest.mark.parametrize("kind", ["psycopg", "asyncpg", "mariadb"])
async def test_who_asks_without_waiting_is_asked_again(servers: Servers, kind: str) -> None:
    """M-16: FOR UPDATE NOWAIT says 55P03 or 1205: looked at again inside the budget."""
    async with books_in(kind, servers) as books:
        await books.order("1")

        async def expected(mch_id: str, number: str, connection: Any) -> ExpectedOrder | None:
            books.asked.append("at once")
            await connection.execute(text(f"{_FIND} FOR UPDATE NOWAIT"), {"number": number})
            return await books.expected(mch_id, number, connection)

        handler = books.handler(expected=expected)
        async with books.shop.engine.connect() as connection:
            await connection.execute(text(f"{_FIND} FOR UPDATE"), {"number": "1"})
            handling = asyncio.create_task(handler.handle(delivery("1")))
            while books.asked.count("at once") < 3:
                await asyncio.sleep(0.01)
        assert said(await handling) == (D.APPLY, SUCCESS)
        record = await books.shop.inbox.look(key_of("1"))
        assert record is not None
        assert (record.state, record.failures) == (SeenState.DONE, 0)
        assert handler.stats().failed == handler.stats().troubled == 0
