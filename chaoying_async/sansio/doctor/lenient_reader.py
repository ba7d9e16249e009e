"""Reads a message as leniently as can be, and notes what is wrong with it on the way.

Where the codec can read a body, this reads the same fields from it (a property test holds the two
together); a form in GBK or with a name that comes twice is read here as well, since that is what
has to be explained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.signing import texts
from chaoying_async.sansio.wire.forms import MAX_FIELDS
from chaoying_async.sansio.wire.jsontext import parse_reply, too_deep

Pairs = tuple[tuple[str, str], ...]
Change = Callable[[str], str]

#: Longer messages are refused: every mistake costs a pass over the text.
MAX_BYTES = 65_536

_URL_BEFORE_QUERY = re.compile(r"[^=&?]*\?")
_NOT_A_FORM = ("<", "[", "--")


@attrs.frozen(kw_only=True)
class SignedText:
    """A message in the order of its fields, decoded once, ``sign`` among them."""

    pairs: Pairs
    wire: str = ""
    """The form or query as it stood on the wire; empty for JSON and for decoded fields."""
    numbers: frozenset[str] = frozenset()
    """Members of a JSON reply that came as bare numbers."""
    problems: tuple[str, ...] = ()
    """What is certainly wrong with it, by name of the mistake."""
    memo: dict[tuple[Change, str], str] = attrs.field(factory=dict, eq=False, repr=False)
    """Values that were changed already: two mistakes at once meet the same ones again and again."""

    def changed(self, change: Change) -> Pairs:
        """The fields with every value changed."""
        return tuple([(name, self._changed(change, value)) for name, value in self.pairs])

    def _changed(self, change: Change, value: str) -> str:
        found = self.memo.get((change, value))
        if found is None:
            found = self.memo[change, value] = change(value)
        return found


def read_message(message: bytes | str | Mapping[str, str]) -> SignedText:
    """The fields of a form, a query (with or without its URL), a JSON reply, or a mapping.

    What cannot be read at all is a :class:`~chaoying_async.exceptions.MalformedMessageError`, and
    so are more than 64 KiB, 200 fields, or half a surrogate pair.
    """
    if isinstance(message, Mapping):
        found = SignedText(pairs=tuple(texts(message).items()))
        _check_size(_encoded("".join(map("".join, found.pairs))))
    else:
        found = _read_body(message if isinstance(message, bytes) else _encoded(message))
    if len(found.pairs) > MAX_FIELDS:
        raise MalformedMessageError(f"the message has more than {MAX_FIELDS} fields")
    if len({name for name, _ in found.pairs}) < len(found.pairs):
        found = attrs.evolve(found, problems=(*found.problems, "duplicate-names"))
    return found


def _check_size(body: bytes) -> None:
    if len(body) > MAX_BYTES:
        raise MalformedMessageError(f"the message is longer than {MAX_BYTES} bytes")


def _encoded(text: str) -> bytes:
    with suppress(UnicodeEncodeError):  # which holds the text, and must not travel along (M-27)
        return text.encode()
    raise MalformedMessageError("the message is not UTF-8")


def _read_body(body: bytes) -> SignedText:
    _check_size(body)
    if body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return _read_json(body)
    charset = _charset(unquote_to_bytes(body), body)
    text = body.decode(charset)
    if match := _URL_BEFORE_QUERY.match(text):
        text = text[match.end() :].partition("#")[0]
    if text.startswith(_NOT_A_FORM) or "=" not in text:
        raise MalformedMessageError("the message is no form, no query and no JSON object")
    pieces = [piece.partition("=") for piece in text.split("&", MAX_FIELDS + 1) if piece]
    pairs = tuple(
        (_unquoted(name, charset), _unquoted(value, charset)) for name, _, value in pieces
    )
    problems = () if charset == "utf-8" else ("body-not-utf8",)
    return SignedText(pairs=pairs, wire=text, problems=problems)


def _charset(*texts_of_body: bytes) -> str:
    """UTF-8 if it can be, as the document wants; else what Chinese systems use; else anything."""
    for charset in ("utf-8", "gb18030"):
        try:
            for text in texts_of_body:
                text.decode(charset)
        except UnicodeDecodeError:
            continue
        return charset
    return "latin-1"


def _unquoted(text: str, charset: str) -> str:
    data = text.replace("+", " ").encode(charset, "replace")
    return unquote_to_bytes(data).decode(charset, "replace")


class _NumberText(str):
    """A JSON number as its source text."""

    __slots__ = ()


class _Members(list[tuple[str, Any]]):
    """A JSON object with every member it has, names that come twice among them."""

    __slots__ = ()


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Members,
    parse_int=_NumberText,
    parse_float=_NumberText,
    parse_constant=_NumberText,
)


def _read_json(body: bytes) -> SignedText:
    text, members = "", None
    with suppress(ValueError, RecursionError):  # the first holds the text (M-27)
        text = body.decode().removeprefix("\ufeff").strip()
        members = _DECODER.decode(text)
    if members is None:
        raise MalformedMessageError("the message is not valid JSON in UTF-8")
    numbers = frozenset(name for name, value in members if isinstance(value, _NumberText))
    if len({name for name, _ in members}) == len(members):
        return SignedText(pairs=tuple(parse_reply(text.encode())[1].items()), numbers=numbers)
    return SignedText(pairs=tuple((name, _text(value)) for name, value in members), numbers=numbers)


def _text(value: Any) -> str:
    """A member's text where a name comes twice, which the codec refuses to read."""
    if value is None:
        return ""
    if isinstance(value, str):
        return str.__str__(value)
    with suppress(ValueError, RecursionError):
        plain = _plain(value)
        if not too_deep(plain):  # how deep Python itself can go differs between its versions
            return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    raise MalformedMessageError("the message is nested too deep")


def _plain(value: Any) -> Any:
    if isinstance(value, _Members):
        return {name: _plain(inner) for name, inner in value}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
