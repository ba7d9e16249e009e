"""A shop without an event loop: what its ``BlockingGateway`` opens, sells and keeps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Collection
from concurrent import futures
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chaoying_async import GatewaySession, OrderQuery, Pay, PayType, Refund, SystemClock
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.bank import refund_life
from chaoying_async.sandbox.bank.scenarios import RefundScenario
from chaoying_async.sansio.payments.intent import CHECKOUT, intent_in
from chaoying_async.workers import background_loop
from chaoying_async.workers.blocking import BlockingGateway
from tests.factories import AUTH_CODE

PAID, NEVER_PAID = 100, 405
#: A ``within`` that no test waits for: see :func:`give_up`.
WITHIN = 120.0


class Shop:
    """What the background loop opens: a sandbox, a session, a store; and where that was done."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.threads: set[str] = set()
        self.store = MemoryPollStore()
        self.sandboxes: list[Sandbox] = []

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[GatewaySession]:
        self.opened += 1
        self.threads.add(threading.current_thread().name)
        async with Sandbox(clock=SystemClock()) as sandbox:
            self.sandboxes.append(sandbox)
            async with GatewaySession(
                sandbox.credentials, mch_id=sandbox.mch_id, transport=sandbox.transport
            ) as session:
                yield session
        self.closed += 1

    def requests(self, name: str) -> int:
        return self.sandboxes[-1].requests.get(name, 0)

    def gateway(self, **options: Any) -> BlockingGateway:
        return BlockingGateway(self.session, store=lambda: self.store, **options)


def give_up(monkeypatch: pytest.MonkeyPatch, when: Callable[[], object]) -> None:
    """The time of a call with ``within=WITHIN`` is over as soon as ``when`` says so."""

    def wait(calls: Collection[futures.Future[Any]], seconds: float | None) -> None:
        if seconds != WITHIN:
            futures.wait(calls, seconds)
            return
        while not when() and not all(call.done() for call in calls):
            futures.wait(calls, 0.005)

    monkeypatch.setattr(background_loop, "wait", wait)


def refunds_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bank, which lives in real time here, takes no time for a refund."""
    at_once = RefundScenario(number=0, name="at once", says="SUCCESS at once", after=0)
    monkeypatch.setattr(refund_life, "refund_scenario_for", lambda _: at_once)


def pay(number: str, amount: int = PAID) -> Pay:
    return Pay(out_trade_no=number, body="tea", total_fee=amount, auth_code=AUTH_CODE)


def refund_of(number: str) -> Refund:
    return Refund(
        paytype=PayType.WECHAT,
        out_trade_no=number,
        out_refund_no="R10001",
        total_fee=PAID,
        refund_fee=PAID,
        op_user_id="1",
    )


def query(number: str) -> OrderQuery:
    return OrderQuery(paytype=PayType.WECHAT, out_trade_no=number)


def kept(gateway: BlockingGateway, shop: Shop) -> dict[str, bool]:
    """The numbers of the attempts in the store, and whether each was interrupted."""

    async def read(session: object) -> dict[str, bool]:
        intents = [intent_in(text) async for _, text in shop.store.load(CHECKOUT)]
        return {intent.out_trade_no: intent.interrupted for intent in intents}

    return gateway.call(read)


def ordered(gateway: BlockingGateway, shop: Shop) -> None:
    """Wait until a payment has reached the sandbox."""

    async def look(session: object) -> None:
        while not shop.sandboxes[-1].ledger.orders:
            await asyncio.sleep(0.005)

    gateway.call(look, within=20)
