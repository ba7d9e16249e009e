"""JSON texts become values and replies, and values become the compact JSON that was signed.

Reading is strict and bounded: duplicate names, too many members or too deep nesting are a
:class:`~chaoying_async.exceptions.MalformedMessageError`, and so is everything else that cannot be
read. Numbers keep their source text, since that text is what was signed (C 9).
"""

from __future__ import annotations

import json
from typing import Any, Never

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.wire.forms import MAX_FIELDS, decode_utf8, twice

#: Containers that stand inside each other.
MAX_DEPTH = 16
#: Bytes of a reply; the document's have under 2 KiB.
MAX_REPLY = 1024 * 1024


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise twice(name for name, _ in pairs)
    if len(members) > MAX_FIELDS:
        raise MalformedMessageError(f"an object has more than {MAX_FIELDS} members")
    return members


def _no_constant(_text: str) -> Never:
    raise MalformedMessageError("NaN and Infinity are not JSON")


# Numbers stay text: what was signed is their source (C 9).
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=_no_constant
)


_UNREAD: Any = object()


class _Number(str):
    """A JSON number as its source text, told apart from a string."""

    __slots__ = ()


_TELLING_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant
)


def parse_json(text: str) -> Any:
    """Strict JSON with bounded nesting and sizes; numbers come as their source text."""
    value = _UNREAD
    try:  # noqa: SIM105 - suppress() costs as much as parsing a small list
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):  # the first holds the text (M-27)
        pass
    if value is _UNREAD:
        raise MalformedMessageError("the message is not valid JSON")
    if text.count("{") + text.count("[") > MAX_DEPTH and too_deep(value):
        raise MalformedMessageError(f"the message is nested more than {MAX_DEPTH} deep")
    return value


def parse_json_exactly(text: str) -> Any:
    """As :func:`parse_json`, but numbers can be told from texts by :func:`compact_json`."""
    parse_json(text)
    return _TELLING_DECODER.decode(text)


def too_deep(value: Any) -> bool:
    """Whether a container stands inside ``MAX_DEPTH`` others."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(inner, (dict, list)) for inner in level)


def parse_reply(body: bytes, max_bytes: int = MAX_REPLY) -> tuple[dict[str, Any], dict[str, str]]:
    """A reply's members as received, and as the texts that were signed.

    A JSON object in UTF-8, whatever its Content-Type says (C 107). As text, null is empty and a
    nested list or object is compact JSON in received order (C 8, C 9).
    """
    if len(body) > max_bytes:
        raise MalformedMessageError(f"the reply has more than {max_bytes} bytes")
    text = decode_utf8(body).removeprefix("\ufeff")
    members = parse_json(text)
    if not isinstance(members, dict):
        raise MalformedMessageError("the reply is not a JSON object")
    others = [name for name, value in members.items() if value.__class__ is not str]
    return members, members | _signed_texts(others, members, text) if others else dict(members)


def _signed_texts(names: list[str], members: dict[str, Any], source: str) -> dict[str, str]:
    """The texts of members that are no text, reading the source a second time at most once."""
    nested = any(isinstance(members[name], (dict, list)) for name in names)
    told = _TELLING_DECODER.decode(source) if nested else members
    return {name: "" if told[name] is None else compact_json(told[name]) for name in names}


def compact_json(value: Any) -> str:
    """Compact JSON in received order, numbers as they came, real UTF-8 (C 9)."""
    if isinstance(value, _Number):
        return str.__str__(value)
    if isinstance(value, dict):
        members = (f"{compact_json(name)}:{compact_json(inner)}" for name, inner in value.items())
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(compact_json, value))}]"
    return json.dumps(value, ensure_ascii=False)
