"""What a store holds of payments and refunds whose outcome nobody has called ``done()`` yet.

An overview is for a shop that starts after a crash, or shows its orders to somebody. Outcomes to
act on come from ``resume`` and ``resume_refunds``, which give out each outcome once at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from chaoying_async.abc import PollStore
from chaoying_async.exceptions import StoreInUseError
from chaoying_async.payments.claims import Key, number_key, refund_key, registry_of
from chaoying_async.pollstore.failures import GONE, told
from chaoying_async.pollstore.guarded import GuardedStore
from chaoying_async.sansio.payments.intent import (
    CHECKOUT,
    ORDER,
    REFUND,
    Intent,
    OrderRecord,
    intent_in,
    key_of,
    number_in,
    order_record_in,
)
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus
from chaoying_async.sansio.payments.refunds import RefundIntent, refund_intent_in
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.sansio.values import Fen


class AttemptState(StrEnum):
    """How an attempt stands, as far as can be told from its store."""

    NEVER_SENT = "NEVER_SENT"
    """It was written down, and the process died before the payment left."""
    UNDER_WAY = "UNDER_WAY"
    """It may have been sent, and is being asked about: here, or perhaps by the store's owner."""
    LEFT = "LEFT"
    """It may have been sent, and nobody is at work on it: ``resume`` takes it up."""
    ENDED = "ENDED"
    """It ended, ``status`` says how, and nobody has called ``done()``."""
    UNREADABLE = "UNREADABLE"
    """The store's record cannot be read: query the number by hand."""


_ADVICE: Mapping[AttemptState, str] = {
    AttemptState.NEVER_SENT: "nothing was sent: it may be sent now",
    AttemptState.UNDER_WAY: "it may have been sent: wait for its outcome, send nothing again",
    AttemptState.LEFT: (
        "it may have been sent: resume(), or resume_refunds(), finds out how it ended; neither "
        "send it again nor deliver before"
    ),
    AttemptState.ENDED: "its outcome comes from resume(), or resume_refunds(), until it is done()",
    AttemptState.UNREADABLE: "its record cannot be read: query this number by hand",
}


@attrs.frozen(kw_only=True)
class _OpenRecord:
    mch_id: str
    """The merchant's number."""
    state: AttemptState
    """How it stands."""
    started: datetime | None = None
    """When the call started (wall clock); None where that cannot be read."""

    @property
    def sent(self) -> bool:
        """Whether it may have been sent. False is certain."""
        return self.state is not AttemptState.NEVER_SENT

    @property
    def advice(self) -> str:
        """What to do next, in a sentence."""
        return _ADVICE[self.state]


@attrs.frozen(kw_only=True)
class OpenAttempt(_OpenRecord):
    """One payment that a store still holds; see :func:`open_attempts`."""

    out_trade_no: str
    """The number of this attempt."""
    order_no: str
    """The business order where one was named, else the ``out_trade_no``."""
    total_fee: Fen | None = None
    """The order amount in fen; None where the record cannot be read."""
    status: CheckoutStatus | None = None
    """How it ended; None where it has not."""
    reason: CheckoutReason = CheckoutReason.NONE
    """Why it ended so, where the status does not say it all."""

    @property
    def sent(self) -> bool:
        """Whether the payment may have been sent. False is certain."""
        return (
            self.state is not AttemptState.NEVER_SENT and self.reason is not CheckoutReason.NOT_SENT
        )


@attrs.frozen(kw_only=True)
class OpenRefund(_OpenRecord):
    """One refund that a store still holds; see :func:`open_refunds`."""

    out_refund_no: str
    """The refund's number."""
    out_trade_no: str | None = None
    """The order's number, where the refund named it."""
    transaction_id: str | None = None
    """The platform's number of the order, where the refund named it."""
    refund_fee: Fen | None = None
    """What was applied for, in fen; None where the record cannot be read."""
    status: PollStatus | None = None
    """How it ended; None where it has not."""


async def open_attempts(store: PollStore) -> tuple[OpenAttempt, ...]:
    """Every payment of ``checkout`` that a store holds, and how each stands; nothing is asked.

    For a shop after a crash: what is not in here and is not delivered was never sent, or its
    outcome was ``done()``. Open the store first, look, and then run ``resume``. In a store that is
    *not* open a :class:`~chaoying_async.pollstore.sql.SqlPollStore` is read beside its owner,
    without taking it; then all that has not ended is UNDER_WAY, since its owner may be sending it
    at this moment. The answer may be old when it comes: to act, wait for the outcome.
    """
    view = _StoreView(store)
    orders = await view.texts(ORDER)  # first: an attempt is written after its order
    attempts = await view.texts(CHECKOUT)
    unsent = [
        (key, record)
        for key, text in orders
        if (record := _unsent(key, text, {each for each, _ in attempts})) is not None
        and await view.again(ORDER, key)
        == text  # else its attempt went on, and may have ended since
    ]
    await view.check_ownership()
    found = [_attempt(view, key, text) for key, text in attempts]
    found += [_never_sent(view, key, record) for key, record in unsent]
    return tuple(found)


async def open_refunds(store: PollStore) -> tuple[OpenRefund, ...]:
    """Every refund of ``refund_and_track`` that a store holds, and how each stands.

    ``status`` is how it ended when it was last asked about: NOTSURE, NOT_FOUND and EXPIRED are not
    the last word.
    """
    view = _StoreView(store)
    refunds = await view.texts(REFUND)
    await view.check_ownership()
    return tuple(_refund(view, key, text) for key, text in refunds)


class _StoreView:
    """Reads a store as its owner, or beside its owner."""

    def __init__(self, store: PollStore) -> None:
        self._store = store
        self._texts = GuardedStore(store)
        #: Reads a store beside its owner; a store of a user's own need not have this method.
        self._peek: Any = getattr(store, "peek", None)
        #: Whether nobody else can be at work on what the store holds.
        self.owns = True

    async def texts(self, kind: str) -> list[tuple[str, str]]:
        """All texts of a kind, by key."""
        try:
            if self.owns:
                return [item async for item in self._texts.load(kind)]
        except GONE:
            if self._peek is None:
                raise
            self.owns = False
        with told():
            found: list[tuple[str, str]] = await self._peek(kind)
            return found

    async def again(self, kind: str, key: str) -> str | None:
        """Read one text again."""
        if self.owns:
            return await self._texts.get(kind, key)
        return dict(await self.texts(kind)).get(key)

    async def check_ownership(self) -> None:
        """Learn whether the store is still ours, so that what was read can be judged."""
        try:
            if self.owns:
                await self._texts.hold()
        except StoreInUseError:
            self.owns = False

    def state(self, key: Key) -> AttemptState:
        """How an attempt stands that has not ended."""
        at_work = not self.owns or registry_of(self._store).runs(key)
        return AttemptState.UNDER_WAY if at_work else AttemptState.LEFT


def _unsent(key: str, text: str, attempts: set[str]) -> OrderRecord | None:
    """The record of an order whose attempt was begun and never written down; else None."""
    try:
        record = order_record_in(text)
    except ValueError:
        return None  # such an order is barred until release_order() is called
    mch_id, _ = number_in(key)
    sent = record.status is not None or key_of(mch_id, record.out_trade_no) in attempts
    return None if sent else record


def _never_sent(view: _StoreView, key: str, record: OrderRecord) -> OpenAttempt:
    mch_id, order_no = number_in(key)
    state = view.state(number_key(mch_id, record.out_trade_no))
    return OpenAttempt(
        mch_id=mch_id,
        out_trade_no=record.out_trade_no,
        order_no=order_no,
        started=record.started,
        state=AttemptState.NEVER_SENT if state is AttemptState.LEFT else state,
    )


def _attempt(view: _StoreView, key: str, text: str) -> OpenAttempt:
    try:
        intent: Intent = intent_in(text)
    except ValueError:
        mch_id, number = number_in(key)
        state = AttemptState.UNREADABLE
        return OpenAttempt(mch_id=mch_id, out_trade_no=number, order_no=number, state=state)
    end = intent.end
    going = view.state(number_key(intent.mch_id, intent.out_trade_no))
    return OpenAttempt(
        mch_id=intent.mch_id,
        out_trade_no=intent.out_trade_no,
        order_no=intent.order_no,
        total_fee=Fen(intent.total_fee),
        started=intent.started,
        state=going if end is None else AttemptState.ENDED,
        status=None if end is None else end.status,
        reason=CheckoutReason.NONE if end is None else end.reason,
    )


def _refund(view: _StoreView, key: str, text: str) -> OpenRefund:
    try:
        intent: RefundIntent = refund_intent_in(text)
    except ValueError:
        mch_id, number = number_in(key)
        return OpenRefund(mch_id=mch_id, out_refund_no=number, state=AttemptState.UNREADABLE)
    refund, status = intent.refund, intent.status
    going = view.state(refund_key(intent.mch_id, refund.out_refund_no))
    return OpenRefund(
        mch_id=intent.mch_id,
        out_refund_no=refund.out_refund_no,
        out_trade_no=refund.out_trade_no,
        transaction_id=refund.transaction_id,
        refund_fee=Fen(int(refund.refund_fee)),
        started=intent.started,
        state=going if status is None else AttemptState.ENDED,
        status=status,
    )
