"""Mistakes about the key, how it is appended, the bytes, the digest and how that is written.

Keys are bytes here, and live in locals only while a way runs: nothing below raises (M-27).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote_plus

from chaoying_async.sansio.credentials import SignAlgorithm
from chaoying_async.sansio.doctor.findings import Mistake, Side

KeyWay = Callable[[bytes], Iterable[bytes]]
#: Text and key to what is hashed.
JoinWay = Callable[[bytes, bytes], bytes]
EncodeWay = Callable[[str], bytes]
#: What is hashed, the text alone, and the key.
DigestWay = Callable[[bytes, bytes, bytes], bytes]
Hash = Callable[[bytes], bytes]
#: A digest, the function that made it, and the sign that came: how the digest may be written.
ShapeWay = Callable[[bytes, Hash, str], Iterable[str]]

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n\x00\"'`"


def rule_join(text: bytes, key: bytes) -> bytes:
    """The rule."""
    return text + b"&key=" + key


def _hash(name: str) -> DigestWay:
    return lambda joined, _text, _key: hashlib.new(name, joined, usedforsecurity=False).digest()


def _hmac(name: str) -> DigestWay:
    return lambda joined, _text, key: hmac.digest(key, joined, name)


def _bare_hmac(name: str) -> DigestWay:
    return lambda _joined, text, key: hmac.digest(key, text, name)


DIGESTS: dict[SignAlgorithm, DigestWay] = {
    SignAlgorithm.MD5: _hash("md5"),
    SignAlgorithm.SHA1: _hash("sha1"),
    SignAlgorithm.SHA256: _hash("sha256"),
    SignAlgorithm.HMAC_SHA256: _hmac("sha256"),
}


def rule_shape(digest: bytes, _rehash: Hash, _received: str) -> Iterator[str]:
    """The rule: upper-case hex."""
    yield digest.hex().upper()


def _around(*ends: tuple[bytes, bytes]) -> KeyWay:
    return lambda key: (before + key + after for before, after in ends)


def _own_unclean(key: bytes) -> Iterator[bytes]:
    yield key.removeprefix(_BOM).strip(_BLANKS)
    yield b"".join(key.split())


def _recased(key: bytes) -> Iterator[bytes]:
    yield key.lower()
    yield key.upper()


def _cut(key: bytes) -> Iterator[bytes]:
    yield from (key[:-1], key[1:], key[:16], key[:32], key[: len(key) // 2])
    yield key + key[-1:]


def _digested(key: bytes) -> Iterator[bytes]:
    for name in ("md5", "sha1", "sha256"):
        digest = hashlib.new(name, key, usedforsecurity=False)
        yield from (digest.hexdigest().encode(), digest.hexdigest().upper().encode())


def _decoded(key: bytes) -> Iterator[bytes]:
    for decode in (binascii.unhexlify, base64.b64decode):
        try:
            yield decode(key)
        except ValueError:
            continue
    yield base64.b64encode(key)


def _url_encoded(key: bytes) -> Iterator[bytes]:
    yield quote_plus(key).encode()


def _joined(before: bytes, between: bytes, after: bytes = b"") -> JoinWay:
    return lambda text, key: before + text + between + key + after


def _in_front(before: bytes, between: bytes) -> JoinWay:
    return lambda text, key: before + key + between + text


def _sorted_in(text: bytes, key: bytes) -> bytes:
    parts = text.split(b"&") if text else []
    earlier = sum(part < b"key=" for part in parts)
    return b"&".join([*parts[:earlier], b"key=" + key, *parts[earlier:]])


def _whole(change: Callable[[bytes], bytes]) -> JoinWay:
    return lambda text, key: change(rule_join(text, key))


def _recoded(charset: str) -> Callable[[bytes], bytes]:
    return lambda whole: whole.decode(errors="replace").encode(charset)


def _encoding(charset: str, errors: str = "strict") -> EncodeWay:
    return lambda text: text.encode(charset, errors)


def _cesu8(text: str) -> bytes:
    """Encodes surrogates one by one, as older Java and database drivers do beyond 16 bits."""
    return b"".join(map(_cesu8_character, text))


def _cesu8_character(character: str) -> bytes:
    code = ord(character)
    if code < 0x10000:  # noqa: PLR2004 - what 16 bits hold
        return character.encode()
    halves = (0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code & 0x3FF))
    return b"".join(chr(half).encode(errors="surrogatepass") for half in halves)


def _twice(digest: bytes, rehash: Hash, _received: str) -> Iterator[str]:
    for again in (digest.hex().encode(), digest.hex().upper().encode(), digest):
        yield rehash(again).hex().upper()


def _base64(digest: bytes, _rehash: Hash, _received: str) -> Iterator[str]:
    for data in (digest, digest.hex().encode(), digest.hex().upper().encode()):
        text = base64.b64encode(data).decode()
        yield from (text, text.rstrip("="), text.translate(str.maketrans("+/", "-_")))


def _half(digest: bytes, _rehash: Hash, _received: str) -> Iterator[str]:
    text = digest.hex().upper()
    yield from (text[8:24], text[:16], text[16:], text[:32] if len(text) > 32 else text[:20])  # noqa: PLR2004 - an MD5's length


def _zeros_dropped(digest: bytes, _rehash: Hash, _received: str) -> Iterator[str]:
    yield digest.hex().upper().lstrip("0")
    yield "".join(f"{byte:X}" for byte in digest)
    yield "".join(f"{byte - 256 & 0xFFFFFFFF if byte > 127 else byte:X}" for byte in digest)  # noqa: PLR2004 - signed bytes
    yield "".join(f"{byte - 256 & 0xFFFFFFFF if byte > 127 else byte:02X}" for byte in digest)  # noqa: PLR2004


def _damaged(digest: bytes, _rehash: Hash, received: str) -> Iterator[str]:
    whole, came = digest.hex().upper(), received.upper()
    if 0 < abs(len(whole) - len(came)) <= _MOST_LOST and _within(*sorted((whole, came), key=len)):
        yield came


#: Characters that a sign may have lost or gained and still be recognised; chance has no part in it.
_MOST_LOST = 4


def _within(short: str, long: str) -> bool:
    """Whether the short text is the long one less some characters."""
    rest = iter(long)
    return all(character in rest for character in short)


_SIGNER, _READER, _EITHER = Side

KEYS: tuple[Mistake[KeyWay], ...] = (
    Mistake("own-key-unclean", _READER, _own_unclean, common=True),
    Mistake("key-newline", _SIGNER, _around((b"", b"\n")), common=True),
    Mistake("key-crlf", _SIGNER, _around((b"", b"\r\n"), (b"", b"\r")), common=True),
    Mistake("key-bom", _SIGNER, _around((_BOM, b"")), common=True),
    Mistake(
        "key-blanks",
        _SIGNER,
        _around((b" ", b""), (b"", b" "), (b" ", b" "), (b"\t", b""), (b"", b"\t")),
        common=True,
    ),
    Mistake("key-quotes", _SIGNER, _around((b'"', b'"'), (b"'", b"'")), common=True),
    Mistake("key-braces", _SIGNER, _around((b"{", b"}"), (b"<", b">"), (b"[", b"]"))),
    Mistake("key-recased", _EITHER, _recased),
    Mistake("key-cut", _EITHER, _cut),
    Mistake("key-digested", _SIGNER, _digested),
    Mistake("key-decoded", _SIGNER, _decoded),
    Mistake("key-url-encoded", _SIGNER, _url_encoded),
)

JOINS: tuple[Mistake[JoinWay], ...] = (
    Mistake("key-bare", _SIGNER, _joined(b"", b""), common=True),
    Mistake("key-without-ampersand", _SIGNER, _joined(b"", b"key="), common=True),
    Mistake("key-without-name", _SIGNER, _joined(b"", b"&"), _joined(b"", b"&="), common=True),
    Mistake(
        "key-prepended",
        _SIGNER,
        *map(_in_front, (b"", b"", b"key=", b"key=", b"&key="), (b"", b"&", b"&", b"", b"&")),
        common=True,
    ),
    Mistake("key-both-ends", _SIGNER, lambda text, key: key + text + key),
    Mistake("key-name-case", _SIGNER, _joined(b"", b"&KEY="), _joined(b"", b"&Key="), common=True),
    Mistake(
        "key-other-name",
        _SIGNER,
        *(
            _joined(b"", b"&" + name + b"=")
            for name in b"secret app_key appkey appKey app_secret appsecret agent_key mch_key "
            b"sign_key signkey signKey apikey api_key apiKey token".split()
        ),
    ),
    Mistake("key-sorted-in", _SIGNER, _sorted_in),
    Mistake("key-missing", _SIGNER, lambda text, _: text, lambda text, _: text + b"&key="),
    Mistake("key-not-last", _SIGNER, _joined(b"", b"&key=", b"&")),
    Mistake("utf-16", _SIGNER, *map(_whole, map(_recoded, ("utf-16-le", "utf-16-be", "utf-16")))),
    Mistake("whole-recased", _SIGNER, _whole(bytes.upper), _whole(bytes.lower)),
    Mistake("whole-url-encoded", _SIGNER, _whole(lambda whole: quote_plus(whole).encode())),
)

ENCODINGS: tuple[Mistake[EncodeWay], ...] = (
    Mistake("gbk", _SIGNER, _encoding("gb18030"), _encoding("gbk", "replace"), common=True),
    Mistake("latin-1", _SIGNER, _encoding("latin-1", "replace"), _encoding("cp1252", "replace")),
    Mistake("ascii-only", _SIGNER, _encoding("ascii", "ignore")),
    Mistake("emoji-cesu8", _SIGNER, _cesu8),
)

ALGORITHMS: tuple[Mistake[DigestWay], ...] = (
    Mistake("algorithm-md5", _EITHER, DIGESTS[SignAlgorithm.MD5], common=True),
    Mistake("algorithm-sha1", _EITHER, DIGESTS[SignAlgorithm.SHA1], common=True),
    Mistake("algorithm-sha256", _EITHER, DIGESTS[SignAlgorithm.SHA256], common=True),
    Mistake("algorithm-hmac-sha256", _EITHER, DIGESTS[SignAlgorithm.HMAC_SHA256], common=True),
    Mistake("hmac-without-suffix", _SIGNER, _bare_hmac("sha256"), common=True),
    Mistake(
        "algorithm-other",
        _SIGNER,
        *map(_hmac, ("md5", "sha1", "sha512")),
        *map(_bare_hmac, ("md5", "sha1", "sha512")),
        *map(_hash, ("sha512", "sha224", "sha384")),
    ),
)

SHAPES: tuple[Mistake[ShapeWay], ...] = (
    Mistake("digest-of-digest", _SIGNER, _twice),
    Mistake("digest-base64", _SIGNER, _base64),
    Mistake("digest-half", _SIGNER, _half),
    Mistake("digest-zeros-dropped", _SIGNER, _zeros_dropped),
    Mistake("sign-damaged", _EITHER, _damaged),
)
