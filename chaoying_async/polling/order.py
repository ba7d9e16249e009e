"""One order or refund that is asked about: its number, what its answers say, when to ask next.

The poller and ``refund_and_track`` both ask until :meth:`PolledOrder.decide` names an end.
"""

from __future__ import annotations

from math import inf
from typing import Any

from chaoying_async.abc import Gateway
from chaoying_async.exceptions import (
    OutcomeUnknownError,
    ParameterError,
    RequestNotSentError,
    UsageError,
)
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.polling.schedule import (
    Done,
    PollSchedule,
    Wait,
    last_query_at,
    next_step,
)
from chaoying_async.sansio.polling.status import (
    UNASKED,
    Answer,
    PollStatus,
    Query,
    Says,
    Standing,
    read_answer,
    taken_together,
)
from chaoying_async.sansio.userfunctions import takes_named
from chaoying_async.transport.departures import watched


class PolledOrder:
    """One order or refund while it is asked about. All moments are ``Clock.monotonic``'s."""

    __slots__ = (
        *("attempts", "due", "expected", "query", "schedule", "sent", "standing", "started"),
    )

    def __init__(
        self,
        query: Query,
        schedule: PollSchedule,
        expected: int | None,
        started: float,
        standing: Standing = UNASKED,
    ) -> None:
        self.query = query
        self.schedule = schedule
        #: The amount in fen that answers are compared with; None compares nothing.
        self.expected = expected
        self.started = started
        #: When the last query was sent; ``started`` before the first.
        self.sent = started
        #: When the next query is to be sent.
        self.due = started
        self.attempts = 0
        self.standing = standing

    @property
    def deadline(self) -> float:
        """When the last query is due."""
        return self.started + self.schedule.until

    def decide(self, now: float, random_number: float) -> PollStatus | None:
        """How the order ended, EXPIRED included; None: send the next query at :attr:`due`."""
        sent, deadline = self.sent, self.started + self.schedule.until
        elapsed = sent - self.started
        if sent >= deadline:  # sums of floats drift
            elapsed = max(elapsed, self.schedule.until)
        step = next_step(self.schedule, self.attempts, elapsed, self.standing, random_number)
        due = sent + step.seconds if isinstance(step, Wait) else sent
        self.due = last_query_at(max(now, due), deadline)
        if isinstance(step, Wait):
            return None
        return step.status if isinstance(step, Done) else PollStatus.EXPIRED

    def heard(self, answer: Answer) -> None:
        """Count one more query, and add its answer to what is known."""
        self.attempts += 1
        self.standing = taken_together(self.standing, answer)


async def ask(gateway: Gateway, request: Request[Any], **options: Any) -> Reply[Any] | Exception:
    """Send a request; an error is an answer too, and is returned."""
    try:
        return await gateway.send(request, **options)
    except Exception as error:  # noqa: BLE001 - whoever asks reads what it means
        return error


async def ask_once(
    gateway: Gateway, request: Request[Any], **options: Any
) -> tuple[Reply[Any] | Exception, bool]:
    """The same; and whether it was refused in this process, by us or by a hook: it never left.

    An error that says so is not believed where the call has left all the same.
    """
    with watched() as calls:
        said = await ask(gateway, request, **options)
    refused_here = said is calls.stopped_by or isinstance(said, (ParameterError, UsageError))
    if calls.left and (refused_here or isinstance(said, RequestNotSentError)):
        unknown = OutcomeUnknownError(
            "it had left all the same: query it under the same number before anything else"
        )
        unknown.__cause__ = said if isinstance(said, Exception) else None
        return unknown, False
    return said, refused_here


def phases_of(gateway: Gateway) -> Any:
    """The time-outs of a gateway whose ``send`` takes other ones; else None."""
    phases = getattr(gateway, "timeout", None)
    takes_it = hasattr(phases, "as_dict") and takes_named(gateway.send, "timeout")
    return phases if takes_it else None


def leaving_within(gateway: Gateway, seconds: float) -> dict[str, Any]:
    """Options with which a call leaves within so many seconds, or is not sent at all.

    It waits for a place in the session's pool, and then for a new connection. A gateway of the
    user's that has no such time-outs, or whose ``send`` takes none, waits as long as it does.
    """
    phases = phases_of(gateway)
    if phases is None:
        return {}
    parts = phases.as_dict()
    connect = min(seconds / 2, parts["connect"] or inf)
    pool = min(seconds - connect, parts["pool"] or inf)
    return {"timeout": type(phases)(**parts | {"connect": connect, "pool": pool})}


def read_said(
    query: Query, said: Reply[Any] | Exception, expected: int | None
) -> tuple[Reply[Any] | Exception, Answer]:
    """The answer and what it means; a gateway of the user's may return what is no reply."""
    try:
        return said, read_answer(query, said, expected)
    except Exception as error:  # noqa: BLE001 - the answer cannot be read
        return error, Answer(Says.TROUBLE)


def number_of(query: Query) -> tuple[str, str]:
    """The name and the value of the number that identifies the order: ours before the gateway's."""
    if isinstance(query, OrderQuery):
        if query.out_trade_no:
            return "out_trade_no", query.out_trade_no
        return "transaction_id", query.transaction_id or ""
    if isinstance(query, RefundQuery):
        if query.out_refund_no:
            return "out_refund_no", query.out_refund_no
        return "refund_id", query.refund_id or ""
    raise TypeError(f"a poller asks OrderQuery and RefundQuery, not {type(query).__name__}")


def default_of(gateway: Gateway, name: str) -> str | None:
    """What a session fills in where a request leaves ``name`` out; a fake gateway has none.

    What wraps a session may have its ``defaults`` only: earlier versions looked at nothing else.
    """
    wrapped = getattr(gateway, "defaults", None)
    found: str | None = getattr(gateway, name, None) or getattr(wrapped, name, None)
    return found


def merchant_of(
    gateway: Gateway, named: str | None, *about: str, where: str = " in the request"
) -> str:
    """The merchant that is named, else the session's default (M-18); else a ParameterError."""
    if merchant := named or default_of(gateway, "mch_id"):
        return merchant
    error = ParameterError({"mch_id": f"is required: name it{where} or give the session a default"})
    raise error.about(*about) if about else error


def check_amount(expected: object) -> None:
    """:class:`ParameterError` for what is neither fen nor None."""
    if expected is None:
        return
    if isinstance(expected, bool) or not isinstance(expected, int) or not 0 <= expected < 10**15:
        rule = 'must be a whole number of fen, of at most 15 digits: fen("12.30") makes it of yuan'
        raise ParameterError({"expected": rule})
