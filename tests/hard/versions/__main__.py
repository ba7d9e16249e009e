"""Worlds with two versions, one seed after the other; 1 where a rule was broken.

python -m tests.hard.versions [--with last|next] [--seconds N | --seeds N] [--first SEED]
python -m tests.hard.versions --seed 4711 [--trace]
python -m tests.hard.versions --keep COMMIT    # its files into tests/data/versions
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from chaoying_async.clock import SystemClock
from chaoying_async.testing.simulation import Story
from tests.hard.versions.loading import OTHERS, keep
from tests.hard.versions.world import TwoVersions, stories


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def tell(story: Story) -> None:
    say(f"seed {story.seed}: {'; '.join(story.broken) or 'no rule was broken'}")
    say(f"  its story is {story.timeline.fingerprint}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hard.versions")
    parser.add_argument("--with", dest="called", choices=list(OTHERS), default="")
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument("--trace", action="store_true", help="print its whole story")
    parser.add_argument("--first", type=int, help="the first of many seeds; by default a new one")
    parser.add_argument("--seeds", type=int, help="so many seeds")
    parser.add_argument("--seconds", type=float, help="as many seeds as fit into this time")
    parser.add_argument("--keep", metavar="COMMIT", help="keep the files of a commit as a version")
    options = parser.parse_args(arguments)
    if options.keep:
        say(str(keep(options.keep)))
        return 0
    if options.seed is not None:
        story = TwoVersions(options.seed, options.called).run()
        if options.trace:
            say(str(story.timeline))
        tell(story)
        return bool(story.broken)
    clock = SystemClock()
    first = int(clock.now().timestamp()) * 1000 if options.first is None else options.first
    began, done, broken = clock.monotonic(), 0, 0
    for story in stories(first, options.seeds, options.seconds, options.called):
        done += 1
        if story.broken:
            broken += 1
            tell(story)
    pace = done / max(0.001, clock.monotonic() - began) * 60
    say(f"{done} seeds from {first} on, {pace:.0f} a minute: {broken} broke a rule")
    return bool(broken or not done)


if __name__ == "__main__":
    sys.exit(main())
