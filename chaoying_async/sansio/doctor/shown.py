"""What may be shown of a text that was signed: no key, no sign, nothing personal (M-27)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from chaoying_async.sansio.doctor.message import Pairs
from chaoying_async.sansio.fieldnames import SECRET, SHORTEST_SEARCHED
from chaoying_async.sansio.masking import masked_body

MASK = "***"
_HIDDEN = SECRET | {"sign", "key"}
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}").fullmatch
_LOOKS_HIDDEN = re.compile("|".join(sorted(_HIDDEN)), re.IGNORECASE).search
#: A hidden name in front of whatever looks like its value, also inside another value.
_ASSIGNED = re.compile(rf"(?i)((?:{'|'.join(sorted(_HIDDEN))})(?:=|:|%3d|%253d)\"?)[^&\s\"%]+")


def shown_text(text: str, pairs: Pairs, keys: Iterable[str]) -> str:
    """The text with keys, signs and personal values as ``***``, wherever they stand in it.

    ``pairs`` are the fields as received: their personal values are looked for in every encoding.
    """
    secrets = {name: value for name, value in pairs if _is_hidden(name)}
    for secret in _forms(secrets.values(), SHORTEST_SEARCHED):
        text = text.replace(secret, MASK)
    text = _ASSIGNED.sub(rf"\1{MASK}", text)
    text = masked_body(text.encode(errors="replace"), {}).decode(errors="replace")
    for key in _forms(keys, 1):
        text = text.replace(key, MASK)
    return text


def shown_names(names: Iterable[str], keys: Iterable[str]) -> tuple[str, ...]:
    """Names fit for a sentence; odd ones could hold anything and are left out."""
    held = tuple(keys)
    return tuple(
        name for name in names if _PLAIN_NAME(name) and not any(key in name for key in held)
    )


def _is_hidden(name: str) -> bool:
    return name in _HIDDEN or not _PLAIN_NAME(name) and _LOOKS_HIDDEN(name) is not None


def _forms(values: Iterable[str], shortest: int) -> list[str]:
    """Raw, stripped and quoted in the usual ways, longest first."""
    found: set[str] = set()
    for value in values:
        found |= {value, value.strip(), value.lower(), value.upper()}
        found |= {quote_plus(value, errors="replace"), quote(value, safe="", errors="replace")}
    return sorted((form for form in found if len(form) >= shortest), key=len, reverse=True)
