"""Payments and refunds that leave from one process, and come to their end by any (M-23, M-24)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Generator, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaoying_async import (
    AttemptInProgressError,
    ChaoyingError,
    CheckoutStatus,
    GatewayError,
    Pay,
    PayType,
    Refund,
    StoreError,
    fen,
)
from chaoying_async.testing.simulation.inline_sqlite import CalmDisk, Trouble
from chaoying_async.testing.simulation.process import Process
from chaoying_async.workers.database import FleetDatabase
from tests.sizes import cases, sampled
from tests.workers.virtual import THEN, TOLD, VirtualFleet

pytestmark = [
    pytest.mark.slow,
    # A process that is killed closes nothing, and its connections are thrown away.
    pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CODE = "134567890123456789"
ORDER = "A1000101"
#: What the sandbox does by an amount.
AMOUNTS = PAID, PASSWORD, NEVER, NO_ORDER, LOST = "12.30", "14.01", "14.05", "14.14", "14.22"

#: After how many of its steps a sender dies: all of its work takes fewer than the last.
STEPS = cases((24, 36, 48, 60, 120, 200), more=(*range(0, 60, 5), *range(70, 400, 20)))


@pytest.fixture
def world(tmp_path: Path) -> Generator[VirtualFleet]:
    found = VirtualFleet(tmp_path)
    yield found
    found.close()


def pay(amount: str = PAID, number: str = ORDER) -> Pay:
    return Pay(
        out_trade_no=number,
        body="tea",
        total_fee=fen(amount),
        auth_code=CODE,
        mch_create_ip="127.0.0.1",
        op_user_id="cashier01",
    )


def refund(number: str = "R1000101", amount: str = PAID) -> Refund:
    return Refund(
        paytype=PayType.WECHAT,
        out_trade_no=ORDER,
        out_refund_no=number,
        total_fee=fen(PAID),
        refund_fee=fen(amount),
        op_user_id="cashier01",
    )


def test_what_is_paid_at_once_is_returned_and_told(world: VirtualFleet) -> None:
    """The till shows what is returned; the task gets it too, whatever happens to the till."""
    process = world.process("a")
    fleet = world.fleet(process)

    async def work() -> Any:
        async with fleet:
            outcome = await fleet.checkout(pay(), then=THEN)
            while not TOLD:
                await world.clock.sleep(0.1)
            return outcome

    outcome = world.run(process, work())
    assert outcome.status is CheckoutStatus.PAID
    (told,) = TOLD
    assert (told["status"], told["payable"], told["of"]) == ("PAID", 1230, "checkout")
    assert world.rows() == []


def test_a_payment_code_is_never_written_down(world: VirtualFleet) -> None:
    """M-23: not while it is under way, and not in the outcome."""
    sender = _sending(world, NEVER)
    world.until(world.rows)
    texts = [world.file()]
    world.until(lambda: TOLD)
    texts += [world.file(), str(TOLD).encode()]
    assert sender.alive
    assert not any(CODE.encode() in text for text in texts)


def test_who_never_pays_is_cancelled_by_the_fleet_in_its_window(world: VirtualFleet) -> None:
    """M-24: between 30 and 240 s after the pay call started, since a query cannot know more."""
    sender = _sending(world, NEVER)
    world.until(lambda: TOLD)
    assert sender.alive
    assert [told["status"] for told in TOLD] == ["CANCELLED"]
    assert world.kept == 0


@pytest.mark.parametrize(("step", "amount"), [*sampled(product(STEPS, AMOUNTS), every=7)])
def test_a_sender_that_dies_at_any_step_leaves_no_payment_without_an_end(
    world: VirtualFleet, step: int, amount: str
) -> None:
    """What the shop is told is what the bank keeps; what never left is told of to nobody.

    Each amount, and nearly each step; ``FULL=1``: each amount at each step.
    """
    world.serving("b")
    sender = _sending(world, amount, killed_after=step)
    world.until(lambda: not sender.alive or TOLD)
    world.until(lambda: not world.rows())
    told = {outcome["id"]: outcome["status"] for outcome in TOLD}  # it may come twice
    if not world.charged and not told:
        return  # it died before its intent was durable
    (status,) = told.values()
    assert (status == "PAID") == (world.kept == fen(amount))
    # Where nobody heard how the pay call was answered (20004?), it is not cancelled (M-24).
    assert status in ("PAID", "CANCELLED", "FAILED", "UNKNOWN")
    assert status != "UNKNOWN" or amount == NEVER


@pytest.mark.parametrize("step", cases((48,), more=range(120)))
def test_a_sender_that_stood_still_is_not_cancelled_before_its_time(
    world: VirtualFleet, step: int
) -> None:
    """M-24: what is stored as the start is when the payment left, whenever the till was stopped."""
    sender = world.process("a")
    fleet = world.fleet(sender)

    async def work() -> None:
        async with fleet:
            sender.arm(step, sender.stop)
            with suppress(StoreError):  # then nothing was sent
                await fleet.checkout(pay(NEVER), then=THEN)
            await world.clock.sleep(10_000)

    sender.start(work(), lasts=True)
    world.until(lambda: sender.stopped)
    world.loop.run_until_complete(world.loop.create_task(asyncio.sleep(219)))
    sender.resume()
    world.loop.run_until_complete(world.loop.create_task(asyncio.sleep(600)))
    for order in world.sandbox.ledger.orders.values():
        assert order.ended is None or order.ended - order.created >= timedelta(seconds=15)


def test_what_a_sender_learns_while_its_payment_is_taken_up_is_not_lost(
    world: VirtualFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M-24: another till's sale, by its 20004, is PAID_EARLIER: goods are not given out twice.

    The owner of the shard has read the row, and stands still until the sender, who stood still
    before, has written what it heard.
    """
    owner, sender, other = world.process("b"), world.process("a"), world.process("c")
    serving, sending = world.fleet(owner), world.fleet(sender)
    fresh = FleetDatabase.fresh

    async def stands_still(self: FleetDatabase, mine: Collection[int], of: int) -> Sequence[Any]:
        rows = await fresh(self, mine, of)
        if rows and self is serving._database:
            owner.stop()
            sender.resume()
        return rows

    async def its_customer_types_a_password() -> None:
        async with world._session() as gateway:
            with suppress(ChaoyingError):
                await gateway.send(pay("14.02"))

    def stops_once_it_has_paid() -> None:
        if world.sandbox.requests["pay"] < 2 or world.is_locked:
            sender.arm(0, stops_once_it_has_paid)
        else:
            sender.stop()

    async def pays_it_too() -> None:
        async with sending:
            sender.arm(0, stops_once_it_has_paid)
            assert await sending.checkout(pay("14.02"), then=THEN) is None
            await world.clock.sleep(10_000)

    monkeypatch.setattr(FleetDatabase, "fresh", stands_still)
    owner.start(serving.run(), lasts=True)
    world.run(other, its_customer_types_a_password())
    sender.start(pays_it_too(), lasts=True)
    world.until(lambda: owner.stopped)
    world.loop.run_until_complete(world.loop.create_task(asyncio.sleep(5)))
    owner.resume()
    world.until(lambda: TOLD)
    assert [told["status"] for told in TOLD] == ["PAID_EARLIER"]
    assert world.charged == 1


class Away(CalmDisk):
    """A database that is away for a while."""

    is_away = False

    def trouble(self) -> Trouble | None:
        return Trouble.BUSY if self.is_away else None


class HearsAndLosesIt(httpx.AsyncBaseTransport):
    """A network that takes the database away for 20 s with the answer to the second payment."""

    def __init__(self, world: VirtualFleet, disk: Away) -> None:
        self._world, self._disk, self._inner = world, disk, world.transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        before = self._world.sandbox.requests.get("pay", 0)
        response = await self._inner.handle_async_request(request)
        if before < 2 <= self._world.sandbox.requests["pay"]:
            self._disk.is_away = True
            self._world.loop.call_later(20, setattr, self._disk, "is_away", False)
        return response


def test_what_was_answered_while_the_database_was_away_is_written_down_later(
    world: VirtualFleet,
) -> None:
    """M-24: 20004: else another till's sale would pass for this one, and goods be given out."""
    sender, other = world.process("a"), world.process("c")
    disk = Away(world.rng)
    world.transport = HearsAndLosesIt(world, disk)
    sending = world.fleet(sender, disk)

    async def its_customer_types_a_password() -> None:
        async with world._session() as gateway:
            with suppress(ChaoyingError):
                await gateway.send(pay("14.02"))

    async def pays_it_too() -> None:
        async with sending:
            assert await sending.checkout(pay("14.02"), then=THEN) is None
            await world.clock.sleep(10_000)

    world.run(other, its_customer_types_a_password())
    sender.start(pays_it_too(), lasts=True)
    world.until(lambda: TOLD)
    assert [told["status"] for told in TOLD] == ["PAID_EARLIER"]
    assert world.charged == 1


class Unheard(CalmDisk):
    """Carries some COMMITs out and says that they failed; the first of them is number 1."""

    def __init__(self, rng: random.Random, unheard: range) -> None:
        super().__init__(rng)
        self.commits: int | None = None
        self._unheard = unheard

    def takes(self, *, commit: bool) -> float:
        if commit and self.commits is not None:
            self.commits += 1
        return super().takes(commit=commit)

    def trouble(self) -> Trouble | None:
        return Trouble.COMMIT_UNKNOWN if self.commits in self._unheard else None


@pytest.mark.parametrize("first", cases((1, 10, 17, 18), more=(*range(2, 17), 19, 20)))
def test_commits_that_nobody_heard_of_leave_no_payment_without_an_end(
    world: VirtualFleet, first: int
) -> None:
    """Wherever three of them fail in a row, which were made: the task is told, and at once."""
    process = world.process("a")
    disk = Unheard(world.rng, range(first, first + 3))
    fleet = world.fleet(process, disk)

    async def work() -> None:
        async with fleet:
            disk.commits = 0
            with suppress(StoreError):  # then nothing was sent
                await fleet.checkout(pay(PASSWORD), then=THEN)
            await world.clock.sleep(10_000)

    process.start(work(), lasts=True)
    world.loop.run_until_complete(world.loop.create_task(asyncio.sleep(120)))
    assert disk.commits is not None
    assert disk.commits > first
    statuses = {outcome["status"] for outcome in TOLD}
    assert statuses == ({"PAID"} if world.charged else set())


def test_two_processes_charge_one_order_once(world: VirtualFleet) -> None:
    """The database decides, not a lock in one of them; the other is told, and has sent nothing."""
    refused: list[Exception] = []

    async def work(process: Process, number: str) -> None:
        async with world.fleet(process) as fleet:
            try:
                await fleet.checkout(pay(PASSWORD, number), then=THEN, order_no="A10001")
            except AttemptInProgressError as error:
                refused.append(error)
            await world.clock.sleep(600)

    for name in ("a", "b", "c"):
        process = world.process(name)
        process.start(work(process, f"A10001{name}"), lasts=True)
    world.until(lambda: TOLD and len(refused) == 2)
    assert world.charged == 1
    assert world.kept == fen(PASSWORD)


def test_an_order_that_ended_unpaid_may_be_charged_again(world: VirtualFleet) -> None:
    """Under another number; one that was paid may not."""
    process = world.process("a")

    async def work() -> list[str]:
        async with world.fleet(process) as fleet:
            said = []
            for number, amount in (("A1000101", NEVER), ("A1000102", PAID), ("A1000103", PAID)):
                try:
                    await fleet.checkout(pay(amount, number), then=THEN, order_no="A10001")
                except AttemptInProgressError:
                    said.append("refused")
                    break
                while len(TOLD) == len(said):
                    await asyncio.sleep(1)
                said.append(TOLD[-1]["status"])
            return said

    assert world.run(process, work()) == ["CANCELLED", "PAID", "refused"]


def test_a_refund_is_seen_to_its_end(world: VirtualFleet) -> None:
    """Called again while it is under way, it is not sent again."""
    process = world.process("a")

    async def work() -> None:
        async with world.fleet(process) as fleet:
            await fleet.checkout(pay(), then=THEN)
            await fleet.refund(refund(), then=THEN)
            await fleet.refund(refund(), then=THEN)
            with pytest.raises(AttemptInProgressError):
                await fleet.refund(refund(amount="1.00"), then=THEN)
            while len(TOLD) < 2:
                await asyncio.sleep(1)

    world.run(process, work())
    assert [(told["of"], told["status"]) for told in TOLD] == [
        ("checkout", "PAID"),
        ("refund", "REFUNDED"),
    ]
    assert TOLD[1]["refunded"] == 1230
    assert world.kept == 0


def test_a_refund_that_is_refused_for_certain_raises_and_is_told_to_nobody(
    world: VirtualFleet,
) -> None:
    """M-09: of an order that is not there; nothing moved, so nothing is waited for."""
    process = world.process("a")

    async def work() -> None:
        async with world.fleet(process) as fleet:
            await fleet.refund(refund(), then=THEN)

    with pytest.raises(GatewayError):
        world.run(process, work())
    assert world.rows() == []


def _sending(world: VirtualFleet, amount: str, killed_after: int | None = None) -> Process:
    sender = world.process("a")

    async def work() -> None:
        async with world.fleet(sender) as fleet:
            if killed_after is not None:
                sender.arm(killed_after, sender.kill)
            await fleet.checkout(pay(amount), then=THEN)
            await world.clock.sleep(10_000)

    sender.start(work(), lasts=True)
    return sender
