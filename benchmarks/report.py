"""The table and the JSON file that every benchmark ends with, and its exit code."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("chaoying-async", "httpx", "httpcore", "aiohttp", "attrs", "cattrs", "anyio")


@dataclass(frozen=True)
class Row:
    """One comparison: ``ratio`` is ours to the peer's, to be on the right side of ``limit``."""

    what: str
    ours: float
    peer: float
    unit: str
    limit: float
    reach: float
    smaller_is_better: bool = False
    rounds: Sequence[float] = field(default=())

    @property
    def ratio(self) -> float:
        """Ours in units of the peer's."""
        return self.ours / self.peer

    @property
    def missed(self) -> bool:
        """Whether the minimum was missed."""
        worse = self.ratio > self.limit if self.smaller_is_better else self.ratio < self.limit
        return bool(worse)


def _line(row: Row) -> str:
    least = "at most " if row.smaller_is_better else "at least"
    verdict = "MISSED" if row.missed else "ok"
    return (
        f"{row.what:<44} {row.ours:>10,.1f} {row.peer:>10,.1f} {row.unit:<6}"
        f" {row.ratio:>6.2f} x  {least} {row.limit:<5g} reach {row.reach:<5g} {verdict}"
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def finish(
    name: str,
    rows: Sequence[Row],
    options: argparse.Namespace,
    also: Mapping[str, Any] | None = None,
) -> int:
    """Print, write the JSON file if asked for; 1 when a minimum was missed, except with --quick.

    ``also``: figures that have no limit, by what they say.
    """
    print(f"{name:<44} {'ours':>10} {'peer':>10}")
    for row in rows:
        print(_line(row))
    for what, value in (also or {}).items():
        print(f"{what:<44} {f'{value:,.1f}' if isinstance(value, float) else value!s:>10}")
    print(flush=True)
    if options.json is not None:
        path: Path = options.json
        path.parent.mkdir(parents=True, exist_ok=True)
        report = {
            "benchmark": name,
            "command": shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
            "quick": options.quick,
            "versions": {package: _version(package) for package in PACKAGES},
            **({"also": dict(also)} if also else {}),
            "rows": [asdict(row) | {"ratio": row.ratio, "missed": row.missed} for row in rows],
        }
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return int(any(row.missed for row in rows) and not options.quick)


def run(name: str, measure: Callable[[bool], Sequence[Row]]) -> int:
    """The command line of one benchmark."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help="a moment only; never fails")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there")
    options = parser.parse_args()
    return finish(name, measure(options.quick), options)
