"""The long runs at full size, one after the other, into one JSON file that can be continued.

    python -m benchmarks.soak --json benchmarks/results/soak.json

CI runs the same tests in a small size. A part that already ended well in that file, at the same
commit, is not run again; so a run that was broken off is continued by the same command. ``--only``
runs the parts that have these words in their name, and leaves the others in the file as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: What is proven -> the tests that prove it, by node or file.
PARTS = {
    "10,000,000 amounts are exact": [
        "tests/pure/test_values.py::test_every_single_amount_up_to_99999_99_is_exact"
    ],
    "100,000 random cancellations, session": [
        "tests/session/test_many_calls.py::test_cancelling_at_random_leaves_the_pool_whole"
    ],
    "payments cut at every byte are charged once": [
        "tests/session/test_many_calls.py::test_payments_cut_at_every_byte_are_charged_once"
    ],
    "200 merchants interleaved": [
        "tests/session/test_many_calls.py::test_many_merchants_on_one_loop_never_mix"
    ],
    "10,000 sessions opened and closed": [
        "tests/session/test_lifecycle.py::test_opening_and_closing_sessions_leaks_no_descriptor"
    ],
    "1,000 engines opened and closed": [
        "tests/transport/test_pool.py::test_r33_opening_and_closing_leaks_no_descriptor"
    ],
    "100,000 random cancellations, aiohttp's engine": [
        "tests/transport/test_pool.py",
        "-k",
        "random_cancellation and aiohttp",
    ],
    "100,000 random cancellations, httpx's engine": [
        "tests/transport/test_pool.py",
        "-k",
        "random_cancellation and httpx",
    ],
    "ten minutes behind a line that resets, trickles, stalls and half-closes": [
        "tests/hard/test_bad_line.py",
        *("-s", "-p", "no:logging"),  # whose handler keeps every record
    ],
}


#: How a test begins a line of what it measured.
FIGURE = "* "


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def _run(arguments: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    began = time.monotonic()
    done = subprocess.run(
        command, env={**os.environ, "FULL": "1"}, capture_output=True, text=True, check=False
    )
    lines = done.stdout.strip().splitlines() or [""]
    return {
        "command": "FULL=1 " + shlex.join(["python", *command[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 1),
        "passed": done.returncode == 0,
        "figures": [line.removeprefix(FIGURE) for line in lines if line.startswith(FIGURE)],
        "said": lines[-1],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--json", type=Path, required=True, metavar="PATH")
    parser.add_argument("--only", default="", metavar="WORDS")
    options = parser.parse_args()
    path: Path = options.json
    results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    commit = _commit()
    parts = {part: tests for part, tests in PARTS.items() if options.only in part}
    for part, tests in parts.items():
        last = results.get(part, {})
        if not last.get("passed") or last["commit"] != commit:
            results[part] = {"commit": commit, "python": sys.version.split()[0], **_run(tests)}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(f"{part:<72} {results[part]['said']}", flush=True)
    return int(not all(results[part]["passed"] for part in parts))


if __name__ == "__main__":
    sys.exit(main())
