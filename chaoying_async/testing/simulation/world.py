"""One simulated world, from its seed to its end: a shop, its processes, its files, its gateway."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import re
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from contextvars import copy_context
from pathlib import Path

from chaoying_async.sandbox.bank.entities import Key, OrderKind, Status
from chaoying_async.sandbox.bank.scenarios import SCENARIOS
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.testing.simulation.blank_files import (
    SHOP,
    blank_files,
    compiled,
    shared_memory,
)
from chaoying_async.testing.simulation.checks import CHECKS, BothBooks
from chaoying_async.testing.simulation.computer import Computer, Program, todays_program
from chaoying_async.testing.simulation.far_side import FarSide
from chaoying_async.testing.simulation.fleet_checks import FLEET_CHECKS
from chaoying_async.testing.simulation.fleet_weather import asked_again, with_fleet
from chaoying_async.testing.simulation.front_door import NOWHERE
from chaoying_async.testing.simulation.key_ring import KeyRing
from chaoying_async.testing.simulation.log_lines import LogLines
from chaoying_async.testing.simulation.loop import SimulatedLoop, SimulationError
from chaoying_async.testing.simulation.network import Network
from chaoying_async.testing.simulation.outages import with_outages
from chaoying_async.testing.simulation.process import Process, SimulatedClock
from chaoying_async.testing.simulation.sales import Purchase, drawn_purchase
from chaoying_async.testing.simulation.shrink import without as plainer
from chaoying_async.testing.simulation.story import Story
from chaoying_async.testing.simulation.surroundings import Surroundings
from chaoying_async.testing.simulation.timeline import Happening, Timeline
from chaoying_async.testing.simulation.users_shop import ClosedBooks, SoldOrder, UsersShop
from chaoying_async.testing.simulation.weather import (
    Disk,
    Weather,
    changed,
    drawn,
    drawn_for_users,
)

#: Seconds after the storm in which everything has to come to its end.
_CALM = 4000.0
_LOOK = 10.0
#: Seconds that a process may take to end: the handler's grace, and its files; and one that waits
#: for a dead process's lease does so to its end.
_LAST = 90.0
#: Seconds that the gateway waits for an answer.
_PATIENCE = 3.0
#: Where an object is in memory, as its repr says: somewhere else every time.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class SimulatedWorld:
    """A world; :meth:`run` lets it happen."""

    def __init__(
        self,
        seed: int,
        weather: Weather | None = None,
        *,
        users: UsersShop | None = None,
        without: Sequence[str] = (),
        program: Program = todays_program,
    ) -> None:
        self.seed = seed
        self.users = users
        self._rng = random.Random(seed)
        draw = drawn if users is None else drawn_for_users
        self.weather = draw(self._rng) if weather is None else weather
        if users is not None:
            self.weather = users.weather(self.weather)
        elif weather is None:
            self.weather = with_fleet(random.Random(f"{seed}/fleet"), self.weather)
            self.weather = changed(random.Random(f"{seed}/changes"), self.weather)
            self.weather = with_outages(random.Random(f"{seed}/unplugged"), self.weather)
            self.weather = asked_again(random.Random(f"{seed}/again"), self.weather)
        self.weather = plainer(self.weather, without)
        # Dice of their own, so that what is taken away from one leaves the others as they were.
        wire, mail, disk, sales, steps = (
            random.Random(f"{seed}/{name}") for name in ("wire", "mail", "disk", "sales", "steps")
        )
        self._loop = SimulatedLoop(steps, shuffled=self.weather.shuffled)
        self.timeline = Timeline(self._loop.time)
        credentials = Credentials(
            agent_id="13000000000000000", key=f"{self._rng.getrandbits(128):032x}", pid="sim"
        )
        #: What its parts share.
        self.shared = Surroundings(
            loop=self._loop,
            timeline=self.timeline,
            weather=self.weather,
            users=users,
            context=copy_context(),
        )
        self._keys = KeyRing(self.shared, random.Random(f"{seed}/keys"), credentials)
        self._far = FarSide(self.shared, mail, keys=self._keys, post=self._post)
        self._network = Network(
            self.shared,
            wire,
            answer=self._far.gateway.answer,
            keys=self._keys,
            clock=self._far.clock,
        )
        self._clock = SimulatedClock(self._loop)
        self._computer = Computer(
            self.shared,
            self._rng,
            network=self._network,
            keys=self._keys,
            disk=Disk(disk, self.weather, lambda: self.shared.is_calm),
            compiled=compiled(),
            program=program,
        )
        name = f"S{seed % 10**9:09d}N"
        self._sales = [
            drawn_purchase(sales, self.weather, f"{name}{number}")
            for number in range(self.weather.sales)
        ]
        self._logged: list[str] = []
        self._broken: list[str] = []

    # --------------------------------------------------------------------------------- what happens

    def run(self) -> Story:
        """Let it happen, and hold the books against each other."""
        log = LogLines(self._log)
        gc_was_on = gc.isenabled()
        gc.disable()  # what it finalizes, and when, depends on more than the seed
        try:
            with tempfile.TemporaryDirectory(dir=shared_memory()) as folder, log:
                self.shared.folder = Path(folder)
                for name, content in self._first_files().items():
                    (self.shared.folder / name).write_bytes(content)
                with closing(sqlite3.connect(self.shared.inbox_path, timeout=0)) as self._observer:
                    self._happen()
                    self._judge()
                log.hear_no_more()
                self._bury()
                self._computer.forget()  # what it holds is collected here, and heard of by nobody
                self._loop.complaints.clear()
                gc.collect()
        finally:
            if gc_was_on:
                gc.enable()
        return Story(
            seed=self.seed,
            broken=tuple(self._broken),
            weather=self.weather,
            timeline=self.timeline,
            steps=self._loop.steps,
        )

    def _first_files(self) -> Mapping[str, bytes]:
        blank = blank_files()
        return blank if self.users is None else self.users.files(blank, self.shared.folder, SHOP)

    def _happen(self) -> None:
        try:
            self._loop.run_until_complete(
                self._loop.create_task(self._life(), name="world", context=self.shared.context)
            )
        except SimulationError as error:
            self._break(f"M-17: {error}")

    async def _life(self) -> None:
        self._computer.begin()
        customers = [
            self._loop.create_task(self._customer(sale), name="customer") for sale in self._sales
        ]
        await self._clock.sleep(self.weather.storm)
        self._calm_down()
        await asyncio.wait(customers)
        until = self._loop.time() + _CALM
        while self._loop.time() < until and (
            self._unsettled() or self._loop.time() < until - _CALM
        ):
            await self._clock.sleep(_LOOK)
        self.timeline.note(Happening.WORLD, "every process is asked to end")
        await self._computer.close(_LAST + self.weather.lease)

    def _calm_down(self) -> None:
        self.timeline.note(Happening.WORLD, "the storm is over")
        self.shared.is_calm = True
        self._computer.calm_down()

    def _unsettled(self) -> bool:
        """Whether anything is still to come."""
        if self._computer.keeps_dying:
            return False
        if self._far.under_way or self._network.under_way:
            return True
        if not self._computer.is_settled:
            return True
        evidence = self._evidence()
        return bool(self._undecided(evidence)) or next(self._judged(evidence), None) is not None

    # ------------------------------------------------------------------------------------ customers

    async def _customer(self, sale: Purchase) -> None:
        await self._clock.sleep(sale.at)
        for _ in range(20):
            ready = [
                program
                for program in self._computer.programs
                if (program.is_till if sale.at_till or self._has_to_track else program.is_open)
                and not program.process.stopped
            ]
            if ready:
                program = self._rng.choice(ready)
                program.process.start(program.sell(sale), f"sale {sale.number}")
                return
            await self._clock.sleep(5.0)

    @property
    def _has_to_track(self) -> bool:
        return self.weather.polls and self.weather.tracks_once

    # -------------------------------------------------------------------------------- notifications

    async def _post(
        self, key: Key, body: bytes, *, untrue: str = "", outdated: bool = False
    ) -> bytes | None:
        await self._clock.sleep(self._network.way())
        ready = [
            program
            for program in self._computer.programs
            if program.is_open and not program.process.cut_off
        ]
        if not ready:
            return None
        program = self._rng.choice(ready)
        if outdated and program.process.ended_key() is None:
            return None
        process, number = program.process, key[1]
        said = f" ({untrue})" if untrue else ""
        self.timeline.note(Happening.NOTIFIED, f"{number}{said}", process.name)
        reply: asyncio.Future[bytes] = self._loop.create_future()

        def answered(answer: bytes) -> None:
            self.timeline.note(
                Happening.ANSWERED, f"{number}{said}: {answer.decode()}", process.name
            )
            self._check_answer(key, answer, untrue=untrue)
            self._network.later(self._network.way(), come, answer)

        def come(answer: bytes) -> None:
            if not reply.done():
                reply.set_result(answer)

        task = process.start(program.serve(body, answered), f"request {number}")
        await asyncio.wait([reply], timeout=_PATIENCE)
        if reply.done():
            return reply.result()
        if self.weather.hangs_up and process.alive:
            task.cancel()
        return None

    def _check_answer(self, key: Key, answer: bytes, *, untrue: str) -> None:
        """M-14: nothing is acknowledged before its effect is durable."""
        if answer in NOWHERE:
            self._break(f"notify_path: nothing takes a notification there: {answer.decode()}")
        if answer != b"success":
            return
        number, order = key[1], self._far.ledger.orders[key]
        if untrue:
            self._break(f"M-14: {untrue} was acknowledged for {number}")
        elif order.paid_at is not None and number not in {each[0] for each in self._effects()}:
            self._break(f"M-14: {number} was acknowledged before its effect was durable")

    # -------------------------------------------------------------------------------------- the end

    def _judge(self) -> None:
        for what in self._judged(self._evidence()):
            self._break(what)
        for owner, context in self._loop.complaints:
            if owner is None or (isinstance(owner, Process) and owner.alive):
                self._break(f"asyncio: {context.get('message')}: {context.get('exception')!r}")

    def _judged(self, evidence: BothBooks) -> Iterator[str]:
        """What is wrong; what is asked for the first alone is not looked for any further."""
        for check in (*CHECKS, *(FLEET_CHECKS if self.weather.shards else ())):
            yield from check(evidence)
        if self.users is not None:
            yield from self.users.complaints(self._books(evidence))

    def _undecided(self, found: BothBooks) -> list[str]:
        """What is no fault yet, and still to come."""
        open_orders = [
            order.out_trade_no
            for order in found.ledger.orders.values()
            if order.status is Status.OPEN and order.kind is OrderKind.WECHAT_PREORDER
        ]
        returns = [number for number, state in found.returns.items() if state == "open"]
        return open_orders + returns

    def _break(self, what: str) -> None:
        if what not in self._broken:
            self._broken.append(what)
            self.timeline.note(Happening.BROKEN, what)

    def _evidence(self) -> BothBooks:
        read = self._observer.execute
        return BothBooks(
            weather=self.weather,
            sales=self._sales,
            mch_id=self.shared.mch_id,
            ledger=self._far.ledger,
            clock=self._far.clock,
            words=self.shared.words,
            orders=dict(read("SELECT number, state FROM shop_orders").fetchall()),
            effects=self._effects(),
            returns=dict(read("SELECT refund_no, state FROM shop_returns").fetchall()),
            left=self._network.left,
            sent=self._network.sent,
            sent_last=self._network.sent_last,
            replied=self._network.replied,
            repeated=self._network.repeated,
            tracked=self.shared.tracked,
            given=self.shared.given,
            accepted=frozenset(self._far.accepted),
            given_up=frozenset(self._far.given_up),
            left_over=self._computer.left_over,
            hanging=self._computer.hanging,
            died=self._computer.died,
            logged=self._logged,
            secrets=(*self._keys.all_keys, *(sale.auth_code for sale in self._sales)),
        )

    def _books(self, found: BothBooks) -> ClosedBooks:
        """What a user's check is shown."""
        orders = {sale.number: found.order(sale.number) for sale in self._sales}
        deeds = [deed for process in self._computer.processes for deed in process.deeds]
        return ClosedBooks(
            sales=[
                SoldOrder(
                    number,
                    order.payable,
                    order.status is Status.PAID,
                    not SCENARIOS[order.scenario].off_by,
                )
                for number, order in orders.items()
                if order is not None
            ],
            delivered=Counter(number for number, _, _ in found.effects),
            deeds=sorted(deeds, key=lambda deed: deed.at),
            folder=self.shared.folder,
        )

    def _effects(self) -> list[tuple[str, str, int | None]]:
        if self.users is not None and self.users.delivered:
            numbers = self._observer.execute(self.users.delivered).fetchall()
            return [(str(row[0]), "paid", None) for row in numbers]
        read = self._observer.execute("SELECT number, how, payable FROM shop_effects ORDER BY id")
        return read.fetchall()

    def _bury(self) -> None:
        """Let every task that is left come to its end, so that no coroutine is thrown away."""
        processes = self._computer.processes
        self.timeline.listeners.clear()
        for _ in range(5):
            for process in processes:
                process.bury()
            for task in self._loop.tasks_of(None):
                task.cancel()
            self._loop.run_idle(20_000)
            if not asyncio.all_tasks(self._loop):
                break
        self._loop.close()

    def _log(self, record: logging.LogRecord) -> None:
        """Take a line of the library's log."""
        text = _ADDRESS.sub("", record.getMessage().replace(str(self.shared.folder), ""))
        self._logged.append(text)
        if record.levelno >= logging.WARNING:
            self.timeline.note(Happening.LOG, f"{record.levelname} {text[:200]}")
