"""Sends the queries about an order and its refunds; nothing that moves money."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from chaoying_async.abc import Clock, Gateway
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.explanation.evidence import OrderEvidence
from chaoying_async.sansio.explanation.from_gateway import AskedQuery, next_refund, next_wallet
from chaoying_async.sansio.paid import requested_paytype
from chaoying_async.sansio.polling.status import Query


async def with_answers(
    gateway: Gateway,
    evidence: OrderEvidence,
    *,
    clock: Clock,
    paytype: str | None = None,
    refunds: Sequence[str] = (),
) -> OrderEvidence:
    """The evidence with what the gateway answers; an error is an answer too.

    ``paytype`` is the only wallet to ask under; ``refunds`` are numbers that somebody named.
    """
    wallets = evidence.wallets(paytype)
    while wallet := next_wallet(evidence.asked, wallets, evidence.expected):
        query = OrderQuery(
            paytype=requested_paytype(wallet),
            mch_id=evidence.mch_id,
            out_trade_no=evidence.out_trade_no,
        )
        evidence = _and(evidence, await _ask(gateway, query, clock))
    under = _wallet_of(evidence, wallets)
    numbers = evidence.refund_numbers(refunds)
    while found := next_refund(evidence.asked, evidence.says, numbers, evidence.out_trade_no):
        number, is_guess = found
        refund = RefundQuery(
            paytype=requested_paytype(under), mch_id=evidence.mch_id, out_refund_no=number
        )
        asked = await _ask(gateway, refund, clock)
        evidence = _and(evidence, attrs.evolve(asked, is_guess=is_guess))
    return evidence


def _wallet_of(evidence: OrderEvidence, wallets: Sequence[str]) -> str:
    """The wallet that knows the order: the last one that was asked; else the likeliest."""
    known = evidence.says.status is not None or evidence.says.error is None
    return str(evidence.asked[-1].query.paytype) if known and evidence.asked else wallets[0]


def _and(evidence: OrderEvidence, asked: AskedQuery) -> OrderEvidence:
    return evidence.with_asked((*evidence.asked, asked))


async def _ask(gateway: Gateway, query: Query, clock: Clock) -> AskedQuery:
    try:
        said = await gateway.send(query)
    except ChaoyingError as error:
        return AskedQuery(at=clock.now(), query=query, said=error)
    return AskedQuery(at=clock.now(), query=query, said=said)
