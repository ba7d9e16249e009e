"""What a till can decide, and how a checkout can end: the words of ``till.py``."""

from __future__ import annotations

from enum import Enum, StrEnum

import attrs


class CheckoutStatus(StrEnum):
    """How a checkout ended."""

    PAID = "PAID"
    """Paid, with the amount that was asked for: deliver, once."""
    PAID_EARLIER = "PAID_EARLIER"
    """Paid, by another call than this one: deliver only if your own record says that nobody did."""
    FAILED = "FAILED"
    """Over, and known not to be paid: another attempt needs another number."""
    CANCELLED = "CANCELLED"
    """The till gave up, and the gateway confirmed that the order is cancelled."""
    PAID_AFTER_CANCEL = "PAID_AFTER_CANCEL"
    """Cancelled by the till and paid all the same: see ``suggested_refund`` and ``advice``."""
    UNKNOWN = "UNKNOWN"
    """Not known: a person has to look, and nothing may be charged or delivered before."""


class CheckoutReason(StrEnum):
    """Why a checkout ended as it did, where the status does not say it all."""

    NOT_SENT = "NOT_SENT"
    """The payment never left: the same number may be used again."""
    REFUSED = "REFUSED"
    """The gateway refused the payment, and it moved nothing (M-09)."""
    FAILED = "FAILED"
    """The payment failed (10006)."""
    CLOSED = "CLOSED"
    """Closed without payment (10004)."""
    REVOKED = "REVOKED"
    """Revoked without payment (10005)."""
    NOT_FOUND = "NOT_FOUND"
    """To the very end the gateway knew no such order."""
    MISMATCH = "MISMATCH"
    """Paid, but not the amount that was asked for."""
    REFUNDED = "REFUNDED"
    """It was paid, and all of it or a part came back."""
    STILL_OPEN = "STILL_OPEN"
    """The gateway still answers that it is undecided."""
    NO_ANSWER = "NO_ANSWER"
    """The gateway gave no answer that says how it ended."""
    UNVERIFIED = "UNVERIFIED"
    """Every answer failed its signature check, as under a wrong key: none of them was believed."""
    CANCEL_UNCONFIRMED = "CANCEL_UNCONFIRMED"
    """A cancel, or a query, said that it is over, and no other answer confirmed that."""
    PAID_UNCONFIRMED = "PAID_UNCONFIRMED"
    """It was seen paid after a cancel, and then nobody answered."""
    AFTER_CANCEL = "AFTER_CANCEL"
    """Paid by another call, and a cancel of ours may have left all the same."""
    UNREADABLE = "UNREADABLE"
    """The store's record cannot be read."""
    STORE_FAILED = "STORE_FAILED"
    """The store failed, so it could not be read whether it is ours still: ``resume`` tells the end.
    """
    NONE = ""
    """The status says it all."""


@attrs.frozen
class Ask:
    """Send an ``orderquery`` under this ``paytype``."""

    paytype: str


@attrs.frozen
class Cancel:
    """Send a ``cancel``, but not later than ``until``."""

    paytype: str
    until: float


@attrs.frozen
class WaitUntil:
    """Do nothing before this moment."""

    moment: float


@attrs.frozen
class End:
    """It is over."""

    status: CheckoutStatus
    reason: CheckoutReason = CheckoutReason.NONE


Move = Ask | Cancel | WaitUntil | End


class CancelNews(Enum):
    """How one cancel call ended."""

    CARRIED_OUT = "the gateway says that it was carried out"
    REFUSED = "refused, and this call moved nothing (M-09, left column)"
    ABSENT = "20007 or 20011: not cancelled, says the gateway"
    UNCLEAR = "it may have been carried out"
    NOT_SENT = "it never left"


@attrs.frozen(kw_only=True)
class Cancels:
    """All cancels of one payment. ``left`` counts those that may have reached the gateway."""

    tries: int = 0
    left: int = 0
    refused: int = 0
    absent: int = 0
    carried_out: bool = False
    last: CancelNews | None = None
    #: When the last one ended.
    last_at: float = 0.0

    @property
    def harmless(self) -> bool:
        """None left, or M-09's left column refused every one: nothing was cancelled."""
        return self.left == self.refused

    def after(self, news: CancelNews, ended: float) -> Cancels:
        """With one more. To be stored *before* it leaves, it is UNCLEAR."""
        return Cancels(
            tries=self.tries + 1,
            left=self.left + (news is not CancelNews.NOT_SENT),
            refused=self.refused + (news is CancelNews.REFUSED),
            absent=self.absent + (news is CancelNews.ABSENT),
            carried_out=self.carried_out or news is CancelNews.CARRIED_OUT,
            last=news,
            last_at=ended,
        )


NO_CANCELS = Cancels()
