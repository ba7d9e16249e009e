"""An order that was paid before this checkout, and gateways that tell of it in odd ways."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from chaoying_async import (
    OutcomeUnknownError,
)
from chaoying_async.testing import FakeClock
from tests.tills import Counter, TillOnSandbox, pay

ALIPAY_CODE = "280000000000000001"


AGES = [1, 600, 86_400]


async def sold_before(shop: TillOnSandbox, age: float, amount: int = 100, **fields: Any) -> None:
    """Another till charges another customer under the same number, so many seconds before."""
    with suppress(OutcomeUnknownError):  # another amount than the one that it asked for
        await shop.till.send(pay(amount, **{"auth_code": ALIPAY_CODE} | fields))
    await shop.clock.advance(age)
    shop.till = Counter(shop.till.session, shop.clock)


def losing_the_pay_reply(shop: TillOnSandbox) -> None:
    """The pay call gets no answer: had one come, it would have been 20004."""

    def lost(request: Any) -> None:
        if request.endpoint.name == "pay":
            raise OutcomeUnknownError("lost")

    shop.till.before = lost


class Off:
    """Our clock, when its hands are off by so much."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self._clock, self._off = clock, timedelta(seconds=seconds)
        self.monotonic, self.sleep, self.timeout = clock.monotonic, clock.sleep, clock.timeout

    def now(self) -> datetime:
        return self._clock.now() + self._off
