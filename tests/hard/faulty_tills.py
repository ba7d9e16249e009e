"""Thousands of tills at once against a gateway that fails, over real HTTP on a clock by hand.

The sandbox serves real sockets in this process, and shares one ``FakeClock`` with the tills: time
moves only while nothing is on the wire, so minutes of waiting take no time and every window of the
document is kept to the second. What the tills believe in the end is held against the books.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import httpx

from chaoying_async import (
    ChaoyingError,
    GatewaySession,
    Hosts,
    OrderQuery,
    Pay,
    PayType,
    Poller,
)
from chaoying_async.payments.checkout import checkout
from chaoying_async.sandbox import Fault, Sandbox
from chaoying_async.sandbox.bank.entities import Order, Status
from chaoying_async.sandbox.bank.order_life import settled
from chaoying_async.sandbox.serving.server import listening
from chaoying_async.testing import FakeClock
from chaoying_async.transport import AiohttpTransport
from chaoying_async.transport.base import HttpReply, NativeTransport

#: What goes wrong, how it lasts; all equally likely. The last but one outlasts a call's deadline.
FAULTS: tuple[tuple[Fault, float | None], ...] = (
    (Fault.REFUSED, None),
    (Fault.RESET_BEFORE, None),
    (Fault.RESET_AFTER, None),
    (Fault.HALF_BODY, None),
    (Fault.HTTP_500, None),
    (Fault.HTTP_502, None),
    (Fault.WRONG_SIGN, None),
    (Fault.NO_SIGN, None),
    (Fault.SLOW, 10.0),
    (Fault.SLOW, 45.0),
    (Fault.CLOCK_SKEW, None),
)

#: What customers do, by the sandbox's scenarios; half of them pay at once.
SCENARIOS = (
    *(401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412),
    *(413, 414, 415, 416, 417, 418, 419, 420, 421, 422),
)
#: Of these, the one whose messages name another amount.
OTHER_AMOUNT = 412
#: Seconds over which the customers arrive, for each thousand of them.
ARRIVING = 600.0
#: Seconds after the last end: what comes late has come by then.
AFTERWARDS = 1800.0


class Wire(NativeTransport):
    """The default engine; knows how many calls are on the wire, and what was sent how often."""

    def __init__(self, inner: AiohttpTransport) -> None:
        self._inner = inner
        self.calls = 0
        self.sent: Counter[str] = Counter()
        self.changed = asyncio.Event()

    async def round_trip(
        self, method: str, url: str, headers: Any, body: bytes, **how: Any
    ) -> HttpReply:
        fields = httpx.QueryParams(body.decode())
        self.sent[f"{fields.get('method')} {fields.get('out_trade_no')}"] += 1
        self.calls += 1
        try:
            return await self._inner.round_trip(method, url, headers, body, **how)
        finally:
            self.calls -= 1
            self.changed.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise NotImplementedError


class Asleep:
    """The sandbox's clock: knows how many answers wait for time to pass."""

    def __init__(self, clock: FakeClock, wire: Callable[[], Wire]) -> None:
        self._clock, self._wire = clock, wire
        self.sleeping = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)

    async def sleep(self, seconds: float) -> None:
        self.sleeping += 1
        self._wire().changed.set()
        try:
            await self._clock.sleep(seconds)
        finally:
            self.sleeping -= 1


@attrs.frozen(kw_only=True)
class Run:
    """Everything that a run has."""

    clock: FakeClock
    sandbox: Sandbox
    gateway: GatewaySession
    wire: Wire
    asleep: Asleep
    rng: random.Random

    async def run(self, work: Awaitable[Any]) -> Any:
        """Await it, moving the clock whenever nothing is on the wire."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await self._rest()
            due = self.clock.next_due
            if task.done():
                break
            if due is None:
                raise RuntimeError("it waits for something that this clock does not move")
            await self.clock.advance(due)
        return await task

    async def _rest(self) -> None:
        await self.clock.advance(0)
        while self.wire.calls > self.asleep.sleeping:
            self.wire.changed.clear()
            await self.wire.changed.wait()
            await self.clock.advance(0)


def _prompt(sandbox: Sandbox) -> Any:
    """The sandbox, and a server that does not wait 40 ms for an ACK in the middle of a reply."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        connection = send.__self__.transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await sandbox.app(scope, receive, send)

    return app


@asynccontextmanager
async def a_run(seed: int, faults: float) -> AsyncIterator[Run]:
    """A sandbox that is served, and fails so often; a session; one clock."""
    clock, wires = FakeClock(), list[Wire]()
    asleep = Asleep(clock, lambda: wires[0])
    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=1000)
    inner = AiohttpTransport(limits=limits, clock=clock)
    wires.append(Wire(inner))
    sandbox = Sandbox(clock=asleep, seed=seed)
    chance = 1 - (1 - faults) ** (1 / len(FAULTS))
    for fault, seconds in FAULTS:
        sandbox.faults.add(fault, probability=chance, seconds=seconds)
    async with sandbox, listening(_prompt(sandbox)) as url:
        session = GatewaySession(
            sandbox.credentials,
            mch_id=sandbox.mch_id,
            op_user_id="cashier01",
            hosts=Hosts.single(url),
            transport=wires[0],
            clock=clock,
            rng=random.Random(seed),
        )
        async with session as gateway:
            try:
                yield Run(
                    clock=clock,
                    sandbox=sandbox,
                    gateway=gateway,
                    wire=wires[0],
                    asleep=asleep,
                    rng=random.Random(seed),
                )
            finally:
                await inner.aclose()


def payments(count: int, rng: random.Random) -> Iterator[Pay]:
    """So many customers, each with a number, an amount and a payment code of its own."""
    for number in range(count):
        scenario = 0 if number % 2 else SCENARIOS[number // 2 % len(SCENARIOS)]
        prefix = ("13", "28")[rng.getrandbits(1)]
        yield Pay(
            out_trade_no=f"F{number:07d}",
            body="tea",
            total_fee=1000 * rng.randint(1, 99) + scenario,
            auth_code=f"{prefix}{rng.randrange(10**12):012d}1111",
        )


@attrs.frozen(kw_only=True)
class Believed:
    """How one till ended: what it believes, why, and the amount that it believes to have."""

    status: str
    reason: str = ""
    payable: int | None = None


Till = Callable[[Run, Pay], Awaitable[Believed]]


async def by_checkout(shop: Run, pay: Pay) -> Believed:
    """The library's own way, from the payment to an honest end."""
    outcome = await checkout(shop.gateway, pay, clock=shop.clock, rng=shop.rng)
    paid = outcome.paid
    return Believed(
        status=outcome.status,
        reason=outcome.reason,
        payable=paid.payable if paid is not None else None,
    )


def by_poller(poller: Poller) -> Till:
    """Pay, and let a poller find out; no cancel."""

    async def till(shop: Run, pay: Pay) -> Believed:
        with suppress(ChaoyingError):  # whatever it was: the query knows
            await shop.gateway.send(pay)
        wallet = PayType.from_auth_code(pay.auth_code) or PayType.WECHAT
        query = OrderQuery(paytype=wallet, out_trade_no=pay.out_trade_no)
        outcome = await poller.wait(query, expected=int(pay.total_fee))
        paid = outcome.paid
        return Believed(
            status=outcome.status,
            reason=type(outcome.error).__name__ if outcome.error is not None else "UNDECIDED",
            payable=paid.payable if paid is not None else None,
        )

    return till


async def serve(shop: Run, pays: list[Pay], till: Till) -> dict[str, Believed]:
    """All customers, who come one after the other and wait as long as it takes."""
    believed: dict[str, Believed] = {}
    arriving = len(pays) / 1000 * ARRIVING

    async def customer(pay: Pay, at: float) -> None:
        await shop.clock.sleep(at)
        believed[pay.out_trade_no] = await till(shop, pay)

    async with asyncio.TaskGroup() as group:
        for pay in pays:
            group.create_task(customer(pay, shop.rng.uniform(0, arriving)))
    await shop.clock.sleep(AFTERWARDS)
    return believed


#: Ends that claim that nobody's money is here.
UNPAID = frozenset({"FAILED", "CANCELLED", "CLOSED", "REVOKED", "NOT_FOUND"})
#: Ends that claim nothing, and must say why.
OPEN = frozenset({"UNKNOWN", "EXPIRED", "REFUSED", "MISMATCH", "REFUNDED"})


@attrs.define
class Verdict:
    """What the books say to it."""

    #: (believed, in the books) -> how many.
    ends: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    wrong: list[str] = attrs.field(factory=list)

    def table(self) -> list[str]:
        """One line for every combination."""
        return [f"{count:>7,}  {a:<34} {b}" for (a, b), count in sorted(self.ends.items())]


def judged(shop: Run, pays: list[Pay], believed: dict[str, Believed]) -> Verdict:
    """Hold what every till believes against the gateway's own books."""
    verdict = Verdict()
    for pay in pays:
        end = believed[pay.out_trade_no]
        order = _in_the_books(shop, pay)
        stands = order.status.value if order is not None else "(none)"
        why = f" ({end.reason})" if end.reason and end.status in OPEN else ""
        verdict.ends[f"{end.status}{why}", stands] += 1
        wrong = _wrong(end, order, pay)
        if shop.wire.sent[f"pay {pay.out_trade_no}"] != 1:
            wrong = "the payment was sent more than once"
        if wrong:
            verdict.wrong.append(f"{pay.out_trade_no}: {end} against {stands}: {wrong}")
    return verdict


def _in_the_books(shop: Run, pay: Pay) -> Order | None:
    try:
        order = shop.sandbox.ledger.order(pay.out_trade_no)
    except KeyError:
        return None
    return settled(order, shop.clock.now())[0]


def _wrong(end: Believed, order: Order | None, pay: Pay) -> str:
    paid = order is not None and order.status is Status.PAID
    if end.status in UNPAID:
        return "it is paid" if paid else ""
    if end.status in ("PAID", "PAID_AFTER_CANCEL"):
        if order is None or not paid:
            return "it is not paid"
        fits = end.payable == order.payable == pay.total_fee
        return "" if fits else "another amount"
    if end.status not in OPEN:
        return "an end that nobody knows"
    if "MISMATCH" in (end.status, end.reason):
        return "" if order is not None and order.scenario == OTHER_AMOUNT else "the amount is right"
    return "" if end.reason or end.status != "UNKNOWN" else "no reason is given"


async def run(count: int, seed: int, faults: float, way: str) -> tuple[Verdict, Run]:
    """One run, from the first customer to the verdict."""
    async with a_run(seed, faults) as open_shop:
        pays = list(payments(count, open_shop.rng))
        if way == "checkout":
            believed = await open_shop.run(serve(open_shop, pays, by_checkout))
        else:
            async with Poller(open_shop.gateway, clock=open_shop.clock) as poller:
                believed = await open_shop.run(serve(open_shop, pays, by_poller(poller)))
        return judged(open_shop, pays, believed), open_shop
