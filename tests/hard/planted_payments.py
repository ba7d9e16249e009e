"""Bugs that are planted into payments, refunds, polling and their store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import attrs
import pytest

from chaoying_async.exceptions import OutcomeUnknownError, RequestNotSentError, TransportError
from chaoying_async.payments import claims, running
from chaoying_async.payments import resume as resuming
from chaoying_async.polling.consumers import Collector
from chaoying_async.polling.poller import Poller
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio import matching, meaning
from chaoying_async.sansio.api.barcode import Pay
from chaoying_async.sansio.api.follow_up import Refund
from chaoying_async.sansio.api.preorder import WechatPreOrder
from chaoying_async.sansio.meaning import Family
from chaoying_async.sansio.payments import machine, moves
from chaoying_async.sansio.polling import status
from chaoying_async.session import GatewaySession
from tests.hard.planting import everywhere, planted


def _sent_again(
    patch: pytest.MonkeyPatch, kind: type[Any], changed: Callable[[Any], Any] = lambda same: same
) -> None:
    """Have a request of this kind sent a second time when nobody knows what became of the first."""
    send = GatewaySession.send

    async def again(self: GatewaySession, request: Any, **options: Any) -> Any:
        try:
            return await send(self, request, **options)
        except OutcomeUnknownError:
            if not isinstance(request, kind):
                raise
        return await send(self, changed(request), **options)

    patch.setattr(GatewaySession, "send", again)


@planted("pay is sent again", "M-02")
def _(patch: pytest.MonkeyPatch) -> None:
    _sent_again(patch, Pay)


@planted("a pre-order is sent again", "M-02")
def _(patch: pytest.MonkeyPatch) -> None:
    _sent_again(patch, WechatPreOrder)


@planted("a cancel leaves after 14 seconds", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "CANCEL_AFTER", 14.0)


@planted("a vague refusal of a payment is believed", "M-09")
def _(patch: pytest.MonkeyPatch) -> None:
    table = cast("dict[Any, frozenset[str]]", meaning.SETTLED_REFUSALS)
    patch.setitem(table, Family.PAY, table[Family.PAY] | {"20003", "20006", "30001"})


@planted("a payment after a cancel counts as cancelled", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    paid_end = machine._paid_end

    def careless(till: Any) -> moves.CheckoutEnd:
        end = paid_end(till)
        late = end.status is moves.CheckoutStatus.PAID_AFTER_CANCEL
        return moves.CheckoutEnd(moves.CheckoutStatus.CANCELLED) if late else end

    patch.setattr(machine, "_paid_end", careless)


@planted("a number is never given back after a payment", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims.NumberClaim, "release", lambda _: None)
    patch.setattr(claims.NumberClaim, "settle", lambda *_: None)


@planted("a refund that failed counts as made", "M-25")
def _(patch: pytest.MonkeyPatch) -> None:
    ends = cast("dict[str, status.PollStatus]", status.REFUND_ENDS)
    patch.setitem(ends, "FAIL", status.PollStatus.REFUNDED)


@planted("a refund is renumbered", "M-25")
def _(patch: pytest.MonkeyPatch) -> None:
    def renumbered(refund: Refund) -> Any:
        return attrs.evolve(cast("Any", refund), out_refund_no=f"{refund.out_refund_no}B")

    _sent_again(patch, Refund, renumbered)


@planted("a lost reply counts as not sent", "M-01")
def _(patch: pytest.MonkeyPatch) -> None:
    judged = GatewaySession._judged

    def rash(outgoing: Any, error: Any) -> Any:
        if type(error) is TransportError and outgoing.endpoint.moves_money:
            return RequestNotSentError("nothing came back")
        return judged(outgoing, error)

    patch.setattr(GatewaySession, "_judged", staticmethod(rash))


@planted("no second look at an end", "M-06")
def _(patch: pytest.MonkeyPatch) -> None:
    together = status.taken_together

    def sure(before: status.Standing, answer: status.Answer) -> status.Standing:
        return together(before, attrs.evolve(answer, sure=True))

    everywhere(patch, together, sure)


@planted("what is undecided counts as paid", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    paid = status.Answer(status.Says.ENDED, status.PollStatus.PAID, about_order=True)
    patch.setattr(status, "_undecided", lambda _: paid)


@planted("amounts of queries are not compared", "M-13")
def _(patch: pytest.MonkeyPatch) -> None:
    everywhere(patch, status.amount_fits, lambda *_: True)


@planted("20007 is a failure", "M-11")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        status,
        "_ABSENT",
        status.Answer(status.Says.ENDED, status.PollStatus.FAILED, about_order=True),
    )


@planted("another order's reply is believed", "M-06")
def _(patch: pytest.MonkeyPatch) -> None:
    everywhere(patch, matching.check_answers, lambda *_, **__: None)


@planted("a cancelled order is never looked at again", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    verdict = machine._verdict

    def quick(till: Any, now: float) -> Any:
        if till.cancels.carried_out:
            return moves.CheckoutEnd(moves.CheckoutStatus.CANCELLED)
        return verdict(till, now)

    patch.setattr(machine, "_verdict", quick)


@planted("what is undecided counts as failed", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    verdict = machine._verdict

    def hasty(till: Any, now: float) -> Any:
        end = verdict(till, now)
        if end is not None and end.status is moves.CheckoutStatus.UNKNOWN:
            return moves.CheckoutEnd(moves.CheckoutStatus.FAILED)
        return end

    patch.setattr(machine, "_verdict", hasty)


@planted("a lost store is not noticed", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    async def sure(_: SqlPollStore) -> None:
        return

    # Else a till that stood still for longer than a lease sends nothing: it is late.
    patch.setattr(running, "_STARTS_WITHIN", float("inf"))
    patch.setattr(SqlPollStore, "hold", sure)


@planted("resume finds nothing", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any, **__: Any) -> AsyncIterator[Any]:
        return
        yield  # a generator

    everywhere(patch, resuming.resume, nothing)


@planted("what is intended is not written down before it leaves", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    put = SqlPollStore.put

    async def lazy(self: SqlPollStore, kind: str, items: Any) -> None:
        if kind != "checkout":
            await put(self, kind, items)

    patch.setattr(SqlPollStore, "put", lazy)


@planted("resume takes what was sent for unsent", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    async def unsent(_: Any, intent: Any, claim: Any) -> Any:
        claim.release()
        end = moves.CheckoutEnd(moves.CheckoutStatus.FAILED)
        return intent, running.outcome_of(intent, end, None, (), None), False

    patch.setattr(resuming.Resuming, "_asked", unsent)


@planted("the poller forgets what its store holds", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    load = SqlPollStore.load

    async def nothing(self: SqlPollStore, kind: str) -> AsyncIterator[Any]:
        async for each in load(self, kind):
            if kind == "checkout":
                yield each

    patch.setattr(SqlPollStore, "load", nothing)


@planted("a consumer is not woken", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    def silent(self: Collector, outcome: Any) -> None:
        self.open -= 1
        self._ready.append(outcome)

    patch.setattr(Collector, "deliver", silent)


@planted("an outcome is forgotten before it took effect", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    outcomes = Poller.outcomes

    async def forgetful(self: Poller) -> AsyncIterator[Any]:
        async for outcome in outcomes(self):
            await outcome.done()
            if self.stats().polls % 2:
                yield outcome

    patch.setattr(Poller, "outcomes", forgetful)
