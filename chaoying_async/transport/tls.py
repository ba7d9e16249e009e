"""One TLS context per settings: loading the root certificates takes 20 ms and 1 MB each time."""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path
from typing import TypeAlias

import httpx

#: What httpx accepts: PEM file with both, (certificate, key), or (certificate, key, password).
Cert: TypeAlias = str | tuple[str, str] | tuple[str, str, str] | None
Verify: TypeAlias = "bool | str | os.PathLike[str] | ssl.SSLContext"


#: What httpx reads when it may.
_CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def tls_context(verify: Verify, cert: Cert, *, trust_env: bool) -> ssl.SSLContext:
    """The context for these settings, shared by everyone who has the same.

    ``verify`` is True (certifi's roots; with ``trust_env`` also ``SSL_CERT_FILE``), False, a path
    to a CA file or directory, or a context of your own, to which ``cert`` is then added, as httpx
    does. A file that changed on disk makes a new context.
    """
    if isinstance(verify, ssl.SSLContext):
        if cert is not None:
            verify.load_cert_chain(*_chain(cert))
        return verify
    where = verify if isinstance(verify, bool) else os.fspath(verify)
    chain = None if cert is None else _chain(cert)
    env = tuple(map(os.environ.get, _CA_VARIABLES)) if trust_env else ()  # noqa: TID251 - asked for
    files = [name for name in (where, *(chain or ())[:2]) if isinstance(name, str)]
    return _make(where, chain, env, tuple(_changed(name) for name in files))


def _chain(cert: Cert) -> tuple[str, ...]:
    return (cert,) if isinstance(cert, str) else tuple(cert or ())


def _changed(name: str) -> int:
    return Path(name).stat().st_mtime_ns


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
        context.load_cert_chain(*chain)
    context.set_alpn_protocols(["http/1.1"])
    return context
