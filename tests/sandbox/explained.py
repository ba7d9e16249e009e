"""A shop on a sandbox whose every order can be explained: with a till, an inbox, a store, a log."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx

from chaoying_async import GatewaySession, NotificationHandler, TradeType, WechatPreOrder
from chaoying_async.cli.inquiry.gateway_queries import with_answers
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.pollstore.memory import MemoryPollStore
from chaoying_async.sandbox import Order, Sandbox, Status
from chaoying_async.sandbox.bank.order_life import settled
from chaoying_async.sansio.audit import Exchange
from chaoying_async.sansio.explanation import (
    Explanation,
    OrderEvidence,
    OrderStanding,
    explain_order,
)
from chaoying_async.sansio.explanation.from_audit_log import read_audit_log
from chaoying_async.sansio.explanation.from_inbox import InboxHolds
from chaoying_async.sansio.explanation.from_store import KeptText, kept_about
from chaoying_async.sansio.explanation.told import Witness
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.inbox_values import OrderKey
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.testing import FakeClock
from chaoying_async.web.asgi import notification_app

URL = "http://shop.example/notify"
KINDS = ("checkout", "refund", "checkout-order", "poll")


@attrs.define(kw_only=True)
class ExplainedShop:
    """What it sold, and what it wrote down of that."""

    sandbox: Sandbox
    clock: FakeClock
    session: GatewaySession
    inbox: MemoryInbox
    store: MemoryPollStore
    log: list[bytes]

    def preorder(self, number: str, total: int) -> WechatPreOrder:
        return WechatPreOrder(
            out_trade_no=number,
            body="tea",
            total_fee=total,
            trade_type=TradeType.NATIVE,
            product_id="1",
            notify_url=URL,
        )

    async def explained(self, number: str, *, with_records: bool = True) -> Explanation:
        """The order as everything tells it, or as the gateway alone does."""
        return await self.clock.run(self._explained(number, with_records=with_records))

    async def _explained(self, number: str, *, with_records: bool) -> Explanation:
        mch_id = self.sandbox.mch_id
        evidence = OrderEvidence(mch_id=mch_id, out_trade_no=number, now=self.clock.now())
        if with_records:
            evidence = await self._records(evidence)
        return explain_order(await with_answers(self.session, evidence, clock=self.clock))

    async def _records(self, evidence: OrderEvidence) -> OrderEvidence:
        mch_id, number = evidence.mch_id, evidence.out_trade_no
        key = OrderKey(mch_id, number)
        texts = [
            KeptText(witness=Witness.STORE, kind=kind, key=key_, text=text)
            for kind in KINDS
            async for key_, text in self.store.load(kind)
        ]
        return attrs.evolve(
            evidence,
            kept=tuple(k for text in texts if (k := kept_about(text, number, mch_id)) is not None),
            inbox=InboxHolds(
                record=await self.inbox.look(key), asides=tuple(await self.inbox.asides(key))
            ),
            log=read_audit_log(self.log, number, mch_id),
        )

    def truth(self, number: str) -> Order | None:
        """The order as the gateway's own books have it at this moment."""
        found = self.sandbox.ledger.orders.get((self.sandbox.mch_id, number))
        return None if found is None else settled(found, self.clock.now())[0]


@asynccontextmanager
async def an_explained_shop(price: int, seed: int = 1) -> AsyncGenerator[ExplainedShop]:
    """A shop all of whose orders cost that much, and that is notified of each."""
    clock = FakeClock()
    log: list[bytes] = []
    inbox = MemoryInbox(clock=clock)

    def audited(exchange: Exchange) -> None:
        log.append(exchange.line(clock.now()).encode() + b"\n")

    async def expected(mch_id: str, _number: str) -> ExpectedOrder:
        return ExpectedOrder(price, mch_id)

    async def on_paid(_order: PaidOrder) -> None:
        """The shop's effect: nothing that could fail."""

    sandbox = Sandbox(clock=clock, seed=seed)
    handler = NotificationHandler(
        sandbox.credentials,
        inbox,
        on_paid,
        expected=expected,
        on_conflict=lambda _aside: None,
        clock=clock,
    )
    transport = httpx.ASGITransport(notification_app(handler))
    sandbox = Sandbox(clock=clock, seed=seed, notify_transport=transport)
    async with (
        sandbox,
        MemoryPollStore() as store,
        GatewaySession(
            sandbox.credentials,
            mch_id=sandbox.mch_id,
            op_user_id="cashier",
            transport=sandbox.transport,
            read_retries=0,
            on_exchange=audited,
            clock=clock,
        ) as session,
    ):
        yield ExplainedShop(
            sandbox=sandbox, clock=clock, session=session, inbox=inbox, store=store, log=log
        )


OVER = {Status.CLOSED, Status.REVOKED, Status.FAILED}


def check_against_books(
    found: Explanation, before: Order | None, after: Order | None, where: Any
) -> None:
    """What an explanation says is true at one of the moments between which it was made."""
    moments = [before, after]
    stands = found.standing
    if stands is OrderStanding.UNPAID:
        over = [each for each in moments if each is not None and each.status in OVER]
        assert over, (where, found, moments)
    if stands in (OrderStanding.PAID, OrderStanding.WAS_PAID, OrderStanding.OTHER_AMOUNT):
        assert after is not None, (where, found, moments)
        assert after.paid_at is not None, (where, found, moments)
    if stands is OrderStanding.PAID:
        assert Status.PAID in [each.status for each in moments if each], (where, found, moments)
        assert found.payable is not None
    if stands is OrderStanding.OPEN:
        assert Status.OPEN in [each.status for each in moments if each], (where, found, moments)
    if found.is_settled:
        assert stands is OrderStanding.PAID
    assert found.next, where
    assert all(step.rule.startswith("M-") for step in found.next), where
