"""What is answered to what: the bytes of M-14, for every decision and for every refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from chaoying_async.exceptions import MalformedMessageError, SignatureVerificationError
from chaoying_async.handler.reading import UnknownMerchantError
from chaoying_async.sansio.decisions import Decision, NotificationAnswer, is_success
from chaoying_async.sansio.notifications import FAIL, SUCCESS, OversizedNotificationError

_OK, _UNREADABLE, _TOO_LARGE = 200, 400, 413


class Outcome(NamedTuple):
    """What became of a message."""

    decision: Decision
    #: Its effect, or that there is none, is recorded.
    durable: bool


def _answer(outcome: Outcome) -> NotificationAnswer:
    success = is_success(outcome.decision, durable=outcome.durable)
    body = SUCCESS if success else FAIL
    return NotificationAnswer(status=_OK, body=body, decision=outcome.decision)


def _refusal(status: int) -> NotificationAnswer:
    return NotificationAnswer(status=status, body=FAIL)


#: Every outcome, and the answer to it. Made once: there are few, and they never change.
OUTCOMES: Mapping[tuple[Decision, bool], Outcome] = {
    (decision, durable): Outcome(decision, durable)
    for decision in Decision
    for durable in (False, True)
}
ANSWERS: Mapping[tuple[Decision, bool], NotificationAnswer] = {
    outcome: _answer(outcome) for outcome in OUTCOMES.values()
}

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
