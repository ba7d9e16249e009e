"""How long ``import chaoying_async`` takes, against importing its own base dependencies.

In fresh interpreters, alternating, so that a slow moment of the machine hits both alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.report import Row, run

OURS = "import chaoying_async"
PEER = "import httpx, attrs, cattrs, anyio"
_TIMED = """
import sys, time
start = time.perf_counter()
{statement}
print(time.perf_counter() - start)
"""


def milliseconds(statement: str) -> float:
    """The time of one import in an interpreter of its own."""
    command = [sys.executable, "-c", _TIMED.format(statement=statement)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout) * 1000


def measure(quick: bool) -> Sequence[Row]:  # noqa: FBT001 - the one switch of all benchmarks
    rounds = 2 if quick else 25
    for statement in (OURS, PEER):  # writes the byte code
        milliseconds(statement)
    pairs = [(milliseconds(OURS), milliseconds(PEER)) for _ in range(rounds)]
    return [
        Row(
            what=f"{OURS}, to {PEER.removeprefix('import ')}",
            ours=statistics.median(ours for ours, _ in pairs),
            peer=statistics.median(peer for _, peer in pairs),
            unit="ms",
            limit=1.25,
            reach=1.1,
            smaller_is_better=True,
            rounds=[ours / peer for ours, peer in pairs],
        )
    ]


if __name__ == "__main__":
    sys.exit(run("import_time", measure))
