"""How waiting ended, and how the waiting goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Generic, TypeVar

import attrs

from chaoying_async.exceptions import (
    ChaoyingError,
    GatewayError,
    PollTimeoutError,
    RefundRefusedError,
    ReplyMismatchError,
    TradeFailedError,
    TradePendingError,
    TradeRefundedError,
)
from chaoying_async.pollstore.errands import NOTHING_KEPT
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.endpoint import Reply, failure_words, order_of
from chaoying_async.sansio.api.follow_up import RefundQuery
from chaoying_async.sansio.currency import is_yuan, shown_code
from chaoying_async.sansio.paid import PaidOrder, RefundedOrder, advice_in_refund
from chaoying_async.sansio.polling.status import (
    ORDER_ADVICE,
    REFUND_ADVICE,
    UNPAID,
    PollStatus,
    Query,
    refund_item,
)
from chaoying_async.sansio.values import Fen

W_co = TypeVar("W_co", bound=PaidOrder | RefundItem, covariant=True)


@attrs.frozen
class Receipt:
    """Says that an outcome was taken, so that a poller's store may forget its record."""

    key: str
    _owed: Collection[str]
    """The keys of all records whose outcome was not taken yet."""
    _taken: Callable[[str], Awaitable[None]]

    def __call__(self) -> Awaitable[None]:
        """Say that the outcome was taken; awaited, this returns when that is durable."""
        return self._taken(self.key)

    @property
    def is_open(self) -> bool:
        """Whether the outcome was not taken yet."""
        return self.key in self._owed


@attrs.frozen(kw_only=True)
class PollOutcome(Generic[W_co]):
    """How waiting for one order or refund ended.

    ``paid`` is there when the status is PAID; with MISMATCH it says what was paid instead, and with
    an order's REFUNDED what is known of the payment. ``elapsed`` is in seconds.
    """

    query: Query
    """The query that was asked."""
    status: PollStatus
    """How waiting ended."""
    reply: Reply[Any] | None = None
    """The answer that decided; None after an error or a notification."""
    paid: PaidOrder | None = None
    """The paid order, where the status is PAID. With MISMATCH it says what was paid instead, and
    with an order's REFUNDED it is a :class:`RefundedOrder`: what is known of the payment.
    """
    error: Exception | None = None
    """What the last query ended with, if it raised."""
    attempts: int = 0
    """How many queries were made."""
    elapsed: float = 0.0
    """How long it was waited for, in seconds."""
    _forget: Callable[[], Awaitable[None]] | None = attrs.field(
        default=None, alias="forget", repr=False, eq=False
    )

    @property
    def refund(self) -> RefundItem | None:
        """The entry of this refund, where the answer held one; None for an order."""
        return refund_item(self.query, self.reply) if self.reply is not None else None

    @property
    def refunded(self) -> Fen | None:
        """How much came back, in fen: of an order or by a refund; None where nothing says so."""
        if isinstance(self.paid, RefundedOrder):
            return self.paid.refunded
        item = self.refund if self.status is PollStatus.REFUNDED else None
        if item is None:
            return None
        return item.base_refund_fee if item.refund_fee is None else item.refund_fee

    @property
    def msg(self) -> str | None:
        """Why it failed or was refused, in the gateway's words (余额不足).

        None where the gateway gave no words, for what did not fail, and for a refund that failed:
        the answer to its query says nothing of why.
        """
        if isinstance(self.error, GatewayError):
            return failure_words(self.error)
        return failure_words(self.reply) if self.status in UNPAID.values() else None

    @property
    def advice(self) -> str:
        """What to do next, in a sentence."""
        if isinstance(self.query, RefundQuery):
            return REFUND_ADVICE[self.status]
        if self.status is PollStatus.REFUNDED:
            return advice_in_refund(self.paid)
        return ORDER_ADVICE[self.status]

    def __str__(self) -> str:
        """Number and end, what the gateway said, and what to do next, in a line for a person."""
        told = "; ".join(filter(None, (self.msg, self.advice)))
        return f"{order_of(self.query)} {self.status}: {told}".lstrip()

    def unwrap(self) -> W_co:
        """The paid order, or the refund that was carried out; else an error, by what to do next.

        :class:`PollTimeoutError` for EXPIRED and NOT_FOUND: not known, so neither deliver nor
        charge again. MISMATCH is a :class:`ReplyMismatchError`; REFUSED raises what the gateway
        said; FAILED, CLOSED and REVOKED are a :class:`TradeFailedError`, and an order in refund a
        :class:`TradeRefundedError`. For a refund: :class:`RefundRefusedError` when it failed (its
        ``msg`` is the outcome's: None where the gateway gave no reason for the failure), and
        :class:`TradePendingError` for CHANGED (a person has to act) and NOTSURE (send the same
        refund again).
        """
        found: Any = None
        if self.status is PollStatus.PAID:
            found = self.paid
        elif self.status is PollStatus.REFUNDED and isinstance(self.query, RefundQuery):
            found = self.refund
        if found is None:
            error = _ERRORS[self.status](self)
            raise error.about(self.query.endpoint.name, order_of(self.query)) from self.error
        result: W_co = found
        return result

    def done(self) -> Awaitable[None]:
        """Say that this outcome took effect: a store forgets it then, and it does not come again.

        Asking for the next outcome says the same of the one before. It is durable when the store's
        ``async with`` block has been left, and before that when what is returned here was awaited;
        nothing has to be awaited. Without a store nothing has to be said.
        """
        return NOTHING_KEPT if self._forget is None else self._forget()

    @property
    def comes_again(self) -> bool:
        """Whether a poller's store gives this outcome to the next consumer, too: it is not done."""
        return isinstance(self._forget, Receipt) and self._forget.is_open


def _timeout(outcome: PollOutcome[Any]) -> ChaoyingError:
    last = outcome.error if outcome.error is not None else outcome.reply
    refund = isinstance(outcome.query, RefundQuery)
    done, undone = ("made", "not made") if refund else ("paid", "unpaid")
    return PollTimeoutError(
        f"{outcome.status} after {outcome.attempts} queries in {outcome.elapsed:.0f} s: "
        f"not known to be {done}, and not known to be {undone}",
        last=last,
    )


def _failed(outcome: PollOutcome[Any]) -> ChaoyingError:
    why = f": {outcome.msg}" if outcome.msg else ""
    error = TradeFailedError(f"{outcome.status}: over, and not paid{why}", reply=_reply(outcome))
    error.quoted = outcome.msg or ""
    return error


def _refunded(outcome: PollOutcome[Any]) -> ChaoyingError:
    error = TradeRefundedError(f"{outcome.status}: {outcome.advice}", reply=_reply(outcome))
    error.paid = outcome.paid if isinstance(outcome.paid, RefundedOrder) else None
    return error


def _mismatch(outcome: PollOutcome[Any]) -> ChaoyingError:
    paid = outcome.paid
    if paid is not None and not is_yuan(paid.fee_type):
        return ReplyMismatchError(f"another currency than CNY: {shown_code(paid.fee_type)}")
    found = None if paid is None else paid.payable
    return ReplyMismatchError(f"another amount than the expected one: {found} fen")


def _refused(outcome: PollOutcome[Any]) -> ChaoyingError:
    if isinstance(outcome.error, ChaoyingError):
        return outcome.error
    return _timeout(outcome)


def _refund_failed(outcome: PollOutcome[Any]) -> ChaoyingError:
    # The reply's own msg is about the query, which went well.
    reply = _reply(outcome)
    return RefundRefusedError(
        "the refund failed", state=reply.state, code=reply.code, msg=outcome.msg, raw=reply.raw
    )


def _open_refund(outcome: PollOutcome[Any]) -> ChaoyingError:
    todo = {
        PollStatus.CHANGED: "a person has to pay it out another way",
        PollStatus.NOTSURE: "send the same refund again, under the same number",
    }
    return TradePendingError(f"{outcome.status}: {todo[outcome.status]}", reply=_reply(outcome))


def _reply(outcome: PollOutcome[Any]) -> Reply[Any]:
    if outcome.reply is None:
        raise TypeError(f"an outcome {outcome.status} has a reply")
    return outcome.reply


_ERRORS: Mapping[PollStatus, Callable[[PollOutcome[Any]], ChaoyingError]] = {
    PollStatus.PAID: _timeout,  # never: such an outcome has `paid`
    PollStatus.REFUNDED: _refunded,
    PollStatus.FAILED: _failed,
    PollStatus.CLOSED: _failed,
    PollStatus.REVOKED: _failed,
    PollStatus.NOT_FOUND: _timeout,
    PollStatus.MISMATCH: _mismatch,
    PollStatus.REFUSED: _refused,
    PollStatus.EXPIRED: _timeout,
    PollStatus.REFUND_FAILED: _refund_failed,
    PollStatus.CHANGED: _open_refund,
    PollStatus.NOTSURE: _open_refund,
}


def record_of(outcome: PollOutcome[Any]) -> str:
    """The key of an outcome's record in the poller's store; empty where it has none."""
    forget = outcome._forget  # noqa: SLF001 - of this file's own class
    return forget.key if isinstance(forget, Receipt) else ""


@attrs.frozen(kw_only=True)
class PollStats:
    """How many orders a poller waits for, and how late it is; see ``Poller.stats``."""

    pending: int
    """Orders that are waited for."""
    in_flight: int
    """Queries that are under way."""
    due: int
    """Orders whose time has come, and which wait for their turn."""
    lag: float
    """Seconds by which the next of them is late; 0.0 when none waits."""
    polls: int
    """Queries that ended."""
    errors: int
    """Queries that ended with an error, refusals among them."""
    breaker_open: bool
    """Whether the gateway fails across the board: only probes and last queries leave."""
    unwritten: int = 0
    """Records that the store does not have yet."""
    store_errors: int = 0
    """Writes to the store that failed."""
    unreadable: int = 0
    """Records of the store that could not be read."""
    unread: int = 0
    """Tracked orders that ended, and whose outcome no ``outcomes()`` or ``drain()`` has given out:
    a number that only grows says that nobody reads them.
    """
