"""JSON inside a value, written again in another style; a text that is no JSON stays as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import product
from typing import Any

_LIKE_JSON = ("{", "[")
_MAX_NESTED = 200
_ASCII_ESCAPE = re.compile(r"\\u[0-9a-f]{4}")


def _load(text: str, **how: Any) -> Any:
    """The object or list in a text, or None; JSON nested too deep for the writers is None too."""
    if not text.startswith(_LIKE_JSON) or text.count("{") + text.count("[") > _MAX_NESTED:
        return None
    try:
        return json.loads(text, **how)
    except (ValueError, RecursionError):
        return None


def _dump(value: Any, *, spaced: bool, ascii_only: bool, slashes: bool, ordered: bool) -> str:
    separators = (", ", ": ") if spaced else (",", ":")
    text = json.dumps(value, separators=separators, ensure_ascii=ascii_only, sort_keys=ordered)
    return text.replace("/", "\\/") if slashes else text


def _style(text: str) -> dict[str, bool]:
    """The style in which a JSON text is written."""
    return {
        "spaced": '": ' in text or '", ' in text,
        "ascii_only": "\\u" in text,
        "slashes": "\\/" in text,
        "ordered": False,
    }


def _rewritten(write: Callable[[Any, str], str], **how: Any) -> Callable[[str], str]:
    """A change that writes the JSON in a text again, and leaves other texts as they are."""

    def change(text: str) -> str:
        value = _load(text, **how)
        return text if value is None else write(value, text)

    return change


def _flipped(setting: str) -> Callable[[str], str]:
    """The text with one thing about its style turned round, all others as received."""

    def write(value: Any, text: str) -> str:
        style = _style(text)
        return _dump(value, **style | {setting: not style[setting]})

    return _rewritten(write)


spaces = _flipped("spaced")
sorted_names = _flipped("ordered")
escapes = _flipped("ascii_only")
slashes = _flipped("slashes")


def _styled(values: tuple[bool, ...]) -> Callable[[str], str]:
    style = dict(zip(("spaced", "ascii_only", "slashes", "ordered"), values, strict=True))
    return _rewritten(lambda value, _: _dump(value, **style))


def _indented(width: int) -> Callable[[str], str]:
    return _rewritten(lambda value, _: json.dumps(value, indent=width, ensure_ascii=False))


#: Every way in which common libraries write JSON; the last writes every number as a double.
REWRITINGS = (
    *map(_styled, product((False, True), repeat=4)),
    _indented(2),
    _indented(4),
    _rewritten(
        lambda value, _: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
        parse_int=float,
    ),
)


def _as_word(word: str) -> Callable[[str], str]:
    return _rewritten(lambda _, __: word)


#: What becomes of an object that is made a text without a JSON writer.
LITERALS = (
    _rewritten(lambda value, _: str(value)),
    *map(_as_word, ("[object Object]", "Array", "")),
)


def _kept(*, ascii_only: bool, slashes: bool) -> Callable[[str], str]:
    style = {"spaced": False, "ascii_only": ascii_only, "slashes": slashes, "ordered": False}
    return lambda text: _dump(text, **style)[1:-1]


def _upper_escapes(text: str) -> str:
    kept = _kept(ascii_only=True, slashes=False)(text)
    return _ASCII_ESCAPE.sub(lambda match: "\\u" + match[0][2:].upper(), kept)


#: A value as it stands between the quotes of a JSON source.
ESCAPES_KEPT = (
    _kept(ascii_only=False, slashes=False),
    _kept(ascii_only=False, slashes=True),
    _kept(ascii_only=True, slashes=False),
    _kept(ascii_only=True, slashes=True),
    _upper_escapes,
)
