"""Who may use the console and the control endpoints, and which posts come from our own pages.

On loopback everybody on this machine may, provided that the browser asked for a loopback address:
a page elsewhere whose name was made to point here (DNS rebinding) is refused. On any other address
a token is asked for. Nothing here knows a web framework.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets  # noqa: TID251 - what keeps strangers out must not follow from the sandbox's seed
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

#: Cookie that a login leaves; its value says nothing about the token.
COOKIE = "chaoying_console"
#: Shorter tokens can be guessed.
SHORTEST_TOKEN = 16


def new_token() -> str:
    """A token that nobody guesses, for ``Guard`` and the person who starts the sandbox."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    name = host.removeprefix("[").removesuffix("]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


class Guard:
    """Decides by a request's headers, whose names are in lower case.

    ``host`` is where the sandbox listens. One that others can reach needs a ``token`` of at least
    16 characters, and is a :class:`ValueError` without.
    """

    def __init__(self, host: str, token: str | None = None) -> None:
        if token is None and not is_loopback(host):
            raise ValueError(f"others can reach {host}: a token is needed there")
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ValueError(f"a token has at least {SHORTEST_TOKEN} characters")
        self.host = host
        self._token = token
        self._secret = secrets.token_bytes(32)
        #: What our own forms carry; another one in every process.
        self.form_token = self._derived("form")

    def __repr__(self) -> str:
        return f"<Guard of {self.host}, {'with a' if self.asks else 'no'} token>"

    @property
    def asks(self) -> bool:
        """Whether a token is needed."""
        return self._token is not None

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether this request may come in."""
        if self._token is None:
            return is_loopback(_host_of(headers))
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
        return _same(_cookie(headers), self._derived("login"))

    def is_token(self, given: str) -> bool:
        """Whether that is the token; takes as long whatever is wrong with it."""
        return self._token is not None and _same(given, self._token)

    def login(self) -> str:
        """The value of the cookie of somebody who gave the token."""
        return self._derived("login")

    def is_ours(self, headers: Mapping[str, str], form_token: str) -> bool:
        """Whether a post comes from a form of ours: its token, and what the browser says of it."""
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return False
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
            return False
        return _same(form_token, self.form_token)

    def _derived(self, purpose: str) -> str:
        return hmac.new(self._secret, purpose.encode(), hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    """Compared in a time that tells nothing, whatever the lengths."""
    digests = [hashlib.sha256(text.encode(errors="replace")).digest() for text in (one, other)]
    return hmac.compare_digest(*digests)


def _host_of(headers: Mapping[str, str]) -> str:
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:  # half an IPv6 address
        return ""


def _cookie(headers: Mapping[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
