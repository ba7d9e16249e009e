"""A shop whose every process is one of a fleet: its tables, its task, and its web service.

It is served and replaced by the programs that people run, and knows nothing of that.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chaoying_async import GatewaySession, OrderQuery, PayType, PollSchedule
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.workers import Fleet, OutcomeQueue

THEN = f"{__name__}:order_ended"
FEE = 1405
SHARDS = 8
SCHEDULE = PollSchedule(first=0.2, every=0.5, until=60, longest=2)
#: Eight processes share 200 connections.
POOL: dict[str, Any] = {"pool_size": 5, "max_overflow": 5, "pool_pre_ping": True}

metadata = MetaData()
#: Written together with its watch.
orders = Table("orders", metadata, Column("number", String(64), primary_key=True))
#: Outcomes that took effect, by their id.
done = Table("done", metadata, Column("id", String(255), primary_key=True))
#: No constraint on the number: what took effect twice is there twice.
effects = Table(
    "effects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", String(64), nullable=False),
)

# What any library complains of is seen in the log of the process, with its level.
logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")


@cache
def shop_engine() -> AsyncEngine:
    """One for orders, effects and the fleet of a process."""
    return create_async_engine(os.environ["DATABASE_URL"], **POOL)


def session() -> GatewaySession:
    return GatewaySession.from_env()


def fleet_with(queue: OutcomeQueue | None = None) -> Fleet:
    """One process of the fleet."""
    return Fleet(SqlPollStore(shop_engine(), shards=SHARDS), session, queue)


def watch_of(number: str) -> dict[str, Any]:
    """What a fleet is told of an order."""
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=number)
    return {"query": query, "then": THEN, "expected": FEE, "schedule": SCHEDULE}


def take_effect(connection: Connection, outcome: Mapping[str, Any]) -> None:
    """Once for each outcome, in the caller's transaction."""
    try:
        with connection.begin_nested():
            connection.execute(insert(done).values(id=outcome["id"]))
    except IntegrityError:
        return  # it took effect before
    if outcome["status"] == "PAID":
        connection.execute(insert(effects).values(number=outcome["out_trade_no"]))


async def order_ended(outcome: Mapping[str, Any]) -> None:
    """The shop's task."""
    async with shop_engine().begin() as connection:
        await connection.run_sync(take_effect, outcome)


# --------------------------------------------------------------------------------------------- web


async def sell(request: Request) -> Response:
    """The order's row and its watch, in one transaction; a customer may send it again."""
    number, fleet = request.path_params["number"], request.app.state.fleet
    try:
        async with shop_engine().begin() as connection:
            await connection.execute(insert(orders).values(number=number))
            await fleet.watch(**watch_of(number), connection=connection)
    except IntegrityError:
        return Response(status_code=200)
    return Response(status_code=201)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    async with fleet_with() as app.state.fleet:
        yield
    await shop_engine().dispose()


app = Starlette(routes=[Route("/orders/{number}", sell, methods=["POST"])], lifespan=lifespan)
