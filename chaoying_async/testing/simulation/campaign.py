"""Many seeds, one after the other, until one breaks a rule, the time is over, or all are done."""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from chaoying_async.clock import SystemClock
from chaoying_async.testing.simulation.shrink import shrunk
from chaoying_async.testing.simulation.story import Story
from chaoying_async.testing.simulation.users_shop import UsersShop
from chaoying_async.testing.simulation.world import SimulatedWorld

_WARM_UP = 1
#: Where a file of figures has those of simulated worlds.
_FIGURES = "simulated worlds"
_AGAIN = "python -m chaoying_async.testing.simulation --seed {} --trace"


def stories(
    first: int,
    count: int | None = None,
    seconds: float | None = None,
    *,
    users: UsersShop | None = None,
    without: Sequence[str] = (),
) -> Iterator[Story]:
    """The stories of the seeds from ``first`` on: so many, or as many as fit into the time.

    ``users`` is a shop of a user's; else it is the world's own.
    """
    clock = SystemClock()
    if users is None:
        story_of(_WARM_UP)
    gc.collect()
    was_frozen = gc.get_freeze_count() > 0
    gc.freeze()  # every world is collected at its end, and need not look at the program itself
    until = None if seconds is None else clock.monotonic() + seconds
    seed = first
    try:
        while count is None or seed < first + count:
            if until is not None and clock.monotonic() >= until:
                return
            yield story_of(seed, without, users=users)
            seed += 1
    finally:
        if not was_frozen:
            gc.unfreeze()


def story_of(seed: int, without: Sequence[str] = (), *, users: UsersShop | None = None) -> Story:
    """The story of one seed; what goes wrong with the world itself says which one it was."""
    try:
        return SimulatedWorld(seed, users=users, without=without).run()
    except BaseException as error:
        error.add_note(f"this happened in the world of seed {seed}: {_AGAIN.format(seed)}")
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 where a rule was broken."""
    options = _options().parse_args(arguments)
    if options.seed is not None:
        story, taken = story_of(options.seed, options.without or ()), options.without or []
        if options.shrink and story.broken:
            story, taken = shrunk(story, partial(story_of, options.seed))
        if options.trace:
            _say(str(story.timeline))
        _tell(story, taken)
        return bool(story.broken)
    clock = SystemClock()
    first = options.first
    if first is None:  # other seeds every time
        first = int(clock.now().timestamp()) * 1000
    _say(f"seeds from {first} on; one of them again: {_AGAIN.format('SEED')}")
    began, done = clock.monotonic(), 0
    broken: list[Story] = []
    for story in stories(first, options.seeds, options.seconds):
        done += 1
        if story.broken:
            _tell(story)
            broken.append(story)
    pace = done / max(0.001, clock.monotonic() - began) * 60
    _say(f"{done} seeds from {first} on, {pace:.0f} a minute: {len(broken)} broke a rule")
    if options.add_to is not None:
        add_figures(options.add_to, done, len(broken))
    if broken:  # at the end, where whoever reads a log of CI looks first
        story, taken = shrunk(broken[0], partial(story_of, broken[0].seed))
        _say(story.brief)
        _tell(story, taken)
    return bool(broken or not done)


def add_figures(file: Path, done: int, broken: int) -> None:
    """Add a run's figures to those of the runs before it; the rest of the file stays as it is."""
    figures = json.loads(file.read_text("utf-8")) if file.exists() else {}
    known = figures.setdefault(_FIGURES, {})
    for name, count in (("seeds", done), ("that broke a rule", broken)):
        known[name] = known.get(name, 0) + count
    file.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaoying_async.testing.simulation")
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument("--trace", action="store_true", help="print its whole story")
    parser.add_argument(
        "--shrink", action="store_true", help="take away what is not needed to break the rule"
    )
    parser.add_argument(
        "--without", action="append", metavar="NAME", help="take this away; may be given again"
    )
    parser.add_argument("--first", type=int, help="the first of many seeds; by default a new one")
    parser.add_argument("--seeds", type=int, help="so many seeds")
    parser.add_argument("--seconds", type=float, help="as many seeds as fit into this time")
    parser.add_argument(
        "--add-to",
        type=Path,
        metavar="FILE",
        help="add how many seeds there were to this JSON file",
    )
    return parser


def _tell(story: Story, taken: Sequence[str] = ()) -> None:
    _say(f"seed {story.seed}: {'; '.join(story.broken) or 'no rule was broken'}")
    again = "".join(f" --without {name}" for name in taken)
    _say(f"  its story is {story.timeline.fingerprint}; again: {_AGAIN.format(story.seed)}{again}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
