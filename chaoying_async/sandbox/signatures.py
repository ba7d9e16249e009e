"""The gateway's side of the signature scheme, written from the document and not from the client.

A sandbox that shared the client's signing would agree with every mistake in it; this one shares
nothing but the names of the algorithms, and ``vectors.toml`` keeps both honest. Unlike the client
it neither refuses ambiguous messages nor accepts a lower-case sign: the document's gateway knows of
no ambiguity, and asks for upper case. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping

from chaoying_async.sansio.credentials import Credentials, SignAlgorithm, SortOrder


def _plain(name: str) -> Callable[[bytes, bytes], str]:
    return lambda text, _key: hashlib.new(name, text, usedforsecurity=False).hexdigest()


_DIGESTS: Mapping[SignAlgorithm, Callable[[bytes, bytes], str]] = {
    SignAlgorithm.MD5: _plain("md5"),
    SignAlgorithm.SHA1: _plain("sha1"),
    SignAlgorithm.SHA256: _plain("sha256"),
    SignAlgorithm.HMAC_SHA256: lambda text, key: hmac.new(key, text, hashlib.sha256).hexdigest(),
}


def string_to_sign(fields: Mapping[str, str], order: SortOrder) -> str:
    """``stringA``: what is not empty, sorted by name, without ``sign`` and without the key."""
    names = sorted(fields) if order is SortOrder.ASCII else sorted(sorted(fields), key=str.lower)
    return "&".join(f"{name}={fields[name]}" for name in names if fields[name] and name != "sign")


def signature(fields: Mapping[str, str], credentials: Credentials) -> str:
    """The sign of a message, upper case, with the credentials' algorithm and name order."""
    text = f"{string_to_sign(fields, credentials.sort_order)}&key={credentials.key}"
    digest = _DIGESTS[credentials.algorithm](text.encode(), credentials.key.encode())
    return digest.upper()


def is_signed(fields: Mapping[str, str], credentials: Credentials) -> bool:
    """Whether the message carries exactly the sign that it should."""
    given = fields.get("sign", "")
    return hmac.compare_digest(given.encode(), signature(fields, credentials).encode())
