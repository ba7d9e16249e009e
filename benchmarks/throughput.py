"""Requests a second of ``send(OrderQuery)`` against hand-written httpx and aiohttp.

All three sign, post, parse and verify; ours returns a typed reply, theirs a dict. All three keep
their default pool of 100 connections, so at 1,000 in flight nine in ten calls wait for one. Rounds
are interleaved and the medians compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import httpx

from benchmarks import gateway, handmade
from benchmarks.report import Row, run
from chaoying_async import Credentials, GatewaySession, Hosts, OrderQuery, PayType

Call = Callable[[], Awaitable[Any]]

#: In flight -> the least and the aim, against httpx and against aiohttp.
GOALS = {100: ((10.0, 13.0), (0.75, 1.0)), 1000: ((8.0, 12.0), (0.75, 1.0))}
PATH = "/UnifiedPay/Gateway/orderquery"


@contextlib.asynccontextmanager
async def contenders(url: str) -> AsyncIterator[dict[str, Call]]:
    """Each peer with one client that lives as long as the whole run."""
    credentials = Credentials(agent_id=handmade.AGENT_ID, key=handmade.KEY, pid=handmade.PID)
    async with (
        GatewaySession(credentials, mch_id=handmade.MCH_ID, hosts=Hosts.single(url)) as session,
        aiohttp.ClientSession() as by_aiohttp,
        # Its default of 5 s is too short for its own pool when 1,000 calls wait for it.
        httpx.AsyncClient(timeout=300) as by_httpx,
    ):

        async def ours() -> None:
            query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=handmade.OUT_TRADE_NO)
            reply = await session.send(query)
            reply.unwrap()

        yield {
            "ours": ours,
            "aiohttp": lambda: handmade.query_with_aiohttp(by_aiohttp, url + PATH),
            "httpx": lambda: handmade.query_with_httpx(by_httpx, url + PATH),
        }


async def rate(call: Call, in_flight: int, seconds: float) -> float:
    """Calls a second with ``in_flight`` callers who each call again at once."""
    calls = 0
    end = time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal calls
        while time.perf_counter() < end:
            await call()
            calls += 1

    gc.collect()
    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return calls / (time.perf_counter() - start)


async def compare(url: str, in_flight: int, rounds: int, seconds: float) -> dict[str, list[float]]:
    """The rates of every contender, one of each kind per round."""
    rates: dict[str, list[float]] = {}
    async with contenders(url) as calls:
        for call in calls.values():  # connections are opened outside the measurement
            await asyncio.gather(*(call() for _ in range(100)))
        for _ in range(rounds):
            for name, call in calls.items():
                rates.setdefault(name, []).append(await rate(call, in_flight, seconds))
    return rates


def measure(quick: bool) -> Sequence[Row]:  # noqa: FBT001 - the one switch of all benchmarks
    rounds, seconds = (1, 0.15) if quick else (7, 2.0)
    rows = []
    with gateway.answering(handmade.signed_reply()) as url:
        for in_flight, goals in GOALS.items():
            rates = asyncio.run(compare(url, in_flight, rounds, seconds))
            ours = statistics.median(rates["ours"])
            for peer, (limit, reach) in zip(("httpx", "aiohttp"), goals, strict=True):
                rows.append(
                    Row(
                        what=f"send(OrderQuery), {in_flight} in flight, to {peer}",
                        ours=ours,
                        peer=statistics.median(rates[peer]),
                        unit="/s",
                        limit=limit,
                        reach=reach,
                        rounds=[a / b for a, b in zip(rates["ours"], rates[peer], strict=True)],
                    )
                )
    return rows


if __name__ == "__main__":
    sys.exit(run("throughput", measure))
