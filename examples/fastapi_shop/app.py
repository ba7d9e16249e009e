"""The web service: orders, their codes, and the address that the gateway notifies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import segno
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import (
    AlipayPreOrder,
    ChaoyingError,
    Fen,
    GatewayError,
    GatewaySession,
    NotificationHandler,
    PayType,
    RequestNotSentError,
    TradeType,
    WechatPreOrder,
    fen,
)
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.web.fastapi import add_notification_route
from fastapi_shop.orders import Order, OrderBook, Status
from fastapi_shop.safety_net import SafetyNet
from fastapi_shop.settings import Settings

#: What there is, in yuan. The sandbox goes by the amount: cakes are notified twice, teas never.
MENU = {"coffee": fen("12.30"), "cake": fen("14.30"), "tea": fen("4.31")}
WALLETS = (PayType.WECHAT, PayType.ALIPAY)


class Shop:
    """Everything that lives as long as the service."""

    gateway: GatewaySession

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = create_async_engine(settings.database_url)
        self.book = OrderBook(self.engine, settings.mch_id)
        self.inbox = SqlInbox(self.engine)
        self.handler = NotificationHandler(
            settings.credentials, self.inbox, self.book.ship, expected=self.book.expected
        )

    @asynccontextmanager
    async def opened(self, _app: FastAPI) -> AsyncIterator[None]:
        """One session, one handler and one safety net for the whole process."""
        await self.book.create_tables()
        await self.inbox.create_tables()
        session = GatewaySession(
            self.settings.credentials, mch_id=self.settings.mch_id, hosts=self.settings.hosts
        )
        async with session as self.gateway, self.handler, asyncio.TaskGroup() as group:
            net = SafetyNet(self.settings, self.book, self.gateway, self.handler)
            asking = group.create_task(net.run())
            yield
            asking.cancel()
        await self.engine.dispose()

    async def pre_order(self, order: Order) -> str | None:
        """Ask the gateway for a code; what is wrong comes out, see ``order_something``."""
        asked: dict[str, Any] = {
            "out_trade_no": order.out_trade_no,
            "body": order.item,
            "total_fee": order.total_fee,
            "trade_type": TradeType.NATIVE,
            "product_id": order.item,
            "time_start": datetime.now(UTC),
            "time_expire": order.expires,
            "notify_url": f"{self.settings.shop_url}/notify",
        }
        if order.wallet is PayType.ALIPAY:
            return (await self.gateway.send(AlipayPreOrder(**asked))).unwrap().code_url
        return (await self.gateway.send(WechatPreOrder(**asked))).unwrap().code_url


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop


TheShop = Annotated[Shop, Depends(_shop)]
router = APIRouter()


class Wish(BaseModel):
    """What a customer wants."""

    item: str
    wallet: PayType = PayType.WECHAT


class Shown(BaseModel):
    """An order as the customer's page needs it."""

    out_trade_no: str
    total_fee: int
    status: Status
    code_url: str | None


@router.post("/orders", status_code=201)
async def order_something(wish: Wish, shop: TheShop) -> Shown:
    """Make an order; the customer pays by the QR code of ``code_url``."""
    price = MENU.get(wish.item)
    if price is None or wish.wallet not in WALLETS:
        raise HTTPException(404, "there is no such thing, or it cannot be paid that way")
    order = await shop.book.add(wish.item, price, wish.wallet)
    try:
        code_url = await shop.pre_order(order)
    except (RequestNotSentError, GatewayError) as error:  # nobody can pay it
        await shop.book.end(order.out_trade_no, Status.REFUSED)
        raise HTTPException(502, "not possible now: please order again") from error
    except ChaoyingError as error:  # not clear: it stays open, and the safety net asks
        raise HTTPException(504, "no answer: please order again") from error
    if code_url is not None:
        await shop.book.offer(order.out_trade_no, code_url)
    return await show_order(order.out_trade_no, shop)


@router.get("/orders/{out_trade_no}")
async def show_order(out_trade_no: str, shop: TheShop) -> Shown:
    """How it stands: what a customer's page asks until it says PAID."""
    order = await _known(out_trade_no, shop)
    return Shown(
        out_trade_no=order.out_trade_no,
        total_fee=order.total_fee,
        status=order.status,
        code_url=order.code_url,
    )


@router.get("/orders/{out_trade_no}/pay", response_class=HTMLResponse)
async def pay_page(out_trade_no: str, shop: TheShop) -> str:
    """The page with the QR code."""
    order = await _known(out_trade_no, shop)
    if order.code_url is None or order.status is not Status.OPEN:
        raise HTTPException(409, "there is nothing to be paid")
    code = segno.make(order.code_url).svg_inline(scale=6)
    return f"<!doctype html><title>¥{Fen(order.total_fee).yuan}</title>{code}"


async def _known(out_trade_no: str, shop: Shop) -> Order:
    order = await shop.book.find(out_trade_no)
    if order is None:
        raise HTTPException(404, "no such order")
    return order


def create_app(settings: Settings | None = None) -> FastAPI:
    """For ``uvicorn --factory fastapi_shop.app:create_app``."""
    shop = Shop(settings or Settings.from_env())
    app = FastAPI(title="shop", lifespan=shop.opened)
    app.state.shop = shop
    app.include_router(router)
    add_notification_route(app, "/notify", shop.handler)
    return app
