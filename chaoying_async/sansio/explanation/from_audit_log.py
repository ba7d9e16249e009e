"""Which lines of an audit log are about an order, and what they say.

A line is JSON as ``Exchange.line`` writes it. A log is a file that anybody may have written into,
and the signatures in it are masked: it shows what a shop sent and what it was answered, and proves
neither. Nothing of a line is shown but codes and numbers that look like ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.explanation.from_gateway import bearing_of
from chaoying_async.sansio.explanation.told import Bearing, Statement, Value, Witness, word
from chaoying_async.sansio.meaning import Family, Meaning, classify
from chaoying_async.sansio.polling.status import UNPAID
from chaoying_async.sansio.stored import UNREADABLE, spellings
from chaoying_async.sansio.values import fen_or_none
from chaoying_async.sansio.wire.forms import encode_form, parse_form
from chaoying_async.sansio.wire.jsontext import parse_reply

#: Bytes of a line; a longer one is none of ours.
LONGEST_LINE = 256 * 1024
#: Characters of a moment in ISO 8601.
_LONGEST_MOMENT = 40
#: Exchanges of one order that are told; of more, the latest.
MOST_EXCHANGES = 500

_FAMILIES: Mapping[str, Family] = {each.endpoint.name: each.endpoint.family for each in REQUESTS}
_CHARGES = frozenset({"pay", "facepay", "WECHAT_PreOrder", "ALIPAY_PreOrder"})
_REFUND_NO = re.compile(r"[A-Za-z0-9_-]{1,32}").fullmatch


def is_known(call: str) -> bool:
    """Whether this is the name of a call of the document."""
    return call in _FAMILIES


@attrs.frozen(kw_only=True)
class LoggedExchange:
    """One exchange about the order."""

    at: datetime | None
    call: str
    status: int | None
    """The HTTP status; None where no answer came."""
    request: Mapping[str, str] = attrs.field(repr=False)
    reply: Mapping[str, str] = attrs.field(repr=False)
    """The members of the answer as texts; empty where it cannot be read."""
    failed: bool
    """Whether something came in place of an answer."""

    @property
    def family(self) -> Family:
        """The kind of its call."""
        return _FAMILIES[self.call]

    @property
    def refund(self) -> str | None:
        """The number of the refund that it is about."""
        number = self.request.get("out_refund_no", "")
        return number if _REFUND_NO(number) else None

    @property
    def charged(self) -> int | None:
        """The amount that it asked for, in fen, where it made the order."""
        return fen_or_none(self.request.get("total_fee")) if self.call in _CHARGES else None

    @property
    def paytype(self) -> str | None:
        """The wallet that it names."""
        return self.request.get("paytype") or self.reply.get("paytype") or None

    @property
    def meaning(self) -> Meaning | None:
        """What its answer says, if it says something; nobody has checked its signature here."""
        if not self.reply:
            return None
        fields = (self.reply.get(name) or None for name in ("state", "code", "trade_state"))
        return classify(self.family, *fields)

    @property
    def is_open(self) -> bool:
        """Whether a payment was sent, and no answer says for sure what became of it (M-06)."""
        if self.charged is None or self.meaning is None:
            return self.charged is not None
        unsure = self.family is Family.PAY and self.meaning in (Meaning.FAILED, Meaning.REFUNDED)
        return unsure and not self.reply.get("out_trade_no")


@attrs.frozen(kw_only=True)
class AuditLog:
    """The exchanges about one order, oldest first."""

    exchanges: tuple[LoggedExchange, ...] = ()
    unreadable: int = 0
    """Lines that name the order and cannot be read, and lines that are too long."""
    left_out: int = 0
    """Older exchanges that are not told."""


def read_audit_log(lines: Iterable[bytes | None], number: str, mch_id: str) -> AuditLog:
    """The exchanges about that order in the lines of a log; None stands for a line too long.

    The lines are read once, one at a time, and of other orders nothing is kept.
    """
    found: list[LoggedExchange] = []
    unreadable = left_out = 0
    names = _spelt(number)
    for line in lines:
        if line is None or len(line) > LONGEST_LINE:
            unreadable += 1
            continue
        if not any(spelt in line for spelt in names):
            continue
        try:
            exchange = _exchange(line, number, mch_id)
        except UNREADABLE:
            unreadable += 1
            continue
        if exchange is not None:
            found.append(exchange)
            if len(found) > MOST_EXCHANGES:
                del found[0]
                left_out += 1
    return AuditLog(exchanges=tuple(found), unreadable=unreadable, left_out=left_out)


def _spelt(number: str) -> frozenset[bytes]:
    """How the number may stand in a line: in JSON, in a form, and in a JSON text within JSON."""
    once = spellings(number)
    within = (outer for inner in once for outer in spellings(inner))
    found = {*once, *within, encode_form([("", number)]).removeprefix("=")}
    return frozenset(each.encode("utf-8", "replace") for each in found)


def _exchange(line: bytes, number: str, mch_id: str) -> LoggedExchange | None:
    members: dict[str, Any] = json.loads(line)
    call = members["endpoint"]
    request = parse_form(str(members.get("request") or "").encode())
    made = LoggedExchange(
        at=_moment(members.get("at")),
        call=call,
        status=members["status"] if isinstance(members.get("status"), int) else None,
        request=request,
        reply=_reply(members.get("reply")),
        failed=bool(members.get("error")),
    )
    return made if is_known(call) and _is_about(made, number, mch_id) else None


def _moment(text: object) -> datetime | None:
    found = (
        datetime.fromisoformat(text)
        if isinstance(text, str) and len(text) <= _LONGEST_MOMENT
        else None
    )
    return None if found is None or found.utcoffset() is None else found


def _reply(text: object) -> Mapping[str, str]:
    if not isinstance(text, str) or not text:
        return {}
    try:
        return parse_reply(text.encode())[1]
    except MalformedMessageError:
        return {}


def _is_about(made: LoggedExchange, number: str, mch_id: str) -> bool:
    """By the request's numbers; of one that names a refund alone, by what its answer names."""
    if made.request.get("mch_id", mch_id) != mch_id:
        return False
    asked = made.request.get("out_trade_no")
    return number == (asked if asked is not None else made.reply.get("out_trade_no"))


def told_by_audit_log(log: AuditLog) -> Iterator[Statement]:
    """A line of the timeline for each exchange."""
    for each in log.exchanges:
        values: dict[str, Value] = {
            "call": each.call,
            "amount": each.charged,
            "number": each.refund or "",
            "answer": _answer(each),
        }
        charge = "logged" if each.charged is None else "logged-charge"
        yield Statement(
            witness=Witness.AUDIT_LOG,
            what="logged-refund" if each.refund else charge,
            at=each.at,
            values=values,
            bearing=logged_bearing(each),
        )


def _answer(each: LoggedExchange) -> str:
    if each.reply:
        fields = (each.reply.get(name) for name in ("state", "trade_state", "code"))
        return " ".join(word(text) for text in fields if text)
    return "-" if each.status is None or each.failed else f"HTTP {each.status}"


_MEANINGS: Mapping[Meaning, Bearing] = {
    Meaning.RESULT: Bearing.PAID,
    Meaning.REFUNDED: Bearing.IN_REFUND,
    Meaning.PENDING: Bearing.OPEN,
}


def logged_bearing(each: LoggedExchange) -> Bearing:
    """How a logged answer bears on whether the order was paid; only pay and query say that."""
    meaning = each.meaning
    if each.family not in (Family.PAY, Family.QUERY) or meaning is None:
        return Bearing.NONE
    if meaning is Meaning.FAILED:
        return bearing_of(UNPAID.get(each.reply.get("code", "")))
    return _MEANINGS.get(meaning, Bearing.NONE)
