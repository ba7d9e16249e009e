"""Decides which scanned configuration links are followed: hostile until proven otherwise (M-05).

Anybody can print a QR code. A terminal that signed whatever it scanned could be made to sign a
refund, or to hand out signatures for guessing the key offline. So the link is taken apart here,
and everything that is not exactly the documented shape is refused.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Collection
from urllib.parse import SplitResult, unquote, urlsplit

import attrs

from chaoying_async.exceptions import MalformedMessageError, ParameterError
from chaoying_async.sansio.hosts import Hosts, is_loopback
from chaoying_async.sansio.wire.forms import parse_form

#: What a link's own query may hold; callers may allow further undocumented names (M-05).
ALLOWED = frozenset({"op_shop_id", "op_user_id", "code_number"})
#: Names that the terminal itself sends, which no link may bring (C 96).
RESERVED = frozenset(
    {"agent_id", "pid", "version", "device_info", "op_device_id", "sign", "key", "method"}
)

#: The longest link that is looked at; the document's has under 100 characters.
MAX_LINK = 2048

#: Everything but plain ASCII, and what parsers disagree about.
_FORBIDDEN = re.compile(r"[^\x21-\x7e]|[\\#;]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]").search
_PATH = "/qrpay/"


@attrs.frozen
class ScannedLink:
    """A link that passed: address up to the query, the query's own bytes, its decoded fields."""

    base: str
    query: str
    fields: dict[str, str]
    code_number: str


def read_link(url: str, hosts: Hosts, allow: Collection[str] = ()) -> ScannedLink:
    """Take a scanned link apart, or say in a :class:`ParameterError` why it is refused."""
    problem = _problem(url, hosts)
    if problem:
        raise ParameterError({"url": f"{problem} (M-05)"})
    parts = urlsplit(url)
    return ScannedLink(
        base=f"{parts.scheme}://{parts.netloc}{parts.path}",
        query=parts.query,
        fields=_query_fields(parts.query, allow),
        code_number=unquote(parts.path.rstrip("/").rpartition("/")[2]),
    )


def _problem(url: str, hosts: Hosts) -> str | None:
    if not isinstance(url, str) or len(url) > MAX_LINK or _FORBIDDEN.search(url):
        return "is not a plain link: ASCII without blanks, controls, backslash, # and ;"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a link"
    if "@" in parts.netloc:
        return "names a user"
    if not _host_allowed(parts, port, hosts):
        return "its host, scheme or port is not one of Hosts.scanned"
    return None if _path_allowed(parts.path) else "its path is not a plain one under /qrpay/"


def _host_allowed(parts: SplitResult, port: int | None, hosts: Hosts) -> bool:
    origin = f"{parts.scheme}://{parts.netloc}"
    if any(
        "/" in entry and origin == entry and is_loopback(parts.hostname) for entry in hosts.scanned
    ):
        return True
    # Compared as it stands: no other case, no dot at the end, no other way to write a port.
    host = parts.netloc.removesuffix(":443")
    others = (hosts.pay, hosts.api, hosts.qrpay, *hosts.overrides.values())
    never = {urlsplit(base).hostname for base in others}
    return (
        parts.scheme == "https"
        and port in (None, 443)
        and host in hosts.scanned
        and host.rstrip(".").lower() not in never
        and not _is_ip(host)
    )


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _path_allowed(path: str) -> bool:
    """Under /qrpay/ as it stands, decoded and normalised: nobody may read another path."""
    decoded = unquote(path)
    normal = posixpath.normpath(decoded)
    return (
        path.startswith(_PATH)
        and decoded.startswith(_PATH)
        and _FORBIDDEN.search(decoded) is None
        and not any(odd in decoded for odd in ("%", "?", "//"))
        and normal.startswith(_PATH)
        and normal == decoded.rstrip("/")
    )


def _query_fields(query: str, allow: Collection[str]) -> dict[str, str]:
    if not query:
        return {}
    if not all("=" in piece for piece in query.split("&")):
        raise ParameterError({"url": "its query holds a piece that is no name=value (M-05)"})
    try:
        fields = parse_form(query)
    except MalformedMessageError as error:
        raise ParameterError({"url": f"its query is refused: {error} (M-05)"}) from None
    allowed = ALLOWED | (set(allow) - RESERVED)
    if not allowed.issuperset(fields):
        raise ParameterError({"url": "its query holds a name that is not allowed (M-05)"})
    if any(map(_CONTROL, fields.values())):
        raise ParameterError({"url": "its query holds a control character (M-05)"})
    return fields
