"""A user's web app in the simulated world: its lifespan is run, and notifications are POSTs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from fastapi import FastAPI, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async import ExpectedOrder, NotificationHandler, PaidOrder, ParameterError
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.testing.simulation import (
    ShopProcess,
    SimulationFailedError,
    outside,
    simulate,
)
from chaoying_async.web.asgi import notification_app

TABLES = """
CREATE TABLE orders (number TEXT PRIMARY KEY, total_fee INTEGER NOT NULL);
CREATE TABLE parcels (id INTEGER PRIMARY KEY, number TEXT NOT NULL);
"""
DELIVERED = "SELECT number FROM parcels"
Called = Callable[[Any], Awaitable[Any]]


async def on_order(number: str, total_fee: int, connection: AsyncConnection) -> None:
    await connection.execute(
        text("INSERT INTO orders VALUES (:n, :f)"), {"n": number, "f": total_fee}
    )


async def pack(order: PaidOrder, connection: AsyncConnection) -> None:
    await connection.execute(
        text("INSERT INTO parcels (number) VALUES (:n)"), {"n": order.out_trade_no}
    )


def handler_of(process: ShopProcess, on_paid: Any = pack) -> NotificationHandler:
    async def expected(
        _: str, out_trade_no: str, connection: AsyncConnection
    ) -> ExpectedOrder | None:
        sql = text("SELECT total_fee FROM orders WHERE number = :n")
        total_fee = await connection.scalar(sql, {"n": out_trade_no})
        return None if total_fee is None else ExpectedOrder(total_fee, process.mch_id)

    inbox = SqlInbox(process.engine, clock=process.clock)
    return NotificationHandler(
        process.credentials, inbox, on_paid, expected=expected, clock=process.clock
    )


def shop(process: ShopProcess, on_paid: Any = pack) -> FastAPI:
    handler = handler_of(process, on_paid)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[dict[str, str]]:
        outside("opens")
        async with handler:
            yield {"name": process.name}
        outside("closes")

    app = FastAPI(lifespan=lifespan)

    @app.middleware("http")
    async def named(request: Request, call_next: Called) -> Any:
        outside(f"asked as {request.state.name} at {request.url.path}")
        return await call_next(request)

    app.mount("/notify", notification_app(handler, clock=process.clock))
    return app


def run(app: Any, **options: Any) -> Any:
    given: dict[str, Any] = {
        "app": app,
        "notify_path": "/notify/",
        "tables": TABLES,
        "on_order": on_order,
        "delivered": DELIVERED,
        "shrink": False,
    }
    return simulate(**{**given, **options})


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_app_is_served_with_its_lifespan_its_state_and_its_middleware() -> None:
    """By every process, from its beginning to its end, as a server would."""
    deeds: set[str] = set()

    def look(books: Any) -> None:
        deeds.update(f"{deed.who} {deed.what}" for deed in books.deeds)

    assert run(shop, check=look, seeds=4).seeds == 4
    assert {"shop1 opens", "shop1 asked as shop1 at /notify/"} <= deeds
    assert "shop1.2 opens" in deeds  # one that was killed, and never closed


@pytest.mark.usefixtures("impatient")
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_app_that_delivers_twice_is_found() -> None:
    """By its own rows, held against the gateway's books."""

    async def twice(order: PaidOrder, connection: AsyncConnection) -> None:
        await pack(order, connection)
        await pack(order, connection)

    with pytest.raises(SimulationFailedError, match=r"M-16: .* took effect 2 times"):
        run(lambda process: shop(process, twice), seeds=20)


@pytest.mark.slow
def test_a_path_that_answers_with_a_redirect_is_found() -> None:
    """No gateway follows it, and nothing would ever be delivered."""
    with pytest.raises(SimulationFailedError, match=r"notify_path: .*HTTP 307"):
        run(shop, notify_path="/notify", seeds=3)


@pytest.mark.slow
def test_an_app_without_a_lifespan_is_served_all_the_same() -> None:
    """As servers do, which take the protocol's refusal for that; its handler is never opened."""
    served: set[str] = set()

    def bare(process: ShopProcess) -> Any:
        app = notification_app(handler_of(process), clock=process.clock)

        async def called(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            served.add(process.name)
            await app(scope, receive, send)

        return called

    with suppress(SimulationFailedError):  # nobody retries what failed once
        run(bare, seeds=2)
    assert "shop1" in served


@pytest.mark.slow
def test_an_app_that_cannot_start_is_said() -> None:
    """With what it raised."""

    def broken(process: ShopProcess) -> FastAPI:
        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
            raise OSError(f"no port for {process.name}")
            yield

        return FastAPI(lifespan=lifespan)

    with pytest.raises(SimulationFailedError, match=r"AppFailedToStartError.*no port for shop1"):
        run(broken, seeds=5)


def test_what_does_not_fit_together_is_said() -> None:
    """A path without an app, or an app without its path."""
    with pytest.raises(ParameterError, match="notify_path"):
        simulate(on_paid=pack, notify_path="/notify/")
    with pytest.raises(SimulationFailedError, match="notify_path"):
        run(shop, notify_path="", first=2, seeds=1)
