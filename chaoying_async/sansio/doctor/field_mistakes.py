"""Mistakes about fields: what a signer does to values, or which of them it takes.

Each way is given the message and yields the fields that were signed instead. What yields nothing
new costs nothing: it is left out before anything is hashed.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from itertools import combinations
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from chaoying_async.sansio.doctor import json_styles
from chaoying_async.sansio.doctor.findings import Mistake, Side
from chaoying_async.sansio.doctor.lenient_reader import Pairs, SignedText
from chaoying_async.sansio.fieldnames import DOCUMENTED, TOP_LEVEL

FieldsWay = Callable[[SignedText], Iterator[Pairs]]

_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?").fullmatch
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufe0f\ufeff]")
_LINE_END = re.compile(r"\r\n|\r|\n")
_NO_VALUE = frozenset({"null", "none", "nil", "undefined", "nan"})
_ENVELOPE = ("method", "pid", "version", "agent_id")
_SIGN_TYPE = frozenset({"sign_type", "signtype", "sign_method", "signature_method"})


def values(*changes: Callable[[str], str]) -> FieldsWay:
    """Every value changed; several changes are tried one by one."""

    def way(message: SignedText) -> Iterator[Pairs]:
        for change in changes:
            yield message.changed(change)

    return way


def without(left_out: Callable[[str, str], bool]) -> FieldsWay:
    """Some fields left out."""

    def way(message: SignedText) -> Iterator[Pairs]:
        yield tuple(pair for pair in message.pairs if not left_out(*pair))

    return way


def renamed(*changes: Callable[[str], str]) -> FieldsWay:
    """Every name changed, but that of the sign, which takes no part by its name."""

    def way(message: SignedText) -> Iterator[Pairs]:
        for change in changes:
            yield tuple((n if n == "sign" else change(n), value) for n, value in message.pairs)

    return way


form_quoted = partial(quote_plus, errors="replace")
quote_all = partial(quote, safe="", errors="replace")
_encode_uri_component = partial(quote, safe="!*'()", errors="replace")
_python_quoted = partial(quote, errors="replace")
_QUOTINGS = (form_quoted, quote_all, _encode_uri_component, _python_quoted)


def lowered(quoting: Callable[[str], str]) -> Callable[[str], str]:
    """The same quoting, with its escapes in small letters."""
    return lambda text: _ESCAPE.sub(lambda match: match[0].lower(), quoting(text))


def _twice(text: str) -> str:
    return form_quoted(form_quoted(text))


def _wire_read_without_plus(message: SignedText) -> Iterator[Pairs]:
    # Blanks came as %20, so what came as + was meant as one.
    pieces = (piece.partition("=") for piece in message.wire.split("&") if piece)
    if "+" in message.wire:
        yield tuple((unquote(name), unquote(value)) for name, _, value in pieces)


def _wire_with_entities_undone(message: SignedText) -> Iterator[Pairs]:
    text = unquote(message.wire).replace("\u2122", "&trade").replace("¬", "&not")
    if text != unquote(message.wire):
        pieces = (piece.partition("=") for piece in text.split("&") if piece)
        yield tuple((name, value) for name, _, value in pieces)


def _last_line_end(message: SignedText) -> Iterator[Pairs]:
    *rest, (name, value) = message.pairs or (("", ""),)
    yield (*rest, (name, value.rstrip("\r\n")))


def _first_wins(message: SignedText) -> Iterator[Pairs]:
    yield tuple(dict(reversed(message.pairs)).items())


def _last_wins(message: SignedText) -> Iterator[Pairs]:
    yield tuple(dict(message.pairs).items())


def _joined_by_comma(message: SignedText) -> Iterator[Pairs]:
    joined: dict[str, str] = {}
    for name, value in message.pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    yield tuple(joined.items())


def _nothing_as_word(message: SignedText) -> Iterator[Pairs]:
    for word in ("null", "None", "undefined", "NULL"):
        yield tuple((name, value or word) for name, value in message.pairs)


def _boolean(true: str, false: str) -> Callable[[str], str]:
    words = {"true": true, "false": false}
    return lambda text: words.get(text.lower(), text)


def _number(change: Callable[[Decimal], str]) -> FieldsWay:
    """Bare JSON numbers changed, then amounts, then whatever looks like a number."""

    def changed(text: str) -> str:
        return change(Decimal(text)) if _NUMBER(text) else text

    def way(message: SignedText) -> Iterator[Pairs]:
        amounts = {name for name, _ in message.pairs if name.endswith("fee")}
        for names in (message.numbers, amounts, {name for name, _ in message.pairs}):
            yield tuple((n, changed(v) if n in names else v) for n, v in message.pairs)

    return way


def _normal(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _as_float(number: Decimal) -> str:
    text = _normal(number)
    return text if "." in text else f"{text}.0"


def _yuan(message: SignedText) -> Iterator[Pairs]:
    for form in ("{:.2f}".format, _normal):
        yield tuple(
            (name, form(Decimal(value) / 100) if name.endswith("fee") and _fen(value) else value)
            for name, value in message.pairs
        )


def _fen(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 16  # noqa: PLR2004 - far above any amount


def _envelope_left_out(message: SignedText) -> Iterator[Pairs]:
    there = [name for name in _ENVELOPE if any(name == other for other, _ in message.pairs)]
    for count in range(1, len(there) + 1):
        for names in combinations(there, count):
            yield tuple(pair for pair in message.pairs if pair[0] not in names)


def _one_left_out(message: SignedText) -> Iterator[Pairs]:
    for name in dict.fromkeys(name for name, _ in message.pairs):
        yield tuple(pair for pair in message.pairs if pair[0] != name)


def _sign_type_added(message: SignedText) -> Iterator[Pairs]:
    for value in ("MD5", "md5"):
        yield (*message.pairs, ("sign_type", value))


def _misread(charset: str) -> Callable[[str], str]:
    return lambda text: text.encode(errors="replace").decode(charset, "replace")


def _source_of_json(message: SignedText) -> Iterator[Pairs]:
    if not message.wire:
        yield from values(*json_styles.ESCAPES_KEPT)(message)


def _add_slashes(text: str) -> str:
    return re.sub(r"([\\'\"])", r"\\\1", text)


def _without_astral(instead: str) -> Callable[[str], str]:
    return lambda text: _SURROGATE.sub(instead[:1], _ASTRAL.sub(instead, text))


def _form(name: str) -> Callable[[str], str]:
    return lambda text: unicodedata.normalize(name, text)  # type: ignore[arg-type]


def _html_escaped(quotes: str) -> Callable[[str], str]:
    return lambda text: html.escape(text, quote=False).translate(
        {ord(mark): html.escape(mark) for mark in quotes}
    )


_SIGNER, _READER, _EITHER = Side

#: In the order in which they are believed when several explain the same sign.
FIELDS: tuple[Mistake[FieldsWay], ...] = (
    Mistake("duplicate-last", _SIGNER, _last_wins, common=True),
    Mistake("duplicate-first", _SIGNER, _first_wins, common=True),
    Mistake("duplicate-joined", _SIGNER, _joined_by_comma),
    Mistake("body-bom", _SIGNER, renamed(lambda name: name.removeprefix("\ufeff")), common=True),
    Mistake("body-newline", _SIGNER, _last_line_end, common=True),
    Mistake("body-html-escaped", _SIGNER, renamed(lambda name: name.removeprefix("amp;"))),
    Mistake("body-entity", _SIGNER, _wire_with_entities_undone),
    Mistake(
        "plus-as-space",
        _SIGNER,
        values(lambda text: text.replace(" ", "+")),
        _wire_read_without_plus,
        common=True,
    ),
    Mistake("space-as-plus", _EITHER, values(lambda text: text.replace("+", " ")), common=True),
    Mistake("signed-encoded-upper", _SIGNER, values(*_QUOTINGS), common=True),
    Mistake("signed-encoded-lower", _SIGNER, values(*map(lowered, _QUOTINGS)), common=True),
    Mistake("signed-encoded-twice", _SIGNER, values(_twice, lowered(_twice))),
    Mistake("double-encoded", _SIGNER, values(unquote_plus, unquote), common=True, when_told=False),
    Mistake("double-decoded", _SIGNER, values(unquote_plus, unquote), common=True, when_told=True),
    Mistake("read-twice", _READER, values(lambda text: text.replace("%", "%25"))),
    Mistake("blank-dropped", _SIGNER, without(lambda _, value: not value.strip()), common=True),
    Mistake("values-trimmed", _SIGNER, values(str.strip, str.rstrip, str.lstrip), common=True),
    Mistake(
        "zero-dropped",
        _SIGNER,
        without(lambda _, value: value == "0"),
        without(lambda _, value: value in {"0", "false"}),
        common=True,
    ),
    Mistake("null-as-text", _SIGNER, _nothing_as_word, common=True),
    Mistake(
        "null-sent", _SIGNER, without(lambda _, value: value.lower() in _NO_VALUE), common=True
    ),
    Mistake(
        "boolean-spelling",
        _SIGNER,
        values(_boolean("True", "False"), _boolean("true", "false"), _boolean("TRUE", "FALSE")),
        values(_boolean("1", "0"), _boolean("1", "")),
        common=True,
    ),
    Mistake("envelope-left-out", _SIGNER, _envelope_left_out, common=True),
    Mistake("sign-type-dropped", _SIGNER, without(lambda name, _: name.lower() in _SIGN_TYPE)),
    Mistake("sign-type-added", _SIGNER, _sign_type_added),
    Mistake(
        "unknown-dropped",
        _SIGNER,
        without(lambda name, _: name not in DOCUMENTED),
        without(lambda name, _: name not in TOP_LEVEL),
        common=True,
    ),
    Mistake("field-left-out", _SIGNER, _one_left_out),
    Mistake("names-recased", _SIGNER, renamed(str.lower, str.upper)),
    Mistake(
        "numbers-reformatted",
        _EITHER,
        _number(_normal),
        _number(_as_float),
        _number("{:.2f}".format),
        common=True,
    ),
    Mistake("amount-in-yuan", _SIGNER, _yuan),
    Mistake("json-spaces", _SIGNER, values(json_styles.spaces), common=True),
    Mistake("json-key-order", _SIGNER, values(json_styles.sorted_names), common=True),
    Mistake("json-unicode", _SIGNER, values(json_styles.escapes), common=True),
    Mistake("json-slashes", _SIGNER, values(json_styles.slashes), common=True),
    Mistake("json-rewritten", _SIGNER, values(*json_styles.REWRITINGS)),
    Mistake("json-as-literal", _SIGNER, values(*json_styles.LITERALS)),
    Mistake("json-escapes-kept", _SIGNER, _source_of_json),
    Mistake(
        "html-escaped",
        _SIGNER,
        values(_html_escaped(""), _html_escaped('"'), html.escape),
        common=True,
    ),
    Mistake("html-unescaped", _EITHER, values(html.unescape), common=True),
    Mistake(
        "line-ends",
        _EITHER,
        values(
            lambda text: _LINE_END.sub("\n", text),
            lambda text: _LINE_END.sub("\r\n", text),
            lambda text: _LINE_END.sub("", text),
            lambda text: _LINE_END.sub(" ", text),
        ),
        common=True,
    ),
    Mistake("unicode-composed", _EITHER, values(_form("NFC"), _form("NFD"))),
    Mistake("nbsp-as-space", _EITHER, values(lambda text: text.replace("\u00a0", " "))),
    Mistake("width-folded", _SIGNER, values(_form("NFKC"), _form("NFKD"))),
    Mistake("emoji-dropped", _SIGNER, values(*map(_without_astral, ("", "?", "??", "\ufffd")))),
    Mistake("invisible-dropped", _SIGNER, values(lambda text: _INVISIBLE.sub("", text))),
    Mistake("backslashes", _SIGNER, values(_add_slashes, lambda text: text.replace("\\", ""))),
    Mistake("mojibake", _SIGNER, values(*map(_misread, ("latin-1", "cp1252", "gbk")))),
)
