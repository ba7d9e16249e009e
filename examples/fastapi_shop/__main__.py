"""``python -m fastapi_shop --demo``: the shop against a gateway of its own, and its books."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from serving import free_port, served, until

from chaoying_async import Hosts, PayType, PollSchedule, SystemClock
from chaoying_async.sandbox import Sandbox
from fastapi_shop.app import MENU, create_app
from fastapi_shop.orders import OrderBook
from fastapi_shop.settings import Settings

#: The demo does not wait 20 s before it asks about a tea.
HASTY = PollSchedule(first=1.0, every=1.0, until=30.0)


async def demo(folder: Path) -> bool:
    """Sell everything on the menu, for both wallets, and compare the books."""
    bound, shop_url = free_port()
    async with Sandbox(clock=SystemClock()) as sandbox, sandbox.serve() as gateway_url:
        settings = Settings(
            credentials=sandbox.credentials,
            mch_id=sandbox.mch_id,
            hosts=Hosts.single(gateway_url),
            database_url=f"sqlite+aiosqlite:///{folder / 'shop.db'}",
            shop_url=shop_url,
            schedule=lambda _: HASTY,
            look_every=0.5,
        )
        app = create_app(settings)
        async with (
            served(app, bound),
            httpx.AsyncClient(base_url=shop_url, trust_env=False) as customer,
        ):
            numbers = [
                await _order(customer, item, wallet)
                for item in MENU
                for wallet in (PayType.WECHAT, PayType.ALIPAY)
            ]
            for number in numbers:
                await until(partial(_is_paid, customer, number))
            answers = await _post_again(customer, sandbox)
            return await _adds_up(sandbox, app.state.shop.book, numbers, answers)


async def _order(customer: httpx.AsyncClient, item: str, wallet: PayType) -> str:
    made = await customer.post("/orders", json={"item": item, "wallet": wallet})
    made.raise_for_status()
    number = str(made.json()["out_trade_no"])
    page = await customer.get(f"/orders/{number}/pay")
    print(f"{item:7} {wallet:7} {number}  {made.json()['code_url']}")
    page.raise_for_status()
    return number


async def _is_paid(customer: httpx.AsyncClient, number: str) -> bool:
    shown = (await customer.get(f"/orders/{number}")).json()
    return bool(shown["status"] == "PAID")


async def _post_again(customer: httpx.AsyncClient, sandbox: Sandbox) -> list[str]:
    """Every notification once more as it was, and once with another amount."""
    return [
        (await customer.post("/notify", content=body)).text
        for delivery in list(sandbox.deliveries)
        for body in (delivery.body, delivery.body.replace(b"total_fee=", b"total_fee=9"))
    ]


async def _adds_up(
    sandbox: Sandbox, book: OrderBook, numbers: list[str], answers: list[str]
) -> bool:
    shipped = [await book.shipped(number) for number in numbers]
    known = [await book.find(number) for number in numbers]
    worth = sum(order.total_fee for order in known if order is not None)
    paid = sum(order.payable for order in sandbox.ledger.orders.values())
    deliveries = len(sandbox.deliveries)
    print(f"\n{len(numbers)} orders paid, {sum(shipped)} shipments, {deliveries} notifications")
    print(f"the shop's books: {worth} fen; the gateway's: {paid} fen")
    print(
        f"posted again, true and forged: {answers.count('success')} success, "
        f"{answers.count('fail')} fail"
    )
    return (
        shipped == [1] * len(numbers)
        and worth == paid
        and answers == ["success", "fail"] * deliveries
    )


def main() -> int:
    """0: everything adds up."""
    if sys.argv[1:] != ["--demo"]:
        print(__doc__)
        return 2
    with TemporaryDirectory() as folder:
        right = asyncio.run(demo(Path(folder)))
    print("Everything adds up." if right else "Something is WRONG.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
