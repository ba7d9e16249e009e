"""What an observer is told of the library's work: codes and numbers, and nothing personal (M-27).

No field holds an order number, a buyer, an amount, a merchant or a key, and no error's text: so
whatever an observer does with these values, none of that gets out.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import attrs

from chaoying_async.exceptions import (
    ChaoyingError,
    GatewayError,
    OrderNotFoundError,
    OutcomeUnknownError,
)
from chaoying_async.sansio.api.endpoint import Endpoint, Reply
from chaoying_async.sansio.call_numbers import CANCELLED, OTHER
from chaoying_async.sansio.enums import Code
from chaoying_async.sansio.meaning import Family, Meaning


class HowItEnded(StrEnum):
    """How work ended. What nobody knows yet is neither done nor failed."""

    DONE = "done"
    """It did what it was for, whatever the trade's own state is."""
    FAILED = "failed"
    """It did not do what it was for."""
    UNKNOWN = "unknown"
    """Nobody knows yet, and somebody has to ask: it is no failure (M-11)."""


#: Errors after which an order may be in any state.
_UNDECIDED = (OutcomeUnknownError, OrderNotFoundError)
_CODES: Final = frozenset(map(str, Code))
#: Calls that begin an order: whatever is heard of it later belongs to them.
_BEGIN_ORDERS = frozenset({Family.PAY, Family.PREORDER})


@attrs.define(kw_only=True, eq=False)
class ObservedWork:
    """A piece of work while it is under way; when its block is left, it says how it ended."""

    order: int | None = None
    """Tells the orders of this process apart, and says nothing about them: a hash, salted anew in
    each process. None where the work belongs to no order, or it is not known yet.
    """
    started: float = 0.0
    """When it began, by the monotonic clock of whoever does it."""
    elapsed: float = 0.0
    """How long it took, in seconds."""
    ended: HowItEnded = HowItEnded.UNKNOWN
    """How it ended."""
    error: str = ""
    """The class of the error that it ended with; ``other`` for what is none of ours. Empty where it
    ended without one.
    """

    def failed(self, error: BaseException) -> None:
        """It ended with this error, of which only the class is kept."""
        self.error = error_name(error)
        left = getattr(error, "sent", None) is True
        undecided = isinstance(error, _UNDECIDED) or not isinstance(error, Exception)
        self.ended = HowItEnded.UNKNOWN if undecided or left else HowItEnded.FAILED


@attrs.define(kw_only=True, eq=False)
class ObservedCall(ObservedWork):
    """One call of a session, its repeats included."""

    endpoint: Endpoint
    """What is called."""
    method: str
    """GET or POST."""
    address: str
    """Where it goes, without a query. Show host and port alone: a scanned link has more in it."""
    status: int | None = None
    """The HTTP status of the last answer; None where none came."""
    round_trips: int = 0
    """How often it was sent: more than once for reads only."""
    outcome: str = ""
    """What the reply means (``RESULT``, ``PENDING``), or the class of the error."""
    code: str = ""
    """The gateway's status code; ``other`` for one that the document does not list, empty where
    there was none.
    """

    def answered(self, reply: Reply[Any]) -> None:
        """The gateway carried it out, whatever the trade's own state is."""
        pending = reply.meaning is Meaning.PENDING
        self.ended = HowItEnded.UNKNOWN if pending else HowItEnded.DONE
        self.outcome = reply.meaning.name
        self.code = _known(reply.code)

    def failed(self, error: BaseException) -> None:
        """It ended with this error, of which the class and the gateway's code are kept."""
        super().failed(error)
        self.outcome = self.error
        refusal = error.refusal if isinstance(error, OutcomeUnknownError) else error
        if isinstance(refusal, GatewayError):
            self.code = _known(refusal.code)


@attrs.define(kw_only=True, eq=False)
class ObservedPayment(ObservedWork):
    """One ``checkout`` or ``refund_and_track``, or one that is resumed; its calls included."""

    name: str
    """Which of them: ``resume`` for one payment, ``resume_refunds`` for one refund."""
    status: str = ""
    """How it ended, by the name of its status; empty where it raised."""
    reason: str = ""
    """Why, where the status does not say it all."""

    def over(self, status: str, reason: str = "", *, known: bool) -> None:
        """It ended so; ``known``: whether that says what became of the money."""
        self.status, self.reason = str(status), str(reason)
        self.ended = HowItEnded.DONE if known else HowItEnded.UNKNOWN


@attrs.define(kw_only=True, eq=False)
class ObservedMessage(ObservedWork):
    """One notification while it is handled, one payment that a query found, or one that is due."""

    name: str
    """``notification``, ``settle`` or ``run_due``."""
    decision: str = ""
    """What was decided; empty where the message proves nothing."""

    def decided(self, decision: str, *, over: bool) -> None:
        """It was decided so; ``over``: whether nobody is at work on it any more."""
        self.decision = str(decision)
        if not self.error:
            self.ended = HowItEnded.DONE if over else HowItEnded.UNKNOWN


def order_mark(mch_id: str, number: str) -> int:
    """The same for the same order while this process lives, and good for nothing else."""
    return hash((str.__str__(mch_id), str.__str__(number)))


def begins_order(endpoint: Endpoint) -> bool:
    """Whether what is heard of the order later belongs to a call of this endpoint."""
    return endpoint.family in _BEGIN_ORDERS


def error_name(error: BaseException) -> str:
    """The class of an error of ours; of any other, that it is another's."""
    if isinstance(error, ChaoyingError):
        return type(error).__name__
    return OTHER if isinstance(error, Exception) else CANCELLED


def _known(code: str | None) -> str:
    if code is None:
        return ""
    return str(code) if code in _CODES else OTHER
