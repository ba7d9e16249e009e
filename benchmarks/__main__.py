"""All benchmarks, each in an interpreter of its own; 1 when any of them missed a minimum."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

BENCHMARKS = (
    *("throughput", "notification", "import_time", "sandbox"),
    *("polling", "polling_http", "polling_many", "pollstore", "faults"),
    *("web", "inbox", "paid_orders", "telemetry"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="a few minutes in all; never fails")
    parser.add_argument("--json", type=Path, metavar="DIR", help="write one file for each there")
    options = parser.parse_args()
    worst = 0
    for name in BENCHMARKS:
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        if options.quick:
            command.append("--quick")
        if options.json is not None:
            command += ["--json", str(options.json / f"{name}.json")]
        worst = max(worst, subprocess.run(command, check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
