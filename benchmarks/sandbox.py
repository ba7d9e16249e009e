"""Calls a second that the sandbox carries in process, against the 3,000 that tests may count on.

A till's usual mix (pay, two queries, refund, refundquery), everything signed, checked and booked:
through ``GatewaySession``, and by a caller that costs next to nothing.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx

from benchmarks.report import Row, run
from chaoying_async import GatewaySession, OrderQuery, Pay, PayType, Refund, RefundQuery
from chaoying_async.sandbox import Sandbox
from chaoying_async.sansio.exchange import Defaults, build_request

AT_LEAST = 3_000
#: Beyond this the sandbox would hardly be felt in a test.
REACH = 6_000

Send = Callable[[Any], Awaitable[Any]]


def sale(number: str) -> list[Any]:
    """One order's calls."""
    wallet = PayType.WECHAT
    return [
        Pay(out_trade_no=number, body="纸巾", total_fee=1000, auth_code="130000000000001111"),
        OrderQuery(paytype=wallet, out_trade_no=number),
        OrderQuery(paytype=wallet, out_trade_no=number),
        Refund(
            paytype=wallet,
            out_trade_no=number,
            out_refund_no=f"TK-{number}",
            total_fee=1000,
            refund_fee=400,
        ),
        RefundQuery(paytype=wallet, out_refund_no=f"TK-{number}"),
    ]


async def through_session(calls: Sequence[Any]) -> float:
    """Calls a second, as a test with the library makes them."""
    async with (
        Sandbox() as sandbox,
        GatewaySession(
            sandbox.credentials,
            mch_id=sandbox.mch_id,
            op_user_id="01",
            transport=sandbox.transport,
            clock=sandbox.clock,
        ) as session,
    ):
        began = time.perf_counter()
        for call in calls:
            await session.send(call)
        return len(calls) / (time.perf_counter() - began)


async def by_themselves(calls: Sequence[Any]) -> float:
    """Calls a second of the sandbox's transport, the requests being ready."""
    async with Sandbox() as sandbox:
        defaults = Defaults(mch_id=sandbox.mch_id, op_user_id="01")
        built = [build_request(call, sandbox.credentials, defaults=defaults) for call in calls]
        requests = [
            httpx.Request(each.method, each.url, headers=list(each.headers), content=each.body)
            for each in built
        ]
        began = time.perf_counter()
        for request in requests:
            await sandbox.transport.handle_async_request(request)
        took = time.perf_counter() - began
        if sandbox.requests.get("refundquery") != len(calls) // 5:
            raise RuntimeError("the sandbox did not count every call")
        return len(calls) / took


def measure(quick: bool) -> Sequence[Row]:  # noqa: FBT001 - the one switch of all benchmarks
    rounds, orders = (2, 40) if quick else (9, 600)
    calls = [call for number in range(orders) for call in sale(f"A{number:07d}")]
    rows = []
    for what, way in (("through GatewaySession", through_session), ("alone", by_themselves)):
        asyncio.run(way(calls[:50]))
        found = [asyncio.run(way(calls)) for _ in range(rounds)]
        rows.append(
            Row(
                what=f"sandbox in process, {what}, to {AT_LEAST:,}",
                ours=statistics.median(found),
                peer=AT_LEAST,
                unit="1/s",
                limit=1.0,
                reach=REACH / AT_LEAST,
                rounds=[each / AT_LEAST for each in found],
            )
        )
    return rows


if __name__ == "__main__":
    sys.exit(run("sandbox", measure))
