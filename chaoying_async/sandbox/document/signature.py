"""The gateway's side of the signature scheme, written from the document and not from the client.

A sandbox that shared the client's signing would agree with every mistake in it; this code shares
nothing but the names of the algorithms, and ``vectors.toml`` keeps both honest. Unlike the client
it neither refuses ambiguous messages nor accepts a lower-case sign: the document's gateway knows of
no ambiguity, and asks for upper case.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping

from chaoying_async.sansio.credentials import Credentials, SignAlgorithm, SortOrder

_DIGESTS: Mapping[SignAlgorithm, Callable[[bytes, bytes], str]] = {
    SignAlgorithm.MD5: lambda text, _: hashlib.md5(text, usedforsecurity=False).hexdigest(),
    SignAlgorithm.SHA1: lambda text, _: hashlib.sha1(text, usedforsecurity=False).hexdigest(),
    SignAlgorithm.SHA256: lambda text, _: hashlib.sha256(text).hexdigest(),
    SignAlgorithm.HMAC_SHA256: lambda text, key: hmac.new(key, text, hashlib.sha256).hexdigest(),
}


def string_to_sign(fields: Mapping[str, str], order: SortOrder) -> str:
    """``stringA``: the fields that are not empty, sorted by name, without ``sign`` and the key."""
    pairs = sorted(fields.items())
    if order is SortOrder.IGNORE_CASE:
        pairs.sort(key=lambda pair: pair[0].lower())  # stable: ASCII decides between a and A
    return "&".join([f"{name}={text}" for name, text in pairs if text and name != "sign"])


def signature(fields: Mapping[str, str], credentials: Credentials) -> str:
    """The sign of a message, upper case, with the credentials' algorithm and name order."""
    text = f"{string_to_sign(fields, credentials.sort_order)}&key={credentials.key}"
    digest = _DIGESTS[credentials.algorithm](text.encode(), credentials.key.encode())
    return digest.upper()


def is_signed(fields: Mapping[str, str], credentials: Credentials) -> bool:
    """Whether the message carries exactly the sign that it should."""
    given = fields.get("sign", "")
    return hmac.compare_digest(given.encode(), signature(fields, credentials).encode())
