"""Payments and refunds that never left, while the database cannot be told so (M-24, M-25)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaoying_async import ChaoyingError, StoreError
from chaoying_async.testing.simulation.inline_sqlite import CalmDisk, Trouble
from chaoying_async.testing.simulation.process import Process
from chaoying_async.workers import Fleet
from chaoying_async.workers.senders_store import SendersStore
from tests.workers.test_fleet_payments import PAID, pay, refund
from tests.workers.virtual import THEN, TOLD, VirtualFleet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Disk(CalmDisk):
    """A disk with the trouble that it is given."""

    now: Trouble | None = None

    def trouble(self) -> Trouble | None:
        return self.now


class Shop(VirtualFleet):
    """Two processes; "a" sells, and loses its database for a while as it pays back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.disk = Disk(self.rng)
        self.a, self.b = self.process("a"), self.process("b")
        self.fleets = {"a": self.fleet(self.a, self.disk), "b": self.fleet(self.b)}
        #: What came of each call.
        self.said: list[str] = []

    def loses_its_network(self, seconds: float) -> None:
        """As the first refund leaves: the gateway, and the database for so long."""
        self.transport = _Away(self.transport, lambda: self.goes(seconds))

    def goes(self, seconds: float) -> None:
        """The database is away from "a" for so long."""
        self.disk.now = Trouble.BUSY
        self.loop.call_later(seconds, self.comes)

    def comes(self) -> None:
        """The database is back."""
        self.disk.now = None

    def sells_and_pays_back(self, amount: str = PAID) -> None:
        """Run until the first try to pay back has ended."""

        async def work() -> None:
            async with self.fleets["a"] as fleet:
                await fleet.checkout(pay(), then=THEN)
                await self.gives_back(fleet, amount)
                await self.clock.sleep(100_000)

        self.a.start(work(), lasts=True)
        self.until(lambda: self.said)

    async def gives_back(self, fleet: Fleet, amount: str = PAID) -> None:
        """Note what comes of a call."""
        try:
            await fleet.refund(refund(amount=amount), then=THEN)
            self.said.append("under way")
        except ChaoyingError as error:
            assert not isinstance(error, StoreError) or error.sent is False
            self.said.append(type(error).__name__)

    def opens(self, process: Process) -> None:
        """Open its fleet, which takes its share of the shards."""

        async def work() -> None:
            async with self.fleets[process.name]:
                await self.clock.sleep(100_000)

        process.start(work(), lasts=True)
        self.passes(20)

    def call(self, process: Process, amount: str = PAID) -> str:
        """What comes of one more call in that process."""
        before = len(self.said)
        process.start(self.gives_back(self.fleets[process.name], amount))
        self.until(lambda: len(self.said) > before)
        return self.said[-1]

    def passes(self, seconds: float) -> None:
        """Let time go by."""
        self.loop.run_until_complete(self.loop.create_task(asyncio.sleep(seconds)))

    @property
    def sent(self) -> int:
        """How many refunds the gateway got."""
        return self.sandbox.requests.get("refund", 0)

    def ends_well(self) -> None:
        """The refund is sent once, and its end comes to its task."""
        self.until(lambda: len(TOLD) == 2)
        assert [told["status"] for told in TOLD if told["of"] == "refund"] == ["REFUNDED"]
        assert (self.sent, self.kept) == (1, 0)


class _Away(httpx.AsyncBaseTransport):
    """A network that is away when the first refund is to leave."""

    def __init__(self, inner: httpx.AsyncBaseTransport, goes: Callable[[], None]) -> None:
        self._inner = inner
        self._goes: Callable[[], None] | None = goes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        goes, self._goes = self._goes, None
        if goes is not None and b"R1000101" in await request.aread():
            goes()
            raise httpx.ConnectError("unreachable")
        self._goes = goes
        return await self._inner.handle_async_request(request)


@pytest.fixture
def shop(tmp_path: Path) -> Generator[Shop]:
    found = Shop(tmp_path)
    yield found
    found.close()


def test_the_next_call_sends_what_never_left(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """M-25: the network was away for 20 s, so the refund's record could not be taken back."""
    shop.loses_its_network(20)
    shop.sells_and_pays_back()
    assert shop.said == ["RequestNotSentError"]
    assert "refund R1000101 never left, but its record" in caplog.text
    shop.passes(15)
    assert shop.call(shop.a) == "under way"
    shop.ends_well()


def test_a_call_while_the_database_is_away_says_that_nothing_was_sent(shop: Shop) -> None:
    """M-25: and that stays true until the call that sends it."""
    shop.loses_its_network(100)
    shop.sells_and_pays_back()
    assert shop.call(shop.a) == "StoreError"
    shop.passes(120)
    assert shop.call(shop.a) == "under way"
    shop.ends_well()


@pytest.mark.parametrize("away", [30, 200])
def test_no_other_process_says_under_way_of_what_never_left(shop: Shop, away: float) -> None:
    """M-25: it sends it when the first process wrote down that it did not leave.

    Until then it cannot know, and says so; after 60 s the fleet has taken the record over.
    """
    shop.opens(shop.b)
    shop.loses_its_network(away)
    shop.sells_and_pays_back()
    shop.passes(away - 25)
    assert shop.call(shop.b) == "AttemptInProgressError"
    assert shop.sent == 0
    shop.passes(40)
    assert shop.call(shop.b) == "under way"
    shop.ends_well()


def test_a_fleet_that_closes_meanwhile_leaves_no_task_behind(shop: Shop) -> None:
    """What could not be taken back is then asked about, like what may have left."""
    shop.loses_its_network(10_000)
    shop.sells_and_pays_back()

    async def closes() -> None:
        await shop.fleets["a"].close()
        shop.said.append("closed")

    shop.a.start(closes())
    assert shop.until(lambda: shop.said[-1] == "closed") < 60
    shop.comes()
    shop.opens(shop.b)
    shop.passes(60)
    assert shop.call(shop.b) == "AttemptInProgressError"
    assert shop.sent == 0


@pytest.mark.parametrize("step", ["begin", "swap"])
def test_a_commit_of_which_nobody_heard_keeps_no_refund_back(
    shop: Shop, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M-25: it was made, and the database was away for 20 s from then on."""
    real: Any = getattr(SendersStore, step)

    async def unheard(self: SendersStore, *arguments: Any) -> Any:
        if self._kind == "checkout":
            return await real(self, *arguments)
        monkeypatch.undo()
        shop.disk.now = Trouble.COMMIT_UNKNOWN
        try:
            return await real(self, *arguments)
        finally:
            shop.goes(20)

    monkeypatch.setattr(SendersStore, step, unheard)
    shop.sells_and_pays_back()
    assert shop.said == ["StoreError"]
    shop.passes(30)
    assert shop.call(shop.a) == "under way"
    shop.ends_well()


def test_a_row_that_was_taken_back_before_it_was_read_is_made_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M-25: else "under way" would be said of a refund that nobody sends."""
    real = SendersStore.begin

    async def begin(self: SendersStore, text: str, *arguments: Any) -> bool:
        made = await real(self, text, *arguments)
        if self._kind == "checkout":
            return made
        monkeypatch.undo()
        await self.take_back(text)
        return False

    monkeypatch.setattr(SendersStore, "begin", begin)
    shop.sells_and_pays_back()
    assert shop.said == ["under way"]
    shop.ends_well()


def test_a_refund_that_this_process_asks_about_is_under_way(shop: Shop) -> None:
    """The same call is no error then, no more than in a process that does not ask."""
    shop.sells_and_pays_back("5.02")  # not decided for 5 s, and asked about again after 30
    shop.passes(10)
    assert shop.call(shop.a, "5.02") == "under way"
    assert shop.sent == 1


@pytest.mark.parametrize("step", ["together", "hold"])
def test_a_payment_that_never_left_is_sent_by_the_next_call(
    shop: Shop, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M-24: what wrote it down was made, and the database was away for 20 s from then on."""
    real: Any = getattr(SendersStore, step)

    async def unheard(self: SendersStore, *arguments: Any) -> Any:
        monkeypatch.undo()
        shop.disk.now = Trouble.COMMIT_UNKNOWN
        try:
            return await real(self, *arguments)
        finally:
            shop.goes(20)

    async def pays() -> None:
        try:
            await shop.fleets["a"].checkout(pay(), then=THEN)
            shop.said.append("paid")
        except ChaoyingError as error:
            shop.said.append(f"{type(error).__name__} {error.sent}")

    monkeypatch.setattr(SendersStore, step, unheard)
    shop.opens(shop.a)
    shop.a.start(pays())
    shop.until(lambda: shop.said)
    assert shop.said == ["StoreError False"]
    shop.passes(25)
    shop.a.start(pays())
    shop.until(lambda: len(shop.said) == 2)
    assert shop.said[1] == "paid"
    shop.until(lambda: TOLD)
    assert [told["status"] for told in TOLD] == ["PAID"]
    assert shop.charged == 1
