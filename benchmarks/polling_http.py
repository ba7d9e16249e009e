"""What a poller adds to bare ``gateway.send`` calls: CPU of this process, over real HTTP.

    python -m benchmarks.polling_http [--quick] [--json PATH]

nginx in another process gives every query the same answer. The same queries are sent twice, 100 in
flight: by a poller, and by 100 tasks that call ``send`` and do nothing else. Rounds are interleaved
and the median of their ratios counts.

- *not yet, over and over*: 200 orders that stay open and are asked some 20 times each, as waiting
  mostly is (by the document's schedule an order is asked 36 times).
- *paid at once*: every query has an order of its own, which is added, asked, and ended.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import attrs

from benchmarks import gateway, handmade
from benchmarks.report import Row, run
from chaoying_async import (
    Credentials,
    GatewaySession,
    Hosts,
    OrderQuery,
    PayType,
    Poller,
    PollSchedule,
)

IN_FLIGHT = 100
#: Our CPU to that of the bare calls: at most, and the aim.
AT_MOST, REACH = 1.15, 1.10

#: One query for each order, at once.
AT_ONCE = PollSchedule(first=0.0, jitter=0.0)


def not_yet() -> bytes:
    """A signed NEED_QUERY that names no order, and so answers for every one (M-06)."""
    fields = {
        "state": "SUCCESS",
        "code": "10001",
        "trade_state": "NEED_QUERY",
        "msg": "USERPAYING",
        "mch_id": handmade.MCH_ID,
        "nonce_str": "a849df6660cb4354b6fe5b23120a73ce",
    }
    return signed(fields)


def paid() -> bytes:
    """A signed success that names no merchant, and so answers for all of them."""
    fields = json.loads(handmade.signed_reply())
    return signed({name: fields[name] for name in fields if name not in ("sign", "mch_id")})


def signed(fields: dict[str, str]) -> bytes:
    return json.dumps(fields | {"sign": handmade.sign(fields, handmade.KEY)}).encode()


def orders(count: int) -> list[OrderQuery]:
    """Different orders of one merchant."""
    return [OrderQuery(paytype=PayType.WECHAT, out_trade_no=f"A{n:09d}") for n in range(count)]


def merchants(count: int) -> list[OrderQuery]:
    """The same number at different merchants, which are different orders (M-18)."""
    return [
        OrderQuery(paytype=PayType.WECHAT, out_trade_no=handmade.OUT_TRADE_NO, mch_id=f"f{n:020d}")
        for n in range(count)
    ]


async def bare(session: GatewaySession, wanted: Sequence[OrderQuery], sends: int) -> int:
    left = iter(range(sends))

    async def caller() -> None:
        for number in left:
            await session.send(wanted[number % len(wanted)])

    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return sends


async def polled(
    session: GatewaySession, wanted: Sequence[OrderQuery], schedule: PollSchedule
) -> int:
    async with Poller(session, schedule, concurrency=IN_FLIGHT) as poller:
        async for outcome in poller.run(wanted):
            if outcome.error is not None:
                raise outcome.error
        return poller.stats().polls


async def cpu(work: Callable[[], Awaitable[int]]) -> tuple[float, int]:
    """Seconds of this process, and how many queries that was for."""
    gc.collect()
    began = time.process_time()
    sends = await work()
    return time.process_time() - began, sends


@attrs.frozen
class Round:
    """µs of CPU for each query, by a poller and by bare calls."""

    by_poller: float
    by_send: float


async def compare(
    session: GatewaySession, wanted: Sequence[OrderQuery], schedule: PollSchedule, *, first: bool
) -> Round:
    """One round; ``first``: the poller goes first, else the bare calls that it made last time."""

    async def poll() -> int:
        return await polled(session, wanted, schedule)

    if not first:
        spent, sends = await cpu(lambda: bare(session, wanted, len(wanted)))
        by_send = spent / sends
    spent, polls = await cpu(poll)
    by_poller = spent / polls
    if first:
        spent, sends = await cpu(lambda: bare(session, wanted, polls))
        by_send = spent / sends
    return Round(by_poller * 1e6, by_send * 1e6)


async def rounds(
    url: str, wanted: Sequence[OrderQuery], schedule: PollSchedule, count: int
) -> list[Round]:
    credentials = Credentials(agent_id=handmade.AGENT_ID, key=handmade.KEY, pid=handmade.PID)
    hosts = Hosts.single(url)
    async with GatewaySession(credentials, mch_id=handmade.MCH_ID, hosts=hosts) as session:
        await bare(session, wanted, 1000)  # connections are opened outside the measurement
        return [
            await compare(session, wanted, schedule, first=number % 2 == 0)
            for number in range(count)
        ]


def measure(quick: bool) -> Sequence[Row]:  # noqa: FBT001 - the one switch of all benchmarks
    count, size, seconds = (2, 200, 0.2) if quick else (15, 2000, 1.0)
    often = PollSchedule(first=0.0, every=0.01, until=seconds, jitter=0.0)
    ways: tuple[tuple[str, bytes, list[OrderQuery], PollSchedule], ...] = (
        ("not yet, over and over", not_yet(), orders(size // 10), often),
        ("paid at once", paid(), merchants(size), AT_ONCE),
    )
    rows = []
    for name, answer, wanted, schedule in ways:
        with gateway.answering(answer) as url:
            found = asyncio.run(rounds(url, wanted, schedule, count))
        ratios = [each.by_poller / each.by_send for each in found]
        by_send = statistics.median(each.by_send for each in found)
        rows.append(
            Row(
                what=f"CPU of a query, {name}",
                ours=by_send * statistics.median(ratios),
                peer=by_send,
                unit="µs",
                limit=AT_MOST,
                reach=REACH,
                smaller_is_better=True,
                rounds=ratios,
            )
        )
    return rows


if __name__ == "__main__":
    sys.exit(run("polling_http", measure))
