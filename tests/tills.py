"""A sandbox till on a clock that is moved by hand; what leaves it is noted with its second."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs

from chaoying_async import FacePay, GatewaySession, Pay, PayType, PollSchedule
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.outcome import CheckoutOutcome
from chaoying_async.sandbox import Sandbox
from chaoying_async.testing import FakeClock
from tests.factories import OPENID
from tests.sandbox_calls import session_with

EXACT = PollSchedule(jitter=0)
WECHAT_CODE = "130000000000000001"
ORDER = "A100011"


@attrs.define(eq=False)  # one till is not another, however alike: its attempts are its own
class Counter:
    """A ``Gateway`` before the real one: what was sent, and when."""

    mch_id = None

    session: GatewaySession
    clock: FakeClock
    sent: list[tuple[str, float]] = attrs.field(factory=list)
    #: Called before each request leaves; what it raises is what the caller gets.
    before: Any = None
    #: Called with each request and reply; its result is the reply.
    after: Any = None

    @property
    def defaults(self) -> Any:
        return self.session.defaults

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        self.sent.append((request.endpoint.name, self.clock.monotonic()))
        if self.before is not None:
            self.before(request)
        reply = await self.session.send(request)
        return reply if self.after is None else self.after(request, reply)

    def at(self, name: str) -> list[float]:
        """The seconds at which such requests left."""
        return [moment for sent, moment in self.sent if sent == name]


@attrs.define
class TillOnSandbox:
    """A sandbox, a till, and the time."""

    sandbox: Sandbox
    clock: FakeClock
    till: Counter

    async def checkout(self, amount: int, **options: Any) -> CheckoutOutcome:
        """Charge that amount to the end; the amount chooses the sandbox's scenario."""
        return await self.clock.run(self.charging(amount, **options))

    def charging(self, amount: int, **options: Any) -> Any:
        request = options.pop("pay", None) or pay(amount, options.pop("number", ORDER))
        options.setdefault("schedule", EXACT)
        return checkout(self.till, request, clock=self.clock, **options)

    def status(self, number: str = ORDER) -> str:
        return str(self.sandbox.ledger.order(number).status.value)


def pay(amount: int, number: str = ORDER, **fields: Any) -> Pay:
    given: dict[str, Any] = {"body": "tea", "auth_code": WECHAT_CODE}
    return Pay(out_trade_no=number, total_fee=amount, **given | fields)


def facepay(amount: int, number: str = ORDER) -> FacePay:
    return FacePay(
        paytype=PayType.WECHAT,
        out_trade_no=number,
        body="tea",
        total_fee=amount,
        openid=OPENID,
        face_code="face-code-1",
    )


@asynccontextmanager
async def a_till(**options: Any) -> AsyncGenerator[TillOnSandbox]:
    clock = FakeClock()
    async with (
        Sandbox(clock=clock, **options) as sandbox,
        session_with(sandbox, read_retries=0) as session,
    ):
        yield TillOnSandbox(sandbox, clock, Counter(session, clock))
