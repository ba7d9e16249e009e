"""Which proxy leads to an address: the one handed in, or the environment's where allowed.

All of it is read and checked once, when an engine is made: a proxy that no request could ever reach
is a mistake in the settings, not a payment whose outcome is unknown.
"""

from __future__ import annotations

import base64
import importlib.util
import re
import ssl
import urllib.request  # noqa: TID251 - reads the environment's proxies, opens nothing
from collections.abc import Mapping
from typing import TypeAlias

import attrs
import httpx

from chaoying_async.exceptions import ParameterError, RequestNotSentError
from chaoying_async.sansio.hosts import is_resolvable
from chaoying_async.sansio.sealed import sealing
from chaoying_async.transport.noproxy import is_left_out
from chaoying_async.transport.request_bytes import Address, request_head

ProxyGiven: TypeAlias = str | httpx.URL | httpx.Proxy | None

#: What is left of a proxy's address without user and password.
_PLAIN = re.compile(
    r"(?:https?|socks5h?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
_SCHEMES = ("https", "http")


@attrs.frozen(repr=False)
@sealing(("headers", "auth"))
class Via:
    """A proxy: its URL without credentials, and the header fields for it alone."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    #: User and password, for SOCKS.
    auth: tuple[str, str] | None = None
    #: For TLS to the proxy itself, where the user handed one in.
    context: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Via({self.url!r})"

    @property
    def is_socks(self) -> bool:
        """Whether aiohttp cannot use it."""
        return self.url.startswith("socks")


class Proxies:
    """The proxies of one engine, checked. Raises ``ParameterError`` where one cannot be used."""

    def __init__(self, proxy: ProxyGiven = None, *, trust_env: bool = False) -> None:
        self._given = None if proxy is None else _via("", proxy)
        self._by_scheme: Mapping[str, Via | None] = {}
        self._no_proxy: str | None = ""
        if self._given is None and trust_env:
            self._read_environment()

    @property
    def all(self) -> tuple[Via, ...]:
        """Every proxy that may come to be used."""
        return tuple(via for via in (self._given, *self._by_scheme.values()) if via is not None)

    def to(self, address: Address) -> Via | None:
        """The proxy that leads there; None: it is asked directly."""
        via = self._given or self._by_scheme.get(address.scheme)
        return None if via is None or self._is_left_out(address) else via

    def _is_left_out(self, address: Address) -> bool:
        if self._given is not None:
            return False
        if self._no_proxy is None:  # the proxies are the operating system's, and so are these
            return bool(urllib.request.proxy_bypass(address.host))  # noqa: TID251 - with trust_env
        return is_left_out(self._no_proxy, address.host, address.port)

    def _read_environment(self) -> None:
        """``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``; small letters win."""
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
    """Raise where a SOCKS proxy would be used by httpx's engine, which needs a package for it."""
    if any(via.is_socks for via in vias) and importlib.util.find_spec("socksio") is None:
        raise ParameterError({"proxy": "SOCKS needs the package socksio: pip install httpx[socks]"})


def _with_scheme(url: str) -> str:
    url = url.strip()
    return url if "://" in url else f"http://{url}"


def _via(variable: str, proxy: str | httpx.URL | httpx.Proxy) -> Via:
    via = _read(proxy)
    if via is None:  # raised here, since what a parser raises quotes what it could not read (M-27)
        rule = "must be http://, https:// or socks5:// with a host and a port up to 65535"
        raise ParameterError({"proxy": f"{variable}{rule}"})
    return via


def _read(proxy: str | httpx.URL | httpx.Proxy) -> Via | None:
    """A proxy in any form that httpx takes; None where it is none."""
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
