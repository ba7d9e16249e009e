"""10,000 orders over real HTTP with 20 % faults, judged by the gateway's own books.

    python -m benchmarks.faults [--quick] [--orders N] [--json PATH]

What tests/hard/test_rush_hour.py runs in a small size: once by ``checkout``, once by paying and
polling. Fails when any order ended otherwise than the books have it. ``--quick``: 200 orders.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.report import Row, finish
from tests.hard.faulty_tills import run

FAULTY = 0.2
SEED = 20260104
WAYS = ("checkout", "poller")


def measured(way: str, orders: int) -> tuple[Row, dict[str, Any]]:
    began = time.monotonic()
    verdict, shop = asyncio.run(run(orders, SEED, FAULTY, way))
    took = time.monotonic() - began
    print(f"{way}: how it ended, and how it stands in the books")
    print(*verdict.table(), *verdict.wrong, "", sep="\n")
    wrong = len(verdict.wrong)
    row = Row(
        what=f"{way}: orders that ended wrong, of {orders:,}",
        ours=float(wrong),
        peer=1.0,
        unit="",
        limit=0.0,
        reach=0.0,
        smaller_is_better=True,
    )
    ends = {f"{end} / {book}": n for (end, book), n in sorted(verdict.ends.items())}
    return row, {
        f"{way}: orders": orders,
        f"{way}: believed / in the books": ends,
        f"{way}: requests": sum(shop.wire.sent.values()),
        f"{way}: payments sent twice": sum(
            n > 1 for what, n in shop.wire.sent.items() if what.startswith("pay ")
        ),
        f"{way}: seconds on the clock": round(shop.clock.monotonic()),
        f"{way}: seconds it took": round(took, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults")
    parser.add_argument("--quick", action="store_true", help="200 orders; never fails")
    parser.add_argument("--orders", type=int, help="so many instead")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there")
    options = parser.parse_args()
    orders = options.orders or (200 if options.quick else 10_000)
    rows, also = [], dict[str, Any](faults=FAULTY, seed=SEED)
    for way in WAYS:
        row, more = measured(way, orders)
        rows.append(row)
        also |= more
    return finish("faults", rows, options, also)


if __name__ == "__main__":
    sys.exit(main())
