"""Opens a connection to each other host that a configuration uses, for ``chaoying check``.

Nothing is asked there: every call at the pre-orders' host moves money. That a host can be reached,
and that its certificate holds, is found out by connecting alone.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import attrs

from chaoying_async.clock import SystemClock
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.hosts import Hosts, host_and_port
from chaoying_async.transport.causes import Trip, reason
from chaoying_async.transport.tls import tls_context

#: Seconds for name look-up, connection and handshake together, as a session's ``connect``.
PATIENCE = 5.0


@attrs.frozen(kw_only=True)
class ReachedHost:
    """One host: which calls go there, and what happened when it was connected to."""

    host: str
    """Name and port."""
    calls: tuple[str, ...]
    """The document's names of the calls that go there."""
    protocol: str = ""
    """``TLSv1.3``, or ``no TLS``; empty where nothing could be opened."""
    trouble: str = ""
    """Why nothing could be opened, in words; empty where it could."""


async def other_hosts(
    hosts: Hosts, asked: Collection[str], *, context: ssl.SSLContext | None = None
) -> list[ReachedHost]:
    """Connect to every host of ``hosts`` but those in ``asked`` (name and port), all at once."""
    calls: dict[str, list[str]] = {}
    urls: dict[str, str] = {}
    for request in REQUESTS:
        url = hosts.url_of(request)
        where = host_and_port(url)
        if where and where not in asked:
            calls.setdefault(where, []).append(request.endpoint.name)
            urls[where] = url
    context = context or tls_context(verify=True, cert=None, trust_env=False)
    found = await asyncio.gather(
        *(
            asyncio.create_task(_opened(url, context), name="chaoying check: connect")
            for url in urls.values()
        )
    )
    return [
        ReachedHost(host=where, calls=tuple(calls[where]), protocol=protocol, trouble=trouble)
        for where, (protocol, trouble) in zip(urls, found, strict=True)
    ]


async def _opened(url: str, context: ssl.SSLContext) -> tuple[str, str]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    opening: dict[str, Any] = {"ssl": context, "server_hostname": host} if secure else {}
    try:
        async with SystemClock().timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host, port, **opening)
    except (OSError, UnicodeError) as error:
        return "", reason(error, Trip(host_and_port(url), timeout={"connect": PATIENCE}))
    tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    protocol = (tls.version() or "TLS") if tls is not None else "no TLS"
    writer.transport.abort()  # no goodbye is waited for: nothing was asked
    with suppress(OSError):
        await writer.wait_closed()
    return protocol, ""
