"""Turns Redis hashes into records and messages and back, and names keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    Entry,
    Mark,
    OrderKey,
    Record,
    SeenState,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FACTS = ("payable", "transaction_id", "out_transaction_id", "source", "decision")

Hash = Mapping[str, str]


def microseconds(moment: datetime) -> int:
    """A moment as whole microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def milliseconds(span: float) -> int:
    """Seconds as milliseconds, at least one: Redis refuses to expire something at once."""
    return max(1, round(span * 1000))


def name_of(key: OrderKey, fingerprint: str | None = None) -> str:
    """An order's (or a message's) name in keys and sets: unambiguous, whatever the texts hold."""
    parts = [*key] if fingerprint is None else [*key, fingerprint]
    return json.dumps(parts, separators=(",", ":"))


def key_of(name: str) -> tuple[OrderKey, str | None]:
    """The order, and for a message its fingerprint, that a name stands for."""
    mch_id, out_trade_no, *fingerprint = json.loads(name)
    return OrderKey(mch_id, out_trade_no), fingerprint[0] if fingerprint else None


def text(value: Any) -> str:
    """The text in a reply, whether the client has ``decode_responses`` or not."""
    return value.decode() if isinstance(value, bytes) else str(value)


def to_hash(reply: Mapping[Any, Any] | Sequence[Any]) -> dict[str, str]:
    """HGETALL's reply: a mapping by itself, a flat list out of a script."""
    if isinstance(reply, Mapping):
        return {text(name): text(value) for name, value in reply.items()}
    flat = [text(part) for part in reply]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def entry_args(entry: Entry) -> tuple[str, int, str]:
    """What a script is given of an entry: the payload, ``first_seen``, and the rest as JSON."""
    facts = [getattr(entry, name) for name in _FACTS]
    if entry.other_numbers:
        facts.append(entry.other_numbers)
    return entry.payload, microseconds(entry.first_seen), json.dumps(facts)


def to_record(key: OrderKey, fields: Hash, left: int) -> Record:
    """An order as its hash says; ``left`` is what PTTL says of its lease."""
    told = json.loads(fields["facts"])
    facts = dict(zip(_FACTS, told, strict=False))  # the other way's numbers may come behind them
    facts["decision"] = fields.get("decided") or facts["decision"]
    others = tuple(told[len(_FACTS)]) if len(told) > len(_FACTS) else ()
    return Record(
        key=key,
        state=SeenState(fields["state"]),
        entry=Entry(
            payload=fields["payload"], first_seen=_moment(fields), other_numbers=others, **facts
        ),
        lease=max(0, left) / 1000,
        failures=int(fields["failures"]),
        reason=fields.get("reason", ""),
        token=int(fields["token"]),
    )


def to_aside(key: OrderKey, fingerprint: str, fields: Hash) -> Aside:
    """A message as its hash says."""
    return Aside(
        key=key,
        fingerprint=fingerprint,
        decision=fields["decision"],
        reason=fields["reason"],
        payload=fields["payload"],
        first_seen=_moment(fields),
        tries=int(fields["tries"]),
        foreign=fields.get("foreign") == "1",
        mark=Mark(fields["mark"]) if fields["mark"] else None,
    )


def _moment(fields: Hash) -> datetime:
    return _EPOCH + timedelta(microseconds=int(fields["first_seen"]))
