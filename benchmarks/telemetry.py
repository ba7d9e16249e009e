"""What ``observer=Telemetry()`` costs a call: with OpenTelemetry's API alone, and with an SDK.

The same ``send(OrderQuery)`` over HTTP, with the observer and without, in rounds that alternate;
the median of the pairs' ratios counts. What is compared is this process's CPU time a call, since
the three percent that are allowed would drown in the clock's noise. In the row with the SDK every
span is recorded and thrown away, as by an exporter that costs nothing.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from benchmarks import gateway, handmade
from benchmarks.report import Row, run
from chaoying_async import Credentials, GatewaySession, Hosts, OrderQuery, PayType
from chaoying_async.abc import Observer
from chaoying_async.observing.otel import Telemetry

#: How many calls are under way at once: a busy server's, whose loop never waits for long.
IN_FLIGHT = 20
#: Three percent with the API alone. What an SDK costs is its own; that limit says if it jumps.
AT_MOST = {"API alone": (1.03, 1.01), "SDK, all recorded": (2.0, 1.3)}


def _observers() -> dict[str, Observer]:
    sdk = Telemetry(
        tracer_provider=TracerProvider(), meter_provider=MeterProvider([InMemoryMetricReader()])
    )
    return {"API alone": Telemetry(), "SDK, all recorded": sdk}


async def cost(session: GatewaySession, calls: int) -> float:
    """Microseconds of CPU time a call."""
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=handmade.OUT_TRADE_NO)

    async def caller() -> None:
        for _ in range(calls // IN_FLIGHT):
            await session.send(query)

    began = time.process_time()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return (time.process_time() - began) / calls * 1e6


async def compare(url: str, observer: Observer, rounds: int, calls: int) -> list[Any]:
    """The pairs of costs, with the observer and without; each is first in turn."""
    credentials = Credentials(agent_id=handmade.AGENT_ID, key=handmade.KEY, pid=handmade.PID)
    settings: dict[str, Any] = {"mch_id": handmade.MCH_ID, "hosts": Hosts.single(url)}
    pairs = []
    async with (
        GatewaySession(credentials, observer=observer, **settings) as observed,
        GatewaySession(credentials, **settings) as plain,
    ):
        for session in (observed, plain):  # connections are opened outside the measurement
            await cost(session, 100)
        gc.collect()
        for number in range(rounds):
            if number % 2:
                ours, peer = await cost(observed, calls), await cost(plain, calls)
            else:
                peer, ours = await cost(plain, calls), await cost(observed, calls)
            pairs.append((ours, peer))
    return pairs


def measure(quick: bool) -> Sequence[Row]:  # noqa: FBT001 - the one switch of all benchmarks
    rounds, calls = (4, 100) if quick else (500, 100)
    rows = []
    with gateway.answering(handmade.signed_reply()) as url:
        for what, observer in _observers().items():
            pairs = asyncio.run(compare(url, observer, rounds, calls))
            ratios = [ours / peer for ours, peer in pairs]
            peer = statistics.median(peer for _, peer in pairs)
            limit, reach = AT_MOST[what]
            rows.append(
                Row(
                    what=f"send(OrderQuery), observer, {what}",
                    ours=statistics.median(ratios) * peer,
                    peer=peer,
                    unit="us",
                    limit=limit,
                    reach=reach,
                    smaller_is_better=True,
                    rounds=ratios,
                )
            )
    return rows


if __name__ == "__main__":
    sys.exit(run("telemetry", measure))
