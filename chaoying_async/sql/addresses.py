"""Addresses of databases: read in one way only, and shown without anything that may be a password.

Nobody connects by an address that can be read in two ways: a driver would look for a server whose
name is the rest of the password, and say so in its error.
"""

from __future__ import annotations

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from chaoying_async.exceptions import UsageError
from chaoying_async.sansio.redact import is_certain, shown_address, shown_path

_NO_ADDRESS = (
    "this is no address of a database: write postgresql://USER:PASSWORD@HOST:PORT/NAME, with what "
    "is special in the password escaped (@ is %40, : is %3A, / is %2F)"
)
_NO_FILE = "SQLite keeps a file: write sqlite:///PATH, without a user, a password or a host"


def read_address(text: str) -> URL:
    """SQLAlchemy's URL of an address; :class:`UsageError` where there is any doubt about it."""
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    url = None
    if (scheme.startswith("sqlite") and rest.startswith("/")) or is_certain(text):
        url = _made(f"{scheme}://{rest}")
    if url is None:
        raise UsageError(_NO_ADDRESS)
    check_address(url)
    return url


def _made(text: str) -> URL | None:
    """Outside of the caller's ``raise``: what SQLAlchemy raises quotes the whole address."""
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        return None


def check_address(url: URL) -> None:
    """:class:`UsageError` for a URL whose parts cannot be what they are taken for."""
    if url.get_backend_name() == "sqlite":
        if url.host or url.username or url.password:
            raise UsageError(_NO_FILE)
    elif not _is_certain(url):
        raise UsageError(_NO_ADDRESS)


def shown_url(url: URL) -> str:
    """Where it is: SQLite's file, or scheme, host and port of a server."""
    if url.get_backend_name() == "sqlite":
        return shown_path(str(url.database))
    has_user = url.username is not None  # without one, host and port may be user and password
    shown = shown_address(_address(url, user="@" if has_user else ""))
    return shown if _is_certain(url) else f"{url.drivername}://..."


def _is_certain(url: URL) -> bool:
    """Whether its host and port are nothing else."""
    return shown_address(_address(url, user="@")) == _address(url)


def _address(url: URL, *, user: str = "") -> str:
    host = url.host or ""
    host = f"[{host}]" if ":" in host else host
    return f"{url.drivername}://{user}{host}" + (f":{url.port}" if url.port else "")
