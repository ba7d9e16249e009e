"""Goes through the files of ``sansio/`` and says how many mutants the tests kill.

    python -m tests.hard.mutation [ROOM ...] [--most N] [--seed N] [--again] [--json FILE]

A room is a file or folder under ``chaoying_async/sansio``. Of a file with more mutants than
``--most``, as many are drawn by chance. ``--again`` tries only those that survived the last time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# What the tests stand on is loaded once, before the copies are made; the package itself is not.
import aiohttp  # noqa: F401
import anyio  # noqa: F401
import attrs
import cattrs.preconf.json  # noqa: F401
import httpx  # noqa: F401
import hypothesis.strategies  # noqa: F401
import pytest_asyncio  # noqa: F401
import respx  # noqa: F401
import sqlalchemy.ext.asyncio  # noqa: F401

from tests.hard.mutation import covering, trial
from tests.hard.mutation.covering import ROOT, SANSIO, Covering
from tests.hard.mutation.mutants import Mutant, mutants_of
from tests.hard.mutation.trial import KILLED, NOT_SO, SURVIVED, TIMED_OUT, Trial

RESULTS = ROOT / "benchmarks/results/mutation.json"


def say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


def files_of(rooms: Sequence[str]) -> Iterator[str]:
    for room in rooms or [""]:
        path = ROOT / SANSIO / room
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            yield str(file.relative_to(ROOT))


def outcomes(trials: Sequence[Trial], known: Covering) -> Iterator[tuple[Trial, str]]:
    """What became of each: by an exchanged function where that can be."""
    rest = {(each.path, each.mutant): each for each in trials}
    for tried, outcome in trial.exchanged([each for each in trials if each.tests]):
        # A table may have been read while other modules were loaded: of that an exchange knows not.
        if outcome != NOT_SO and (tried.mutant.in_function or outcome != SURVIVED):
            del rest[tried.path, tried.mutant]
            yield tried, outcome
    for each in rest.values():
        tests = each.tests or known.of_file(each.path)
        yield from trial.anew([attrs.evolve(each, tests=tests)])


def summary(found: Mapping[Mutant, str], of: int) -> dict[str, Any]:
    counts = Counter(found.values())
    left = [mutant for mutant, outcome in found.items() if outcome == SURVIVED]
    return {
        "of": of,
        "mutants": len(found),
        "killed": counts[KILLED],
        "timed_out": counts[TIMED_OUT],
        "survived": len(left),
        "survivors": {str(each.number): f"line {each.line}: {each.what}" for each in left},
    }


def corrected(before: Mapping[str, Any], again: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a file after its survivors were tried again."""
    more = {name: before[name] + again[name] for name in ("killed", "timed_out")}
    return {**before, **more, **{name: again[name] for name in ("survived", "survivors")}}


def tell(results: dict[str, Any]) -> None:
    """A line a file, and all of them together."""
    sums: Counter[str] = Counter()
    for path, file in results.items():
        numbers = {name: value for name, value in file.items() if name != "survivors"}
        sums.update(numbers)
        say(_line(path.removeprefix(f"{SANSIO}/"), numbers))
    say(_line("all", sums))


def _line(name: str, numbers: Mapping[str, int]) -> str:
    noticed = numbers["killed"] + numbers["timed_out"]
    share = 100 * noticed / max(1, numbers["mutants"])
    return f"{name:34}{noticed:5} of {numbers['mutants']:5} noticed, {share:5.1f} %"


def plan(path: str, known: Covering, options: argparse.Namespace, before: Any) -> list[Trial]:
    every = mutants_of((ROOT / path).read_text("utf-8"))
    most = options.most if every else 0
    chosen = random.Random(f"{options.seed} {path}").sample(every, min(most, len(every)))
    if options.again:
        left = before["survivors"] if before else {}
        chosen = [mutant for mutant in every if str(mutant.number) in left]
    trials = []
    for mutant in sorted(chosen, key=lambda mutant: mutant.number):
        lines = range(mutant.first, mutant.last + 1)
        tests = known.of_lines(path, lines) if mutant.in_function else known.of_file(path)
        trials.append(Trial(path, mutant, tests))
    return trials


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hard.mutation")
    parser.add_argument("rooms", nargs="*", help="files or folders below sansio; all by default")
    parser.add_argument("--most", type=int, default=150, help="mutants of one file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="only those that survived before")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    os.environ["QUICK"] = "1"
    results = json.loads(options.json.read_text("utf-8")) if options.json.exists() else {}
    known, paths = covering.known(), list(files_of(options.rooms))
    trials = [each for path in paths for each in plan(path, known, options, results.get(path))]
    found: dict[str, dict[Mutant, str]] = {path: {} for path in paths}
    for count, (tried, outcome) in enumerate(outcomes(trials, known), 1):
        found[tried.path][tried.mutant] = outcome
        if not count % 100:
            say(f"{count} of {len(trials)}")
        if outcome != KILLED:
            say(f"{outcome}: {tried.path}:{tried.mutant.line} {tried.mutant.what}")
    for path in paths:
        if found[path]:
            new = summary(found[path], len(mutants_of((ROOT / path).read_text("utf-8"))))
            results[path] = corrected(results[path], new) if options.again else new
    options.json.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n", "utf-8")
    tell(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
