"""What may be shown of a text that was signed: no key, no sign, nothing personal (M-27)."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote_plus

from chaoying_async.sansio.doctor.lenient_reader import Pairs
from chaoying_async.sansio.fieldnames import SECRET, SHORTEST_SEARCHED
from chaoying_async.sansio.masking import masked_body

MASK = "***"
_HIDDEN = SECRET | {"sign", "key"}
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}").fullmatch
_LOOKS_HIDDEN = re.compile("|".join(sorted(_HIDDEN)), re.IGNORECASE).search
#: A hidden name in front of what looks like its value, wherever: in a value, quoted, quoted twice.
_ASSIGNED = re.compile(
    rf"((?:{'|'.join(sorted(_HIDDEN))})(?:=|%3d|%253d))(?:(?!&|%26|%2526).)*",
    re.IGNORECASE | re.DOTALL,
)

_MEMBER = re.compile(
    rf"""(?:{"|".join(sorted(_HIDDEN))})\\*["']\s*:\s*\\*["']([^"'\\]+)""", re.IGNORECASE
)
_MARKED = re.compile(r"[{\[%&]").search


def masked_pairs(pairs: Pairs) -> Pairs:
    """The fields with personal values as ``***``; empty ones stay empty."""
    return tuple((name, MASK if value and is_hidden(name) else value) for name, value in pairs)


def shown_text(text: str, pairs: Pairs, keys: Iterable[str]) -> str:
    """The text with keys, signs and personal values as ``***``, wherever they stand in it.

    ``pairs`` are the fields as received: their personal values are looked for in every encoding.
    """
    personal = [value for name, value in pairs if is_hidden(name)]
    inner = [found for _, value in pairs for found in _inside(value)]
    for secret in _forms([*personal, *inner], SHORTEST_SEARCHED):
        text = text.replace(secret, MASK)
    text = _ASSIGNED.sub(rf"\1{MASK}", text)
    text = masked_body(text.encode(errors="replace"), {}).decode(errors="replace")
    text = text.replace(quote_plus(MASK), MASK)
    for key in _forms(keys, 1):
        text = text.replace(key, MASK)
    return text


def shown_names(names: Iterable[str], keys: Iterable[str]) -> tuple[str, ...]:
    """Names fit for a sentence; odd ones could hold anything and are left out."""
    held = tuple(keys)
    return tuple(
        name for name in names if _PLAIN_NAME(name) and not any(key in name for key in held)
    )


def _inside(value: str) -> list[str]:
    """Personal members of JSON in a value, also where it was quoted or escaped before."""
    once = unquote_plus(value)
    forms = {value, once, unquote_plus(once), html.unescape(value)} if _MARKED(value) else ()
    return [found for form in forms for found in _MEMBER.findall(form)]


def is_hidden(name: str) -> bool:
    """Whether a field's value is not for show; an odd name hides what a plain one in it would."""
    return name.lower() in _HIDDEN or (not _PLAIN_NAME(name) and _LOOKS_HIDDEN(name) is not None)


def _forms(values: Iterable[str], shortest: int) -> list[str]:
    """Raw, stripped and quoted in the usual ways, longest first."""
    found: set[str] = set()
    for value in values:
        found |= {value, value.strip(), value.lower(), value.upper()}
        found |= {quote_plus(value, errors="replace"), quote(value, safe="", errors="replace")}
    return sorted((form for form in found if len(form) >= shortest), key=len, reverse=True)
