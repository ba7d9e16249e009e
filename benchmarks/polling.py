"""What a pending order costs: resident memory, adding one, and one turn of the scheduler.

    python -m benchmarks.polling [--quick] [--orders N] [--json PATH]

A gateway that answers "not yet" at once, under a clock moved by hand, so that what is measured is
the poller. 1,000,000 orders without a store, or 10,000 with ``--quick``. Each order counts with its
query and its number of 20 characters.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.report import Row, finish
from chaoying_async import OrderQuery, Poller, PollSchedule, Reply
from chaoying_async.sansio.enums import Code, PayType, State, TradeState
from chaoying_async.sansio.meaning import Meaning
from chaoying_async.testing import FakeClock

#: Bytes for each pending order, and µs of CPU to add one or to reschedule one: the most, and the
#: part of it at which it is hardly felt any more.
MOST_BYTES, MOST_MICROSECONDS = 500, 10.0
REACH = 0.5
PENDING = "pending with query and number, bytes each"


class NotYet:
    """A gateway without any cost of its own."""

    mch_id = None

    def __init__(self) -> None:
        self.reply: Any = Reply(
            endpoint=OrderQuery.endpoint,
            meaning=Meaning.PENDING,
            state=State.SUCCESS,
            code=Code.PAYING,
            msg=None,
            trade_state=TradeState.NEED_QUERY,
            result=None,
            signed=True,
            raw={},
        )

    async def send(self, request: Any, *, timeout: Any = None) -> Any:  # noqa: ARG002
        """Not yet."""
        return self.reply


def resident() -> int:
    """Bytes of this process that are in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096


async def measure(count: int) -> dict[str, float]:
    clock, found = FakeClock(), {}
    gc.collect()
    start = resident()
    queries = [
        OrderQuery(paytype=PayType.WECHAT, mch_id="00000001", out_trade_no=f"A{n:019d}")
        for n in range(count)
    ]
    gc.collect()
    before = resident()
    found["of that, query and number, bytes each"] = (before - start) / count
    schedule = PollSchedule(until=10_000.0, jitter=0)
    async with Poller(NotYet(), schedule, clock=clock) as poller:
        began = time.process_time()
        for query in queries:
            poller.track(query)
        found["adding, µs each"] = (time.process_time() - began) / count * 1e6
        gc.collect()
        found[PENDING] = (resident() - start) / count
        began = time.process_time()
        await clock.advance(5.51)  # everybody once
        polls = poller.stats().polls
        found["a poll (task, answer, decision, heap), µs"] = (
            (time.process_time() - began) / polls * 1e6
        )
        gc.collect()
        found["after that poll, bytes each"] = (resident() - start) / count
        scheduler = poller._scheduler  # noqa: SLF001 - the part to be timed
        orders = list(poller._orders)  # noqa: SLF001
        began = time.process_time()
        for order in orders:
            order.decide(clock.monotonic(), 0.0)
            scheduler._sleep(order)  # noqa: SLF001
        found["rescheduling alone, µs each"] = (time.process_time() - began) / count * 1e6
    return found


#: What is measured -> its limit and its unit; the rest has none.
LIMITS = {
    PENDING: (MOST_BYTES, "B"),
    "adding, µs each": (MOST_MICROSECONDS, "µs"),
    "rescheduling alone, µs each": (MOST_MICROSECONDS, "µs"),
}


def row(what: str, found: float) -> Row:
    limit, unit = LIMITS[what]
    return Row(
        what=what, ours=found, peer=limit, unit=unit, limit=1.0, reach=REACH, smaller_is_better=True
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.polling")
    parser.add_argument("--quick", action="store_true", help="10,000 orders; never fails")
    parser.add_argument("--orders", type=int, help="so many instead")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there")
    options = parser.parse_args()
    orders = options.orders or (10_000 if options.quick else 1_000_000)
    found = asyncio.run(measure(orders))
    also = {"orders": orders} | {what: found[what] for what in found if what not in LIMITS}
    return finish("polling", [row(what, found[what]) for what in LIMITS], options, also)


if __name__ == "__main__":
    sys.exit(main())
