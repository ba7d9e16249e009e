"""Bugs that are planted one at a time, so that the simulated world shows what it can find.

    python -m tests.hard.planted_bugs [NAME ...] [--first SEED] [--seeds N]

Each is planted by its behaviour, at a seam that users know or in a table of the rules, in a process
of its own. A bug that is not found within so many seeds means that the world is too mild.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from chaoying_async.testing.simulation import blank_files, campaign
from tests.hard import (
    planted_changes,
    planted_fleet,
    planted_notifications,
    planted_payments,
    planted_versions,
)
from tests.hard.planting import PLANTED
from tests.hard.versions import world as versions

#: Modules whose bugs are planted.
PLANTS = (
    *(planted_notifications, planted_payments, planted_changes, planted_fleet),
    planted_versions,
)
MOST = 2000


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def find(name: str, first: int, most: int) -> int:
    """Plant one bug in this process, and look for it; 0 when it was found."""
    bug = next(each for each in PLANTED if each.name == name)
    blank_files.blank_files()  # nothing is wrong with those
    stories = versions.stories if bug.versions else campaign.stories
    began, seeds = time.monotonic(), 0
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        for story in stories(first, most):
            seeds += 1
            if story.broken:
                took = time.monotonic() - began
                say(f"| {bug.name} | {bug.rule} | {seeds} | {took:.0f} s | {story.broken[0]} |")
                return 0
    say(f"| {bug.name} | {bug.rule} | NOT FOUND in {seeds} | | |")
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hard.planted_bugs")
    parser.add_argument("names", nargs="*", help="the bugs to look for; all of them by default")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=MOST)
    parser.add_argument("--here", action="store_true", help="look for one bug in this process")
    options = parser.parse_args(arguments)
    if options.here:
        return find(options.names[0], options.first, options.seeds)
    say("| planted | rule | seeds | time | what was found |\n| --- | --- | --- | --- | --- |")
    missed = 0
    for name in options.names or [each.name for each in PLANTED]:
        sys.stdout.flush()
        command = [sys.executable, "-m", "tests.hard.planted_bugs", name, "--here"]
        command += ["--first", str(options.first), "--seeds", str(options.seeds)]
        missed += bool(subprocess.run(command, check=False).returncode)
    say(f"{missed} were not found")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
