"""100,000 orders and refunds of every kind, polled to their ends under a clock moved by hand.

    python -m benchmarks.polling_many [--quick] [--orders N] [--json PATH]

Against the in-process sandbox, whose ledger says how each should have ended. What
tests/hard/test_mixed_orders.py runs in a small size. ``--quick``: 1,000 orders.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from benchmarks.report import Row, finish
from tests.hard.mixed_orders import polled


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.polling_many")
    parser.add_argument("--quick", action="store_true", help="1,000 orders; never fails")
    parser.add_argument("--orders", type=int, help="so many instead")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there")
    options = parser.parse_args()
    orders = options.orders or (1_000 if options.quick else 100_000)
    began = time.monotonic()
    found = asyncio.run(polled(orders))
    took = time.monotonic() - began
    print(*found.wrong[:20], sep="\n")
    row = Row(
        what=f"orders that ended wrong, of {orders:,}",
        ours=float(len(found.wrong)),
        peer=1.0,
        unit="",
        limit=0.0,
        reach=0.0,
        smaller_is_better=True,
    )
    also = {
        "orders": orders,
        "ends": {str(status): count for status, count in sorted(found.ends.items())},
        "queries": found.polls,
        "days on the clock": round(found.clock / 86_400, 1),
        "wall time, s (making the orders too)": round(took, 1),
    }
    return finish("polling_many", [row], options, also)


if __name__ == "__main__":
    sys.exit(main())
