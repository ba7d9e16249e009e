"""Checks what stands behind the question mark of a database's address, driver by driver.

Drivers call the same thing by different names, and a name of another driver's ends in a
``TypeError`` deep inside of it. An option is named in an error only where some driver has it: a
mistyped address may hold a part of a password anywhere (M-27).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

import attrs
from sqlalchemy import URL

from chaoying_async.exceptions import UsageError

_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_YES = frozenset({"true", "1", "yes", "on", "required"})
_TLS_NAMES = frozenset({"ssl", "sslmode", "ssl_mode", "ssl-mode", "tls", "usessl"})


#: What asyncpg reads of libpq's, and from which variables.
_TLS_FILES = {"sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}


def _libpq() -> frozenset[str]:
    """What this libpq takes; psycopg is installed, since its address was checked before."""
    from psycopg import pq  # noqa: PLC0415 - a driver that may be absent

    return frozenset(each.keyword.decode() for each in pq.Conninfo.get_defaults())


@attrs.frozen(kw_only=True)
class _Driver:
    """What a driver takes in an address."""

    options: Callable[[], frozenset[str]]
    """The names of options that it reads as text."""
    tls: str = ""
    """The option for TLS, whose values are ``_MODES``; empty: it takes none in an address."""
    instead: Mapping[str, str] = attrs.field(factory=dict)
    """What another driver's option is called here."""


#: Only options that work as the text that an address can hold: asyncpg's ``timeout`` is a number.
_DRIVERS: Mapping[str, _Driver] = {
    "psycopg": _Driver(
        options=_libpq,
        tls="sslmode",
        instead={"timeout": "connect_timeout", "charset": "client_encoding"},
    ),
    "asyncpg": _Driver(
        options=lambda: frozenset(
            {
                *("host", "port", "user", "password", "database", "passfile", "service"),
                *("servicefile", "ssl", "target_session_attrs", "krbsrvname", "gsslib"),
                "prepared_statement_cache_size",
            }
        ),
        tls="ssl",
        instead={"dbname": "database"},
    ),
    "aiomysql": _Driver(
        options=lambda: frozenset(
            {
                *("charset", "connect_timeout", "use_unicode", "local_infile", "client_flag"),
                *("sql_mode", "init_command", "unix_socket", "program_name", "auth_plugin"),
                *("read_default_file", "read_default_group", "server_public_key"),
            }
        ),
        instead={"timeout": "connect_timeout", "client_encoding": "charset"},
    ),
    "aiosqlite": _Driver(
        options=lambda: frozenset(
            {
                *("timeout", "isolation_level", "detect_types", "check_same_thread"),
                *("cached_statements", "uri"),
            }
        ),
        instead={"connect_timeout": "timeout"},
    ),
}
#: Options that a program can give to these drivers, and an address cannot.
_ELSEWHERE = frozenset(
    {
        *("ssl_ca", "ssl_cert", "ssl_key", "ssl_capath", "ssl_cipher", "ssl_check_hostname"),
        *("command_timeout", "statement_cache_size", "server_settings", "application_name"),
        *("direct_tls", "read_timeout", "write_timeout", "autocommit", "mode", "cache"),
        *("sslrootcert", "sslcert", "sslkey", "connect_timeout", "timeout", "options"),
    }
)


def check_options(url: URL) -> None:
    """:class:`UsageError` for an option that the driver does not take, with what to write."""
    name = url.drivername.partition("+")[2]
    driver = _DRIVERS.get(name)
    if driver is None or str(url.database or "").startswith("file:"):  # SQLite's own URI form
        return
    known = driver.options()
    if name == "aiosqlite" and url.query.get("uri") == "true":
        return
    for option, value in url.query.items():
        text = value if isinstance(value, str) else ""
        if option == driver.tls:
            _check_mode(name, option, text)
        elif option not in known:
            raise UsageError(_instead(name, driver, known, option, text))


def _check_mode(name: str, option: str, value: str) -> None:
    if value and value not in _MODES:
        mode = "require" if value.lower() in _YES else "|".join(_MODES)
        raise UsageError(f"{name} does not know this value of {option}: write ?{option}={mode}")


def _instead(name: str, driver: _Driver, known: frozenset[str], option: str, value: str) -> str:
    """What to write instead of an option that the driver does not know."""
    if name == "asyncpg" and option in _TLS_FILES:
        variables = ", ".join(sorted(_TLS_FILES.values()))
        return f"asyncpg takes the files of TLS from the environment: set {variables}"
    if option.lower() in _TLS_NAMES or option.lower().startswith(("ssl_", "ssl-")):
        return _tls_instead(name, driver, option, value)
    if option in driver.instead:
        return (
            f"{name} calls {option} {driver.instead[option]}: write ?{driver.instead[option]}=..."
        )
    if option in _vocabulary():
        return (
            f"{name} takes no {option} from an address: leave it out, or hand in an engine of your "
            "own, create_async_engine(url, connect_args={...})"
        )
    near = difflib.get_close_matches(option, sorted(known), n=1, cutoff=0.75)
    return f"{name} does not know one of the options after the question mark: " + (
        f"is {near[0]} meant?" if near else "leave it out, or look its name up in its manual"
    )


def _tls_instead(name: str, driver: _Driver, option: str, value: str) -> str:
    shown = option if option.lower() in _TLS_NAMES or option in _ELSEWHERE else "this option"
    if driver.tls:
        mode = value if value in _MODES else "require"
        return f"{name} does not know {shown}: write ?{driver.tls}={mode}"
    if name == "aiosqlite":
        return "a SQLite file has no TLS: leave the option out"
    return (
        f"{name} takes no TLS from an address: hand in an engine of your own, "
        "create_async_engine(url, connect_args={'ssl': ssl.create_default_context()})"
    )


def _vocabulary() -> frozenset[str]:
    """Every option that is one of some driver's, and so is safe to show."""
    named = frozenset(name for each in _DRIVERS.values() for name in each.instead)
    texts = (each.options() for name, each in _DRIVERS.items() if name != "psycopg")
    return _ELSEWHERE.union(named, *texts)
