"""A server that runs no lifespan: that is said once, and the answer is out in time (M-14, M-17)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from chaoying_async import ExpectedOrder, MemoryInbox, NotificationHandler, PaidOrder
from chaoying_async.testing import FakeClock, sign_notification
from chaoying_async.web.aiohttp import notification_handler
from chaoying_async.web.asgi import notification_app, with_lifespan
from chaoying_async.web.fastapi import add_notification_route
from tests.factories import CREDENTIALS, MCH_ID
from tests.web import apps as web_apps
from tests.web.app_servers import (
    Answer,
    ServedApp,
    in_aiohttp,
    in_uvicorn,
    make_handler,
    notification,
)

pytestmark = pytest.mark.outside


class SlowShop:
    """Its ``on_paid`` takes so many seconds of a clock that is moved by hand."""

    def __init__(self, seconds: float) -> None:
        self.clock = FakeClock()
        self.paid: list[str] = []

        async def expected(mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
            return ExpectedOrder(100, MCH_ID)

        async def on_paid(order: PaidOrder) -> None:
            await self.clock.sleep(seconds)
            self.paid.append(order.out_trade_no)

        self.handler = NotificationHandler(
            CREDENTIALS, MemoryInbox(), on_paid, expected=expected, clock=self.clock
        )
        self.body = sign_notification(
            CREDENTIALS,
            mch_id=MCH_ID,
            out_trade_no="A100011",
            transaction_id="4200000001",
            total_fee=100,
            time_end=self.clock.now(),
        )


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "chaoying_async.web"]


async def mounted(shop: SlowShop) -> Any:
    """A FastAPI app below another: its lifespan is never run."""
    inner = FastAPI(lifespan=web_apps.only(lambda: shop.handler))
    add_notification_route(inner, "/notify", shop.handler, clock=shop.clock)
    outer = FastAPI()
    outer.mount("/pay", inner)
    return outer


async def served_alone(shop: SlowShop) -> Any:
    return with_lifespan(notification_app(shop.handler, clock=shop.clock), shop.handler)


@pytest.mark.parametrize("make", [mounted, served_alone])
async def test_the_answer_is_out_in_time_and_the_effect_comes_all_the_same(
    make: Callable[[SlowShop], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Also where a test or a server sends no lifespan events: `fail` now, `success` next time."""
    shop = SlowShop(3.2)
    transport = ASGITransport(await make(shop))
    async with AsyncClient(transport=transport, base_url="http://shop.test") as gateway:
        path = "/pay/notify" if make is mounted else "/notify"
        first = await shop.clock.run(gateway.post(path, content=shop.body))
        assert (first.text, shop.clock.monotonic()) == ("fail", 2.0)
        await shop.clock.advance(2)
        assert shop.paid == ["A100011"]
        second = await shop.clock.run(gateway.post(path, content=shop.body))
        assert second.text == "success"
    (line,) = lines(caplog)
    assert "not open" in line
    assert "lifespan" in line


async def test_the_same_under_aiohttp(caplog: pytest.LogCaptureFixture) -> None:
    """Without a cleanup context nothing is opened there either."""
    shop = SlowShop(3.2)
    app = web.Application()
    app.router.add_post("/notify", notification_handler(shop.handler, clock=shop.clock))
    async with TestClient(TestServer(app)) as client:
        posting = asyncio.create_task(client.post("/notify", data=shop.body))
        while shop.clock.waiting < 2:  # on_paid, and our time-out
            await asyncio.sleep(0.01)
        await shop.clock.advance(2)
        assert await (await posting).read() == b"fail"
        await shop.clock.advance(2)
        assert await (await client.post("/notify", data=shop.body)).read() == b"success"
    (line,) = lines(caplog)
    assert "cleanup_ctx" in line


async def test_a_line_that_cannot_be_logged_costs_no_answer() -> None:
    """A logging filter of the program that raises is no reason to answer `fail`."""
    shop, logger = SlowShop(0), logging.getLogger("chaoying_async.web")

    def needs_a_tenant(record: Any) -> bool:
        return bool(record.tenant)

    logger.addFilter(needs_a_tenant)
    try:
        transport = ASGITransport(notification_app(shop.handler))
        async with AsyncClient(transport=transport, base_url="http://shop.test") as gateway:
            assert (await gateway.post("/", content=shop.body)).text == "success"
    finally:
        logger.removeFilter(needs_a_tenant)
    assert shop.paid == ["A100011"]


async def test_an_open_handler_is_not_complained_of(caplog: pytest.LogCaptureFixture) -> None:
    """Nor is one of the user's own, which need not say whether it is open."""
    shop = SlowShop(0)
    async with shop.handler:
        transport = ASGITransport(notification_app(shop.handler))
        async with AsyncClient(transport=transport, base_url="http://shop.test") as gateway:
            assert (await gateway.post("/", content=shop.body)).text == "success"
    assert lines(caplog) == []


def unopened_uvicorn(handler: Any) -> Any:
    return in_uvicorn(web_apps.plain(handler), lifespan="off")


def unopened_django(handler: Any) -> Any:
    from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]

    web_apps.django_asgi(handler)
    return in_uvicorn(get_asgi_application())


def unopened_aiohttp(handler: Any) -> Any:
    app = web_apps.aiohttp(handler)
    app.cleanup_ctx.clear()
    return in_aiohttp(app)


@pytest.mark.parametrize("serve", [unopened_uvicorn, unopened_django, unopened_aiohttp])
def test_real_servers_without_a_lifespan(
    serve: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """uvicorn --lifespan off, Django's bare ASGI application, aiohttp without a cleanup context."""
    paid: list[str] = []
    handler = make_handler(paid.append)
    with serve(handler) as port:
        shop = ServedApp("unopened", port, lambda: paid)
        answers = [shop.post(notification(number)) for number in ("A100011", "A100012")]
        assert [answer.body for answer in answers] == [b"success"] * 2
    assert paid == ["A100011", "A100012"]
    (line,) = lines(caplog)
    assert "not open" in line


@contextlib.contextmanager
def in_wsgi_django(handler: Any) -> Generator[ServedApp]:
    from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]
    from django.urls import path  # type: ignore[import-untyped]

    from chaoying_async.web.django import notification_view
    from tests.web.app_servers import in_wsgiref

    web_apps.django_is_set_up()
    web_apps.django_urls["WSGI"] = (path("notify", notification_view(handler)),)
    with in_wsgiref(get_wsgi_application()) as port:
        yield ServedApp("wsgi", port, list)


def test_an_async_view_under_wsgi_is_waited_for_and_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its loop ends with the request: work that was left behind there would never be done."""
    paid: list[str] = []
    with in_wsgi_django(make_handler(paid.append)) as shop:
        began = time.monotonic()
        answer: Answer = shop.post(notification("SLOW00001"))
        assert answer.body == b"success"
        assert time.monotonic() - began >= 0.2
    assert paid == ["SLOW00001"]
    (line,) = lines(caplog)
    assert "sync_notification_view" in line
