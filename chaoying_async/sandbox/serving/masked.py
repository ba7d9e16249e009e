"""Messages as the sandbox may show and keep them: no key, no sign, nothing personal (M-27)."""

from __future__ import annotations

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.doctor.lenient_reader import Pairs, read_message
from chaoying_async.sansio.redact import masked_text, shown_urls

#: Longer texts are cut.
LONGEST = 16_384


def wire(body: bytes, credentials: Credentials) -> str:
    """The bytes of a message as text."""
    return answer_of(body, body, credentials)


def answer_of(answer: bytes, body: bytes, credentials: Credentials) -> str:
    """What a merchant answered to the notification ``body``, which the answer may quote."""
    return text_of(answer.decode("utf-8", "backslashreplace"), _pairs(body), credentials)


def text_of(text: str, pairs: Pairs, credentials: Credentials) -> str:
    """A text that may quote a message with these fields."""
    keys = (credentials.key, *(previous.key for previous in credentials.previous_keys))
    shown = shown_urls(masked_text(text[:LONGEST], pairs, keys))
    return f"{shown} …" if len(text) > LONGEST else shown


def _pairs(body: bytes) -> Pairs:
    try:
        return read_message(body).pairs
    except MalformedMessageError:
        return ()
