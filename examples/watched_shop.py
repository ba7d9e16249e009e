"""A shop whose numbers Prometheus reads: what it counts agrees with the gateway's books.

指标给 Prometheus 看的网店: /metrics 上的每个数字都来自 stats()，与网关账目一致；
配套的看板和告警规则在 observability/。

    pip install 'chaoying-async[prometheus,sandbox]' fastapi
    python examples/watched_shop.py --demo          # exit status 0 if all adds up
    python examples/watched_shop.py --port 9464     # customers come until Ctrl-C; GET /metrics

Then, in examples/observability, ``prometheus --config.file=prometheus.yml`` scrapes the second one,
and ``dashboard.json`` is imported into Grafana.

One customer in three is never notified of (a query finds the payment), one payment fails at first,
and a stranger posts forgeries. Your own shop needs what is marked with "here".
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from prometheus_client.parser import text_string_to_metric_families
from serving import free_port, served, until

from chaoying_async import (
    ExpectedOrder,
    GatewaySession,
    Hosts,
    MemoryInbox,
    NotificationHandler,
    OrderQuery,
    PaidOrder,
    PayType,
    Poller,
    PollSchedule,
    SystemClock,
    TradeType,
    WechatPreOrder,
)
from chaoying_async.observing.prometheus import ChaoyingCollector, exposition, registry_of
from chaoying_async.sandbox import Sandbox
from chaoying_async.web.fastapi import add_notification_route

#: Fen. The last three digits tell the sandbox what happens: 431 is paid and never notified.
PRICES = (1431, 2000, 1000)
#: The first query comes later than notifications usually do, so it finds what they do not tell.
SCHEDULE = PollSchedule(first=3.0, every=2.0, until=60.0)
#: Seconds between two customers, without --demo.
PAUSE = 0.5


class Shop:
    """What lives as long as the service: its orders, and what watches over them."""

    def __init__(self, gateway: GatewaySession, sandbox: Sandbox) -> None:
        self.gateway = gateway
        self.poller = Poller(gateway, schedule=SCHEDULE)
        self.handler = NotificationHandler(
            sandbox.credentials, MemoryInbox(), self._on_paid, expected=self._expected
        )
        self._mch_id = sandbox.mch_id
        self._ordered: dict[str, int] = {}
        self._busy = True
        self.shipped: list[str] = []
        # Here: one registry, one collector, all that the process has.
        self._registry = registry_of(
            ChaoyingCollector(session=gateway, poller=self.poller, handler=self.handler)
        )

    @asynccontextmanager
    async def opened(self, _app: FastAPI) -> AsyncGenerator[None]:
        """Open what was made above, and read how orders end."""
        async with self.handler, self.poller, asyncio.TaskGroup() as group:
            reading = group.create_task(self._read_outcomes())
            yield
            reading.cancel()

    def app(self) -> FastAPI:
        """``/notify`` for the gateway, ``/metrics`` for Prometheus. Keep the second one inside."""
        app = FastAPI(lifespan=self.opened)
        add_notification_route(app, "/notify", self.handler)

        @app.get("/metrics")
        async def metrics(request: Request) -> Response:  # here
            accept = request.headers.get("accept", "")
            content_type, body = exposition(self._registry, accept)
            return Response(body, headers={"content-type": content_type})

        return app

    async def order(self, number: str, total: int, notify_url: str) -> None:
        """A customer orders; the sandbox's customer pays two seconds later."""
        self._ordered[number] = total
        query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=number)
        self.poller.track(query, expected=total)
        await self.gateway.send(
            WechatPreOrder(
                out_trade_no=number,
                body="coffee",
                total_fee=total,
                trade_type=TradeType.NATIVE,
                product_id="coffee",
                notify_url=notify_url,
            )
        )

    async def _on_paid(self, order: PaidOrder) -> None:
        if self._busy:  # the first one fails: it is tried again
            self._busy = False
            raise RuntimeError("the shop is busy")
        self.shipped.append(order.out_trade_no)
        self.poller.settle(order)

    async def _expected(self, mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
        total = self._ordered.get(out_trade_no) if mch_id == self._mch_id else None
        return None if total is None else ExpectedOrder(total_fee=total, mch_id=mch_id)

    async def _read_outcomes(self) -> None:
        async for outcome in self.poller.outcomes():
            if outcome.paid is not None:
                await self.handler.settle(outcome.paid)


# ------------------------------------------------------- from here on: gateway, customers, the demo


@asynccontextmanager
async def open_shop(port: int | None) -> AsyncGenerator[tuple[Shop, Sandbox, httpx.AsyncClient]]:
    """The shop, its gateway, and somebody who calls at its address."""
    bound, url = free_port(port or 0)
    async with (
        Sandbox(clock=SystemClock()) as sandbox,
        sandbox.serve() as gateway_url,
        GatewaySession(
            sandbox.credentials, mch_id=sandbox.mch_id, hosts=Hosts.single(gateway_url)
        ) as gateway,
    ):
        shop = Shop(gateway, sandbox)
        async with (
            served(shop.app(), bound),
            httpx.AsyncClient(base_url=url, trust_env=False) as caller,
        ):
            yield shop, sandbox, caller


async def demo() -> bool:
    """Nine customers and a forger; then the numbers are held against the books."""
    async with open_shop(None) as (shop, sandbox, caller):
        numbers = [f"W{index:05}" for index in range(9)]
        prices = itertools.cycle(PRICES)
        for number, total in zip(numbers, prices, strict=False):
            await shop.order(number, total, f"{caller.base_url}/notify")
        await caller.post("/notify", content=b"out_trade_no=W00000&sign=forged")
        await until(lambda: sorted(shop.shipped) == numbers)
        found = await read_metrics(caller)
    by_query = found["chaoying_paid_orders_total", "query"]
    by_notification = found["chaoying_paid_orders_total", "notification"]
    paid = sum(order.payable > 0 for order in sandbox.ledger.orders.values())
    print(f"paid: {paid}; told by notification {by_notification:.0f}, by query {by_query:.0f}")
    print(f"forged: {found['chaoying_refused_bodies_total', 'unverified']:.0f}")
    print(f"on_paid failed: {found['chaoying_on_paid_failures_total', '']:.0f}, then it worked")
    return bool(
        paid == len(numbers) == by_query + by_notification
        and by_query >= len(numbers) // len(PRICES)
        and found["chaoying_refused_bodies_total", "unverified"] == 1
        and found["chaoying_on_paid_failures_total", ""] == 1
        and found["chaoying_decisions_total", "CONFLICT"] == 0
    )


async def read_metrics(caller: httpx.AsyncClient) -> dict[tuple[str, str], float]:
    """What Prometheus would read, by name and the value of the last label."""
    text = (await caller.get("/metrics")).text
    return {
        (sample.name, next(reversed(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def serve(port: int) -> None:
    """Customers come until somebody ends it."""
    async with open_shop(port) as (shop, _, caller):
        print(f"{caller.base_url}/metrics; Ctrl-C ends it", flush=True)
        forged: dict[str, Any] = {"content": b"out_trade_no=W00000&sign=forged"}
        for index, total in enumerate(itertools.cycle(PRICES)):
            await shop.order(f"W{index:08}", total, f"{caller.base_url}/notify")
            if index % 10 == 0:
                await caller.post("/notify", **forged)
            await asyncio.sleep(PAUSE)


def main() -> int:
    """0: everything adds up."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--port", type=int, default=9464)
    options = parser.parse_args()
    if not options.demo:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve(options.port))
        return 0
    right = asyncio.run(demo())
    print("Everything adds up." if right else "Something is WRONG.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
