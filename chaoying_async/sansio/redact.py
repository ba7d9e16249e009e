"""What may be shown or kept of a message: nothing personal, no key, and no password (M-27).

There is one set of names whose values are hidden, and one function for each form that a message
comes in: :func:`masked_fields` (a mapping), :func:`masked_form` (a form), :func:`masked_body` (JSON
nested to any depth, or another body), :func:`masked_message` (a gateway's ``msg``),
:func:`masked_text` (a text that quotes a message),
:func:`without_personal` (what a store keeps), :func:`shown_url` and :func:`shown_urls` (addresses
of the web), :func:`shown_address` and :func:`shown_path` (addresses of stores).

An address of a store is shown by what is allowed, not by what is taken out: its scheme, and its
host and port where it can be read in one way only. In ``postgresql://u:half@TAIL@host/x`` somebody
forgot to escape a password, programs differ about where it ends, and so nothing but the scheme is
shown. In ``postgresql://u:1234`` somebody may have forgotten the host: every program takes it for
a host and a port, which makes it certain, but it may be a user and a password of digits, and is
not shown.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote_plus

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.fieldnames import DOCUMENTED, SECRET, SHORTEST_SEARCHED
from chaoying_async.sansio.wire.forms import encode_form
from chaoying_async.sansio.wire.jsontext import compact_json, parse_json_exactly

MASK = "***"
#: Whose values are hidden. A sign lets the key be guessed offline (C 17, C 79).
HIDDEN = SECRET | {"sign", "key"}

_HIDDEN_NAMES = "|".join(sorted(HIDDEN))
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}").fullmatch
_LOOKS_HIDDEN = re.compile(_HIDDEN_NAMES, re.IGNORECASE).search


def is_hidden(name: str) -> bool:
    """Whether the values of a field are hidden; an odd name counts as every name that it holds."""
    if name in DOCUMENTED:  # nearly every name is; the rest costs ten times as much
        return name in HIDDEN
    folded = (name if name.isascii() else unicodedata.normalize("NFKC", name)).casefold()
    return folded in HIDDEN or (_PLAIN_NAME(name) is None and _LOOKS_HIDDEN(folded) is not None)


def is_hidden_in_request(name: str) -> bool:
    """As :func:`is_hidden`; an undocumented parameter may be anything, an identity card too."""
    return is_hidden(name) or name not in DOCUMENTED


def _secrets_of(sent: Mapping[str, str]) -> list[str]:
    """The values of a request that are hidden wherever they are repeated.

    What an undocumented parameter has in common with a field that is shown hides nothing.
    """
    shown = {value for name, value in sent.items() if not is_hidden_in_request(name)}
    return [
        value
        for name, value in sent.items()
        if is_hidden(name) or (name not in DOCUMENTED and value not in shown)
    ]


#: Full-width letters, "_", "=" and ":" as the usual ones: one character for one, so places stay.
_USUAL = {ord(wide): ord(wide) - 0xFEE0 for wide in "＿＝：＂＇"} | {
    letter + shift: letter + shift - 0xFEE0 for shift in (0, 32) for letter in range(0xFF21, 0xFF3B)
}
_IS_WIDE = re.compile("[Ａ-Ｚａ-ｚ＝]").search


def _usual(text: str) -> str:
    """The text as patterns look at it: as long as it was, ＯＰＥＮＩＤ＝ as OPENID=."""
    return text if text.isascii() or not _IS_WIDE(text) else text.translate(_USUAL)


def _blanked(assigned: re.Pattern[str], text: str) -> str:
    """What stands behind each match's groups as ``***``; the rest as it was."""
    kept, start = [], 0
    for found in assigned.finditer(_usual(text)):
        kept += [text[start : found.end(found.lastindex or 0)], MASK]
        start = found.end()
    return "".join([*kept, text[start:]])


# ---------------------------------------------------------------------------- mappings, forms, JSON


def masked_fields(fields: Mapping[str, Any], sent: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a message; hidden values, and what the request sent of them, as ``***``."""
    secrets = [*_secrets_of(sent), *_personal(fields)]
    return {name: _masked_field(name, value, secrets) for name, value in fields.items()}


def _masked_field(name: str, value: Any, secrets: list[str]) -> Any:
    if is_hidden(name):
        return MASK if value else value
    if isinstance(value, str):
        return _masked_text(value, secrets)
    if isinstance(value, dict | list):
        shown = _masked_text(json.dumps(value, ensure_ascii=False), secrets)
        try:
            return json.loads(shown)
        except ValueError:  # what was hidden looked like JSON's own marks
            return MASK
    return value


def masked_form(fields: Mapping[str, str]) -> bytes:
    """The fields as the form that was sent, sorted; hidden and undocumented values as ``***``."""
    shown = (
        (name, MASK if is_hidden_in_request(name) else value)
        for name, value in sorted(fields.items())
    )
    return encode_form(shown).replace(quote_plus(MASK), MASK).encode()


def masked_body(body: bytes, sent: Mapping[str, str]) -> bytes:
    """The bytes of a reply; hidden members, and the request's secrets anywhere, as ``***``.

    JSON is masked member by member, however its names are escaped and however deep JSON texts are
    packed into JSON texts, and written out again; what a hidden member holds is masked wherever the
    reply repeats it. Anything else (an error page of a proxy, half an answer, XML) is searched for
    ``name=value`` and ``<name>value``, and for what was sent.
    """
    text = body.decode("utf-8", "replace")
    secrets = [*_secrets_of(sent), *islice(_hidden_in_json(text), _MOST_PERSONAL)]
    return _masked_text(text, secrets).encode("utf-8", "replace")


def _masked_text(text: str, secrets: Iterable[str]) -> str:
    return hide(_masked_json(text), secrets)


def masked_message(text: str, sent: Mapping[str, str], received: Mapping[str, str]) -> str:
    """A gateway's ``msg``, masked as :func:`masked_body` masks it in its reply.

    What that reply's own hidden fields hold is masked in it, too.
    """
    return str(_masked(hide(text, [*_secrets_of(sent), *_personal(received)])))


_PACKED = ("{", "[", '"')
#: ``openid=...``, ``"openid" : ...``, ``<openid>...`` and the like, in a text that is no JSON.
_QUOTE = r"(?:\\*[\"']|&quot;|%22)?"
_TAG = r"\s*(?:>|&gt;)\s*(?:(?:<|&lt;)!\[CDATA\[)?(?!\s)"
_NAMED = re.compile(
    rf"(?i)(?:\b({_HIDDEN_NAMES})({_QUOTE}\s*[=:]\s*{_QUOTE})|(?<!/)\b((?:{_HIDDEN_NAMES}){_TAG}))"
    r"[^&,;}\]<\r\n]+"
)
_MAY_NAME = re.compile("[=＝<]|&lt;").search


def _masked_json(text: str) -> str:
    try:
        return compact_json(_masked(parse_json_exactly(text)))
    except MalformedMessageError:
        return _blanked(_NAMED, text)


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: MASK if is_hidden(name) and inner else _masked(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    if type(value) is str and value.lstrip().startswith(_PACKED):
        return _masked_json(value)
    assigns = type(value) is str and _MAY_NAME(value) is not None
    return _blanked(_NAMED, value) if assigns else value


#: So many personal values of a reply are looked for in the rest of it: no page has a tenth of them,
#: and each costs a walk through the whole text.
_MOST_PERSONAL = 100


def _personal(value: Any) -> list[str]:
    """What hidden members hold, at any depth, in texts of JSON too; at most so many."""
    return [*islice(_hidden_in(value), _MOST_PERSONAL)]


def _hidden_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner) if is_hidden(name) else _hidden_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _hidden_in(inner)
    elif isinstance(value, str) and value.lstrip().startswith(_PACKED):
        yield from _hidden_in_json(value)


def _hidden_in_json(text: str) -> Iterator[str]:
    with suppress(MalformedMessageError):
        yield from _hidden_in(parse_json_exactly(text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


# ------------------------------------------------------------------------------------------- texts


def hide(text: str, secrets: Iterable[str], shortest: int = SHORTEST_SEARCHED) -> str:
    """The text with these values as ``***``, however they are encoded.

    Values of fewer than ``shortest`` characters stay: masking every "12" would hide everything.
    """
    fitting = (secret for secret in secrets if len(secret.strip()) <= len(text))
    spellings = {spelling for secret in fitting for spelling in _spellings(secret)}
    for spelling in sorted(spellings, key=len, reverse=True):
        if len(spelling) >= shortest:
            text = text.replace(spelling, MASK)
    return text


def hide_keys(text: str, credentials: Credentials) -> str:
    """The text with every key as ``***``: a gateway may echo the string to sign (M-27)."""
    keys = (credentials.key, *(old.key for old in credentials.previous_keys))
    return hide(text, keys, shortest=1)


def _spellings(secret: str) -> set[str]:
    """A value as it is, trimmed, in other cases, percent-encoded, and escaped in JSON."""
    encoded = {quote_plus(secret, errors="replace"), quote(secret, safe="", errors="replace")}
    lower = {re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), form) for form in encoded}
    escaped = {json.dumps(secret, ensure_ascii=flag)[1:-1] for flag in (True, False)}
    slashed = {form.replace("/", "\\/") for form in escaped}
    plain = {secret, secret.strip(), secret.lower(), secret.upper()}
    return plain | encoded | lower | escaped | slashed


#: A hidden name in front of what looks like its value, wherever: in a value, quoted, quoted twice.
_ASSIGNED = re.compile(
    rf"((?:{_HIDDEN_NAMES})(?:=|%3d|%253d))(?:(?!&|%26|%2526).)*", re.IGNORECASE | re.DOTALL
)
_MEMBER = re.compile(rf"""(?:{_HIDDEN_NAMES})\\*["']\s*:\s*\\*["']([^"'\\]+)""", re.IGNORECASE)
_MARKED = re.compile(r"[{\[%&]").search


def masked_text(text: str, pairs: Iterable[tuple[str, str]], keys: Iterable[str]) -> str:
    """A text that quotes a message, with keys, signs and personal values as ``***``.

    ``pairs`` are the fields of that message: their hidden values are looked for in every encoding.
    """
    pairs, keys = tuple(pairs), tuple(keys)
    text = hide(text, keys, shortest=1)  # before anything can fail at it; and again, unescaped
    personal = [value for name, value in pairs if is_hidden(name)]
    inner = [found for _, value in pairs for found in _inside(value)]
    text = _blanked(_ASSIGNED, hide(text, [*personal, *inner]))
    text = masked_body(text.encode(errors="replace"), {}).decode(errors="replace")
    return hide(text.replace(quote_plus(MASK), MASK), keys, shortest=1)


def _inside(value: str) -> list[str]:
    """Hidden members of JSON in a value, also where the value was quoted or escaped before."""
    once = unquote_plus(value)
    forms = {value, once, unquote_plus(once), html.unescape(value)} if _MARKED(value) else ()
    return [
        form[slice(*found.span(1))] for form in forms for found in _MEMBER.finditer(_usual(form))
    ]


def shown_names(names: Iterable[str], keys: Iterable[str]) -> tuple[str, ...]:
    """The names that are fit for a sentence; odd names could hold anything and are left out."""
    held = tuple(keys)
    return tuple(
        name for name in names if _PLAIN_NAME(name) and not any(key in name for key in held)
    )


# ------------------------------------------------------------------------------- what a store keeps

_PERSONAL_NAMES = "|".join(sorted(SECRET))
_PERSONAL = re.compile(rf"\b({_PERSONAL_NAMES})=[^&]*")
#: The same in JSON, whole or cut off, and in JSON that is a text of JSON: there a quote comes with
#: backslashes (1, 3, 7), and a backslash of the value's own is twice as many and two. A list or an
#: object under such a name takes everything after it along.
_PERSONAL_JSON = re.compile(
    rf"""(?P<name>\b(?:{_PERSONAL_NAMES})(?P<escape>\\*)(?P<quote>["'])\s*:\s*)
    (?: (?P<slashes>\\*)(?P<opening>["']) .*?
        (?: (?<!\\)(?:(?P=slashes){{2}}\\\\)*(?P=slashes)(?P=opening) | \Z )
      | [\[{{] .*
      | [^,\]}}&]*
    )""",
    re.VERBOSE | re.DOTALL,
)
_BLANKED_JSON = r"\g<name>\g<escape>\g<quote>***\g<escape>\g<quote>"


def without_personal(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that may be kept: personal ones are left out, inside other values too (M-27).

    Inside means: ``name=value`` and ``"name": "value"`` in any text, and lists and objects. The
    result is JSON's own. What has nothing personal stays as it is, a ``sign`` too: the fingerprints
    of stored messages are made of this result, so it must be the same in every version.
    """
    kept = {name: value for name, value in raw.items() if name not in SECRET}
    try:
        told = "".join((*kept, *kept.values()))  # one look, not one at each
    except TypeError:  # lists, objects, or a user's own things
        return _kept_fields(kept)
    if "=" not in told and '"' not in told and "'" not in told:
        return kept
    return {_kept_text(name): _kept_text(kept[name]) for name in kept}


def _kept_text(text: str) -> str:
    if '"' in text or "'" in text:
        text = _PERSONAL_JSON.sub(_BLANKED_JSON, text)
    return _PERSONAL.sub(r"\1=***", text) if "=" in text else text


def _kept_fields(fields: Mapping[Any, Any]) -> dict[str, Any]:
    named = {str(name): value for name, value in fields.items()}
    return {_kept_text(name): _kept(named[name]) for name in named if name not in SECRET}


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return _kept_text(value)
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, Mapping):
        return _kept_fields(value)
    if isinstance(value, (list, tuple)):
        return [_kept(item) for item in value]
    return _kept_text(value.isoformat() if isinstance(value, datetime) else str(value))


# --------------------------------------------------------------------------- addresses of the web

_ESCAPE = r"%(?:25){0,3}"
#: An address in a text: as it is, percent-encoded once or several times, or as JSON writes it.
_URL: Final = re.compile(
    rf"(?P<start>https?(?::|{_ESCAPE}3a)(?:\\?/|{_ESCAPE}2f){{2}})(?P<rest>[^\s\"'<>&]*)",
    re.IGNORECASE,
)
_AT: Final = re.compile(rf"@|{_ESCAPE}40", re.IGNORECASE)
_SLASH: Final = re.compile(rf"/|{_ESCAPE}2f", re.IGNORECASE).search
_QUERY: Final = re.compile(rf"[?#]|{_ESCAPE}(?:3f|23)", re.IGNORECASE).search


def shown_url(url: str) -> str:
    """A web address without its user, password, query and fragment."""
    start, between, rest = url.partition("://")
    return f"{start}{between}{_harmless(rest)}" if between else MASK


def shown_urls(text: str, values: Iterable[str] = ()) -> str:
    """The text with every web address in it as :func:`shown_url` shows it.

    ``values`` are fields that the text is made of: where one is an address, its end is known.
    """
    for value in values:
        if _URL.match(value):
            text = text.replace(value, shown_url(value))
    return _URL.sub(lambda match: f"{match['start']}{_harmless(match['rest'])}", text)


def _harmless(rest: str) -> str:
    """The part of what follows ``https://`` that may be read."""
    if query := _QUERY(rest):
        rest = rest[: query.start()]
    *access, host = _AT.split(rest)
    # Where "@" stands in the path, nobody can tell a path from a password with a slash in it.
    return f"{MASK}@{host}" if any(map(_SLASH, access)) else host


# ---------------------------------------------------------------------------- addresses of stores

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,31})://", re.IGNORECASE | re.ASCII)
#: User and password, which are dropped; host; port; and a rest in which no second @ may be.
_CERTAIN = re.compile(
    r"(?P<user>[^\s@/?#\\\[\]]*@)?"
    r"(?P<where>(?:(?P<host>[\w.,-]+|\[[0-9a-fA-F:.]+(?:%\w+)?\])(?P<port>:[0-9]{1,5})?)?)"
    r"(?:[/?#][^\s@\\]*)?"
)
#: What nobody has for a user: an address, a name with a dot in it, this machine.
_SURELY_A_HOST = re.compile(r"\[.*\]|.*\w\.\w.*|localhost\.?", re.IGNORECASE)
#: What an address, or a list of settings, has in it and a file's path hardly ever.
_NO_PATH = re.compile(r"[@:=?#]")
_BEFORE_PATH = re.compile(r"file:|[A-Za-z]:")


def shown_address(address: str) -> str:
    """``scheme://host:port``, or less where the rest may hold a part of a password.

    A port is shown behind what is surely a host: one with a user part before it (``u:p@db:5432``),
    an IP address, a name with a dot, or localhost. What is left are ``db:5432`` and ``u:1234``,
    which look the same: neither is shown. A name alone is, since no password can be in it.
    """
    scheme = _SCHEME.match(address)
    if scheme is None:
        return "(an address that is not shown)"
    read = _read(address)
    return f"{scheme[0]}{read['where'] if read and _may_be_shown(read) else '...'}"


def is_certain(address: str) -> bool:
    """Whether every program reads the same user, password and host in this address."""
    return _read(address) is not None


def shown_path(path: str) -> str:
    """A file's path; not shown where it may be an address that was mistyped."""
    start = _BEFORE_PATH.match(path)
    doubtful = _NO_PATH.search(path, start.end() if start else 0) or not path.isprintable()
    return "(a path that is not shown)" if doubtful else path


def _read(address: str) -> re.Match[str] | None:
    scheme = _SCHEME.match(address)
    if scheme is None or not address.isprintable():
        return None
    return _CERTAIN.fullmatch(address, scheme.end())


def _may_be_shown(read: re.Match[str]) -> bool:
    without_doubt = read["port"] is None or read["user"] is not None
    return without_doubt or _SURELY_A_HOST.fullmatch(read["host"]) is not None
