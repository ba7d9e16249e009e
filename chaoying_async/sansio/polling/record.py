"""The texts that a store keeps of what a poller waits for, and of how it ended (M-23).

A text holds either a :class:`PendingOrder`, which is asked about until it ends, or an
:class:`EndedOrder`, whose outcome nobody has taken yet. Nothing in it is personal: a query has no
payment code and nothing about the buyer, and of a reply only what decides is kept (:data:`KEPT`).
``extra`` may hold anything, so a query that has it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar

import attrs

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.endpoint import Reply, field_specs
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.enums import Code, State, TradeState
from chaoying_async.sansio.meaning import Meaning
from chaoying_async.sansio.model import fields_of, wire_name_of
from chaoying_async.sansio.paid import PaidOrder, requested_paytype
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import UNASKED, PollStatus, Query, Standing, refund_item
from chaoying_async.sansio.stored import (
    Members,
    encoded,
    error_in,
    error_members,
    members_of,
    paid_members,
    read_record,
    value_in,
)
from chaoying_async.sansio.values import format_time
from chaoying_async.sansio.wire.structure import structure

E = TypeVar("E", bound=Enum)

#: The kind of these texts in a store.
POLL = "poll"
#: Of the texts; another one is not read, and stays where it is.
VERSION = 1
#: Characters of a key, which every store takes.
LONGEST_KEY = 500
#: The fields of a reply that are kept, as received: none that the document does not list, nothing
#: about the buyer, not what the gateway said in words, no ``attach`` (M-23, M-27).
KEPT = frozenset(
    """
    state code trade_state mch_id out_trade_no transaction_id out_transaction_id base_fee total_fee
    coupon_fee fee_type time_end paytype trade_type base_refund_fee_summary refund_fee_summary
    """.split()  # noqa: SIM905 - a page of names reads better than a page of quotes
)
#: Seconds, a hundred years: a deadline that no calendar has cannot be written down.
LONGEST_WAIT = 100 * 365.25 * 86_400

_QUERIES: Mapping[str, type[OrderQuery | RefundQuery]] = {
    query.endpoint.name: query for query in (OrderQuery, RefundQuery)
}


@attrs.frozen(kw_only=True)
class PendingOrder:
    """One order that has not ended. ``schedule`` has begun; ``sent`` is seconds after ``started``.

    ``started`` is wall time, aware, and so is the stored deadline (M-26). A schedule that ``ends``
    at a moment begins once more, by the database's clock, when a fleet takes the order up.
    """

    query: Query
    expected: int | None
    schedule: PollSchedule
    started: datetime
    attempts: int = 0
    sent: float = 0.0
    standing: Standing = UNASKED

    def text(self, mch_id: str) -> str:
        """The text that a store keeps; ``mch_id`` is the merchant, whoever named it (M-18)."""
        started = self.started.astimezone(UTC)
        left_out = ("until", "ends") if self.schedule.ends is None else ("until",)
        members: dict[str, Any] = {
            "version": VERSION,
            "query": _query_members(self.query, mch_id),
            "expected": self.expected,
            "schedule": members_of(self.schedule, *left_out),
            "started": started.isoformat(),
            "deadline": (started + timedelta(seconds=self.schedule.until)).isoformat(),
            "attempts": self.attempts,
            "sent": self.sent,
        }
        if self.standing != UNASKED:
            members["standing"] = members_of(self.standing)
        return encoded(members)


@attrs.frozen(kw_only=True)
class EndedOrder:
    """One order whose outcome nobody has taken yet."""

    query: Query
    status: PollStatus
    reply: Reply[Any] | None
    paid: PaidOrder | None
    error: Exception | None
    attempts: int
    elapsed: float

    def text(self, mch_id: str) -> str:
        """The text that a store keeps; ``mch_id`` is the merchant, whoever named it (M-18)."""
        members: dict[str, Any] = {
            "version": VERSION,
            "query": _query_members(self.query, mch_id),
            "status": self.status.value,
            "attempts": self.attempts,
            "elapsed": self.elapsed,
        }
        if self.reply is not None:
            members["reply"] = _reply_members(self.query, self.reply)
        if self.paid is not None:
            members["paid"] = paid_members(self.paid)
        if self.error is not None:
            members["error"] = error_members(self.error)
        return encoded(members)


def record_key(parts: Sequence[str], number: int) -> str:
    """The key of one wait: its order, and a number that tells it from other waits for the same."""
    key = json.dumps([*parts, number], separators=(",", ":"))
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


def read_pending(text: str) -> PendingOrder | EndedOrder:
    """The record in a text of one of the two; a ``ValueError`` for every other text."""
    return read_record(text, _pending, "a wait that this version can read")


def _pending(members: Members) -> PendingOrder | EndedOrder:
    if members["version"] != VERSION:
        raise ValueError("another version")
    return _ended(members) if "status" in members else _waiting(members)


def _waiting(members: Members) -> PendingOrder:
    started, deadline = (datetime.fromisoformat(members[name]) for name in ("started", "deadline"))
    if started.utcoffset() is None:
        raise ValueError("a moment without a time zone")
    if not members["query"]["mch_id"]:  # whose order it is, the session here need not say
        raise ValueError("without a merchant")
    schedule = {"until": (deadline - started).total_seconds()} | members["schedule"]
    standing = members.get("standing")
    return PendingOrder(
        query=_query(members["query"]),
        expected=value_in(members["expected"], int | None),
        schedule=_shared(PollSchedule, ("ends",), *schedule.items()),
        started=started,
        attempts=value_in(members["attempts"], int),
        sent=_seconds(members["sent"]),
        standing=UNASKED if standing is None else _shared(Standing, (), *standing.items()),
    )


@lru_cache(maxsize=2048)
def _shared(kind: Any, may_lack: tuple[str, ...], *members: tuple[str, Any]) -> Any:
    """One object for the many orders that have the same schedule, or stand alike."""
    return value_in(dict(members), kind, may_lack=may_lack)


def _ended(members: Members) -> EndedOrder:
    query = _query(members["query"])
    reply, error, paid = (members.get(name) for name in ("reply", "error", "paid"))
    if reply and paid:  # earlier versions kept the currency there alone
        paid = {"fee_type": reply["fields"].get("fee_type")} | paid
    return EndedOrder(
        query=query,
        status=PollStatus(members["status"]),
        reply=None if reply is None else _reply(query, reply),
        paid=value_in(paid, PaidOrder | None),
        error=None if error is None else error_in(error),
        attempts=value_in(members["attempts"], int),
        elapsed=_seconds(members["elapsed"]),
    )


def _seconds(member: Any) -> float:
    seconds: float = value_in(member, float)
    if seconds < 0:
        raise ValueError("not a number of seconds")
    return seconds


def _query_members(query: Query, mch_id: str) -> dict[str, str]:
    members = {"of": query.endpoint.name}
    for spec in field_specs(type(query)):
        if (value := getattr(query, spec.name)) is not None:
            members[spec.name] = str(value)
    members["mch_id"] = mch_id
    return members


def _query(members: Members) -> Query:
    fields = dict(members)
    fields["paytype"] = requested_paytype(fields["paytype"])
    kind = _QUERIES[fields.pop("of")]
    return kind(**fields)


def _reply_members(query: Query, reply: Reply[Any]) -> dict[str, Any]:
    """The reply that decided; of a list of refunds only the one that was asked about."""
    fields = {
        name: value
        for name, value in reply.raw.items()
        if name in KEPT and isinstance(value, str) and value
    }
    if (item := refund_item(query, reply)) is not None:
        fields["refund_list"] = json.dumps([dict(_texts(item))])
    return {"meaning": reply.meaning.name, "signed": reply.signed, "fields": fields}


def _texts(item: RefundItem) -> Iterator[tuple[str, str]]:
    for field in fields_of(RefundItem):
        value = getattr(item, field.name)
        if value is not None:
            text = format_time(value) if isinstance(value, datetime) else str(value)
            yield wire_name_of(field), text


def _reply(query: Query, members: Members) -> Reply[Any]:
    fields = dict(members["fields"])
    meaning = Meaning[members["meaning"]]
    return Reply(
        endpoint=query.endpoint,
        meaning=meaning,
        state=State(fields["state"]),
        code=_member(Code, fields.get("code")),
        msg=None,
        trade_state=_member(TradeState, fields.get("trade_state")),
        result=structure(fields, query.result_type) if meaning is Meaning.RESULT else None,
        signed=bool(members["signed"]),
        raw=fields,
    )


def _member(table: type[E], text: str | None) -> E | str | None:
    """A code of the document, or the text that it was."""
    return next((member for member in table if member.value == text), text)
