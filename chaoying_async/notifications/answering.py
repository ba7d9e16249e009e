"""What is answered to what: the bytes of M-14, for every decision and for every refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from chaoying_async.exceptions import MalformedMessageError, SignatureVerificationError
from chaoying_async.notifications.reading import UnknownMerchantError
from chaoying_async.sansio.notifications.decide import Decision, NotificationAnswer, is_success
from chaoying_async.sansio.notifications.message import FAIL, SUCCESS, OversizedNotificationError
from chaoying_async.sansio.paid import PaidOrder

_OK, _UNREADABLE, _TOO_LARGE = 200, 400, 413


class Outcome(NamedTuple):
    """What became of a message."""

    decision: Decision
    #: Its effect, or that there is none, is recorded.
    durable: bool
    #: The order, where its effect is durable.
    paid: PaidOrder | None = None
    reason: str = ""


def _answer(decision: Decision, *, durable: bool) -> NotificationAnswer:
    body = SUCCESS if is_success(decision, durable=durable) else FAIL
    return NotificationAnswer(status=_OK, body=body, decision=decision)


def _refusal(status: int) -> NotificationAnswer:
    return NotificationAnswer(status=status, body=FAIL)


#: The answers that name no order. Made once: there are few, and they never change.
_ANSWERS: Mapping[tuple[Decision, bool], NotificationAnswer] = {
    (decision, durable): _answer(decision, durable=durable)
    for decision in Decision
    for durable in (False, True)
}


def answer_to(outcome: Outcome) -> NotificationAnswer:
    """What the gateway hears, and what the caller learns beside it."""
    answer = _ANSWERS[outcome.decision, outcome.durable]
    if outcome.paid is None:
        return answer
    return NotificationAnswer(
        status=answer.status, body=answer.body, decision=answer.decision, paid=outcome.paid
    )


#: Somebody else's work has not ended in time.
NOT_YET = _ANSWERS[Decision.IN_PROGRESS, False]

#: Nothing could be done about it: another delivery may fare better.
NOT_NOW = _refusal(_OK)

#: What a body that says nothing is counted as, and answered with; the first that fits.
_REFUSALS: tuple[tuple[type[Exception], str, NotificationAnswer], ...] = (
    (UnknownMerchantError, "unverified", NOT_NOW),
    (SignatureVerificationError, "unverified", NOT_NOW),
    (OversizedNotificationError, "malformed", _refusal(_TOO_LARGE)),
    (MalformedMessageError, "malformed", _refusal(_UNREADABLE)),
)


def refused(error: BaseException) -> tuple[str, NotificationAnswer] | None:
    """The counter and the answer for a body that is to blame itself; None for any other error."""
    for kind, counter, answer in _REFUSALS:
        if isinstance(error, kind):
            return counter, answer
    return None
