"""What a till can decide, and how a checkout can end: the words of ``till.py``."""

from __future__ import annotations

from enum import StrEnum

import attrs


class CheckoutStatus(StrEnum):
    """How a checkout ended."""

    #: Paid, with the amount that was asked for: deliver, once.
    PAID = "PAID"
    #: Paid, by another call than this one: deliver only if your own record says that nobody did.
    PAID_EARLIER = "PAID_EARLIER"
    #: Over, and known not to be paid: another attempt needs another number.
    FAILED = "FAILED"
    #: The till gave up, and the gateway confirmed that the order is cancelled.
    CANCELLED = "CANCELLED"
    #: Cancelled by the till and paid all the same: see ``suggested_refund`` and ``advice``.
    PAID_AFTER_CANCEL = "PAID_AFTER_CANCEL"
    #: Not known: a person has to look, and nothing may be charged or delivered before.
    UNKNOWN = "UNKNOWN"


class CheckoutReason(StrEnum):
    """Why a checkout ended as it did, where the status does not say it all."""

    NOT_SENT = "NOT_SENT"
    REFUSED = "REFUSED"
    FAILED = "FAILED"
    CLOSED = "CLOSED"
    REVOKED = "REVOKED"
    NOT_FOUND = "NOT_FOUND"
    MISMATCH = "MISMATCH"
    REFUNDED = "REFUNDED"
    STILL_OPEN = "STILL_OPEN"
    NO_ANSWER = "NO_ANSWER"
    #: Every answer failed its signature check, as under a wrong key: none of them was believed.
    UNVERIFIED = "UNVERIFIED"
    CANCEL_UNCONFIRMED = "CANCEL_UNCONFIRMED"
    PAID_UNCONFIRMED = "PAID_UNCONFIRMED"
    #: Paid by another call, and a cancel of ours may have left all the same.
    AFTER_CANCEL = "AFTER_CANCEL"
    UNREADABLE = "UNREADABLE"
    #: The store failed, so it could not be read whether it is ours still: ``resume`` tells the end.
    STORE_FAILED = "STORE_FAILED"
    NONE = ""


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
