"""Where requests go: the addresses of the document, and which of them are allowed.

A signed request must not leave for an address that nobody chose: plain ``http`` is refused except
to this machine, and a scanned link must name a host on a list of its own (M-05, C 17, C 95).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import attrs

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.api.endpoint import Host, Request
from chaoying_async.sansio.printable import unclean

_SCANNED = ("qrpay.storepos.cn",)
#: Addresses that the HTTP engines send unchanged.
_WRITABLE = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::[0-9]{1,5})?(?:/[\x21-\x7e]*)?"
)
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_LOCAL_SUFFIX = ".localhost"
#: The most characters of a host's name, and of the part between two of its dots (RFC 1035).
_LONGEST_NAME, _LONGEST_LABEL = 253, 63


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class Hosts:
    """The addresses of one generation of the gateway.

    A plain http address that is not loopback is a
    :class:`~chaoying_async.exceptions.ParameterError` unless ``dangerous_allow_http=True``.
    """

    pay: str
    """Base address (``https://host``) of the gateway that takes payments."""
    api: str
    """Base address of the calls about merchants, terminals and face payment's credential."""
    qrpay: str
    """Base address of both pre-orders."""
    scanned: tuple[str, ...] = attrs.field(default=_SCANNED, converter=_texts)
    """Hosts that a scanned configuration link may name, or a loopback origin
    (``http://127.0.0.1:8000``) for a sandbox (M-05).
    """
    # `type[Any]`: to type checkers a dict of one class is no mapping of its base.
    overrides: Mapping[type[Any], str] = attrs.field(factory=dict, hash=False)
    """Full addresses of single requests, by request class."""
    dangerous_allow_http: bool = False
    """Whether plain http may leave this machine."""

    def __attrs_post_init__(self) -> None:
        problems: dict[str, str] = {}
        allow_http = self.dangerous_allow_http
        for name in ("pay", "api", "qrpay"):
            object.__setattr__(self, name, getattr(self, name).rstrip("/"))
            if problem := _address_problem(getattr(self, name), allow_http=allow_http):
                problems[name] = problem
        for request, url in self.overrides.items():
            if problem := _address_problem(url, allow_http=allow_http):
                problems[f"overrides[{request.__name__}]"] = problem
        for entry in self.scanned:
            if rule := unclean(entry):
                problems["scanned"] = rule
            elif "/" in entry and not is_loopback(_hostname(entry)):
                problems["scanned"] = "must hold host names, or origins of a loopback sandbox"
        if problems:
            raise ParameterError(problems)

    @classmethod
    def document(cls) -> Self:
        """The addresses that v2.9.0 prints (C 90, C 91)."""
        return cls(
            pay="https://pay.storepos.cn",
            api="https://api.storepos.cn",
            qrpay="https://qrpay.pos.cn",
        )

    @classmethod
    def v3_2(cls) -> Self:
        """The same calls at the addresses of the last public document, v3.2.1."""
        # Imported here: requests import nothing of this module, and most programs need no address
        # of a single request.
        from chaoying_async.sansio.api.barcode import AuthCodeToOpenId  # noqa: PLC0415
        from chaoying_async.sansio.api.terminal import PayBoxConfGet  # noqa: PLC0415

        return cls(
            pay="https://pay.storepos.cn",
            api="https://api.storepos.cn",
            qrpay="https://api.storepos.cn",
            overrides={
                AuthCodeToOpenId: "https://api.storepos.cn/UnifiedPay/Gateway",
                PayBoxConfGet: "https://dev.ttdh.cc/Mch/PayBoxConfGet",
            },
        )

    @classmethod
    def single(cls, url: str, *, dangerous_allow_http: bool = False) -> Self:
        """Everything at one address: a sandbox, or a gateway behind a proxy of yours.

        Scanned links are allowed to a loopback sandbox only.
        """
        if problem := _address_problem(url, allow_http=dangerous_allow_http):
            raise ParameterError({"url": problem})
        scanned: tuple[str, ...] = (url.rstrip("/"),) if is_loopback(_hostname(url)) else ()
        return cls(
            pay=url, api=url, qrpay=url, scanned=scanned, dangerous_allow_http=dangerous_allow_http
        )

    def url_of(self, request: type[Request[Any]]) -> str:
        """The address that a request goes to; a scanned link brings its own."""
        endpoint = request.endpoint
        if request in self.overrides:
            return self.overrides[request]
        if endpoint.host is Host.SCANNED:
            return ""
        return f"{getattr(self, endpoint.host)}{endpoint.path}"


def _address_problem(url: str, *, allow_http: bool) -> str | None:
    if rule := unclean(url):
        return rule
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is not an address"
    return _problem_of(url, parts, allow_http=allow_http)


def _problem_of(url: str, parts: SplitResult, *, allow_http: bool) -> str | None:
    if not url.startswith(("http://", "https://")) or not parts.hostname:
        return "must begin with https://"
    if parts.username is not None or parts.query or parts.fragment:
        return "must be a plain address without user, query or fragment"
    writable = _WRITABLE.fullmatch(url) and is_resolvable(parts.hostname)
    if not writable or parts.port == 0:
        return "must be a host and a port that a request can be written to, escaped as in a URL"
    if parts.scheme == "http" and not (is_loopback(parts.hostname) or allow_http):
        return (
            "must be https; plain http to another machine or container needs "
            "dangerous_allow_http=True, or CHAOYING_ALLOW_HTTP=1 in the environment: whoever is on "
            "the way reads and changes what is sent"
        )
    return None


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def host_and_port(url: str) -> str:
    """The part of a URL that is safe to show (M-27), always with the port; empty without a host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return ""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if host and port else shown


def is_resolvable(host: str) -> bool:
    """Whether Python's resolver accepts the name: parts of 1 to 63 characters between the dots.

    For any other name its error does not prove that nothing was sent (M-01).
    """
    if ":" in host:  # IPv6
        return True
    name = host.removesuffix(".")
    return len(name) <= _LONGEST_NAME and all(
        1 <= len(label) <= _LONGEST_LABEL for label in name.split(".")
    )


def is_loopback(host: str | None) -> bool:
    """Whether it is localhost or a loopback address: what is sent there stays on this machine."""
    if not host:
        return False
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(_LOCAL_SUFFIX):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=64)
def is_trusted(url: str, *, verify: bool = True, direct: bool = True) -> bool:
    """Whether an unsigned refusal can be believed: by verified https, or from loopback (M-09).

    Without ``direct`` a proxy is asked for that address, and may be anywhere.
    """
    parts: SplitResult = urlsplit(url)
    return (parts.scheme == "https" and verify) or (direct and is_loopback(parts.hostname))
