"""A web process of the shop in ``fleet_shop``: takes orders and notifications, polls nothing.

``uvicorn tests.hard.fleet_web:app`` with ``DATABASE_URL`` and ``GATEWAY`` in its environment.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sqlalchemy import insert
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from chaoying_async import OrderQuery, PayType
from chaoying_async.sandbox import Sandbox
from chaoying_async.web.asgi import notification_app
from tests.factories import MCH_ID
from tests.hard.fleet_shop import (
    FEE,
    SCHEDULE,
    SEED,
    THEN,
    engine_of,
    fleet_on,
    handler_on,
    session_for,
    shop_orders,
)

credentials = Sandbox(seed=SEED).credentials
engine = engine_of(os.environ["DATABASE_URL"])
handler = handler_on(engine, credentials)
fleet = fleet_on(engine, session_for(os.environ["GATEWAY"], credentials))


async def sell(request: Request) -> Response:
    """The order's row and its watch, in one transaction."""
    number = request.path_params["number"]
    query = OrderQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_trade_no=number)
    async with engine.begin() as connection:
        await connection.execute(insert(shop_orders).values(number=number))
        await fleet.watch(query, then=THEN, expected=FEE, schedule=SCHEDULE, connection=connection)
    return Response(status_code=201)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None]:
    async with handler, fleet.handing_over():
        yield
    await engine.dispose()


app = Starlette(
    routes=[
        Route("/orders/{number}", sell, methods=["POST"]),
        Mount("/", notification_app(handler)),
    ],
    lifespan=lifespan,
)
