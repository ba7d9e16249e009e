"""Bytes to flat fields to models and back: forms, JSON, JSON inside JSON, the one cattrs converter.

Decoding is strict and bounded: duplicate names, invalid UTF-8, too many fields or too deep nesting
are a :class:`~chaoying_async.exceptions.MalformedMessageError`, and so is every other thing that
cannot be read. Numbers keep their source text, since that text is what was signed (C 9).
"""

from __future__ import annotations

import json
import re
from binascii import a2b_qp
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Never, TypeVar, cast
from urllib.parse import quote_plus, unquote_to_bytes

from chaoying_async.exceptions import MalformedMessageError

T = TypeVar("T")

#: The document's largest message has about 30 fields.
MAX_FIELDS = 200
MAX_DEPTH = 16
#: Bytes of a reply; the document's have under 2 KiB.
MAX_REPLY = 1024 * 1024

_SAFE = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
#: How a body that is no form begins: XML, JSON, multipart (M-14).
_NOT_A_FORM = ("<", "{", "[", "--")


def encode_form(pairs: Iterable[tuple[str, str]]) -> str:
    """``application/x-www-form-urlencoded``, every value encoded once, a blank as ``+``."""
    return "&".join(
        [f"{name}={value if _SAFE(value) else quote_plus(value)}" for name, value in pairs]
    )


def parse_form(body: bytes | str, max_fields: int = MAX_FIELDS) -> dict[str, str]:
    """The fields of a form body as received: split first, then decoded once.

    Blank values are kept, both cases of percent escapes are fine, ``+`` is a blank. The
    Content-Type header decides nothing; what begins like XML, JSON or multipart is refused (M-14).
    """
    return split_form(body, max_fields)[0]


def split_form(
    body: bytes | str, max_fields: int = MAX_FIELDS
) -> tuple[dict[str, str], list[str] | None]:
    """The fields of a form body, and its pieces: each ``name=value``, decoded, as they came.

    No pieces, but None, where some of them are blank or lack a value.
    """
    text = _utf8(body if isinstance(body, bytes) else _encoded(body))
    if text.startswith(_NOT_A_FORM) or "=" not in text:
        raise MalformedMessageError("the body is not a form (application/x-www-form-urlencoded)")
    pieces = text.split("&", max_fields)
    if len(pieces) > max_fields:
        raise MalformedMessageError(f"the form has more than {max_fields} fields")
    pairs = [piece.split("=", 1) for piece in pieces]
    if "%" in text or "+" in text:
        for index in [at for at, piece in enumerate(pieces) if "%" in piece or "+" in piece]:
            pairs[index] = [_unquoted(text) for text in pairs[index]]
            pieces[index] = "=".join(pairs[index])
    try:
        fields: dict[str, str] = dict(pairs)
    except ValueError:  # a piece without "="
        return _with_odd_names(pairs), None
    return (fields, pieces) if len(fields) == len(pieces) else (_with_odd_names(pairs), None)


def _with_odd_names(pairs: list[list[str]]) -> dict[str, str]:
    """Pieces that are blank (``a=1&&b=2``) or lack a value; a name that comes twice is refused."""
    named = [(pair[0], "".join(pair[1:])) for pair in pairs if pair != [""]]
    fields = dict(named)
    if len(fields) != len(named):
        raise MalformedMessageError("a field comes twice")
    return fields


def _unquoted(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    data = text.encode()
    if _UNUSUAL_ESCAPE(data):
        return _utf8(unquote_to_bytes(data))
    # A percent escape is a quoted-printable one with another sign, and binascii reads those in C:
    # ten times as fast as urllib on the JSON that notifications carry. A property test holds them
    # equal.
    return _utf8(a2b_qp(data.replace(b"=", b"=3D").replace(b"%", b"=")))


#: What the two kinds of escapes do not share: a lone ``%``, and line ends.
_UNUSUAL_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})|[\r\n]").search


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # as below
        pass
    raise MalformedMessageError("the message is not UTF-8")


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:  # it holds the bytes, so it must not be our error's context (M-27)
        pass
    raise MalformedMessageError("the message is not UTF-8")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedMessageError("a field comes twice")
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
    text = _utf8(body).removeprefix("\ufeff")
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


def structure(fields: Mapping[str, str], model: type[T]) -> T:
    """A model from texts, by the one converter.

    Empty and unknown fields are left out. An optional field that cannot be read is None, its text
    stays in ``raw`` (C 99, C 100); a required one that is missing or unreadable is a
    :class:`~chaoying_async.exceptions.MalformedMessageError` that names it.
    """
    return cast("T", _reader("structure_function", model)(fields))


def read_text(text: str | None, hint: Any) -> Any:
    """One field of the type ``hint``, by the same converter: a scalar, a code, or a JSON list."""
    return _reader("field_function", hint)(text or "")


_READERS: dict[tuple[str, Any], Callable[[Any], Any]] = {}


def _reader(kind: str, hint: Any) -> Callable[[Any], Any]:
    """cattrs is imported, and its hooks are put together, when the first of a kind is read."""
    reader = _READERS.get((kind, hint))
    if reader is None:
        from chaoying_async.sansio.wire import structure as converter  # noqa: PLC0415

        reader = _READERS[kind, hint] = getattr(converter, kind)(hint)
    return reader
