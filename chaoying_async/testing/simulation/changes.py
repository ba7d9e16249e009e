"""What changes in the middle of a world, as it does in real ones: keys, clocks, programs.

None of it is a fault. A key is rotated by the book or a little late, a clock is put right or wrong,
a process is asked to end and another one begins in its place, as when a shop is deployed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs

#: A rotation that leaves so many seconds is seen by nobody: no message is that late by itself.
_AMPLE = 200.0
#: How often each kind of change is in a world.
_ROTATED, _STEPPED, _DEPLOYED, _RESOLVED = 0.2, 0.2, 0.15, 0.2
#: By how many seconds clocks jump.
_JUMPS = (1.0, -1.0, 20.0, -20.0, 200.0, -200.0, 3600.0, -3600.0)


@attrs.frozen(kw_only=True)
class Rotation:
    """The agent's key is replaced by another one."""

    at: float
    """When the gateway begins to sign with the new key; seconds since the world began."""
    until: float
    """When the old key verifies nothing any more, by the wall clock."""
    learns: Sequence[float]
    """When each process is started anew with both keys; 0: it has both from its beginning."""
    strict: bool
    """Whether the gateway takes no request that is signed with the other key than its own."""

    @property
    def is_ample(self) -> bool:
        """Whether nothing can be lost by it: everybody was told in time."""
        in_time = not any(self.learns) and self.until - self.at >= _AMPLE
        return in_time and not self.strict


@attrs.frozen(kw_only=True)
class ClockStep:
    """A wall clock jumps. What is monotonic does not."""

    at: float
    """When; seconds since the world began."""
    by: float
    """By how many seconds; below zero: it is set back."""
    slot: int | None
    """Whose clock; None: that of the computer, and so everybody's."""


@attrs.frozen(kw_only=True)
class Deploy:
    """A process is asked to end, as by SIGTERM, and another one begins in its place."""

    at: float
    """When; seconds since the world began."""
    slot: int
    """Which process."""


@attrs.frozen(kw_only=True)
class Changes:
    """All that changes in one world."""

    rotation: Rotation | None = None
    """How the key is replaced, if it is."""
    steps: Sequence[ClockStep] = ()
    """How wall clocks jump."""
    deploys: Sequence[Deploy] = ()
    """Which processes are replaced."""
    resolves: bool = False
    """Whether the handler asks a function for the key of each merchant (M-20), which may fail."""

    @property
    def are_unseen(self) -> bool:
        """Whether nothing of it can be in anybody's way."""
        ample = self.rotation is None or self.rotation.is_ample
        return ample and not self.steps and not self.deploys and not self.resolves

    @property
    def end_processes(self) -> bool:
        """Whether a process is asked to end before the world does."""
        learns = () if self.rotation is None else self.rotation.learns
        return bool(self.deploys) or any(learns)


def drawn_changes(rng: random.Random, processes: int, storm: float) -> Changes:
    """The changes of one world: in most of them none, and seldom all at once."""
    rotation = drawn_rotation(rng, processes, storm) if rng.random() < _ROTATED else None
    steps = drawn_steps(rng, processes, storm) if rng.random() < _STEPPED else ()
    deploys = drawn_deploys(rng, processes, storm) if rng.random() < _DEPLOYED else ()
    return Changes(
        rotation=rotation, steps=steps, deploys=deploys, resolves=rng.random() < _RESOLVED
    )


def drawn_rotation(rng: random.Random, processes: int, storm: float) -> Rotation:
    """By the book; or some processes are late, the old key's end is early, the gateway strict."""
    at = rng.uniform(0.0, min(storm, 60.0))
    if rng.random() < 0.4:  # noqa: PLR2004 - nobody tunes this
        return Rotation(at=at, until=at + 600.0, learns=(0.0,) * processes, strict=False)
    return Rotation(
        at=at,
        until=at + rng.choice((0.0, 5.0, 40.0, 600.0)),
        learns=[
            rng.choice((0.0, at * rng.random(), rng.uniform(at, storm))) for _ in range(processes)
        ],
        strict=rng.random() < 0.3,  # noqa: PLR2004
    )


def drawn_steps(rng: random.Random, processes: int, storm: float) -> Sequence[ClockStep]:
    """The computer's clock jumps, perhaps often; or one process's is wrong from the first."""
    steps = [
        ClockStep(at=rng.uniform(0.0, min(storm, 90.0)), by=rng.choice(_JUMPS), slot=None)
        for _ in range(rng.randint(0, 3))
    ]
    if not steps or rng.random() < 0.3:  # noqa: PLR2004
        slot = rng.randrange(processes)
        steps.append(ClockStep(at=0.0, by=rng.choice(_JUMPS), slot=slot))
    return sorted(steps, key=lambda step: step.at)


def drawn_deploys(rng: random.Random, processes: int, storm: float) -> Sequence[Deploy]:
    """One process after the other, or just one of them."""
    first = rng.uniform(0.0, min(storm, 60.0))
    slots = range(processes) if rng.random() < 0.6 else [rng.randrange(processes)]  # noqa: PLR2004
    pause = rng.choice((0.0, 5.0, 20.0))
    return [Deploy(at=first + number * pause, slot=slot) for number, slot in enumerate(slots)]
