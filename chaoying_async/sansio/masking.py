"""What an audit record or an error text may show of an exchange: nothing personal, no key (M-27).

A reply that is JSON is masked member by member, however its names are escaped and however deep
JSON texts are packed into JSON texts, and written out again. Anything else (an error page of a
proxy, half an answer) is searched for what was sent and for ``name=value``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.fieldnames import DOCUMENTED, SECRET, SHORTEST_SEARCHED
from chaoying_async.sansio.wire.forms import encode_form
from chaoying_async.sansio.wire.jsontext import compact_json, parse_json_exactly

MASK = "***"
#: A sign is no secret by itself, but lets the key be guessed offline (C 17, C 79).
_HIDDEN = SECRET | {"sign"}
_FOLDED = frozenset(name.casefold() for name in _HIDDEN)
_PACKED = ("{", "[", '"')
#: ``openid=...``, ``"openid" : ...`` and the like, in a text that is no JSON.
_QUOTE = r"(?:\\*[\"']|&quot;|%22)?"
_NAMED = re.compile(
    rf"(?i)\b({'|'.join(sorted(_HIDDEN))})({_QUOTE}\s*[=:]\s*{_QUOTE})[^&,;}}\]<\r\n]+"
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
    text = body.decode("utf-8", "replace")
    try:
        text = compact_json(_masked(parse_json_exactly(text)))
    except MalformedMessageError:
        text = _NAMED.sub(rf"\1\2{MASK}", text)
    return hide(text, (value for name, value in sent.items() if name in SECRET)).encode(
        "utf-8", "replace"
    )


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: MASK if name.casefold() in _FOLDED and inner else _masked(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    if type(value) is str and value.lstrip().startswith(_PACKED):
        return _masked_text(value)
    return _NAMED.sub(rf"\1\2{MASK}", value) if type(value) is str and "=" in value else value


def _masked_text(text: str) -> str:
    """JSON inside JSON; what cannot be read is searched like any other text."""
    try:
        return compact_json(_masked(parse_json_exactly(text)))
    except MalformedMessageError:
        return _NAMED.sub(rf"\1\2{MASK}", text)


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text with these values as ``***``, as they are, percent-encoded and escaped in JSON.

    Values of under four characters are left: blotting out every "12" would hide everything.
    """
    for secret in secrets:
        if len(secret) >= SHORTEST_SEARCHED:
            for form in _forms_of(secret):
                text = text.replace(form, MASK)
    return text


def _forms_of(secret: str) -> list[str]:
    encoded = {quote_plus(secret), quote(secret, safe="")}
    lower = {re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), form) for form in encoded}
    escaped = {json.dumps(secret, ensure_ascii=flag)[1:-1] for flag in (True, False)}
    slashed = {form.replace("/", "\\/") for form in escaped}
    return sorted({secret} | encoded | lower | escaped | slashed, key=len, reverse=True)
