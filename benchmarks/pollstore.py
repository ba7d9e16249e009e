"""What it costs that nothing is forgotten: orders tracked a second, and how soon they are back.

    python -m benchmarks.pollstore [--quick] [--directory DIR] [--json PATH]

A SQLite file, written through to the disk at every commit, in DIR (else the system's temporary
directory, which may not be a disk). 100,000 orders are tracked at once; 10,000 more by 100 callers
who each wait until theirs is durable; and then another poller picks all of them up. A tenth of
that with ``--quick``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.polling import NotYet
from benchmarks.report import Row, finish
from chaoying_async import OrderQuery, Poller, PollSchedule
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.enums import PayType

#: Tracked orders a second at the least; seconds that the pick-up of 100,000 may take.
LEAST_TRACKED, MOST_SECONDS, ORDERS = 2000.0, 10.0, 100_000
CALLERS = 100
#: Nothing is asked meanwhile: it is the store that is measured.
LATER = PollSchedule(first=3600.0, until=7200.0)


def queries(count: int, prefix: str) -> list[OrderQuery]:
    return [
        OrderQuery(paytype=PayType.WECHAT, mch_id="00000001", out_trade_no=f"{prefix}{n:09d}")
        for n in range(count)
    ]


async def tracked(where: Path, count: int) -> dict[str, float]:
    found: dict[str, float] = {}
    async with SqlPollStore(where) as store, Poller(NotYet(), LATER, store=store) as poller:
        many = queries(count, "A")
        began, busy = time.perf_counter(), time.process_time()
        for query in many:
            poller.track(query, 100)
        await poller.kept()
        found["tracked at once, orders/s"] = count / (time.perf_counter() - began)
        found["CPU for each of them, µs"] = (time.process_time() - busy) / count * 1e6

        async def caller(orders: list[OrderQuery]) -> None:
            for query in orders:
                poller.track(query, 100)
                await poller.kept()

        each = queries(count // 10, "B")
        began = time.perf_counter()
        await asyncio.gather(*(caller(each[n::CALLERS]) for n in range(CALLERS)))
        found["tracked and awaited by 100, orders/s"] = len(each) / (time.perf_counter() - began)
    return found


async def picked_up(where: Path) -> dict[str, float]:
    began, busy = time.perf_counter(), time.process_time()
    async with SqlPollStore(where) as store, Poller(NotYet(), LATER, store=store) as poller:
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
        orders = len(poller.pending())
    return {"orders picked up": orders, "pick-up of all, s": seconds, "of that CPU, s": busy}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pollstore")
    parser.add_argument("--quick", action="store_true", help="10,000 orders; never fails")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="where the file is made")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there")
    options = parser.parse_args()
    count = ORDERS // 10 if options.quick else ORDERS
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        where = Path(directory, "polls.db")
        found = asyncio.run(tracked(where, count)) | asyncio.run(picked_up(where))
        found["file, bytes an order"] = where.stat().st_size / found["orders picked up"]
    seconds = found["pick-up of all, s"] / found["orders picked up"] * ORDERS
    rows = [
        *(
            Row(what=what, ours=found[what], peer=LEAST_TRACKED, unit="/s", limit=1.0, reach=2.0)
            for what in ("tracked at once, orders/s", "tracked and awaited by 100, orders/s")
        ),
        Row(
            what="pick-up of 100,000, s",
            ours=seconds,
            peer=MOST_SECONDS,
            unit="s",
            limit=1.0,
            reach=0.5,
            smaller_is_better=True,
        ),
    ]
    return finish("pollstore", rows, options, found)


if __name__ == "__main__":
    sys.exit(main())
