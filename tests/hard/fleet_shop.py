"""A shop whose orders a fleet waits for: its tables, its task, and what each process opens.

In the mode ``effect`` the task writes its effect in one transaction, with the outcome's id; in the
mode ``settle`` the shop's inbox does, which notifications reach as well. With a queue the task runs
in the queue's workers (``fleet_queue_worker``, ``fleet_celery``), in the mode ``effect``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import Column, Connection, Integer, String, Table, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async import (
    Credentials,
    Decision,
    ExpectedOrder,
    Fen,
    GatewaySession,
    Hosts,
    NotificationHandler,
    PaidOrder,
    PollSchedule,
)
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sandbox import Sandbox
from chaoying_async.workers import Fleet, OutcomeQueue, paid_order_of
from tests.factories import MCH_ID
from tests.sql_shop import effects, metadata, take_effect

SEED = 7
FEE = 1405
LEASE = 3.0
SHARDS = 8
SCHEDULE = PollSchedule(first=0.3, every=0.5, until=6, longest=2)
THEN = f"{__name__}:order_ended"
#: Seconds until an outcome that Celery's broker may have lost is sent again.
QUEUE_PATIENCE = 10.0
PATIENT = {"connect_args": {"timeout": 30}}

#: The shop's orders, each written together with its watch.
shop_orders = Table("orders", metadata, Column("number", String(64), primary_key=True))
#: Outcomes that took effect, by their id.
ids_done = Table("ids_done", metadata, Column("id", String(255), primary_key=True))
#: Everything that a task was told.
tellings = Table(
    "tellings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", String(64), nullable=False),
    Column("status", String(32), nullable=False),
)

_shop: dict[str, Any] = {}


def engine_of(url: str) -> AsyncEngine:
    """An engine as shops have it."""
    options: dict[str, Any] = PATIENT if url.startswith("sqlite") else {"pool_pre_ping": True}
    return create_async_engine(url, **options)


def session_for(gateway: str, credentials: Credentials) -> GatewaySession:
    """A session with the sandbox."""
    return GatewaySession(
        credentials, mch_id=MCH_ID, op_user_id="till1", hosts=Hosts.single(gateway)
    )


def fleet_on(
    engine: AsyncEngine, session: GatewaySession, queue: OutcomeQueue | None = None
) -> Fleet:
    """One process of the fleet."""
    return Fleet(SqlPollStore(engine, lease=LEASE, shards=SHARDS), lambda: session, queue)


def queue_named(name: str) -> OutcomeQueue | None:
    """What brings the outcomes to the shop's task; None: the processes of the fleet themselves."""
    if name == "celery":
        from chaoying_async.workers.queues.celery import CeleryQueue
        from tests.hard.fleet_celery import app

        return CeleryQueue(app, patience=QUEUE_PATIENCE)
    if name == "pgqueuer":
        from chaoying_async.workers.queues.pgqueuer import PgQueuerQueue

        return PgQueuerQueue()
    return None


def take_outcome(connection: Connection, outcome: Mapping[str, Any]) -> None:
    """The shop's task in a queue's worker: once for each outcome, in the caller's transaction."""
    number = outcome["out_trade_no"]
    with suppress(IntegrityError), connection.begin_nested():
        connection.execute(insert(ids_done).values(id=outcome["id"]))
        if paid_order_of(outcome) is not None:
            connection.execute(insert(effects).values(number=number))
    connection.execute(insert(tellings).values(number=number, status=outcome["status"]))


def handler_on(engine: AsyncEngine, credentials: Credentials) -> NotificationHandler:
    """The shop's handler of notifications, which ``settle`` is called on as well."""

    async def on_paid(order: PaidOrder, connection: Any) -> None:
        await take_effect(connection, order.out_trade_no)

    async def expected(mch_id: str, _number: str) -> ExpectedOrder:
        return ExpectedOrder(total_fee=Fen(FEE), mch_id=mch_id)

    return NotificationHandler(credentials, SqlInbox(engine), on_paid, expected=expected)


async def order_ended(outcome: Mapping[str, Any]) -> None:
    """The shop's task; raises where it could not be done, so that the outcome comes again."""
    engine: AsyncEngine = _shop["engine"]
    number, status = outcome["out_trade_no"], outcome["status"]
    paid = paid_order_of(outcome)
    if paid is not None and _shop["mode"] == "settle":
        decision = await _shop["handler"].settle(paid)
        if decision not in (Decision.APPLY, Decision.DUPLICATE):
            raise RuntimeError(f"settled with {decision}")
    async with engine.connect() as connection:
        if paid is not None and _shop["mode"] == "effect":
            with suppress(IntegrityError):
                await connection.execute(insert(ids_done).values(id=outcome["id"]))
                await take_effect(connection, number)
                await connection.commit()
            await connection.rollback()
        await connection.execute(insert(tellings).values(number=number, status=status))
        await connection.commit()


async def serve(url: str, gateway: str, mode: str, queue: str = "none") -> None:
    """One process of the fleet, until it dies."""
    credentials = Sandbox(seed=SEED).credentials
    engine = engine_of(url)
    handler = handler_on(engine, credentials)
    _shop.update(engine=engine, mode=mode, handler=handler)
    session = session_for(gateway, credentials)
    async with handler, fleet_on(engine_of(url), session, queue_named(queue)):
        sys.stdout.write("serving\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
