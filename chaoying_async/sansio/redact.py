"""What may be shown of an address: never anything that could be a password (M-27).

An address is shown by what is allowed, not by what is taken out: its scheme, and its host and port
where it can be read in one way only. In ``postgresql://u:half@TAIL@host/x`` somebody forgot to
escape a password, programs differ about where it ends, and so nothing but the scheme is shown. In
``postgresql://u:1234`` somebody may have forgotten the host: every program takes it for a host and
a port, which makes it certain, but it may be a user and a password of digits, and is not shown.
"""

from __future__ import annotations

import re

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,31})://", re.IGNORECASE | re.ASCII)
#: User and password, which are dropped; host; port; and a rest in which no second @ may be.
_CERTAIN = re.compile(
    r"(?P<user>[^\s@/?#\\\[\]]*@)?"
    r"(?P<where>(?:(?P<host>[\w.,-]+|\[[0-9a-fA-F:.]+(?:%\w+)?\])(?P<port>:[0-9]{1,5})?)?)"
    r"(?:[/?#][^\s@\\]*)?"
)
#: What nobody has for a user: an address, a name with a dot in it, this machine.
_SURELY_A_HOST = re.compile(r"\[.*\]|.*\w\.\w.*|localhost\.?", re.IGNORECASE)
#: What an address, or a list of settings, has in it and a file's path hardly ever.
_NO_PATH = re.compile(r"[@:=?#]")
_BEFORE_PATH = re.compile(r"file:|[A-Za-z]:")


def shown_address(address: str) -> str:
    """``scheme://host:port``, or less where the rest may hold a part of a password.

    A port is shown behind what is surely a host: one with a user part before it (``u:p@db:5432``),
    an IP address, a name with a dot, or localhost. What is left are ``db:5432`` and ``u:1234``,
    which look the same: neither is shown. A name alone is, since no password can be in it.
    """
    scheme = _SCHEME.match(address)
    if scheme is None:
        return "(an address that is not shown)"
    read = _read(address)
    return f"{scheme[0]}{read['where'] if read and _may_be_shown(read) else '...'}"


def is_certain(address: str) -> bool:
    """Whether every program reads the same user, password and host in this address."""
    return _read(address) is not None


def shown_path(path: str) -> str:
    """A file's path; not shown where it may be an address that was mistyped."""
    start = _BEFORE_PATH.match(path)
    doubtful = _NO_PATH.search(path, start.end() if start else 0) or not path.isprintable()
    return "(a path that is not shown)" if doubtful else path


def _read(address: str) -> re.Match[str] | None:
    scheme = _SCHEME.match(address)
    if scheme is None or not address.isprintable():
        return None
    return _CERTAIN.fullmatch(address, scheme.end())


def _may_be_shown(read: re.Match[str]) -> bool:
    without_doubt = read["port"] is None or read["user"] is not None
    return without_doubt or _SURELY_A_HOST.fullmatch(read["host"]) is not None
