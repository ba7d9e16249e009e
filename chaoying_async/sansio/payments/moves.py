"""What a till can decide, what became of its cancels, and how a checkout can end."""

from __future__ import annotations

from collections.abc import Mapping
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


#: What to do next; what the reason says goes before what the status says.
ADVICE: Mapping[CheckoutStatus | CheckoutReason, str] = {
    CheckoutStatus.PAID: "deliver, once",
    CheckoutStatus.PAID_EARLIER: (
        "paid, but not by this call: deliver only if your own record of this number says that it "
        "was not delivered yet; do not charge again"
    ),
    CheckoutStatus.FAILED: "not paid: another attempt needs another out_trade_no",
    CheckoutStatus.CANCELLED: "cancelled, not paid: another attempt needs another out_trade_no",
    CheckoutStatus.PAID_AFTER_CANCEL: (
        "paid although it was cancelled: look at the books first, since the reversal may be on its "
        "way; if the money stayed, deliver or send the suggested refund, not both"
    ),
    CheckoutStatus.UNKNOWN: "not known: a person looks; neither deliver nor charge again before",
    CheckoutReason.REFUSED: (
        "refused, and nothing moved: put right what the gateway refuses (key, agent or merchant), "
        "since it refuses every other number too"
    ),
    CheckoutReason.NOT_SENT: "the payment never left: the same out_trade_no may be used again",
    CheckoutReason.MISMATCH: (
        "paid, but not the amount that was asked for: a person looks; do not deliver"
    ),
    CheckoutReason.REFUNDED: (
        "it was paid, and all of it or a part came back: a person looks; do not deliver before"
    ),
    CheckoutReason.PAID_UNCONFIRMED: (
        "it was seen paid after a cancel, and then nobody answered: look at the books"
    ),
    CheckoutReason.AFTER_CANCEL: (
        "paid by an earlier call, and a cancel may have left since: look at the books first, since "
        "the reversal may be on its way; then deliver only if your own record of this number says "
        "that it was not delivered yet; do not charge again"
    ),
    CheckoutReason.UNVERIFIED: (
        "every answer failed its signature check, and none was believed: put the key right "
        "(`chaoying check`), then query it; neither deliver nor charge again before"
    ),
    CheckoutReason.STORE_FAILED: (
        "the store failed when this was to be told, and nobody knows what another process did: "
        "when it works again resume() says how this ended; neither deliver nor charge again before"
    ),
    CheckoutReason.UNREADABLE: "the store's record cannot be read: query this number by hand",
}

_EVERY_NUMBER = "no other number helps"
#: What to do after a refusal that moved nothing (M-09, left column), by its code.
REFUSAL_ADVICE: Mapping[str, str] = {
    "20002": (
        "refused, since the gateway computes another signature: put the key right "
        f"(`chaoying check`); {_EVERY_NUMBER}"
    ),
    "20005": (
        "refused, since the merchant number is unknown or disabled: put it right, or ask the "
        f"gateway's support; {_EVERY_NUMBER}"
    ),
    "20012": (
        "refused, since the agent number is unknown or disabled: put it right, or ask the "
        f"gateway's support; {_EVERY_NUMBER}"
    ),
    "20013": (
        "refused, since this merchant is not set up for this kind of payment: take another wallet, "
        f"or have the gateway's support set it up; {_EVERY_NUMBER}"
    ),
}

#: What to do with an order whose attempt ended so, instead of charging it again.
_BARRED: Mapping[CheckoutStatus, str] = {
    CheckoutStatus.PAID: "deliver it, once; do not charge again",
    CheckoutStatus.PAID_EARLIER: (
        "it was paid by an earlier call: deliver it only if your own record says that it was not "
        "delivered yet; do not charge again, unless release_order() says that it is another sale's"
    ),
    CheckoutStatus.FAILED: "another attempt needs another out_trade_no",
    CheckoutStatus.CANCELLED: "another attempt needs another out_trade_no",
    CheckoutStatus.PAID_AFTER_CANCEL: (
        "look at the books; do not charge again, unless release_order() says that it is paid back"
    ),
    CheckoutStatus.UNKNOWN: (
        "a person finds out whether it was paid; do not charge again before release_order() says "
        "that it is not"
    ),
}


def why_no_other_attempt(status: CheckoutStatus) -> str:
    """Why there is no other attempt after one that ended so, and what to do with the order."""
    return f"ended {status}: {_BARRED[status]}"


@attrs.frozen
class Ask:
    """Send an ``orderquery`` under this ``paytype``."""

    paytype: str


@attrs.frozen
class SendCancel:
    """Send a ``cancel``, but not later than ``until``."""

    paytype: str
    until: float


@attrs.frozen
class WaitUntil:
    """Do nothing before this moment."""

    moment: float


@attrs.frozen
class CheckoutEnd:
    """The checkout is over."""

    status: CheckoutStatus
    reason: CheckoutReason = CheckoutReason.NONE


Move = Ask | SendCancel | WaitUntil | CheckoutEnd


class CancelNews(Enum):
    """How one cancel call ended."""

    CARRIED_OUT = "the gateway says that it was carried out"
    REFUSED = "refused, and this call moved nothing (M-09, left column)"
    ABSENT = "20007 or 20011: not cancelled, says the gateway"
    UNCLEAR = "it may have been carried out"
    NOT_SENT = "it never left"


@attrs.frozen(kw_only=True)
class Cancels:
    """What became of all cancels of one payment; money hangs on it.

    ``left`` counts those that may have reached the gateway.
    """

    tries: int = 0
    left: int = 0
    refused: int = 0
    absent: int = 0
    carried_out: bool = False
    last: CancelNews | None = None
    last_at: float = 0.0
    """When the last one ended."""

    @property
    def harmless(self) -> bool:
        """Whether nothing was cancelled: none left, or M-09's left column refused every one."""
        return self.left == self.refused

    def after(self, news: CancelNews, ended: float) -> Cancels:
        """The cancels after one more. Before one leaves it is stored as UNCLEAR."""
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
