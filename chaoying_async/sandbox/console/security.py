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
from collections import deque
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock

#: Cookie that a login leaves; its value says nothing about the token.
COOKIE = "chaoying_console"
#: Shorter tokens can be guessed.
SHORTEST_TOKEN = 16
#: So many wrong tokens are looked at in :data:`WINDOW` seconds, of one address and of all.
OF_ONE, OF_ALL = 5, 50
WINDOW = 60.0
#: What the header of that name says then.
RETRY_AFTER = f"{WINDOW:g}"


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


class Guesses:
    """The wrong tokens of the last minute: who sent too many is not listened to for a while.

    Never more than :data:`OF_ALL` are remembered, whoever sends them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrong: deque[tuple[float, str]] = deque(maxlen=OF_ALL)

    def wrong(self, address: str) -> None:
        """One more."""
        self._wrong.append((self._clock.monotonic(), address))

    def too_many(self, address: str) -> bool:
        """Whether nothing from there is looked at now, not even the right token."""
        since = self._clock.monotonic() - WINDOW
        lately = [sender for at, sender in self._wrong if at > since]
        return len(lately) >= OF_ALL or lately.count(address) >= OF_ONE


class Guard:
    """Decides by a request's headers, whose names are in lower case, and by where it comes from.

    Tokens are guessed at only so often, see :class:`Guesses`; who has logged in stays in. The
    ``clock`` is the real one however fast the sandbox's own runs.

    ``host`` is where the sandbox listens. One that others can reach needs a ``token`` of at least
    16 characters, and is a :class:`ValueError` without.
    """

    def __init__(self, host: str, token: str | None = None, *, clock: Clock | None = None) -> None:
        if token is None and not is_loopback(host):
            raise ValueError(f"others can reach {host}: a token is needed there")
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ValueError(f"a token has at least {SHORTEST_TOKEN} characters")
        self.host = host
        self._token = token
        self._secret = secrets.token_bytes(32)
        self._guesses = Guesses(clock or SystemClock())
        #: What our own forms carry; another one in every process.
        self.form_token = self._derived("form")

    def __repr__(self) -> str:
        return f"<Guard of {self.host}, {'with a' if self.asks else 'no'} token>"

    @property
    def asks(self) -> bool:
        """Whether a token is needed."""
        return self._token is not None

    def admits(self, headers: Mapping[str, str], address: str = "") -> bool:
        """Whether this request may come in."""
        if self._token is None:
            return is_loopback(_host_of(headers))
        if _same(_cookie(headers), self._derived("login")):
            return True
        given = _bearer(headers)
        return given is not None and self.is_token(given, address)

    def holds_up(self, headers: Mapping[str, str], address: str = "") -> bool:
        """Whether it brings a token after too many wrong ones, and is not even looked at."""
        return _bearer(headers) is not None and self.too_many(address)

    def too_many(self, address: str = "") -> bool:
        """Whether so many wrong tokens came lately that none is looked at."""
        return self.asks and self._guesses.too_many(address)

    def is_token(self, given: str, address: str = "") -> bool:
        """Whether that is the token; takes as long whatever is wrong with it, which is noted."""
        if self._token is None or self.too_many(address):
            return False
        right = _same(given, self._token)
        if not right:
            self._guesses.wrong(address)
        return right

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


def _bearer(headers: Mapping[str, str]) -> str | None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


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
