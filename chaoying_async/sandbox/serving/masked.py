"""Messages as they may be shown and kept: no key, sign or personal value can be read (M-27).

Nor can what opens a door in an address: the user, password and query of a ``notify_url``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.doctor.lenient_reader import Pairs, read_message
from chaoying_async.sansio.doctor.shown import MASK, shown_text

#: Longer texts are cut.
LONGEST = 16_384

_ESCAPE = r"%(?:25){0,3}"
#: An address in a text: as it is, percent-encoded once or several times, or as JSON writes it.
_ADDRESS: Final = re.compile(
    rf"(?P<start>https?(?::|{_ESCAPE}3a)(?:\\?/|{_ESCAPE}2f){{2}})(?P<rest>[^\s\"'<>&]*)",
    re.IGNORECASE,
)
_AT: Final = re.compile(rf"@|{_ESCAPE}40", re.IGNORECASE)
_SLASH: Final = re.compile(rf"/|{_ESCAPE}2f", re.IGNORECASE).search
_QUERY: Final = re.compile(rf"[?#]|{_ESCAPE}(?:3f|23)", re.IGNORECASE).search


def wire(body: bytes, credentials: Credentials) -> str:
    """The bytes of a message as text."""
    return text_of(body.decode("utf-8", "backslashreplace"), _pairs(body), credentials)


def text_of(text: str, pairs: Pairs, credentials: Credentials) -> str:
    """A text that may quote a message with these fields."""
    keys = (credentials.key, *(previous.key for previous in credentials.previous_keys))
    shown = without_access(shown_text(text[:LONGEST], pairs, keys))
    return f"{shown} …" if len(text) > LONGEST else shown


def address_of(url: str) -> str:
    """An address (a ``notify_url``) without user, password, query and fragment."""
    start, between, rest = url.partition("://")
    return f"{start}{between}{_harmless(rest)}" if between else MASK


def without_access(text: str, values: Iterable[str] = ()) -> str:
    """The text with users, passwords and queries of the addresses in it left out.

    ``values`` are fields that it is made of: where one is an address, its end is known.
    """
    for value in values:
        if _ADDRESS.match(value):
            text = text.replace(value, address_of(value))
    return _ADDRESS.sub(lambda match: f"{match['start']}{_harmless(match['rest'])}", text)


def _harmless(rest: str) -> str:
    """What follows ``https://``, as far as it may be read."""
    if query := _QUERY(rest):
        rest = rest[: query.start()]
    *access, host = _AT.split(rest)
    # Where "@" stands in the path, nobody can tell a path from a password with a slash in it.
    return f"{MASK}@{host}" if any(map(_SLASH, access)) else host


def answer_of(answer: bytes, body: bytes, credentials: Credentials) -> str:
    """What a merchant answered to a notification, which it may have quoted."""
    return text_of(answer.decode("utf-8", "backslashreplace"), _pairs(body), credentials)


def _pairs(body: bytes) -> Pairs:
    try:
        return read_message(body).pairs
    except MalformedMessageError:
        return ()
