"""Decides which proxy leads to an address: the one handed in, or one of the environment.

Proxies are read and checked once, when an engine is made: a proxy that no request could ever reach
is a mistake in the settings, and must not become a payment whose outcome is unknown.

``NO_PROXY`` is read as curl and requests read it. An entry is a host name (``example.com``,
``.example.com`` and ``*.example.com`` mean the host and everything below it), an address, a network
(``10.0.0.0/8``, ``fd00::/8``), or ``*``, which alone stands for every host. A name or an address
may end in ``:port``, and then counts for that port only; an IPv6 address with a port stands in
brackets, without one it may. Entries are separated by commas or blanks, and case does not matter.
Any other entry leaves nothing out.
"""

from __future__ import annotations

import base64
import importlib.util
import ipaddress
import re
import ssl
import urllib.request  # noqa: TID251 - reads the environment's proxies, opens nothing
from collections.abc import Mapping
from typing import TypeAlias

import attrs
import httpx

from chaoying_async.exceptions import ParameterError, RequestNotSentError
from chaoying_async.sansio.hosts import is_loopback, is_resolvable
from chaoying_async.sansio.sealed import sealing
from chaoying_async.transport.request_bytes import Address, request_head

ProxyGiven: TypeAlias = str | httpx.URL | httpx.Proxy | None

#: A proxy's address, without user and password.
_PLAIN = re.compile(
    r"(?:https?|socks5h?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
_SCHEMES = ("https", "http")

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_BRACKETS = re.compile(r"\[([^\]]*)\](?:/([0-9]+))?(?::([0-9]+))?")
_NAME = re.compile(r"([^:/]+)(?::([0-9]+))?")


@attrs.frozen(repr=False)
@sealing(("headers", "auth"))
class Via:
    """A proxy: its URL without credentials, and the header fields for it alone."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    auth: tuple[str, str] | None = None
    """User and password, for SOCKS."""
    context: ssl.SSLContext | None = None
    """For TLS to the proxy itself, where the user handed one in."""

    def __repr__(self) -> str:
        return f"Via({self.url!r})"

    @property
    def is_socks(self) -> bool:
        """Whether this is a SOCKS proxy, which aiohttp cannot use."""
        return self.url.startswith("socks")


class Proxies:
    """The proxies of one engine. Raises ``ParameterError`` where one of them cannot be used."""

    def __init__(self, proxy: ProxyGiven = None, *, trust_env: bool = False) -> None:
        self._given = None if proxy is None else _via("", proxy)
        self._by_scheme: Mapping[str, Via | None] = {}
        self._no_proxy: str | None = ""
        if self._given is None and trust_env:
            self._read_environment()

    @property
    def all(self) -> tuple[Via, ...]:
        """Every proxy that a request may go through."""
        return tuple(via for via in (self._given, *self._by_scheme.values()) if via is not None)

    def to(self, address: Address) -> Via | None:
        """The proxy for requests to this address; None: they go there directly."""
        via = self._given or self._by_scheme.get(address.scheme)
        return None if via is None or self._is_left_out(address) else via

    def _is_left_out(self, address: Address) -> bool:
        if self._given is not None:
            return False
        if is_loopback(address.host):  # plain http is for this machine, and stays on it (M-05)
            return True
        if self._no_proxy is None:  # proxies of the operating system: it has its own exceptions
            return bool(urllib.request.proxy_bypass(address.host))  # noqa: TID251 - with trust_env
        return is_left_out(self._no_proxy, address.host, address.port)

    def _read_environment(self) -> None:
        """Read ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``; small letters win."""
        named = urllib.request.getproxies_environment()  # noqa: TID251 - only with trust_env
        self._no_proxy = named.get("no", "") if named else None
        found = named or urllib.request.getproxies()  # noqa: TID251 - only with trust_env
        vias = {
            name: _via(f"{name.upper()}_PROXY ", _with_scheme(found[name]))
            for name in (*_SCHEMES, "all")
            if found.get(name)
        }
        self._by_scheme = {scheme: vias.get(scheme, vias.get("all")) for scheme in _SCHEMES}


def check_socks(vias: tuple[Via, ...]) -> None:
    """Raise where httpx's engine would use a SOCKS proxy without the package it needs for that."""
    if any(via.is_socks for via in vias) and importlib.util.find_spec("socksio") is None:
        raise ParameterError({"proxy": "SOCKS needs the package socksio: pip install httpx[socks]"})


def _with_scheme(url: str) -> str:
    url = url.strip()
    return url if "://" in url else f"http://{url}"


def _via(variable: str, proxy: str | httpx.URL | httpx.Proxy) -> Via:
    via = _read(proxy)
    if via is None:  # raised here: a parser's own error quotes the address (M-27)
        rule = "must be http://, https:// or socks5:// with a host and a port up to 65535"
        raise ParameterError({"proxy": f"{variable}{rule}"})
    return via


def _read(proxy: str | httpx.URL | httpx.Proxy) -> Via | None:
    """A proxy in any form that httpx takes; None where httpx cannot read it."""
    try:
        if not isinstance(proxy, httpx.Proxy):
            proxy = httpx.Proxy(proxy.strip() if isinstance(proxy, str) else proxy)
        url, fields = str(proxy.url), list(proxy.headers.items())
        socks = proxy.url.scheme.startswith("socks")
        if proxy.raw_auth is not None and not socks:
            token = base64.b64encode(b":".join(proxy.raw_auth)).decode("ascii")
            fields.append(("Proxy-Authorization", f"Basic {token}"))
        request_head("CONNECT", "/", "", fields)
    except (ValueError, TypeError, AttributeError, httpx.InvalidURL, RequestNotSentError):
        return None
    match = _PLAIN.fullmatch(url)
    if match is None or not is_resolvable(match["host"]):
        return None
    if match["port"] is not None and not 0 < int(match["port"]) < 1 << 16:
        return None
    return Via(url.rstrip("/"), tuple(fields), proxy.auth if socks else None, proxy.ssl_context)


def is_left_out(no_proxy: str, host: str, port: int) -> bool:
    """Whether requests to this host (as it stands in a URL) and port go there directly."""
    entries = re.split(r"[\s,]+", no_proxy.strip().strip(",").strip())
    if entries == ["*"]:
        return True
    host = host.strip("[]").rstrip(".").lower()
    address = _address(host)
    return any(_fits(entry.lower(), host, address, port) for entry in entries if entry)


def _fits(entry: str, host: str, address: _Address | None, port: int) -> bool:
    if address is not None and "/" in entry:
        return _in_network(entry, address)
    name, only = _parts(entry)
    if not name or (only is not None and only != port):
        return False
    if address is not None:
        return _address(name) == address
    name = _ascii(name.removeprefix("*").strip("."))
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _parts(entry: str) -> tuple[str, int | None]:
    """Host and port of an entry; an IPv6 address without brackets has none."""
    match = _BRACKETS.fullmatch(entry)
    if match is not None:
        return match[1], _number(match[3])
    if _address(entry) is not None:
        return entry, None
    match = _NAME.fullmatch(entry)
    return ("", None) if match is None else (match[1], _number(match[2]))


def _number(digits: str | None) -> int | None:
    if digits is None:
        return None
    return int(digits) if len(digits) <= len("65535") else -1


def _in_network(entry: str, address: _Address) -> bool:
    match = _BRACKETS.fullmatch(entry)
    text = f"{match[1]}/{match[2]}" if match else entry
    try:
        return address in ipaddress.ip_network(text, strict=False)  # 10.1.2.3/8 is 10.0.0.0/8
    except ValueError:
        return False


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _ascii(name: str) -> str:
    """A name with letters of other scripts as it stands in a URL."""
    try:
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
