"""What an audit record may show of an exchange: its bytes, less everything personal (M-27)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote_plus

from chaoying_async.sansio.codec import encode_form
from chaoying_async.sansio.fieldnames import DOCUMENTED, SECRET, SHORTEST_SEARCHED

MASK = "***"
#: A sign is no secret by itself, but lets the key be guessed offline (C 17, C 79).
_HIDDEN = SECRET | {"sign"}

_NAMES = "|".join(sorted(_HIDDEN)).encode()
_MEMBER = re.compile(
    rb'((?:\\?")(?:'
    + _NAMES
    + rb')(?:\\?")\s*:\s*)(\\"(?:[^"\\]|\\\\.)*\\"|"(?:[^"\\]|\\.)*"|[^,}\]\s]+)'
)


def masked_form(fields: Mapping[str, str]) -> bytes:
    """The fields as the form that was sent, sorted; personal and undocumented values as ``***``."""
    shown = (
        (name, MASK if name in _HIDDEN or name not in DOCUMENTED else value)
        for name, value in sorted(fields.items())
    )
    return encode_form(shown).replace(quote_plus(MASK), MASK).encode()


def masked_body(body: bytes, sent: Mapping[str, str]) -> bytes:
    """A reply's bytes; personal members, and the request's own secrets anywhere, as ``***``."""
    text = _MEMBER.sub(rb'\1"***"', body)
    for secret in _forms_of(value for name, value in sent.items() if name in SECRET):
        text = text.replace(secret, MASK.encode())
    return text


def _forms_of(values: Iterable[str]) -> set[bytes]:
    """Raw and percent-encoded."""
    return {
        form.encode()
        for value in values
        if len(value) >= SHORTEST_SEARCHED
        for form in (value, quote_plus(value))
    }
