"""JSON inside a value, written again in another style: text in, text out, other text as it is."""

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
    """The object or list in a text, or None; deep nesting would stop the writers."""
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
    """How a JSON text is written, told by its looks."""
    return {
        "spaced": '": ' in text or '", ' in text,
        "ascii_only": "\\u" in text,
        "slashes": "\\/" in text,
        "ordered": False,
    }


def _flipped(*settings: str) -> Callable[[str], str]:
    """The text with one thing about its style turned round, the rest as received."""

    def change(text: str) -> str:
        value = _load(text)
        if value is None:
            return text
        style = _style(text)
        return _dump(value, **style | {setting: not style[setting] for setting in settings})

    return change


spaces = _flipped("spaced")
sorted_names = _flipped("ordered")
escapes = _flipped("ascii_only")
slashes = _flipped("slashes")


def _rewriting(values: tuple[bool, ...]) -> Callable[[str], str]:
    style = dict(zip(("spaced", "ascii_only", "slashes", "ordered"), values, strict=True))

    def change(text: str) -> str:
        value = _load(text)
        return text if value is None else _dump(value, **style)

    return change


def _indented(width: int) -> Callable[[str], str]:
    def change(text: str) -> str:
        value = _load(text)
        return text if value is None else json.dumps(value, indent=width, ensure_ascii=False)

    return change


def _doubles(text: str) -> str:
    """Every number as a double, as a reader with one kind of number writes it."""
    value = _load(text, parse_int=float)
    return text if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


#: Every way in which common libraries write JSON.
REWRITINGS = (
    *map(_rewriting, product((False, True), repeat=4)),
    _indented(2),
    _indented(4),
    _doubles,
)


def _as_python(text: str) -> str:
    value = _load(text)
    return text if value is None else str(value)


def _as_word(word: str) -> Callable[[str], str]:
    return lambda text: text if _load(text) is None else word


#: What becomes of an object that is made a text without a JSON writer.
LITERALS = (_as_python, _as_word("[object Object]"), _as_word("Array"), _as_word(""))


def _kept(*, ascii_only: bool, slashes: bool) -> Callable[[str], str]:
    def change(text: str) -> str:
        return _dump(text, spaced=False, ascii_only=ascii_only, slashes=slashes, ordered=False)[
            1:-1
        ]

    return change


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
