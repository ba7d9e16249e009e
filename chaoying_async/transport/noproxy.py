"""Which hosts a ``NO_PROXY`` leaves out, as curl and requests read it. Pure: text in, answer out.

An entry is a host name (``example.com``, ``.example.com`` and ``*.example.com`` are the same: the
host and everything below it), an address, a network (``10.0.0.0/8``, ``fd00::/8``), or ``*``, which
alone stands for every host. A name or an address may end in ``:port``, and then counts for that
port only; an IPv6 address with a port stands in brackets, without one it may. Entries are parted by
commas or blanks, and case does not matter. What is none of these leaves nothing out.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_BRACKETS = re.compile(r"\[([^\]]*)\](?:/([0-9]+))?(?::([0-9]+))?")
_NAME = re.compile(r"([^:/]+)(?::([0-9]+))?")


def is_left_out(no_proxy: str, host: str, port: int) -> bool:
    """Whether requests to this host and port go there directly. ``host`` as it stands in a URL."""
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
