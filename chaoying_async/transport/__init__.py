"""HTTP engines: send one request, read one whole reply, and say whether the request left.

- ``base``: the one interface that a session knows of an engine (``Engine``), and its reply.
- ``settings``: checks a session's HTTP settings and makes the engine that serves them.
- ``errors``: turns foreign errors into ours, with a table per engine (M-01).
- ``causes``: says in plain words which address failed, and why.
- ``request_bytes``: splits a URL and writes the head of a request, byte for byte.
- ``reply_body``: collects a reply's body, unpacked and within limits.
- ``fair_queue``: the first come, first served queue in front of every pool.
- ``aiohttp_engine``: the default engine: its pool, and one exchange.
- ``aiohttp_connections``: connections over aiohttp; no other file of this package touches aiohttp.
- ``httpx_engine``: the user's own transport as an engine, and httpx's engine as the fallback.
- ``event_hooks``: calls the user's request and response hooks around any engine.
- ``departures``: notes whether a call has left, through whatever gateway of the user's.
- ``observed_engine``: notes for an observer how often a call was sent, and the answer's status.
- ``proxies``: decides which proxy leads to an address, and what ``NO_PROXY`` leaves out.
- ``tls``: makes one TLS context for each set of settings.

An engine's module is imported when an engine is built: asyncio and aiohttp together take longer to
import than all of httpx, and the pure part of the library needs neither.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from chaoying_async.abc import Clock
    from chaoying_async.transport.aiohttp_engine import AiohttpTransport
    from chaoying_async.transport.base import Engine, Headers
    from chaoying_async.transport.httpx_engine import HttpxEngine, TransportEngine
    from chaoying_async.transport.proxies import ProxyGiven
    from chaoying_async.transport.tls import Cert, Verify

__all__ = [
    "AiohttpTransport",
    "Engine",
    "Headers",
    "HttpxEngine",
    "TransportEngine",
    "default_engine",
]

_WHERE = {
    "AiohttpTransport": "aiohttp_engine",
    "Engine": "base",
    "Headers": "base",
    "HttpxEngine": "httpx_engine",
    "TransportEngine": "httpx_engine",
}

_log = logging.getLogger("chaoying_async")


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def default_engine(
    *,
    limits: httpx.Limits,
    verify: Verify,
    cert: Cert,
    proxy: ProxyGiven,
    trust_env: bool,
    clock: Clock,
) -> Engine:
    """aiohttp's engine where aiohttp can serve, else httpx's, which is slower and as strict."""
    name = "AiohttpTransport" if _aiohttp_serves(proxy, trust_env=trust_env) else "HttpxEngine"
    engine: type[AiohttpTransport | HttpxEngine] = __getattr__(name)
    return engine(
        limits=limits, verify=verify, cert=cert, proxy=proxy, trust_env=trust_env, clock=clock
    )


def _aiohttp_serves(proxy: ProxyGiven, *, trust_env: bool) -> bool:
    """Whether aiohttp is there, of a build we know, and no proxy needs SOCKS or a TLS context."""
    from chaoying_async.transport.proxies import Proxies  # noqa: PLC0415

    vias = Proxies(proxy, trust_env=trust_env).all
    if any(via.is_socks or via.context is not None for via in vias):
        return False
    try:
        from chaoying_async.transport import aiohttp_connections  # noqa: PLC0415
    except ImportError:
        return False
    if not aiohttp_connections.usable():
        _log.warning("this aiohttp is not one we know; using httpx's engine, which is slower")
        return False
    return True
