"""Makes one TLS context for each set of settings: certificates take 20 ms and 1 MB to load."""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path
from typing import TypeAlias

import httpx

from chaoying_async.exceptions import ParameterError

#: What httpx accepts: PEM file with both, (certificate, key), or (certificate, key, password).
Cert: TypeAlias = str | tuple[str, str] | tuple[str, str, str] | None
Verify: TypeAlias = "bool | str | os.PathLike[str] | ssl.SSLContext"


_LONGEST_CHAIN = 3
_WHAT = {
    "verify": "must be True, False, a context, or a path to certificates that can be read"
    " (with trust_env: so must SSL_CERT_FILE and SSL_CERT_DIR)",
    "cert": "must be a PEM file, (certificate, key) or (certificate, key, password) that fit",
}
#: The variables that httpx reads with ``trust_env``.
_CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def tls_context(verify: Verify, cert: Cert, *, trust_env: bool) -> ssl.SSLContext:
    """The context for these settings, shared by everyone who has the same.

    ``verify`` is True (certifi's roots; with ``trust_env`` also ``SSL_CERT_FILE``), False, a path
    to a CA file or directory, or a context of your own, to which ``cert`` is then added, as httpx
    does. A file that changed on disk makes a new context.
    """
    context = _base(verify, trust_env=trust_env, chain=None if cert is None else _chain(cert))
    if isinstance(context, str):  # raised here: the error of `ssl` stays out of the chain
        raise ParameterError({context: _WHAT[context]})
    return context


def proves(verify: Verify) -> bool:
    """Whether ``verify`` proves who answers (M-09); an ``SSLContext`` of the user's may not."""
    if isinstance(verify, ssl.SSLContext):
        return verify.verify_mode is ssl.CERT_REQUIRED and verify.check_hostname
    return verify is not False


def _base(
    verify: Verify, *, trust_env: bool, chain: tuple[str, ...] | None
) -> ssl.SSLContext | str:
    """The context, or the name of the setting that cannot be read."""
    if chain == () or verify == "":  # "" would be the working directory, to `ssl`
        return "cert" if chain == () else "verify"
    reading = "verify"
    try:
        if isinstance(verify, ssl.SSLContext):
            reading = "cert"
            if chain is not None:
                _load(verify, chain)
            return verify
        where = verify if isinstance(verify, bool) else os.fspath(verify)
        env = tuple(map(os.environ.get, _CA_VARIABLES)) if trust_env else ()  # noqa: TID251 - asked for
        if any(place and not Path(place).exists() for place in env):  # older httpx ignores it
            return reading
        context = _make(where, None, env, _changed(where))
        if chain is not None:
            reading = "cert"
            context = _make(where, chain, env, _changed(where, *chain[:2]))
    except (OSError, ValueError, TypeError):
        return reading
    return context


def _chain(cert: Cert) -> tuple[str, ...]:
    """The files and the password; empty where ``cert`` has another form."""
    if isinstance(cert, (str, os.PathLike)):
        return (os.fspath(cert),)
    if not isinstance(cert, (tuple, list)) or not 1 <= len(cert) <= _LONGEST_CHAIN:
        return ()
    return tuple(os.fspath(part) if isinstance(part, os.PathLike) else part for part in cert)


def _load(context: ssl.SSLContext, chain: tuple[str, ...]) -> None:
    """Load with a password in any case: without one OpenSSL would ask for it on the terminal."""
    certificate, *more = chain
    key, password = (*more, None, None)[:2]
    context.load_cert_chain(certificate, key, "" if password is None else password)


def _changed(*names: object) -> tuple[int, ...]:
    return tuple(Path(name).stat().st_mtime_ns for name in names if isinstance(name, str))


@functools.lru_cache(maxsize=16)
def _make(
    where: bool | str,  # noqa: FBT001 - the two kinds of one setting, as httpx spells it
    chain: tuple[str, ...] | None,
    env: tuple[str | None, ...],
    _files: tuple[int, ...],
) -> ssl.SSLContext:
    if isinstance(where, bool):
        context = httpx.create_ssl_context(verify=where, trust_env=bool(env))
    elif Path(where).is_dir():
        context = ssl.create_default_context(capath=where)
    else:
        context = ssl.create_default_context(cafile=where)
    if chain is not None:
        _load(context, chain)
    context.set_alpn_protocols(["http/1.1"])
    return context
