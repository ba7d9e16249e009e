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
from collections import OrderedDict, deque
from collections.abc import Mapping
from urllib.parse import urlsplit

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock

#: The cookie of a login; its value is the login's number, from which the token does not follow.
COOKIE = "chaoying_console"
#: Shorter tokens can be guessed.
SHORTEST_TOKEN = 16
#: After this many wrong tokens of one sender in :data:`WINDOW` seconds the next has to wait.
OF_ONE = 5
WINDOW = 60.0
#: The header ``Retry-After`` of such an answer.
RETRY_AFTER = f"{WINDOW:g}"
#: Seconds that a login lasts.
LASTS = 12 * 3600.0
#: How many senders of wrong tokens, and how many logins, are remembered.
_SENDERS, _LOGINS = 10_000, 100
_NETWORK = 64
#: Longer headers hold no cookie of ours.
_LONGEST_COOKIES = 32 * 1024


def new_token() -> str:
    """A token that nobody guesses, for ``AccessGuard`` and the person who starts the sandbox."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    name = host.removeprefix("[").removesuffix("]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


class Guesses:
    """The wrong tokens of the last minute: a sender of too many is told to wait.

    Senders are counted one by one, and the right token is accepted at all times, so nobody is kept
    out by what others do: behind a published Docker port or a proxy the owner and strangers are one
    sender. A token is safe by its length, not by this count, which keeps a guesser from filling
    logs and remembers five moments of a sender, however often he tries. One sender is one IPv4
    address, or one IPv6 network (/64), whose addresses are one customer's. At most 10,000 senders
    are remembered.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def wrong(self, address: str) -> None:
        """Count one more wrong token of a sender."""
        sender = sender_of(address)
        lately = self._wrong.setdefault(sender, deque(maxlen=OF_ONE))
        lately.append(self._clock.monotonic())
        self._wrong.move_to_end(sender)
        if len(self._wrong) > _SENDERS:
            self._wrong.popitem(last=False)

    def too_many(self, address: str) -> bool:
        """Whether another wrong token of this sender is told to wait."""
        since = self._clock.monotonic() - WINDOW
        lately = self._wrong.get(sender_of(address), ())
        return sum(at > since for at in lately) >= OF_ONE


def sender_of(address: str) -> str:
    """The sender that an address stands for: an IPv4 address, or an IPv6 network."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    inside = known.ipv4_mapped
    return str(inside or ipaddress.IPv6Network((known, _NETWORK), strict=False))


class Logins:
    """The logins of those who gave the token: each is a random number, until it ends.

    They are kept in memory only, so the end of the process ends all logins.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def new(self) -> str:
        """Begin a login and return its number; the oldest login ends when there are too many."""
        value = secrets.token_urlsafe(32)
        self._until[_digest(value)] = self._clock.monotonic() + LASTS
        if len(self._until) > _LOGINS:
            self._until.popitem(last=False)
        return value

    def holds(self, value: str) -> bool:
        """Whether this is the number of a login that has not ended."""
        until = self._until.get(
            _digest(value)
        )  # found by its digest: how long it takes says nothing
        return until is not None and self._clock.monotonic() < until

    def end(self, value: str) -> None:
        """End a login."""
        self._until.pop(_digest(value), None)


class AccessGuard:
    """Decides who may come in, by the headers of a request and the address of its connection.

    The names of headers are in lower case. Guessers of tokens are told to wait, see
    :class:`Guesses`; a login lasts 12 hours, or until logout, or until the end of the process.
    ``address`` is the connection's own: anybody could say what a proxy says of its clients. The
    ``clock`` is the real one however fast the sandbox's own runs.

    ``host`` is where the sandbox listens. A host that others can reach needs a ``token`` of at
    least 16 characters: without one it is a :class:`ValueError`.
    """

    def __init__(self, host: str, token: str | None = None, *, clock: Clock | None = None) -> None:
        if token is None and not is_loopback(host):
            raise ValueError(f"others can reach {host}: a token is needed there")
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ValueError(f"a token has at least {SHORTEST_TOKEN} characters")
        self.host = host
        self._token = token
        clock = clock or SystemClock()
        self._guesses, self._logins = Guesses(clock), Logins(clock)
        #: What our own forms carry; another one in every process.
        self.form_token = secrets.token_hex(32)

    def __repr__(self) -> str:
        return f"<AccessGuard of {self.host}, {'with a' if self.asks else 'no'} token>"

    @property
    def asks(self) -> bool:
        """Whether a token is needed."""
        return self._token is not None

    def admits(self, headers: Mapping[str, str], address: str = "") -> bool:
        """Whether this request may come in."""
        if self._token is None:
            return is_loopback(_host_of(headers))
        if self._logins.holds(cookie(headers, COOKIE)):
            return True
        given = _bearer(headers)
        return given is not None and self.is_token(given, address)

    def holds_up(self, headers: Mapping[str, str], address: str = "") -> bool:
        """Whether a request brings a wrong token after too many; the right one never waits."""
        given = _bearer(headers)
        return given is not None and self.too_many(address) and not self._is_right(given)

    def too_many(self, address: str = "") -> bool:
        """Whether so many wrong tokens came lately that the next wrong one is told to wait."""
        return self.asks and self._guesses.too_many(address)

    def is_token(self, given: str, address: str = "") -> bool:
        """Whether this is the token; comparing takes the same time whatever is wrong with it.

        A wrong token is counted, unless its sender is told to wait already: after a minute without
        counted guesses the sender is free again.
        """
        right = self._is_right(given)
        if not right and self.asks and not self.too_many(address):
            self._guesses.wrong(address)
        return right

    def _is_right(self, given: str) -> bool:
        return self._token is not None and _same(given, self._token)

    def still_admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a client that came in with these headers may stay; nothing is counted."""
        if self._token is None or self._logins.holds(cookie(headers, COOKIE)):
            return True
        return _same(_bearer(headers) or "", self._token)

    def login(self) -> str:
        """The cookie value of a new login, for somebody who gave the token: see :data:`LASTS`."""
        return self._logins.new()

    def logout(self, headers: Mapping[str, str]) -> None:
        """End the login that a request comes with, for every copy of its cookie."""
        self._logins.end(cookie(headers, COOKIE))

    def is_ours(self, headers: Mapping[str, str], form_token: str, scheme: str = "http") -> bool:
        """Whether a post comes from our own form, by its token and the browser's headers.

        ``scheme`` is the connection's own. A program that sends the token may lack the headers.
        """
        return _says_nothing_else(headers, scheme) and _same(form_token, self.form_token)

    def is_from_here(self, headers: Mapping[str, str], scheme: str = "http") -> bool:
        """Whether a browser's headers say that a post comes from a page of ours.

        That is not enough to do what it asks; it may be a page from before a restart.
        """
        says = "origin" in headers or "sec-fetch-site" in headers
        return says and _says_nothing_else(headers, scheme)


def _says_nothing_else(headers: Mapping[str, str], scheme: str) -> bool:
    """Whether a browser's headers say nothing against a post being our own page's."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site not in (None, "same-origin"):
        return False
    if origin is None:
        return True
    theirs, _, place = origin.partition("://")
    # Behind a proxy that has TLS the schemes differ; a browser there has compared them itself.
    return place == headers.get("host", "") and (site is not None or theirs == scheme)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()


def _same(one: str, other: str) -> bool:
    """Compares two texts in a time that says nothing about them, their lengths included."""
    return hmac.compare_digest(_digest(one), _digest(other))


def _bearer(headers: Mapping[str, str]) -> str | None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def _host_of(headers: Mapping[str, str]) -> str:
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:  # half an IPv6 address
        return ""


def cookie(headers: Mapping[str, str], name: str) -> str:
    """The value of one of our cookies, which need no quotes; empty if there is none."""
    for piece in headers.get("cookie", "")[:_LONGEST_COOKIES].split(";"):
        found, _, value = piece.partition("=")
        if found.strip() == name:
            return value.strip()
    return ""
