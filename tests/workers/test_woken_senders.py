"""Senders that stood still, or whose COMMIT failed and was made: what they believe is old."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chaoying_async import AttemptInProgressError, StoreError, StoreInUseError
from chaoying_async.payments.running import RunningPayment
from chaoying_async.sansio.payments.intent import REFUND, key_of
from chaoying_async.sansio.payments.refunds import RefundIntent, refund_intent_in
from chaoying_async.sansio.polling.status import Answer, Says
from chaoying_async.testing.simulation.process import BEGINNING, Process
from chaoying_async.workers import Fleet
from chaoying_async.workers.senders_store import SendersStore
from chaoying_async.workers.shard import Shard
from tests.sizes import cases
from tests.workers.test_fleet_payments import PAID, PASSWORD, Unheard, pay, refund
from tests.workers.virtual import THEN, TOLD, VirtualFleet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FAILS = "14.06"


@pytest.fixture
def world(tmp_path: Path) -> Generator[VirtualFleet]:
    found = VirtualFleet(tmp_path)
    yield found
    found.close()


def passes(world: VirtualFleet, seconds: float) -> None:
    """Let time go by."""
    world.loop.run_until_complete(world.loop.create_task(asyncio.sleep(seconds)))


def calling(process: Process, fleet: Fleet, number: str) -> list[Any]:
    """Charge the one order under this number in a process whose fleet is open; what came of it."""
    found: list[Any] = []

    async def call() -> None:
        try:
            found.append(await fleet.checkout(pay(PAID, number), then=THEN, order_no="O1"))
        except (AttemptInProgressError, StoreError, StoreInUseError) as error:
            found.append(error)

    process.start(call())
    return found


@pytest.mark.parametrize(
    ("where", "amount"),
    [((SendersStore, "hold"), PAID), ((RunningPayment, "write_end"), FAILS)],
    ids=["before its payment left", "when its payment had failed"],
)
def test_a_woken_sender_leaves_the_record_of_the_next_attempt_alone(
    world: VirtualFleet,
    where: tuple[type[Any], str],
    amount: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """M-24: one order is charged once, whatever the sender of an earlier attempt believes."""
    sleeper, other = world.process("a"), world.process("b")
    sleeping, awake = world.fleet(sleeper), world.fleet(other)
    goes_on = getattr(*where)

    async def stops(*arguments: Any) -> Any:
        monkeypatch.undo()
        sleeper.stop()
        await asyncio.sleep(0)
        return await goes_on(*arguments)

    async def sleeps() -> None:
        async with sleeping:
            monkeypatch.setattr(*where, stops)
            with suppress(StoreInUseError):
                await sleeping.checkout(pay(amount), then=THEN, order_no="O1")
            await world.clock.sleep(100_000)

    async def serves() -> None:
        async with awake:
            await world.clock.sleep(100_000)

    other.start(serves(), lasts=True)
    sleeper.start(sleeps(), lasts=True)
    world.until(lambda: sleeper.stopped and TOLD)
    assert [told["status"] for told in TOLD] == ["FAILED"]
    second = calling(other, awake, "A1000102")
    world.until(lambda: second)
    sleeper.resume()
    passes(world, 60)
    third = calling(other, awake, "A1000103")
    world.until(lambda: third)
    assert isinstance(third[0], AttemptInProgressError)
    assert world.kept == 1230


@pytest.mark.parametrize("step", cases([32], more=[24, 38]))
def test_a_refund_that_left_is_never_said_to_have_stayed(world: VirtualFleet, step: int) -> None:
    """M-25: who believes it takes another number, and the money goes back twice."""
    sender = world.process("a")
    fleet = world.fleet(sender)

    async def work() -> None:
        async with fleet:
            await fleet.checkout(pay(), then=THEN)
            await world.clock.sleep(20)
            sender.arm(step, sender.stop)
            try:
                await fleet.refund(refund("R1000101", "6.00"), then=THEN)
            except (StoreError, StoreInUseError) as error:
                assert error.sent is False
                await fleet.refund(refund("R1000102", "6.00"), then=THEN)
            await world.clock.sleep(100_000)

    world.serving("b")
    sender.start(work(), lasts=True)
    world.until(lambda: sender.stopped)
    passes(world, 100)
    sender.resume()
    passes(world, 300)
    assert world.kept == 1230 - 600


@pytest.mark.parametrize("unheard", range(1, 4))
def test_a_refund_that_never_left_is_sent_when_it_is_called_again(
    world: VirtualFleet, unheard: int
) -> None:
    """M-25: the COMMIT that wrote it down failed, and was made; the same call is right."""
    process = world.process("a")
    disk = Unheard(random.Random(7), range(unheard, unheard + 1))
    fleet = world.fleet(process, disk)

    async def work() -> None:
        async with fleet:
            await fleet.checkout(pay(), then=THEN)
            await world.clock.sleep(20)
            disk.commits = 0
            try:
                await fleet.refund(refund(), then=THEN)
            except StoreError as error:
                assert error.sent is False
                await fleet.refund(refund(), then=THEN)
            await world.clock.sleep(100_000)

    process.start(work(), lasts=True)
    passes(world, 120)
    assert world.kept == 0
    assert {told["of"]: told["status"] for told in TOLD}["refund"] == "REFUNDED"


def test_a_refund_that_the_gateway_was_seen_to_have_is_not_sent_again() -> None:
    """M-25: also where whoever asked about it had read that it had not left."""
    known = RefundIntent(refund=refund(), mch_id="00000001", started=BEGINNING, left=False)
    assert not refund_intent_in(known.text()).left
    assert refund_intent_in(known.text().replace("false", "null", 1)).left
    seen = known.asked(Answer(Says.PENDING, about_order=True), BEGINNING)
    assert refund_intent_in(seen.text()).left


def test_a_refunds_row_that_nobody_can_read_is_said_to_be_so(world: VirtualFleet) -> None:
    """M-25: nothing is sent under its number, and no error of the reader comes out."""
    process = world.process("a")

    async def work() -> None:
        async with world.fleet(process) as fleet:
            store = SendersStore(fleet._database, REFUND, key_of("00000001", "R1000101"))
            await store.begin("{", 0, THEN)
            await fleet.refund(refund(), then=THEN)

    with pytest.raises(AttemptInProgressError, match="cannot be read: query it by hand"):
        world.run(process, work())


def test_one_payments_trouble_with_the_store_is_not_its_shards(
    world: VirtualFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M-23: it is tried again, less and less often, and the shard is not handed back for it."""
    process = world.process("a")
    fleet = world.fleet(process)
    get, asked = Shard.get, 0

    async def fails(self: Shard, kind: str, key: str) -> str | None:
        nonlocal asked
        asked += 1
        if asked < 6:
            raise StoreError("the poll store failed")
        return await get(self, kind, key)

    monkeypatch.setattr(Shard, "get", fails)

    async def work() -> None:
        async with fleet:
            await world.clock.sleep(10)
            served = {*fleet._worker.served.values()} if fleet._worker else set()
            await fleet.checkout(pay(PASSWORD), then=THEN)
            while not TOLD:
                await world.clock.sleep(1)
            assert fleet._worker is not None
            assert served == {*fleet._worker.served.values()}

    world.run(process, work())
    assert [told["status"] for told in TOLD] == ["PAID"]
