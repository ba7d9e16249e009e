"""The ``Date`` of an answer: the gateway's own clock, or none at all (M-24)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import httpx
import pytest

from chaoying_async import GatewaySession, Hosts, OutcomeUnknownError
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.resume import resume
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.serving.server import listening
from chaoying_async.sansio.payments.moves import CheckoutStatus
from chaoying_async.sansio.values import parse_http_date
from chaoying_async.testing import FakeClock
from tests.payments.sold_before import Off, losing_the_pay_reply, sold_before
from tests.tills import EXACT, WECHAT_CODE, Counter, a_till, pay


async def test_a_served_sandbox_dates_its_replies_by_its_own_clock() -> None:
    """M-24: as time_end is; the server's own would be of another day. Once, in every reply."""
    clock = FakeClock()
    async with Sandbox(clock=clock) as sandbox, listening(sandbox.app) as url:
        async with httpx.AsyncClient() as client:
            said = await client.post(f"{url}/UnifiedPay/Gateway", data={"method": "pay"})
        async with GatewaySession(
            sandbox.credentials, mch_id=sandbox.mch_id, hosts=Hosts.single(url)
        ) as gateway:
            reply = await gateway.send(pay(100))
    assert said.headers.get_list("date") == ["Thu, 01 Jan 2026 00:00:00 GMT"]
    assert reply.date == clock.now()
    assert reply.result is not None
    assert reply.result.time_end == clock.now()


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "Thu, 01 Jan 2026 00:00:05", "Thu, 32 Jan 2026 00:00:05 GMT", "1" * 9999),
        *("Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"),
        *("Thu, 01 Foo 2026 00:00:05 GMT", "Thu, 01 Jan 0000 00:00:05 GMT"),
        "Thu, 01 Jan 2026 24:00:60 GMT",
    ],
)
def test_a_date_that_is_none_is_none(text: str) -> None:
    """M-24: then 15 minutes are allowed. Servers write the year 1 where they mean "unset"."""
    assert parse_http_date(text) is None


@pytest.mark.parametrize("year", [1, 1970, 2099, 9999])
async def test_a_date_of_any_year_leaves_the_outcome_readable(year: int) -> None:
    """M-24: a broken clock of a server never makes checkout raise after a payment."""
    date = datetime(year, 1, 1, tzinfo=UTC) if parse_http_date(_http(year)) else None

    def dated(_: Any, reply: Any) -> Any:
        return attrs.evolve(reply, date=date)

    async with a_till() as shop:
        shop.till.after = dated
        outcome = await shop.checkout(100)
        assert outcome.status in (CheckoutStatus.PAID, CheckoutStatus.PAID_EARLIER)
        assert (outcome.status is CheckoutStatus.PAID) == (year != 2099)


@pytest.mark.parametrize("ours", [-800, 0, 800])
@pytest.mark.parametrize(("age", "status"), [(None, "PAID"), (86_400, "PAID_EARLIER")])
async def test_a_date_that_prints_beijing_time_as_gmt_makes_no_payment_an_earlier_one(
    ours: float, age: float | None, status: str
) -> None:
    """M-24: eight hours ahead of us, it says nothing; what is really older is told all the same."""

    def in_beijing(_: Any, reply: Any) -> Any:
        return attrs.evolve(reply, date=reply.date + timedelta(hours=8))

    async with a_till() as shop:
        if age is not None:
            await sold_before(shop, age, auth_code=WECHAT_CODE)
            losing_the_pay_reply(shop)
        shop.till.after = in_beijing
        clock = Off(shop.clock, ours)
        outcome = await shop.clock.run(checkout(shop.till, pay(100), schedule=EXACT, clock=clock))
        assert outcome.status == status


@pytest.mark.parametrize("hours", [-7, -8, -9])
@pytest.mark.parametrize(("age", "status"), [(None, "PAID"), (3600, "PAID_EARLIER")])
async def test_a_till_whose_own_clock_is_hours_behind_knows_its_sales(
    hours: int, age: float | None, status: str
) -> None:
    """M-24: eight hours are no Beijing time printed as GMT, where the payment's time has them."""
    async with a_till() as shop:
        if age is not None:
            await sold_before(shop, age, auth_code=WECHAT_CODE)
            losing_the_pay_reply(shop)
        clock = Off(shop.clock, hours * 3600)
        outcome = await shop.clock.run(checkout(shop.till, pay(100), schedule=EXACT, clock=clock))
        assert outcome.status == status


def _http(year: int) -> str:
    return f"Thu, 01 Jan {year:04} 00:00:00 GMT"


@pytest.mark.parametrize("ahead", [3600, -60, -3600])
async def test_a_clock_that_was_put_right_makes_no_payment_an_earlier_one(ahead: float) -> None:
    """M-24: the start was stored by a clock that was wrong; nobody knows it any more."""
    async with a_till() as shop:
        clock, store = _Wrong(shop.clock, ahead), MemoryPollStore()

        def lost(request: Any, reply: Any) -> Any:
            if request.endpoint.name == "pay":
                raise OutcomeUnknownError("lost")
            return reply

        shop.till.after = lost
        async with store:
            running = asyncio.ensure_future(
                checkout(shop.till, pay(100), schedule=EXACT, clock=clock, store=store)
            )
            await shop.clock.advance(1)
            running.cancel()
            await asyncio.wait([running])
        shop.till = Counter(shop.till.session, shop.clock)
        await shop.clock.advance(300)
        async with store:
            found = resume(shop.till, store, schedule=EXACT, clock=shop.clock)
            outcome = await shop.clock.run(anext(found))
            await found.aclose()
        assert outcome.status is CheckoutStatus.PAID


class _Wrong:
    """Our clock while its hands were off by so many seconds."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self._clock, self._off = clock, timedelta(seconds=seconds)
        self.monotonic, self.sleep, self.timeout = clock.monotonic, clock.sleep, clock.timeout

    def now(self) -> datetime:
        return self._clock.now() + self._off
