"""Form bodies become fields, and fields become form bodies.

Reading is strict and bounded: duplicate names, invalid UTF-8 and too many fields are a
:class:`~chaoying_async.exceptions.MalformedMessageError`, and so is everything else that cannot be
read.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections import Counter
from collections.abc import Iterable
from urllib.parse import quote_plus, unquote_to_bytes

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.fieldnames import DOCUMENTED

#: The document's largest message has about 30 fields.
MAX_FIELDS = 200

_SAFE = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
#: How a body that is no form begins: XML, JSON, multipart (M-14).
_NOT_A_FORM = ("<", "{", "[", "--")


def encode_form(pairs: Iterable[tuple[str, str]]) -> str:
    """``application/x-www-form-urlencoded``, every value encoded once, a blank as ``+``."""
    return "&".join(
        [f"{name}={value if _SAFE(value) else quote_plus(value)}" for name, value in pairs]
    )


def parse_form(body: bytes | str) -> dict[str, str]:
    """The fields of a form body as received: split first, then decoded once.

    Blank values are kept, both cases of percent escapes are fine, ``+`` is a blank. The
    Content-Type header decides nothing; what begins like XML, JSON or multipart is refused (M-14).
    """
    return split_form(body)[0]


def split_form(body: bytes | str) -> tuple[dict[str, str], list[str] | None]:
    """The fields of a form body, and its pieces: each ``name=value``, decoded, as they came.

    No pieces, but None, where some of them are blank or lack a value.
    """
    text = decode_utf8(body if isinstance(body, bytes) else _encoded(body))
    if text.startswith(_NOT_A_FORM) or "=" not in text:
        raise MalformedMessageError("the body is not a form (application/x-www-form-urlencoded)")
    pieces = text.split("&", MAX_FIELDS)
    if len(pieces) > MAX_FIELDS:
        raise MalformedMessageError(f"the form has more than {MAX_FIELDS} fields")
    pairs = [piece.split("=", 1) for piece in pieces]
    if "%" in text or "+" in text:
        for index in [at for at, piece in enumerate(pieces) if "%" in piece or "+" in piece]:
            pairs[index] = [_unquoted(text) for text in pairs[index]]
            pieces[index] = "=".join(pairs[index])
    try:
        fields: dict[str, str] = dict(pairs)
    except ValueError:  # a piece without "="
        return _with_odd_names(pairs), None
    return (fields, pieces) if len(fields) == len(pieces) else (_with_odd_names(pairs), None)


def _with_odd_names(pairs: list[list[str]]) -> dict[str, str]:
    """Pieces that are blank (``a=1&&b=2``) or lack a value; a name that comes twice is refused."""
    named = [(pair[0], "".join(pair[1:])) for pair in pairs if pair != [""]]
    fields = dict(named)
    if len(fields) != len(named):
        raise twice(name for name, _ in named)
    return fields


def twice(names: Iterable[str]) -> MalformedMessageError:
    """The error for a message that has a name twice: which one, if the document has it."""
    known = [name for name, count in Counter(names).items() if count > 1 and name in DOCUMENTED]
    return MalformedMessageError(f"{known[0] if known else 'a field'} comes twice")


def _unquoted(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    data = text.encode()
    if _UNUSUAL_ESCAPE(data):
        return decode_utf8(unquote_to_bytes(data))
    # A percent escape is a quoted-printable one with another sign, and binascii reads those in C:
    # ten times as fast as urllib on the JSON that notifications carry. A property test holds them
    # equal.
    return decode_utf8(a2b_qp(data.replace(b"=", b"=3D").replace(b"%", b"=")))


#: What the two kinds of escapes do not share: a lone ``%``, and line ends.
_UNUSUAL_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})|[\r\n]").search


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # as below
        pass
    raise MalformedMessageError("the message is not UTF-8")


def decode_utf8(data: bytes) -> str:
    """The text in these bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:  # it holds the bytes, so it must not be our error's context (M-27)
        pass
    raise MalformedMessageError("the message is not UTF-8")
