"""A ``BlockingGateway`` with a store, or a fleet: what it keeps is done, resumed, handed over."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path

import pytest

from chaoying_async import CheckoutStatus, PollSchedule
from chaoying_async.exceptions import (
    OutcomeUnknownError,
    RequestNotSentError,
    StoreError,
    TransportError,
    UsageError,
)
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.workers import background_loop
from chaoying_async.workers.blocking import BlockingGateway
from tests.pollers import order
from tests.workers.blocking_shop import (
    NEVER_PAID,
    WITHIN,
    Shop,
    give_up,
    kept,
    pay,
    refund_of,
    refunds_at_once,
)
from tests.workers.fleets import ENDED, GIVEN, SOON, FleetWorld


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def gateway(shop: Shop) -> Generator[BlockingGateway]:
    with shop.gateway() as opened:
        kept(opened, shop)  # from here on it is open
        yield opened


def test_done_is_durable_on_return(gateway: BlockingGateway, shop: Shop) -> None:
    """In the thread of the caller, and awaited in a function of the background loop."""
    first, second = gateway.checkout(pay("A10001")), gateway.checkout(pay("A10002"))
    assert kept(gateway, shop) == {"A10001": False, "A10002": False}
    first.done()
    assert kept(gateway, shop) == {"A10002": False}

    async def inside(session: object) -> None:
        await second.done()

    gateway.call(inside)
    assert kept(gateway, shop) == {}


def test_done_says_why_it_is_not_durable(
    gateway: BlockingGateway, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away, a loop that is another process's, or is closed."""
    outcome = gateway.checkout(pay("A10001"))

    async def away(kind: str, keys: object) -> None:
        raise OSError("away")

    with monkeypatch.context() as broken:
        broken.setattr(shop.store, "forget", away)
        with pytest.raises(StoreError):
            outcome.done()
    with monkeypatch.context() as forked:
        forked.setattr(background_loop, "this_process", object)
        with pytest.raises(RequestNotSentError, match="another process"):
            outcome.done()
    gateway.close()
    with pytest.raises(RequestNotSentError, match="loop is closed"):
        outcome.done()


def test_without_a_store_done_has_nothing_to_do(shop: Shop) -> None:
    """And nothing can be resumed."""
    with BlockingGateway(shop.session) as gateway:
        outcome = gateway.checkout(pay("A10001"))
        with pytest.raises(UsageError, match="store=lambda"):
            gateway.resume()
    outcome.done()


def test_payments_that_were_left_are_resumed(shop: Shop) -> None:
    """Each is forgotten when the next one is taken; who leaves early finds the rest again."""
    with shop.gateway() as gateway:
        gateway.checkout(pay("A10001"))
        gateway.checkout(pay("A10002"))
    with shop.gateway() as gateway:
        for outcome in gateway.resume():
            assert (outcome.status, outcome.out_trade_no) == (CheckoutStatus.PAID, "A10001")
            break
        assert set(kept(gateway, shop)) == {"A10001", "A10002"}
        found = []
        for outcome in gateway.resume():
            found.append(outcome.out_trade_no)
            outcome.done()
            assert outcome.out_trade_no not in kept(gateway, shop)
        assert found == ["A10001", "A10002"]
        assert [*gateway.resume()] == []


def test_what_does_not_end_in_time_stays_in_the_store(
    gateway: BlockingGateway, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``within`` bounds the wait for the next outcome; what was asked about may be again."""
    give_up(monkeypatch, lambda: shop.requests("pay"))
    with pytest.raises(OutcomeUnknownError):
        gateway.checkout(pay("A10001", NEVER_PAID), within=WITHIN)
    for asked in range(2):
        give_up(monkeypatch, lambda: shop.requests("orderquery") > asked)  # noqa: B023
        with pytest.raises(TransportError) as caught:
            next(gateway.resume(within=WITHIN))
        assert type(caught.value) is TransportError
        assert kept(gateway, shop) == {"A10001": True}


def test_refunds_that_were_left_are_resumed(
    gateway: BlockingGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are asked about again, and not sent."""
    refunds_at_once(monkeypatch)
    gateway.checkout(pay("A10001"))
    quick = PollSchedule(first=0.01, every=0.01, until=5)
    refund = refund_of("A10001")
    assert gateway.refund_and_track(refund, schedule=quick).status is PollStatus.REFUNDED
    for outcome in gateway.resume_refunds(schedule=quick):
        assert outcome.status is PollStatus.REFUNDED
        outcome.done()
    assert [*gateway.resume_refunds()] == []


def test_orders_are_handed_to_the_fleet(tmp_path: Path, shop: Shop) -> None:
    """It serves in the background loop, and the outcome comes to the task."""
    world = FleetWorld(f"sqlite:///{tmp_path}/fleet.db")
    with shop.gateway(fleet=world.fleet) as gateway:
        gateway.watch(order("BLOCKING1"), then=ENDED, schedule=SOON)

        async def told(session: object) -> None:
            while "BLOCKING1" not in GIVEN:
                await asyncio.sleep(0.01)

        gateway.call(told, within=30)
    assert GIVEN["BLOCKING1"][0]["status"] == "PAID"
