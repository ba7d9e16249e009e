"""``CheckoutOutcome`` and ``RefundOutcome``: how it ended, and what a person should do about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from chaoying_async.exceptions import (
    ChaoyingError,
    GatewayError,
    PollTimeoutError,
    ReplyMismatchError,
    RequestNotSentError,
    TradeFailedError,
    TradePendingError,
)
from chaoying_async.polling.outcome import PollOutcome
from chaoying_async.pollstore.errands import NOTHING_KEPT
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.endpoint import Reply, failure_words, order_of
from chaoying_async.sansio.api.follow_up import Refund
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.sansio.payments.moves import (
    ADVICE,
    REFUSAL_ADVICE,
    CheckoutReason,
    CheckoutStatus,
)
from chaoying_async.sansio.polling.status import PollStatus

_DOING = "checkout"


@attrs.frozen(kw_only=True)
class CheckoutOutcome:
    """How the checkout of one ``out_trade_no`` ended."""

    status: CheckoutStatus
    """How the checkout ended."""
    mch_id: str
    """The merchant's number."""
    out_trade_no: str
    """The number of this attempt."""
    order_no: str
    """The business order where one was named, else the ``out_trade_no``."""
    paid: PaidOrder | None = None
    """The paid order, when somebody paid: with PAID, PAID_EARLIER, PAID_AFTER_CANCEL, and an
    UNKNOWN whose ``reason`` is MISMATCH, PAID_UNCONFIRMED or REFUNDED (a ``RefundedOrder``).
    """
    replies: tuple[Reply[Any] | Exception, ...] = attrs.field(
        default=(), repr=lambda replies: f"<{len(replies)}>", hash=False
    )
    """Every reply and every error on the way, oldest first; none of them survives a restart."""
    paytype: PayType | str | None = None
    """The wallet, as far as it became known."""
    suggested_refund: Refund | None = None
    """A refund that would give the money back. It is *not sent*: read ``advice`` first."""
    reason: CheckoutReason = CheckoutReason.NONE
    """Why it ended so, where the status does not say it all."""
    _forget: Callable[[], Awaitable[None]] | None = attrs.field(
        default=None, repr=False, eq=False, alias="forget"
    )

    @property
    def msg(self) -> str | None:
        """Why it was not paid, in the gateway's words, for the cashier (余额不足).

        None unless it is FAILED or CANCELLED, where the gateway gave no words, and after a restart.
        """
        if self.status not in _TRADE_ERRORS:
            return None
        # What no query found was refused at the beginning; the rest was decided at the end.
        first = self.reason is CheckoutReason.NOT_FOUND
        said = self.replies if first else reversed(self.replies)
        return next((msg for each in said if (msg := failure_words(each))), None)

    @property
    def advice(self) -> str:
        """What to do next, in a sentence."""
        said = self.replies[0] if self.replies else None
        refused = self.reason is CheckoutReason.REFUSED and isinstance(said, GatewayError)
        code = getattr(said, "code", None) if refused else None
        return REFUSAL_ADVICE.get(code or "") or ADVICE.get(self.reason) or ADVICE[self.status]

    def __str__(self) -> str:
        """Number and end, what the gateway said, and what to do next, in a line for a person."""
        reason = f" ({self.reason})" if self.reason else ""
        told = "; ".join(filter(None, (self.msg, self.advice)))
        return f"{self.out_trade_no} {self.status}{reason}: {told}"

    def unwrap(self) -> PaidOrder:
        """The paid order; else an error, by what to do next.

        FAILED raises what refused the payment (:class:`RequestNotSentError`, a
        :class:`GatewayError`) or, like CANCELLED, a :class:`TradeFailedError`: over, and not paid.
        PAID_EARLIER and PAID_AFTER_CANCEL are a :class:`TradePendingError`, UNKNOWN a
        :class:`PollTimeoutError`, a MISMATCH a :class:`ReplyMismatchError`: for a person, or for
        your own records, and not to be charged again.
        """
        if self.status is CheckoutStatus.PAID and self.paid is not None:
            return self.paid
        raise self._error().about(_DOING, self.out_trade_no)

    def done(self) -> Awaitable[None]:
        """Say that this outcome took effect; a store may then forget it (M-23).

        That is durable when the store's ``async with`` block has been left, and before that when
        what is returned here was awaited, which raises where it could not be made durable. Nothing
        has to be awaited. An outcome that is not forgotten comes again from ``resume``.
        """
        return NOTHING_KEPT if self._forget is None else self._forget()

    def _error(self) -> ChaoyingError:
        said = self.replies[0] if self.replies else None
        if self.reason in (CheckoutReason.NOT_SENT, CheckoutReason.REFUSED) and isinstance(
            said, (RequestNotSentError, GatewayError)
        ):
            return said
        text = str(self).removeprefix(f"{self.out_trade_no} ")
        if self.reason is CheckoutReason.MISMATCH:
            return ReplyMismatchError(text)
        if self.status is CheckoutStatus.UNKNOWN:
            return PollTimeoutError(text, last=self.replies[-1] if self.replies else None)
        kind = _TRADE_ERRORS.get(self.status, TradePendingError)
        last: Any = next((each for each in reversed(self.replies) if isinstance(each, Reply)), None)
        error = kind(text, reply=last)
        error.quoted = self.msg or ""
        return error


_TRADE_ERRORS: Mapping[CheckoutStatus, type[TradeFailedError]] = {
    CheckoutStatus.FAILED: TradeFailedError,
    CheckoutStatus.CANCELLED: TradeFailedError,
}


_NEVER_MADE = (
    "refused, and no query knows it: mend the cause and send the same refund again, under the same "
    "number"
)


@attrs.frozen(kw_only=True)
class RefundOutcome(PollOutcome[RefundItem]):
    """How a refund ended: a :class:`PollOutcome` that a store may hold until :meth:`done`."""

    refusal: GatewayError | None = attrs.field(default=None, eq=False)
    """What the gateway said, where it refused the call in words that do not prove that nothing
    moved: 20008, 20004 and others (M-09).
    """
    never_made: bool = False
    """Whether the refusal was right: no query has known the refund since (M-25). ``error`` is the
    refusal.
    """

    @property
    def may_be_sent_again(self) -> bool:
        """Whether the same request, under the same number, is what to send next."""
        return self.never_made or self.status is PollStatus.NOTSURE

    @property
    def advice(self) -> str:
        """What to do next, in a sentence."""
        return _NEVER_MADE if self.never_made else super().advice

    def unwrap(self) -> RefundItem:
        """The refund that was carried out; else an error, see :meth:`PollOutcome.unwrap`.

        One that was refused and never made is a :class:`PollTimeoutError` with what the gateway
        said.
        """
        if not self.never_made:
            return super().unwrap()
        text = f"{self.status}: {self.refusal}; {self.advice}"
        error = PollTimeoutError(text, last=self.refusal)
        error.quoted = self.refusal.quoted if self.refusal is not None else ""
        raise error.about(self.query.endpoint.name, order_of(self.query)) from self.refusal
