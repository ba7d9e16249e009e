"""What a store keeps of an order that a poller waits for: JSON, and nothing personal (M-23).

A text is either :class:`Waiting` (asked about until it ends) or :class:`Ended` (its outcome, until
somebody took it). Queries hold no payment code and nothing about the buyer; of a reply only what
decides is kept (``pendingends``). ``extra`` may hold anything, so a query that has it is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import attrs

from chaoying_async.exceptions import ChaoyingError, ParameterError
from chaoying_async.sansio.api.endpoint import Reply, field_specs
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.enums import PayType, Undocumented
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.sansio.polling.ends import (
    error_in,
    error_members,
    paid_in,
    paid_members,
    reply_in,
    reply_members,
)
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import UNASKED, PollStatus, Query, Says, Standing

#: The kind of these texts in a store.
POLL = "poll"
#: Of the texts; another one is not read, and stays where it is.
VERSION = 1
#: Characters of a key, which every store takes.
LONGEST_KEY = 500
#: Seconds, a hundred years: a deadline that no calendar has cannot be written down.
LONGEST_WAIT = 100 * 365.25 * 86_400

_QUERIES: Mapping[str, type[OrderQuery | RefundQuery]] = {
    query.endpoint.name: query for query in (OrderQuery, RefundQuery)
}
_SCHEDULE = ("first", "every", "jitter", "factor", "longest", "steady")


@attrs.frozen(kw_only=True)
class Waiting:
    """One order that has not ended. ``schedule`` has begun; ``sent`` is seconds after ``started``.

    ``started`` is wall time, aware, and so is the stored deadline (M-26).
    """

    query: Query
    expected: int | None
    schedule: PollSchedule
    started: datetime
    attempts: int = 0
    sent: float = 0.0
    standing: Standing = UNASKED

    def text(self, mch_id: str) -> str:
        """As a store keeps it; ``mch_id`` is the merchant, whoever named it (M-18)."""
        schedule, standing = self.schedule, self.standing
        started = self.started.astimezone(UTC)
        members: dict[str, Any] = {
            "version": VERSION,
            "query": query_members(self.query, mch_id),
            "expected": self.expected,
            "schedule": {name: getattr(schedule, name) for name in _SCHEDULE},
            "started": started.isoformat(),
            "deadline": (started + timedelta(seconds=schedule.until)).isoformat(),
            "attempts": self.attempts,
            "sent": self.sent,
        }
        if standing != UNASKED:
            members["standing"] = {
                "says": standing.says.name,
                "status": standing.status,
                "counts": standing.counts,
                "seen": standing.seen,
                "troubles": standing.troubles,
            }
        return _json(members)


@attrs.frozen(kw_only=True)
class Ended:
    """One order whose outcome nobody has taken yet."""

    query: Query
    status: PollStatus
    reply: Reply[Any] | None
    paid: PaidOrder | None
    error: Exception | None
    attempts: int
    elapsed: float

    def text(self, mch_id: str) -> str:
        """As a store keeps it."""
        members: dict[str, Any] = {
            "version": VERSION,
            "query": query_members(self.query, mch_id),
            "status": self.status.value,
            "attempts": self.attempts,
            "elapsed": self.elapsed,
        }
        if self.reply is not None:
            members["reply"] = reply_members(self.query, self.reply)
        if self.paid is not None:
            members["paid"] = paid_members(self.paid)
        if self.error is not None:
            members["error"] = error_members(self.error)
        return _json(members)


def record_key(parts: Sequence[str], number: int) -> str:
    """The key of one wait: its order, and a number that tells it from other waits for the same."""
    key = _json([*parts, number])
    if len(key) > LONGEST_KEY:
        raise ParameterError({"query": "its numbers are too long to be kept in a store"})
    return key


def number_in(key: str) -> int:
    """The number in a key; 0 where somebody else wrote it."""
    number = key.rpartition(",")[2].removesuffix("]")
    return int(number) if number.isdecimal() and number.isascii() else 0


def check_keepable(query: Query, schedule: PollSchedule) -> None:
    """:class:`ParameterError` for what must not, or cannot, be written down."""
    problems = {}
    if query.extra:
        rule = "may hold anything, so a store keeps none of it: wait() for this order instead"
        problems["extra"] = rule
    if schedule.until > LONGEST_WAIT:
        problems["until"] = "must be less than a hundred years to be kept in a store"
    if problems:
        raise ParameterError(problems).about(query.endpoint.name)


def query_members(query: Query, mch_id: str) -> dict[str, str]:
    """A query as JSON has it."""
    members = {"of": query.endpoint.name}
    for spec in field_specs(type(query)):
        if (value := getattr(query, spec.name)) is not None:
            members[spec.name] = str(value)
    members["mch_id"] = mch_id
    return members


def read_pending(text: str) -> Waiting | Ended:
    """What :meth:`Waiting.text` and :meth:`Ended.text` wrote; ``ValueError`` for anything else."""
    try:
        members = json.loads(text)
        if members["version"] != VERSION:
            raise ValueError("another version")  # noqa: TRY301 - one way out
        return _ended(members) if "status" in members else _waiting(members)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, ChaoyingError):
        pass
    raise ValueError("not a wait that this version can read")


def _waiting(members: Mapping[str, Any]) -> Waiting:
    started, deadline = (datetime.fromisoformat(members[name]) for name in ("started", "deadline"))
    if started.utcoffset() is None:
        raise ValueError("a moment without a time zone")
    until = (deadline - started).total_seconds()
    standing = members.get("standing")
    expected = members["expected"]
    return Waiting(
        query=_query(members["query"]),
        expected=None if expected is None else _whole(expected),
        schedule=_schedule(until, *(members["schedule"][name] for name in _SCHEDULE)),
        started=started,
        attempts=_whole(members["attempts"]),
        sent=_seconds(members["sent"]),
        standing=UNASKED if standing is None else _standing(**standing),
    )


def _ended(members: Mapping[str, Any]) -> Ended:
    query = _query(members["query"])
    reply, paid, error = (members.get(name) for name in ("reply", "paid", "error"))
    return Ended(
        query=query,
        status=PollStatus(members["status"]),
        reply=None if reply is None else reply_in(query, reply),
        paid=None if paid is None else paid_in(paid),
        error=None if error is None else error_in(error),
        attempts=_whole(members["attempts"]),
        elapsed=_seconds(members["elapsed"]),
    )


def _query(members: Mapping[str, Any]) -> Query:
    fields = dict(members)
    kind = _QUERIES[fields.pop("of")]
    known = fields["paytype"] in PayType._value2member_map_
    fields["paytype"] = (PayType if known else Undocumented)(fields["paytype"])
    return kind(**fields)


@lru_cache(maxsize=1024)
def _schedule(until: float, *others: float) -> PollSchedule:
    """One object for the many orders that have the same."""
    named: dict[str, Any] = dict(zip(_SCHEDULE, others, strict=True))
    return PollSchedule(until=until, **named)


@lru_cache(maxsize=1024)
def _standing(
    *, says: str, status: str | None, counts: bool, seen: bool, troubles: int
) -> Standing:
    return Standing(
        says=Says[says],
        status=None if status is None else PollStatus(status),
        counts=bool(counts),
        seen=bool(seen),
        troubles=_whole(troubles),
    )


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError("not a whole number")
    return value


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < math.inf:
        raise ValueError("not a number of seconds")
    return seconds


_json = json.JSONEncoder(separators=(",", ":")).encode
