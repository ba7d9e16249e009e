"""``python -m django_shop --demo``: the shop against a gateway of its own, and its books."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from serving import free_port, until

from chaoying_async import SystemClock
from chaoying_async.sandbox import Sandbox


async def demo(folder: Path) -> bool:
    """Sell something, take the notifications, post them again and forge them; compare the books."""
    bound, shop_url = free_port()
    async with Sandbox(clock=SystemClock()) as sandbox, sandbox.serve() as gateway_url:
        environment = {
            **os.environ,
            "CHAOYING_URL": gateway_url,
            "CHAOYING_AGENT_ID": sandbox.credentials.agent_id,
            "CHAOYING_KEY": sandbox.credentials.key,
            "CHAOYING_PID": sandbox.credentials.pid,
            "CHAOYING_MCH_ID": sandbox.mch_id,
            "DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'shop.db'}",
            "DJANGO_SETTINGS_MODULE": "django_shop.settings",
            "SHOP_URL": shop_url,
        }
        async with (
            _django(bound, environment),
            httpx.AsyncClient(base_url=shop_url, trust_env=False, timeout=30) as customer,
        ):
            numbers = [await _order(customer, item) for item in ("coffee", "cake", "coffee")]
            for number in numbers:
                sandbox.customer_pays(number)
            for number in numbers:
                await until(partial(_is_paid, customer, number))
            answers = [
                (await customer.post("/notify", content=body)).text
                for delivery in list(sandbox.deliveries)
                for body in (delivery.body, delivery.body.replace(b"total_fee=", b"total_fee=9"))
            ]
            orders = [(await customer.get(f"/orders/{number}")).json() for number in numbers]
            return _adds_up(sandbox, orders, answers)


@asynccontextmanager
async def _django(bound: socket.socket, environment: Mapping[str, str]) -> AsyncIterator[None]:
    """The server in a process of its own, as in production, on a port that is taken already."""
    migrate = ("-m", "django", "migrate", "--verbosity", "0")
    await (await asyncio.create_subprocess_exec(sys.executable, *migrate, env=environment)).wait()
    serve = ("-m", "uvicorn", "django_shop.asgi:application", "--log-level", "warning")
    descriptor = bound.fileno()
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, *serve, "--fd", str(descriptor)),
        env=environment,
        pass_fds=[descriptor],
    )
    try:
        yield
    finally:
        server.terminate()
        await server.wait()
        bound.close()


async def _order(customer: httpx.AsyncClient, item: str) -> str:
    made = await customer.post("/orders", data={"item": item})
    made.raise_for_status()
    number = str(made.json()["out_trade_no"])
    print(f"{item:7} {number}  {made.json()['code_url']}")
    return number


async def _is_paid(customer: httpx.AsyncClient, number: str) -> bool:
    shown = (await customer.get(f"/orders/{number}")).json()
    return bool(shown["status"] == "PAID")


def _adds_up(sandbox: Sandbox, orders: list[Any], answers: list[str]) -> bool:
    worth = sum(order["total_fee"] * order["shipments"] for order in orders)
    paid = sum(order.payable for order in sandbox.ledger.orders.values())
    print(f"\nshipments: {[order['shipments'] for order in orders]}")
    print(f"the shop's books: {worth} fen; the gateway's: {paid} fen")
    print(f"posted again, true and forged: {answers}")
    right = ["success", "fail"] * len(sandbox.deliveries)
    return worth == paid and answers == right and all(order["shipments"] == 1 for order in orders)


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
