"""Messages as they may be shown and kept: no key, sign or personal value can be read (M-27)."""

from __future__ import annotations

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.doctor.message import Pairs, read_message
from chaoying_async.sansio.doctor.shown import shown_text

#: Longer texts are cut.
LONGEST = 16_384


def wire(body: bytes, credentials: Credentials) -> str:
    """The bytes of a message as text."""
    return text_of(body.decode("utf-8", "backslashreplace"), _pairs(body), credentials)


def text_of(text: str, pairs: Pairs, credentials: Credentials) -> str:
    """A text that may quote a message with these fields."""
    keys = (credentials.key, *(previous.key for previous in credentials.previous_keys))
    shown = shown_text(text[:LONGEST], pairs, keys)
    return f"{shown} …" if len(text) > LONGEST else shown


def answer_of(answer: bytes, body: bytes, credentials: Credentials) -> str:
    """What a merchant answered to a notification, which it may have quoted."""
    return text_of(answer.decode("utf-8", "backslashreplace"), _pairs(body), credentials)


def _pairs(body: bytes) -> Pairs:
    try:
        return read_message(body).pairs
    except MalformedMessageError:
        return ()
