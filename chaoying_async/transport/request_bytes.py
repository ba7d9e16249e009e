"""Splits a URL and writes a request, byte for byte, as pure functions.

We write the head ourselves, for two reasons. The URL's bytes then stay as they were signed (URL
classes rewrite escapes), and the head can be made once per endpoint instead of once per call.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from chaoying_async.transport.base import Headers
from chaoying_async.transport.errors import not_sent

_URL = re.compile(
    r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::([0-9]{1,5}))?([/?][^#]*)?(?:#.*)?"
)
_VISIBLE = re.compile(r"[\x21-\x7e]*")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

_PORTS = {"http": 80, "https": 443}

#: Headers that only we set: framing, and encodings (we can bound the size of no other).
_OURS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "expect"}
)


class Address(NamedTuple):
    """The server that a URL names, and the request target with every byte as given."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The Host header: without the scheme's own port."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        """The URL without path and query: safe to show."""
        return f"{self.scheme}://{self.authority}"


def parse_url(url: str) -> Address:
    """Split an absolute http(s) URL; one that cannot be sent as it is, is refused, not repaired."""
    match = _URL.fullmatch(url)
    if match is None:
        raise not_sent("not an http(s) URL with a plain host name")
    scheme, host, port, target = match.groups()
    number = int(port) if port else _PORTS[scheme]
    if not 0 < number < 65536:  # noqa: PLR2004 - a port
        raise not_sent("no such port")
    target = target or "/"
    if _VISIBLE.fullmatch(target) is None:
        raise not_sent("the URL has a blank, a control character or an unescaped letter in it")
    return Address(scheme, host.lower(), number, target if target[0] == "/" else "/" + target)


def request_head(method: str, target: str, authority: str, headers: Headers) -> bytes:
    """The head without the length of the body, which :func:`with_body` appends."""
    if _TOKEN.fullmatch(method) is None:
        raise not_sent("the method is not a token")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {authority}", "Accept-Encoding: identity"]
    for name, value in headers:
        if _TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise not_sent("a header has a character that does not belong there")
        if name.lower() not in _OURS:
            lines.append(f"{name}: {value}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n"


def with_body(head: bytes, method: str, body: bytes) -> bytes:
    """The whole request. A GET without a body has no length."""
    if not body and method == "GET":
        return head + b"\r\n"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
