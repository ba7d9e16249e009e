"""Orders and refunds of every kind in an in-process sandbox, polled at once; the ledger judges."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, suppress
from typing import Any

import attrs

from chaoying_async import (
    Cancel,
    ChaoyingError,
    GatewaySession,
    OrderQuery,
    Pay,
    PayType,
    Poller,
    PollOutcome,
    PollSchedule,
    PollStatus,
    Refund,
    RefundQuery,
)
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.bank.entities import RefundState, Status
from chaoying_async.testing import FakeClock

CODE = "130000000000001111"
#: A merchant whose every trade is answered 20013.
NOT_CONFIGURED = "00000013"
DAYS = 86_400.0


@attrs.frozen
class Kind:
    """What becomes of an order: its scenario, and what is done to it after it was paid."""

    scenario: int = 0
    #: pay, then cancel, refund, or return (a refund too, and the order is asked about); or nothing.
    then: str = "pay"
    mch_id: str | None = None


#: In turn; the ordinary ones come more often.
KINDS = (
    *(Kind(), Kind(403), Kind(), Kind(404), Kind(409), Kind(), Kind(401)),
    *(Kind(402), Kind(405), Kind(406), Kind(408), Kind(410), Kind(412), Kind(413)),
    *(Kind(415), Kind(417), Kind(418), Kind(419), Kind(422), Kind()),
    *(Kind(then="cancel"), Kind(then="cancel"), Kind(405, then="cancel"), Kind(then="nothing")),
    Kind(then="return"),
    *(Kind(416), Kind(mch_id=NOT_CONFIGURED, then="nothing")),
    *(Kind(then="refund"), Kind(501, then="refund"), Kind(502, then="refund")),
    *(Kind(503, then="refund"), Kind(504, then="refund"), Kind(505, then="refund")),
    *(Kind(506, then="refund"), Kind(507, then="refund")),
)


@attrs.frozen
class Case:
    """One number that is waited for."""

    number: str
    kind: Kind

    @property
    def total(self) -> int:
        """The order's amount; of a refund's order one that is paid at once. Fen."""
        return 2000 if self.kind.then == "refund" else 1000 + self.kind.scenario

    @property
    def refund(self) -> int:
        """What is given back. Fen."""
        return 1000 + self.kind.scenario

    def query(self) -> tuple[OrderQuery | RefundQuery, int]:
        """What is asked, and the amount that it should name."""
        wallet = PayType.WECHAT
        if self.kind.then == "refund":
            return RefundQuery(paytype=wallet, out_refund_no=f"T{self.number}"), self.refund
        query = OrderQuery(paytype=wallet, out_trade_no=self.number, mch_id=self.kind.mch_id)
        return query, self.total


def cases(count: int) -> Iterator[Case]:
    for number in range(count):
        yield Case(f"M{number:07d}", KINDS[number % len(KINDS)])


async def made(gateway: GatewaySession, case: Case) -> None:
    """Bring it about; what the gateway answers is not looked at."""
    if case.kind.then == "nothing":
        return
    wallet = PayType.WECHAT
    pay = Pay(out_trade_no=case.number, body="tea", total_fee=case.total, auth_code=CODE)
    with suppress(ChaoyingError):
        await gateway.send(pay)
    if case.kind.then == "cancel":
        await gateway.send(Cancel(paytype=wallet, out_trade_no=case.number))
    if case.kind.then in ("refund", "return"):
        refund = Refund(
            paytype=wallet,
            out_trade_no=case.number,
            out_refund_no=f"T{case.number}",
            total_fee=case.total,
            refund_fee=case.refund,
        )
        with suppress(ChaoyingError):
            await gateway.send(refund)


#: How each end in the books should have come out.
_ORDERS = {
    Status.PAID: PollStatus.PAID,
    Status.FAILED: PollStatus.FAILED,
    Status.CLOSED: PollStatus.CLOSED,
    Status.REVOKED: PollStatus.REVOKED,
    Status.OPEN: PollStatus.EXPIRED,
}
_REFUNDS = {
    RefundState.SUCCESS: PollStatus.REFUNDED,
    RefundState.FAIL: PollStatus.REFUND_FAILED,
    RefundState.NOTSURE: PollStatus.NOTSURE,
    RefundState.CHANGE: PollStatus.CHANGED,
    RefundState.PROCESSING: PollStatus.EXPIRED,
}
#: Where replies do not say what is in the books: another amount, another order.
_ODD = {412: PollStatus.MISMATCH, 418: PollStatus.EXPIRED}


def truth(sandbox: Sandbox, case: Case) -> PollStatus:
    """How it should have ended, by the ledger."""
    if case.kind.mch_id == NOT_CONFIGURED:
        return PollStatus.REFUSED
    ledger, key = sandbox.ledger, (sandbox.mch_id, case.number)
    if case.kind.then == "refund":
        refund = ledger.refunds.get((sandbox.mch_id, f"T{case.number}"))
        now = sandbox.clock.now()
        return _REFUNDS[refund.state_at(now)] if refund is not None else PollStatus.NOT_FOUND
    order = ledger.orders.get(key)
    if order is None:
        return PollStatus.NOT_FOUND
    if case.kind.then == "return":
        return PollStatus.REFUNDED
    return _ODD.get(order.scenario, _ORDERS[order.status])


@attrs.define
class Found:
    """How they ended: by status, and what contradicts the ledger."""

    ends: Counter[PollStatus] = attrs.field(factory=Counter)
    wrong: list[str] = attrs.field(factory=list)
    polls: int = 0
    clock: float = 0.0


async def polled(count: int, *, concurrency: int = 200) -> Found:
    """Make so many, wait for all of them at once, and judge."""
    clock, found = FakeClock(), Found()
    wanted = list(cases(count))
    async with (
        Sandbox(clock=clock) as sandbox,
        GatewaySession(
            sandbox.credentials,
            mch_id=sandbox.mch_id,
            op_user_id="cashier01",
            transport=sandbox.transport,
            clock=clock,
        ) as gateway,
        Poller(gateway, concurrency=concurrency, clock=clock) as poller,
    ):
        for case in wanted:
            await made(gateway, case)
        ended = await clock.run(_both(poller, wanted), within=16 * DAYS)
        found.polls, found.clock = poller.stats().polls, clock.monotonic()
        for case in wanted:
            _judge(found, case, ended.get(case.query()[0]), truth(sandbox, case))
    return found


async def _both(poller: Poller, wanted: list[Case]) -> dict[Any, PollOutcome[Any]]:
    """Orders by the schedule of payments and refunds by theirs, in one poller."""
    ended: dict[Any, PollOutcome[Any]] = {}

    async def follow(part: list[Case], schedule: PollSchedule) -> None:
        queries = (case.query() for case in part)
        run = poller.run(queries, schedule=schedule, at_once=len(wanted) + 1)
        async with aclosing(run) as outcomes:
            async for outcome in outcomes:
                if outcome.query in ended:
                    raise RuntimeError("an order ended twice")
                ended[outcome.query] = outcome

    refunds = [case for case in wanted if case.kind.then == "refund"]
    orders = [case for case in wanted if case.kind.then != "refund"]
    await asyncio.gather(follow(orders, PollSchedule()), follow(refunds, PollSchedule.refunds()))
    return ended


def _judge(found: Found, case: Case, outcome: PollOutcome[Any] | None, right: PollStatus) -> None:
    if outcome is None:
        found.wrong.append(f"{case}: never ended")
        return
    found.ends[outcome.status] += 1
    if outcome.status is not right:
        found.wrong.append(f"{case}: {outcome.status}, and the books say {right}")
    elif right is PollStatus.PAID and (outcome.paid is None or outcome.paid.payable != case.total):
        found.wrong.append(f"{case}: paid with another amount")
