"""The computer that the shop's processes run on: it starts, strikes and replaces them.

It has their wall clocks, too.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from chaoying_async.notifications.keys import Resolver
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.testing.simulation.changes import ClockStep
from chaoying_async.testing.simulation.fleet_program import FleetProgram
from chaoying_async.testing.simulation.inline_sqlite import Compiled, SimulatedFiles
from chaoying_async.testing.simulation.key_ring import KeyRing
from chaoying_async.testing.simulation.network import Network, NetworkCard
from chaoying_async.testing.simulation.process import Blow, Process, SimulatedClock
from chaoying_async.testing.simulation.shop_program import ShopProgram
from chaoying_async.testing.simulation.surroundings import Surroundings
from chaoying_async.testing.simulation.timeline import Happening, Line
from chaoying_async.testing.simulation.weather import Disk, PlannedBlow

#: Seconds after which another process begins where one has died, or has ended.
_AFTER_DEATH, _AFTER_END = 5.0, 0.5
#: Seconds that what a process has left behind may take to go.
_A_MOMENT = 1.0
#: So many deaths are no accident.
_OFTEN = 5


@attrs.frozen(kw_only=True)
class Launch:
    """What a process is started with."""

    world: Surroundings
    process: Process
    files: SimulatedFiles
    network: Network
    clock: SimulatedClock
    rng: random.Random
    wants_till: bool
    credentials: Credentials = attrs.field(repr=False)
    """What it was configured with."""
    verified_by: Credentials | Resolver = attrs.field(repr=False)
    """What its handler is given."""
    slot: int
    """Which of the computer's processes it is."""
    deploys: int
    """How often another one has been deployed in its place."""


#: What a process runs.
Program = Callable[[Launch], ShopProgram]


def todays_program(launch: Launch) -> ShopProgram:
    """The program of this version of the library."""
    program = FleetProgram if launch.world.weather.shards else ShopProgram
    return program(
        launch.world,
        launch.process,
        files=launch.files,
        card=NetworkCard(launch.network, launch.process),
        clock=launch.clock,
        rng=launch.rng,
        wants_till=launch.wants_till,
        credentials=launch.credentials,
        verified_by=launch.verified_by,
    )


class Computer:
    """Runs the shop's processes; what befalls them is in the weather."""

    def __init__(
        self,
        world: Surroundings,
        rng: random.Random,
        *,
        network: Network,
        keys: KeyRing,
        disk: Disk,
        compiled: Compiled,
        program: Program,
    ) -> None:
        self._world = world
        self._timeline = world.timeline
        self._weather = world.weather
        self._rng = rng
        self._network = network
        self._keys = keys
        self._disk = disk
        self._compiled = compiled
        self._program = program
        self._clocks = [SimulatedClock(world.loop) for _ in range(self._weather.processes)]
        self._launched: Counter[int] = Counter()
        self._deployed: Counter[int] = Counter()
        self._blows = list(self._weather.blows)
        self._seen: Counter[tuple[str, Happening]] = Counter()
        self._closing = False
        #: The programs that run, by slot.
        self.running: dict[int, ShopProgram] = {}
        #: Processes that are gone.
        self.dead: list[Process] = []
        #: What outlived its process.
        self.left_over: list[str] = []
        #: Processes that never came to their end.
        self.hanging: list[str] = []
        #: Programs that ended by an error.
        self.died: list[str] = []
        self._died_in_the_storm = 0
        self._mains: dict[Process, asyncio.Task[Any]] = {}
        self._timeline.listeners.append(self._listen)

    @property
    def programs(self) -> list[ShopProgram]:
        """The programs that run."""
        return list(self.running.values())

    @property
    def processes(self) -> list[Process]:
        """All processes that there ever were."""
        return [*self.dead, *(program.process for program in self.programs)]

    @property
    def is_settled(self) -> bool:
        """Whether every process is there, and nothing is under way in any."""
        full = len(self.running) == self._weather.processes
        return full and not any(program.is_busy for program in self.programs)

    @property
    def keeps_dying(self) -> bool:
        """Whether programs die though nothing befalls them any more."""
        return len(self.died) > self._died_in_the_storm + _OFTEN

    def begin(self) -> None:
        """Start every process, and plan what is to change."""
        changes = self._weather.changes
        for step in changes.steps:
            if step.at > 0:
                self._network.later(step.at, self._jump, step)
            else:
                self._jump(step)
        for slot in range(self._weather.processes):
            self._launch(slot)
        for deploy in changes.deploys:
            self._network.later(deploy.at, self._replace, deploy.slot, "is replaced")
        if changes.rotation is not None:
            for slot, at in enumerate(changes.rotation.learns):
                if at > 0:
                    self._network.later(at, self._replace, slot, "is given the new key")

    def forget(self) -> None:
        """Hold nothing any more, so that it can be collected."""
        self.running.clear()
        self.dead.clear()
        self._mains.clear()

    # ------------------------------------------------------------------------ beginning and end

    def _launch(self, slot: int) -> None:
        if self._closing:
            return
        self._launched[slot] += 1
        name = f"shop{slot + 1}" + (f".{self._launched[slot]}" if self._launched[slot] > 1 else "")
        process = Process(name, self._world.loop, self._timeline)
        self._timeline.note(Happening.PROCESS, "begins", name)
        resolves = self._weather.changes.resolves
        credentials = self._keys.given_to(slot)
        launch = Launch(
            world=self._world,
            process=process,
            files=SimulatedFiles(process, self._timeline, self._disk, compiled=self._compiled),
            network=self._network,
            clock=self._clocks[slot],
            rng=random.Random(self._rng.getrandbits(32)),
            wants_till=slot == 0 or self._weather.rivals,
            credentials=credentials,
            verified_by=self._keys.resolver(slot) if resolves else credentials,
            slot=slot,
            deploys=self._deployed[slot],
        )
        process.ended_key = lambda: self._keys.ended_for(credentials)
        program = self._program(launch)
        self.running[slot] = program
        main = process.start(program.main(), lasts=True)
        self._mains[process] = main
        ended = partial(self._ended, slot, program)
        main.add_done_callback(ended, context=self._world.context)

    def _ended(self, slot: int, program: ShopProgram, main: asyncio.Task[Any]) -> None:
        process = program.process
        if not process.alive or self.running.get(slot) is not program:
            return
        if main.cancelled() or main.exception() is not None:
            error = "cancelled" if main.cancelled() else repr(main.exception())
            self.died.append(f"{process.name}: {error}")
            self._timeline.note(Happening.PROCESS, f"dies: {error[:200]}", process.name)
            process.kill()
            self._bring_back(slot, program, _AFTER_DEATH)
        elif not self._closing:
            self._network.later(_A_MOMENT, self._has_ended, program)
            self._bring_back(slot, program, _AFTER_END)

    def _has_ended(self, program: ShopProgram) -> None:
        self._look_for_leaks(program)
        program.process.ended()

    def _bring_back(self, slot: int, program: ShopProgram, seconds: float) -> None:
        del self.running[slot]
        self.dead.append(program.process)
        self._network.later(seconds, self._launch, slot)

    async def close(self, patience: float) -> None:
        """Ask every process to end, and look at what it leaves behind."""
        self._closing = True
        programs = self.programs
        for program in programs:
            program.close()
        mains = [self._mains[program.process] for program in programs]
        if mains:
            await asyncio.wait(mains, timeout=patience)
        for program in programs:
            if not self._mains[program.process].done():
                self.hanging.append(program.process.name)
            else:
                await asyncio.sleep(_A_MOMENT)  # noqa: TID251 - virtual here
                self._look_for_leaks(program)

    def _look_for_leaks(self, program: ShopProgram) -> None:
        process = program.process
        self.left_over += [f"task {task.get_name()}" for task in process.left_over()]
        # Older aiosqlites lose a connection whose caller is cancelled while it is being made.
        open_files = [file for file in process.files if file.was_used]
        self.left_over += [f"a connection of {process.name}" for _ in open_files]
        for engine in program.engines:
            checked_out = getattr(engine.pool, "checkedout", None)  # a NullPool has none
            if checked_out is not None and checked_out():
                self.left_over.append(f"a connection checked out in {process.name}")

    # ------------------------------------------------------------------------- what befalls them

    def _listen(self, line: Line) -> None:
        if not line.who or not self._blows:
            return
        what = (line.who.partition(".")[0], line.happening)
        self._seen[what] += 1
        for planned in self._blows:
            if planned.after is line.happening and planned.times == self._seen[what]:
                self._blows.remove(planned)
                self._plan(line.who, planned)
                return

    def _plan(self, name: str, planned: PlannedBlow) -> None:
        for slot, program in self.running.items():
            if program.process.name == name:
                strike = partial(self._strike, slot, program, planned)
                if planned.blow is Blow.CUT_OFF and not planned.steps:
                    strike()  # while the process waits: a reply finds it no more
                else:
                    program.process.arm(planned.steps, strike)
                return

    def _strike(self, slot: int, program: ShopProgram, planned: PlannedBlow) -> None:
        process = program.process
        if self._world.is_calm or not process.alive or self.running.get(slot) is not program:
            return
        match planned.blow:
            case Blow.KILL:
                process.kill()
                self._bring_back(slot, program, planned.lasts)
            case Blow.STOP:
                process.stop()
                self._network.later(planned.lasts, process.resume)
            case Blow.CANCEL:
                process.cancel(self._rng)
            case Blow.CUT_OFF:
                process.cut()
                self._network.later(planned.lasts, process.reconnect)

    def _replace(self, slot: int, why: str) -> None:
        program = self.running.get(slot)
        self._deployed[slot] += 1
        if program is not None and not self._closing:
            self._timeline.note(Happening.PROCESS, why, program.process.name)
            program.close()

    def _jump(self, step: ClockStep) -> None:
        for slot, clock in enumerate(self._clocks):
            if step.slot in (None, slot):
                clock.ahead += step.by
        whose = "the wall clock" if step.slot is None else f"shop{step.slot + 1}'s wall clock"
        self._timeline.note(Happening.WORLD, f"{whose} jumps by {step.by:+.0f} s")

    def calm_down(self) -> None:
        """Let nothing befall anybody any more, and put the clocks right."""
        self._blows.clear()
        self._died_in_the_storm = len(self.died)
        for clock in self._clocks:
            clock.ahead = 0.0
        for program in self.programs:
            program.process.arm(0, lambda: None)
            program.process.resume()
            program.process.reconnect()
