"""What may be shown of an address: never anything that could be a password (M-27).

An address is shown by what is allowed, not by what is taken out: its scheme, and its host and port
where it can be read in one way only. In ``postgresql://u:half@TAIL@host/x`` somebody forgot to
escape a password, programs differ about where it ends, and so nothing but the scheme is shown.
"""

from __future__ import annotations

import re

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,31})://", re.IGNORECASE | re.ASCII)
#: User and password, which are dropped; host; port; and a rest in which no second @ may be.
_CERTAIN = re.compile(
    r"(?:[^\s@/?#\\\[\]]*@)?"
    r"(?P<where>(?:(?:[\w.,-]+|\[[0-9a-fA-F:.]+(?:%\w+)?\])(?::[0-9]{1,5})?)?)"
    r"(?:[/?#][^\s@\\]*)?"
)
#: What an address, or a list of settings, has in it and a file's path hardly ever.
_NO_PATH = re.compile(r"[@:=?#]")
_BEFORE_PATH = re.compile(r"file:|[A-Za-z]:")


def shown_address(address: str) -> str:
    """``scheme://host:port``, or less where the rest may hold a part of a password."""
    scheme = _SCHEME.match(address)
    if scheme is None:
        return "(an address that is not shown)"
    certain = _authority(address)
    return f"{scheme[0]}{'...' if certain is None else certain}"


def is_certain(address: str) -> bool:
    """Whether every program reads the same user, password and host in this address."""
    return _authority(address) is not None


def shown_path(path: str) -> str:
    """A file's path; not shown where it may be an address that was mistyped."""
    start = _BEFORE_PATH.match(path)
    doubtful = _NO_PATH.search(path, start.end() if start else 0) or not path.isprintable()
    return "(a path that is not shown)" if doubtful else path


def _authority(address: str) -> str | None:
    scheme = _SCHEME.match(address)
    if scheme is None or not address.isprintable():
        return None
    certain = _CERTAIN.fullmatch(address, scheme.end())
    return None if certain is None else certain["where"]
