"""A logging filter of the program that raises changes nothing about what is told of the money."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from chaoying_async import StoreError
from chaoying_async.exceptions import AttemptInProgressError
from chaoying_async.payments.refunds import refund_and_track
from chaoying_async.pollstore import MemoryPollStore
from tests.payments.test_refund_and_track import refund
from tests.sandbox_calls import session_with
from tests.tills import EXACT, Counter, a_till


class NeedsATenant(logging.Filter):
    """As a program writes one for its own records; counts the lines of ours that it met."""

    met = 0

    def filter(self, record: Any) -> bool:
        self.met += 1
        record.tenant.upper()
        return True


@pytest.fixture
def raising() -> Iterator[NeedsATenant]:
    """Every logger of the library has that filter."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("chaoying_async")]
    found, needs = [logging.getLogger(name) for name in names], NeedsATenant()
    for each in found:
        each.addFilter(needs)
    yield needs
    for each in found:
        each.removeFilter(needs)


async def test_a_payment_is_taken_to_its_end(raising: NeedsATenant) -> None:
    """M-24: nothing raises for how a payment ended; the warning about the key is lost."""
    async with a_till() as shop:
        wrong = attrs.evolve(shop.sandbox.credentials, key="not-the-key-of-this-agent")
        async with session_with(shop.sandbox, credentials=wrong, read_retries=0) as session:
            shop.till = Counter(session, shop.clock)
            outcome = await shop.checkout(100)
    assert (outcome.status, outcome.reason) == ("UNKNOWN", "UNVERIFIED")
    assert raising.met


async def test_a_cancelled_payment_bars_its_order_and_is_not_at_work(raising: NeedsATenant) -> None:
    """M-24: the cancellation is what the caller gets; the next attempt hears that it is UNKNOWN."""
    async with a_till() as shop:
        running = asyncio.ensure_future(shop.charging(401))
        await shop.clock.advance(2)
        before = raising.met
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert raising.met > before
        with pytest.raises(AttemptInProgressError, match="UNKNOWN"):
            await shop.checkout(401)


async def test_a_cancelled_refund_is_asked_about_by_the_next_call(raising: NeedsATenant) -> None:
    """M-25: it is not sent again, and the cancellation is what the caller gets."""
    async with a_till() as shop:
        await shop.checkout(10_000)
        given: dict[str, Any] = {"schedule": EXACT, "clock": shop.clock}
        running = asyncio.ensure_future(refund_and_track(shop.till, refund(1000), **given))
        await shop.clock.advance(2)
        before = raising.met
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert raising.met > before
        outcome = await shop.clock.run(refund_and_track(shop.till, refund(1000), **given))
        assert (outcome.status, len(shop.till.at("refund"))) == ("REFUNDED", 1)


class Failing(MemoryPollStore):
    """A store that fails from some moment on, or that has failed so often."""

    fails = 0

    async def put(self, *args: Any, **options: Any) -> None:
        if self.fails:
            self.fails -= 1
            raise StoreError("locked")
        await super().put(*args, **options)


async def test_an_end_is_written_down_where_the_store_failed_once(raising: NeedsATenant) -> None:
    """M-23: the store is tried again, although the line about it cannot be written."""
    async with a_till() as shop, Failing() as store:

        def then_fails(request: Any, reply: Any) -> Any:
            store.fails = 1 if request.endpoint.name == "pay" else 0
            return reply

        shop.till.after = then_fails
        before = raising.met
        outcome = await shop.checkout(100, store=store)
        assert (outcome.status, outcome.reason) == ("PAID", "")
        assert raising.met > before + 1
