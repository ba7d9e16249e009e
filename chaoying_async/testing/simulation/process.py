"""A process of the simulated world: tasks and files that live and die together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Protocol

import attrs

from chaoying_async.sansio.credentials import Credentials
from chaoying_async.testing.simulation.loop import OWNER, SimulatedLoop, SimulatedTask, Turn
from chaoying_async.testing.simulation.timeline import Happening, Timeline

#: When every world begins.
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class SimulatedClock:
    """A machine's clock: its wall clock is ``ahead`` seconds off, its seconds are true."""

    def __init__(self, loop: SimulatedLoop, ahead: float = 0.0) -> None:
        self._loop = loop
        self.ahead = ahead

    def now(self) -> datetime:
        """The wall clock."""
        return BEGINNING + timedelta(seconds=self._loop.time() + self.ahead)

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """``asyncio.sleep``, which is virtual here."""
        await asyncio.sleep(seconds)  # noqa: TID251 - this is a clock

    def timeout(self, seconds: float | None) -> asyncio.Timeout:
        """``asyncio.timeout``, which is virtual here."""
        return asyncio.timeout(seconds)  # noqa: TID251 - this is a clock


class Openable(Protocol):
    """What the operating system closes when its process is gone."""

    was_used: bool

    def torn_down(self) -> None:
        """Close at once, as after a kill: what was not committed is gone."""
        ...


@attrs.frozen
class OutsideDeed:
    """Something that a shop did outside of its database."""

    at: float
    """When; seconds since the world began."""
    who: str
    """The process that did it."""
    what: str
    """What it did."""
    number: str
    """The order that it did it for."""


class Blow(Enum):
    """What can be done to a process at any of its steps."""

    KILL = "kill"
    """No ``finally`` runs; the operating system closes the files."""
    STOP = "stop"
    """As by SIGSTOP: nothing of it runs until it is resumed, and its locks stay."""
    CANCEL = "cancel"
    """One of its own tasks is cancelled, as when a client hangs up."""
    CUT_OFF = "cut off"
    """Its network is away: it reaches neither database nor gateway, and nobody reaches it."""


class Process:
    """One process; :meth:`start` begins it, and everything that its tasks begin belongs to it."""

    def __init__(self, name: str, loop: SimulatedLoop, timeline: Timeline) -> None:
        self.name = name
        self._loop = loop
        self._timeline = timeline
        self.alive = True
        self.stopped = False
        #: Whether its network is away.
        self.cut_off = False
        #: The key that it may not believe any more, if there is one.
        self.ended_key: Callable[[], Credentials | None] = lambda: None
        #: What it did outside of its database.
        self.deeds: list[OutsideDeed] = []
        #: How many steps it has made.
        self.steps = 0
        #: Connections to files; closed when the process is killed.
        self.files: dict[Openable, None] = {}
        #: Tasks that the program itself began, and whether one may be cancelled alone.
        self.work: dict[asyncio.Task[Any], bool] = {}
        self._put_away: list[Turn] = []
        self._buried: list[SimulatedTask[Any]] = []
        self._armed: tuple[int, Callable[[], None]] | None = None
        self.context: Context = copy_context()
        self.context.run(OWNER.set, self)

    def __repr__(self) -> str:
        state = "stopped" if self.stopped else "alive" if self.alive else "dead"
        return f"<Process {self.name} {state}>"

    def start(
        self, work: Coroutine[Any, Any, Any], name: str = "main", *, lasts: bool = False
    ) -> asyncio.Task[Any]:
        """Run a coroutine in this process; :meth:`cancel` may pick it, unless it ``lasts``."""
        task = self._loop.create_task(work, name=f"{self.name} {name}", context=self.context.copy())
        self.work[task] = lasts
        task.add_done_callback(self.work.pop)
        return task

    def may_run(self, step: Turn) -> bool:
        """Count a step of this process; False where it is put away instead."""
        if self._armed is not None and self.alive and not self.stopped:
            left, act = self._armed
            self._armed = (left - 1, act) if left > 0 else None
            if left <= 0:
                act()
        if not self.alive or self.stopped:
            self._put_away.append(step)
            return False
        self.steps += 1
        return True

    def did(self, what: str, number: str) -> None:
        """Note what no rollback undoes."""
        self.deeds.append(OutsideDeed(self._loop.time(), self.name, what, number))
        self._timeline.note(Happening.OUTSIDE, f"{what} {number}".rstrip(), self.name)

    def arm(self, steps: int, act: Callable[[], None]) -> None:
        """Do something to this process after so many more of its steps, between two of them."""
        self._armed = (steps, act)

    def kill(self) -> None:
        """End it as the operating system does: nothing of it runs any more."""
        if not self.alive:
            return
        self._note("is killed")
        self.alive, self.stopped = False, False
        # Kept: a coroutine that is thrown away runs its ``finally``, as no killed process does.
        self._buried = self._loop.tasks_of(self)
        for file in list(self.files):
            file.torn_down()
        self.files.clear()

    def ended(self) -> None:
        """Note that it came to its own end."""
        self.alive = False
        self._note("has ended")
        self._buried = self._loop.tasks_of(self)

    def stop(self) -> None:
        """Stop it, as SIGSTOP does."""
        if self.alive and not self.stopped:
            self._note("is stopped")
            self.stopped = True

    def resume(self) -> None:
        """Let it go on, as SIGCONT does: timers that ran out meanwhile ring now."""
        if not self.stopped:
            return
        self._note("goes on")
        self.stopped = False
        waiting, self._put_away = self._put_away, []
        for step in waiting:
            self._loop.again(step)

    def cut(self) -> None:
        """Take its network away."""
        if self.alive and not self.cut_off:
            self._note("is cut off")
            self.cut_off = True

    def reconnect(self) -> None:
        """Give its network back."""
        if self.cut_off:
            self._note("is connected again")
            self.cut_off = False

    def cancel(self, rng: random.Random) -> None:
        """Cancel one of the tasks that the program began, of those that do not last."""
        if tasks := [task for task, lasts in self.work.items() if not lasts]:
            task = rng.choice(tasks)
            self._note(f"cancels {task.get_name()}")
            task.cancel()

    async def cancel_work(self) -> None:
        """Cancel all that the program began, but who asks, and wait for its end.

        A customer may come in meanwhile, so it looks again.
        """
        me = asyncio.current_task()
        while others := [task for task in self.work if task is not me and not task.done()]:
            for task in others:
                task.cancel()
            await asyncio.wait(others)

    def left_over(self) -> list[SimulatedTask[Any]]:
        """Tasks that have not ended."""
        return [task for task in self._buried or self._loop.tasks_of(self) if not task.done()]

    def bury(self) -> None:
        """After the end of the world: cancel what is left, so that no coroutine is abandoned."""
        self.alive, self.stopped = True, False
        waiting, self._put_away = self._put_away, []
        for step in waiting:
            self._loop.again(step)
        for task in self._loop.tasks_of(self):
            task.cancel()
        self._buried = []

    def _note(self, what: str) -> None:
        self._timeline.note(Happening.PROCESS, what, self.name)
