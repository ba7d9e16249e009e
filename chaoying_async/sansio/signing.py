"""The signature scheme (签名规则): canonical string, sign, verify.

All values that are not empty, sorted by name, joined as ``a=1&b=2``, then ``&key=`` and the key,
then the digest in upper-case hex. ``sign`` takes no part; ``"0"`` and ``" "`` do. Values enter as
decoded text in UTF-8, never percent-encoded (C 3).

The scheme is ambiguous: ``a=1&b=2`` is the canonical string of ``{a: "1", b: "2"}`` and of
``{a: "1&b=2"}``. So :func:`sign` and :func:`verify` refuse a message that could be cut up in
another way (M-04). There is no verify that returns a boolean: a wrong signature is an exception.

Nothing here knows the time, and only the frames of this module ever hold a key in a local (M-27).
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from chaoying_async.exceptions import (
    AmbiguousSignatureError,
    MalformedMessageError,
    MissingSignatureError,
    ParameterError,
    SignatureVerificationError,
)
from chaoying_async.sansio.credentials import Credentials, SignAlgorithm, SortOrder
from chaoying_async.sansio.fieldnames import TOP_LEVEL

__all__ = ["canonical_string", "sign", "verify"]

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_EMBEDDED_NAME = re.compile(r"&([^&=]*)=")
_UPPER_CASE = re.compile(r"[A-Z]").search


_ORDERS = tuple(SortOrder)

#: Every character of these names stands behind ``=``, so sorting ``name=value`` sorts by name.
_SORTED_WITH_VALUES = frozenset(name for name in TOP_LEVEL if name.replace("_", "").isalpha())


def _keyed(name: str) -> Callable[[str, str], str]:
    # MD5 and SHA-1 are the gateway's choice; a FIPS build of OpenSSL must not forbid them here.
    return lambda text, key: hashlib.new(
        name, f"{text}&key={key}".encode(), usedforsecurity=False
    ).hexdigest()


def _plain_md5() -> Callable[..., Any]:
    """CPython's own where it was built: OpenSSL looks its digests up anew for every message."""
    try:
        own: Callable[..., Any] = importlib.import_module("_md5").md5
    except ImportError:
        return hashlib.md5
    return own


_MD5 = _plain_md5()


def _md5(text: str, key: str) -> str:
    digest: str = _MD5(f"{text}&key={key}".encode(), usedforsecurity=False).hexdigest()
    return digest


def _hmac_sha256(text: str, key: str) -> str:
    return hmac.new(key.encode(), f"{text}&key={key}".encode(), hashlib.sha256).hexdigest()


_DIGESTS: Mapping[SignAlgorithm, Callable[[str, str], str]] = {
    SignAlgorithm.MD5: _md5,
    SignAlgorithm.SHA1: _keyed("sha1"),
    SignAlgorithm.SHA256: _keyed("sha256"),
    SignAlgorithm.HMAC_SHA256: _hmac_sha256,
}

_SIGN_SHAPES: Mapping[SignAlgorithm, Callable[[str], re.Match[str] | None]] = {
    algorithm: re.compile(rf"[0-9A-Fa-f]{{{length}}}").fullmatch
    for algorithm, length in (
        (SignAlgorithm.MD5, 32),
        (SignAlgorithm.SHA1, 40),
        (SignAlgorithm.SHA256, 64),
        (SignAlgorithm.HMAC_SHA256, 64),
    )
}


def canonical_string(params: Mapping[str, object], order: SortOrder = SortOrder.ASCII) -> str:
    """The text that is signed, without the key: for comparing with the gateway's support.

    Empty values, None and ``sign`` are left out. A float, bytes, list or dict is a
    :class:`TypeError`: turn it into the exact text that is sent first (M-03).
    """
    return "&".join(_parts(texts(params), order))


def sign(
    params: Mapping[str, object],
    key: str,
    algorithm: SignAlgorithm = SignAlgorithm.MD5,
    order: SortOrder = SortOrder.ASCII,
) -> str:
    """The signature of ``params``, upper-case hex.

    A message that could be cut up into another one with the same signature is an
    :class:`~chaoying_async.exceptions.AmbiguousSignatureError` (M-04); an empty key is a
    :class:`~chaoying_async.exceptions.ParameterError`.
    """
    fields = texts(params)
    return _sign_texts(fields, _checked_key(key), algorithm, order)


def verify(
    params: Mapping[str, object],
    key: str | Iterable[str],
    algorithm: SignAlgorithm = SignAlgorithm.MD5,
) -> None:
    """Raise unless ``params["sign"]`` is right under (one of) ``key``, in either name order.

    Always an exception, never False: :class:`~chaoying_async.exceptions.MissingSignatureError`,
    :class:`~chaoying_async.exceptions.SignatureVerificationError`, or, for a message whose
    signature is right but which can be read in two ways,
    :class:`~chaoying_async.exceptions.AmbiguousSignatureError`. Pass every received field, unknown
    ones too (C 7). Upper- and lower-case digests are both fine.
    """
    keys = (key,) if isinstance(key, str) else tuple(key)
    if not keys:
        raise ParameterError({"key": "must be text that is not empty"})
    _verify_texts(texts(params), tuple(map(_checked_key, keys)), algorithm)


def sign_for(credentials: Credentials, fields: Mapping[str, str]) -> str:
    """The signature of a map of texts, with these credentials."""
    return _sign_texts(fields, credentials.key, credentials.algorithm, credentials.sort_order)


def verify_for(credentials: Credentials, fields: Mapping[str, str], now: datetime | None) -> None:
    """Verify a map of texts; a previous key counts until its end, and not without a ``now``."""
    if now is not None and now.utcoffset() is None:
        raise ParameterError({"now": "must have a time zone, for example datetime.now(UTC)"})
    keys: tuple[str, ...] = (credentials.key,)
    hint = ""
    if credentials.previous_keys:
        hint = " (previous keys count only with now=..., M-21)" if now is None else ""
        keys += _still_counting(credentials, now)
    _verify_texts(fields, keys, credentials.algorithm, hint)


def verify_form(
    credentials: Credentials,
    fields: Mapping[str, str],
    pieces: Iterable[str] | None,
    now: datetime | None,
) -> None:
    """:func:`verify_for` of a form whose pieces (``name=value``, decoded) may be at hand.

    Nearly every message has documented names, no empty value and a right signature; then its
    pieces, sorted, are what was signed. Whatever is not so simple is left to ``verify_for``.
    """
    if pieces is not None and now is None:
        canonical = _of_pieces(fields, pieces)
        received = fields.get("sign", "").upper()
        if canonical and _fits(canonical, credentials.key, credentials.algorithm, received):
            return
    verify_for(credentials, fields, now)


def _of_pieces(fields: Mapping[str, str], pieces: Iterable[str]) -> str | None:
    """The canonical string, where it is a matter of sorting, and can be cut up in one way only."""
    signature = fields.get("sign")
    if not signature or not signature.isascii() or not _SORTED_WITH_VALUES.issuperset(fields):
        return None
    parts = sorted(pieces)
    parts.remove(f"sign={signature}")
    canonical = "&".join(parts)
    unambiguous = canonical.count("&") == len(parts) - 1  # as in _refuse_ambiguity
    none_empty = "=&" not in canonical and not canonical.endswith("=")
    return canonical if unambiguous and none_empty else None


def _still_counting(credentials: Credentials, now: datetime | None) -> tuple[str, ...]:
    return tuple(
        old.key for old in credentials.previous_keys if now is not None and now < old.until
    )


def texts(params: Mapping[str, object]) -> dict[str, str]:
    """A map of texts: int as digits, bool as true/false, enum as value, None as empty (M-03)."""
    return {
        name: value if type(value) is str else _text(name, value) for name, value in params.items()
    }


def ambiguity(name: str, value: str, names: Iterable[str] = ()) -> str | None:
    """Why this field makes a message ambiguous (M-04), or None; ``names``: the others in it."""
    if _PLAIN_NAME(name) is None:
        return "its name is not a plain identifier"
    if "&" in value:
        for match in _EMBEDDED_NAME.finditer(value):
            if match[1] in TOP_LEVEL or match[1] in names:
                return f"its value holds &{match[1]}=, which could be cut off as a field of its own"
    return None


def _text(name: str, value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(
        f"{name}: a {type(value).__name__} has no signed form; pass the text that is sent"
    )


def _parts(fields: Mapping[str, str], order: SortOrder) -> list[str]:
    names = sorted(fields) if order is SortOrder.ASCII else sorted(fields, key=_case_ignored)
    return [f"{name}={text}" for name in names if (text := fields[name]) and name != "sign"]


def _case_ignored(name: str) -> tuple[str, str]:
    # Lowered, never raised: "_" stands between the capitals and the small letters (C 2).
    return name.lower(), name


def _checked_key(key: str) -> str:
    if not isinstance(key, str) or not key:
        raise ParameterError({"key": "must be text that is not empty"})
    return key


def _sign_texts(
    fields: Mapping[str, str], key: str, algorithm: SignAlgorithm, order: SortOrder
) -> str:
    parts = _parts(fields, order)
    canonical = "&".join(parts)
    _refuse_ambiguity(fields, canonical, len(parts))
    return _digest(canonical, key, algorithm)


def _digest(canonical: str, key: str, algorithm: SignAlgorithm) -> str:
    try:
        return _DIGESTS[algorithm](canonical, key).upper()
    except UnicodeEncodeError:
        pass  # it quotes the whole text, so it must not stay attached (M-27)
    raise MalformedMessageError("a value holds half a surrogate pair, which UTF-8 lacks")


def _fits(canonical: str, key: str, algorithm: SignAlgorithm, received: str) -> bool:
    return hmac.compare_digest(_digest(canonical, key, algorithm), received)


def _verify_texts(
    fields: Mapping[str, str], keys: Iterable[str], algorithm: SignAlgorithm, hint: str = ""
) -> None:
    received = fields.get("sign")
    if not received:
        raise MissingSignatureError("the message carries no signature")
    if _SIGN_SHAPES[algorithm](received) is None:
        raise SignatureVerificationError(f"sign is not a {algorithm} digest in hex")
    received = received.upper()
    for order in _ORDERS:
        parts = _parts(fields, order)
        canonical = "&".join(parts)
        for key in keys:
            if _fits(canonical, key, algorithm, received):
                _refuse_ambiguity(fields, canonical, len(parts))
                return
        if not any(map(_UPPER_CASE, fields)):  # both orders read the same (C 1)
            break
    raise SignatureVerificationError(
        f"the signature is wrong: another key, or another message{hint}"
    )


def _refuse_ambiguity(fields: Mapping[str, str], canonical: str, parts: int) -> None:
    # The usual case, and cheap to see: every "&" joins two fields, and every name is documented.
    if canonical.count("&") < parts and TOP_LEVEL.issuperset(fields):
        return
    for name, value in fields.items():
        if why := ambiguity(name, value, fields):
            shown = name if _PLAIN_NAME(name) else "a field"
            raise AmbiguousSignatureError(f"{shown}: {why} (M-04)")
