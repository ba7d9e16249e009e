"""Which proxy leads to an address: the one handed in, or the environment's where allowed."""

from __future__ import annotations

import base64
import urllib.request  # noqa: TID251 - reads the environment's proxies, opens nothing
from typing import NamedTuple, TypeAlias

import httpx

ProxyGiven: TypeAlias = str | httpx.URL | httpx.Proxy | None


class Via(NamedTuple):
    """A proxy: its URL without credentials, and the header fields for it alone."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()


def given_proxy(proxy: ProxyGiven) -> Via | None:
    """The session's ``proxy=``, in any form that httpx takes."""
    if proxy is None:
        return None
    if not isinstance(proxy, httpx.Proxy):
        proxy = httpx.Proxy(proxy)
    fields = list(proxy.headers.items())
    if proxy.auth is not None:
        token = base64.b64encode(":".join(proxy.auth).encode()).decode("ascii")
        fields.append(("Proxy-Authorization", f"Basic {token}"))
    return Via(str(proxy.url), tuple(fields))


def environment_proxy(scheme: str, host: str) -> Via | None:
    """``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` less ``NO_PROXY``, as the stdlib reads it."""
    proxies = urllib.request.getproxies()  # noqa: TID251 - only with trust_env
    url = proxies.get(scheme) or proxies.get("all")
    if not url or urllib.request.proxy_bypass(host):  # noqa: TID251 - only with trust_env
        return None
    return given_proxy(url if "://" in url else f"http://{url}")
