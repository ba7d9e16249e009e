"""Paid orders a second, each with its effect in the shop's own table, against a handler by hand.

    python -m benchmarks.paid_orders [--quick] [--only KIND] [--json PATH]

Ours: ``NotificationHandler`` on ``SqlInbox``, opened, as a shop has it. The peer
(``handmade_orders``) does the same work in one transaction on the same engine. Both get the same
kind of messages, 32 at a time, each about an order of its own, and take turns; the medians are
compared. Every server is a fresh one with its default durability, SQLite writes through to the disk
(WAL, ``synchronous=FULL``).

Duplicates: the same bodies once more, when all of them are done. Statements: what PostgreSQL's own
log says was executed for one message, without the effect's.

Two more stand between the peer and ours, and have no limit. They show where the time goes: the peer
that records the order by a statement of its own after the effect, as M-16 wants it, and our inbox
without the handler.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import statistics
import sys
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import event, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from benchmarks import handmade, handmade_orders
from benchmarks.handmade_orders import ALONE, Handle, with_sqlalchemy
from benchmarks.report import Row, finish
from chaoying_async import (
    Credentials,
    Decision,
    ExpectedOrder,
    Fen,
    NotificationHandler,
    PaidOrder,
    PaidSource,
)
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.inbox_values import Entry, OrderKey, SeenState
from chaoying_async.testing import sign_notification
from tests import sql_shop
from tests.inbox.server_log import Heard, listening, talkative
from tests.servers import Servers
from tests.sql_shop import DATABASES, take_effect

AT_ONCE = 32
PRICE = 100
#: The least of the peer's orders a second, and the aim.
LIMITS: Mapping[str, tuple[float, float]] = {
    "asyncpg": (0.75, 0.9),
    "psycopg": (0.75, 0.9),
    "mariadb": (0.75, 0.9),
    "sqlite": (0.85, 1.0),
}
POSTGRESQL = ("asyncpg", "psycopg")
#: Duplicates a second, in units of the first deliveries; statements of a first delivery.
DUPLICATES, STATEMENTS = (1.5, 2.0), (3.0, 2.0)
RECORDS_AFTER, INBOX_ALONE = "the peer that records after the effect", "the inbox alone"
CREDENTIALS = Credentials(agent_id=handmade.AGENT_ID, key=handmade.KEY, pid=handmade.PID)


class Speed(NamedTuple):
    """One round of one contender."""

    per_second: float
    cpu: float
    """Microseconds of this process for each message; the server's are not in it."""


# --------------------------------------------------------------------------------- the shop


def price(number: str) -> int | None:
    """The shop's order: both contenders ask for it in memory, so that it costs nothing."""
    return PRICE if number.startswith("2026") else None


async def expected(mch_id: str, number: str) -> ExpectedOrder | None:
    fee = price(number)
    return None if fee is None else ExpectedOrder(Fen(fee), mch_id)


async def on_paid(order: PaidOrder, connection: AsyncConnection) -> None:
    await take_effect(connection, order.out_trade_no)


def messages(prefix: int, count: int) -> list[bytes]:
    """Each about an order of its own, with the sixteen fields of WeChat's page."""
    now = datetime.now(UTC)
    return [
        sign_notification(
            CREDENTIALS,
            mch_id=handmade.MCH_ID,
            out_trade_no=f"2026{prefix:04}{number:07}",
            transaction_id=f"19952043926620180417{prefix:04}{number:07}",
            out_transaction_id=f"20180417210010048705{prefix:04}{number:07}",
            total_fee=PRICE,
            coupon_fee=0,
            time_end=now,
            bank_type="CFT",
            device_info="device_info_yzq_01",
            nonce_str=str(number),
            trade_type="pay.weixin.native",
        )
        for number in range(count)
    ]


def engine_for(kind: str, url: str) -> AsyncEngine:
    """One engine for both contenders; a connection for each message, so that none waits for one."""
    if kind != "sqlite":
        return create_async_engine(url, pool_size=AT_ONCE, max_overflow=0)
    engine = create_async_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine.sync_engine, "connect")
    def durable(connection: Any, _record: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}").close()

    return engine


@asynccontextmanager
async def opened(engine: AsyncEngine) -> AsyncGenerator[Handle]:
    """Ours."""
    async with NotificationHandler(
        CREDENTIALS, SqlInbox(engine), on_paid, expected=expected
    ) as handler:

        async def handle(body: bytes) -> bytes:
            return (await handler.handle(body)).body

        yield handle


def inbox_alone(engine: AsyncEngine) -> Handle:
    """Our inbox as the handler uses it, with nothing decided: the peer's checks stand before it."""
    inbox = SqlInbox(engine)

    async def handle(body: bytes) -> bytes:
        key = handmade_orders.paid_key(body, price)
        if key is None:
            return b"fail"
        now, number = datetime.now(UTC), key[1]
        entry = Entry("", now, PRICE, number, number, PaidSource.NOTIFICATION, Decision.APPLY)
        async with inbox.lock(OrderKey(*key), entry) as order:
            if order is not None and order.before is None:
                async with order.lend() as connection:
                    await take_effect(connection, key[1])
                await order.save(SeenState.DONE, entry)
        return b"success"

    return handle


async def make_tables(engine: AsyncEngine) -> None:
    await SqlInbox(engine).create_tables()
    async with engine.begin() as connection:
        await connection.run_sync(sql_shop.metadata.create_all)
        await connection.run_sync(handmade_orders.metadata.create_all)


# ------------------------------------------------------------------------------------- speed


async def speed(handle: Handle, bodies: Sequence[bytes]) -> Speed:
    """Post all of them, 32 at a time; what is not acknowledged is posted again, at the end."""
    todo = deque(bodies)
    posted = 0

    async def post() -> None:
        nonlocal posted
        while todo:
            body, posted = todo.pop(), posted + 1
            if await handle(body) != b"success":
                if posted > 2 * len(bodies):
                    raise SystemExit("it acknowledges too little to be compared")
                todo.appendleft(body)

    gc.collect()
    began, busy = time.perf_counter(), time.process_time()
    await asyncio.gather(*(post() for _ in range(AT_ONCE)))
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    return Speed(len(bodies) / seconds, busy / len(bodies) * 1e6)


async def in_turns(kind: str, servers: Servers, orders: int, rounds: int) -> dict[str, list[Speed]]:
    """By contender: its rounds. The first one warms up, and is not among them."""
    found = defaultdict[str, list[Speed]](list)
    async with AsyncExitStack() as stack:
        url = DATABASES[kind](servers, stack)  # type: ignore[arg-type]
        engine = engine_for(kind, url)
        stack.push_async_callback(engine.dispose)
        await make_tables(engine)
        contenders = {
            "ours": await stack.enter_async_context(opened(engine)),
            "peer": with_sqlalchemy(engine, price, take_effect),
            RECORDS_AFTER: with_sqlalchemy(engine, price, take_effect, records_after=True),
            INBOX_ALONE: inbox_alone(engine),
        }
        if kind in ALONE:
            alone = ALONE[kind](url, price, AT_ONCE)
            contenders["the driver alone"] = await stack.enter_async_context(alone)
        for turn in range(rounds + 1):
            for number, (who, handle) in enumerate(contenders.items()):
                bodies = messages(turn * len(contenders) + number, orders)
                found[who].append(await speed(handle, bodies))
                if who == "ours":
                    found["duplicates"].append(await speed(handle, bodies))
        await check_effects(engine, (rounds + 1) * len(contenders) * orders)
    return {who: speeds[1:] for who, speeds in found.items()}


async def check_effects(engine: AsyncEngine, orders: int) -> None:
    """All contenders did their work: each order took effect, once."""
    number = sql_shop.effects.c.number
    async with engine.connect() as connection:
        question = select(func.count(), func.count(number.distinct()))
        found = (await connection.execute(question)).one()
    if tuple(found) != (orders, orders):
        raise SystemExit(f"{orders} orders, effects and orders that took effect: {tuple(found)}")


def compared(kind: str, found: Mapping[str, list[Speed]]) -> tuple[list[Row], dict[str, Any]]:
    """The rows with a limit, and the figures without one."""
    rates = {who: [one.per_second for one in speeds] for who, speeds in found.items()}
    rows = [_row(f"{kind}: paid orders", rates["ours"], rates["peer"], LIMITS[kind])]
    if kind in POSTGRESQL:
        rows.append(
            _row(f"{kind}: duplicates", rates["duplicates"], rates["ours"], DUPLICATES),
        )
    also: dict[str, Any] = {
        f"{kind}: {who}, CPU us a message": statistics.median(one.cpu for one in speeds)
        for who, speeds in found.items()
    }
    also |= {
        f"{kind}: {who}, messages a second": statistics.median(rates[who])
        for who in found
        if who not in ("ours", "peer")
    }
    return rows, also


def _row(what: str, ours: list[float], peer: list[float], limits: tuple[float, float]) -> Row:
    return Row(
        what=what,
        ours=statistics.median(ours),
        peer=statistics.median(peer),
        unit="/s",
        limit=limits[0],
        reach=limits[1],
        rounds=[a / b for a, b in zip(ours, peer, strict=True)],
    )


# -------------------------------------------------------------------------------- statements


async def executed(kind: str, servers: Servers) -> dict[str, Heard]:
    """By the kind of message: what PostgreSQL executed for it, when caches are filled."""
    failing = False

    async def unsteady(order: PaidOrder, connection: AsyncConnection) -> None:
        await on_paid(order, connection)
        if failing:
            raise RuntimeError("the shop is out of order")

    engine = create_async_engine(talkative(servers, servers.postgresql_url(kind)))  # type: ignore[arg-type]
    await make_tables(engine)
    handler = NotificationHandler(CREDENTIALS, SqlInbox(engine), unsteady, expected=expected)
    unknown = sign_notification(
        CREDENTIALS,
        mch_id=handmade.MCH_ID,
        out_trade_no="unheard of",
        transaction_id="T1",
        total_fee=PRICE,
        time_end=datetime.now(UTC),
    )
    heard: dict[str, Heard] = {}
    for body in messages(0, 10):  # drivers prepare what they have seen a few times
        for what, fails in (("on_paid fails", True), ("retry", False), ("duplicate", False)):
            failing = fails
            with listening(servers) as heard[what]:
                await handler.handle(body)
    for body in messages(1, 10):
        with listening(servers) as heard["first delivery"]:
            await handler.handle(body)
    with listening(servers) as heard["set aside"]:
        await handler.handle(unknown)
    await engine.dispose()
    return heard


def counted(kind: str, heard: Mapping[str, Heard]) -> tuple[list[Row], dict[str, Any]]:
    for what, one in heard.items():
        print(f"{kind}, {what}: {one.statements} statements, {one.commits} commits")
        print(*(f"    {text[:100]}" for text in one.all), sep="\n")
    first = heard["first delivery"]
    rows = [
        Row(
            what=f"{kind}: {what} of a first delivery",
            ours=float(count),
            peer=1.0,
            unit="",
            limit=limits[0],
            reach=limits[1],
            smaller_is_better=True,
        )
        for what, count, limits in (
            ("statements", first.statements, STATEMENTS),
            ("commits", first.commits, (1.0, 1.0)),
        )
    ]
    also = {
        f"{kind}: {what}": f"{one.statements} statements, {one.commits} commits"
        for what, one in heard.items()
    }
    return rows, also


def main() -> int:
    # What fails on purpose need not be told of.
    logging.getLogger("chaoying_async").setLevel(logging.CRITICAL)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paid_orders")
    parser.add_argument("--quick", action="store_true", help="a moment only; never fails")
    parser.add_argument("--only", choices=LIMITS, help="one of them")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there")
    options = parser.parse_args()
    orders, rounds = (100, 1) if options.quick else (1_000, 7)
    rows: list[Row] = []
    also: dict[str, Any] = {}
    with Servers() as servers:
        for kind in (kind for kind in LIMITS if options.only in (None, kind)):
            parts = [compared(kind, asyncio.run(in_turns(kind, servers, orders, rounds)))]
            if kind in POSTGRESQL:
                parts.append(counted(kind, asyncio.run(executed(kind, servers))))
            for some, more in parts:
                rows += some
                also |= more
    return finish("paid_orders", rows, options, also)


if __name__ == "__main__":
    sys.exit(main())
